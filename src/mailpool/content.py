"""The sealed content of one message: the bytes that go on the wire, and what a server must offer to take them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Content(Protocol):
    """Header and body with CRLF line ends, ending in CRLF, not dot-stuffed (RFC 5322 §2.3, RFC 5321 §4.1.1.4).

    It is read once for each attempt, in order, so that a source far larger than memory can stand behind it.
    """

    @property
    def size(self) -> int:
        """Octets, line ends included and before dot-stuffing: what SIZE= declares (RFC 1870)."""
        ...

    @property
    def eight_bit(self) -> bool:
        """Whether any octet is above 127, so that 8BITMIME is needed (RFC 6152)."""
        ...

    @property
    def utf8_headers(self) -> bool:
        """Whether a header holds raw UTF-8, so that SMTPUTF8 is needed (RFC 6531)."""
        ...

    def blocks(self) -> Iterator[bytes]:
        """The octets from the start, in blocks of any length."""
        ...


class BytesContent:
    """Content that is in memory, as almost all mail is."""

    __slots__ = ("crlf_only", "data", "eight_bit", "utf8_headers")

    def __init__(
        self, data: bytes, *, eight_bit: bool = False, utf8_headers: bool = False, crlf_only: bool = False
    ) -> None:
        self.data = data
        self.crlf_only = crlf_only  # whoever made it has seen to that: no CR or LF stands alone
        self.eight_bit = eight_bit
        self.utf8_headers = utf8_headers

    @property
    def size(self) -> int:
        return len(self.data)

    def blocks(self) -> Iterator[bytes]:
        view = memoryview(self.data)
        for start in range(0, len(view), 65_536):
            yield bytes(view[start : start + 65_536])

    def __repr__(self) -> str:
        return f"<BytesContent {len(self.data)} octets>"
