"""The sealed content of one message: the bytes that go on the wire, and what a server must offer to take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

_BLOCK = 65_536


class Content(Protocol):
    """Header and body, ending in CRLF, not dot-stuffed (RFC 5322 §2.3, RFC 5321 §4.1.1.4).

    Every line end is CRLF, but in the parts of a ``binary`` content that are such themselves.

    It is read once for each attempt, in order, so that a source far larger than memory can stand behind it.
    """

    @property
    def size(self) -> int:
        """Octets, line ends included and before dot-stuffing: what SIZE= declares (RFC 1870)."""
        ...

    @property
    def eight_bit(self) -> bool:
        """Whether any octet may be above 127, so that 8BITMIME is needed (RFC 6152)."""
        ...

    @property
    def binary(self) -> bool:
        """Whether there is a part that is no lines, so that BINARYMIME is needed (RFC 3030); ``eight_bit`` is true then."""
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

    __slots__ = ("binary", "crlf_only", "data", "eight_bit", "utf8_headers")

    def __init__(
        self,
        data: bytes,
        *,
        eight_bit: bool = False,
        utf8_headers: bool = False,
        crlf_only: bool = False,
        binary: bool = False,
    ) -> None:
        self.data = data
        self.binary = binary
        self.crlf_only = crlf_only  # whoever made it has seen to that: no CR or LF stands alone
        self.eight_bit = eight_bit
        self.utf8_headers = utf8_headers

    @property
    def size(self) -> int:
        return len(self.data)

    def blocks(self) -> Iterator[bytes]:
        view = memoryview(self.data)
        for start in range(0, len(view), _BLOCK):
            yield bytes(view[start : start + _BLOCK])

    def __repr__(self) -> str:
        return f"<BytesContent {len(self.data)} octets>"


class Source(Protocol):
    """Octets that are somewhere else, and read anew by each attempt: they are the same each time, or reading fails."""

    @property
    def size(self) -> int:
        """How many octets."""
        ...

    def blocks(self) -> Iterator[bytes]:
        """The octets from the start, in blocks of any length."""
        ...


def with_head(head: bytes, content: Content) -> Content:
    """``content`` after more header fields, which are 7-bit and end in CRLF."""
    if isinstance(content, BytesContent):
        return BytesContent(
            head + content.data,
            eight_bit=content.eight_bit,
            binary=content.binary,
            utf8_headers=content.utf8_headers,
            crlf_only=content.crlf_only,
        )
    return StreamedContent(
        [head, content],
        eight_bit=content.eight_bit,
        binary=content.binary,
        utf8_headers=content.utf8_headers,
    )


class StreamedContent:
    """Content in pieces: octets, and sources of octets that are read when they are sent.

    :param pieces: one after the other; sources give CRLF line ends where the octets before and after them do
    """

    __slots__ = ("_pieces", "binary", "eight_bit", "size", "utf8_headers")

    def __init__(
        self,
        pieces: Iterable[bytes | Source],
        *,
        eight_bit: bool = False,
        binary: bool = False,
        utf8_headers: bool = False,
    ) -> None:
        self._pieces = _joined(pieces)
        self.size = sum(len(piece) if isinstance(piece, bytes) else piece.size for piece in self._pieces)
        self.eight_bit = eight_bit
        self.binary = binary
        self.utf8_headers = utf8_headers

    def blocks(self) -> Iterator[bytes]:
        """The octets from the start. Raises ``ValueError`` before the last of them when a source is not of its size."""
        for piece in self._pieces:
            if isinstance(piece, bytes):
                view = memoryview(piece)
                for start in range(0, len(view), _BLOCK):
                    yield bytes(view[start : start + _BLOCK])
            else:
                left = piece.size
                for block in piece.blocks():
                    left -= len(block)
                    # The server was told the size, and others rely on it.
                    if left < 0:
                        break
                    yield block
                if left:
                    raise ValueError(f"a source has {'more' if left < 0 else 'fewer'} octets than it said")

    def __repr__(self) -> str:
        return f"<StreamedContent {self.size} octets>"


def _joined(pieces: Iterable[bytes | Source]) -> list[bytes | Source]:
    """The same with neighbouring octets in one piece: each piece is a write of its own."""
    joined: list[bytes | Source] = []
    run: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            run.append(piece)
            continue
        if run:
            joined.append(b"".join(run))
            run = []
        joined.append(piece)
    if run:
        joined.append(b"".join(run))
    return joined
