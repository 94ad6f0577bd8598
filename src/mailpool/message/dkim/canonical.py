"""The two canonical forms of header fields and of a body (RFC 6376 §3.4): what verifiers see alike after transport."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_white_space = re.compile(rb"[ \t\r\n]+").sub
# Most bodies have no tab and no two spaces in a row, and looking for those is many times faster than a substitution.
_blanks = re.compile(rb"[ \t]+").sub
_split_fields = re.compile(rb"\r\n(?![ \t])").split
_MANY_LINES: Final = b"\r\n" * 4_096


def header_fields(header: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a header, each as its name in lower case and the whole field without its last CRLF.

    ``header`` is CRLF-only, and without the empty line that ends it.
    """
    found = []
    for field in _split_fields(header.removesuffix(b"\r\n")):
        name, colon, _ = field.partition(b":")
        if colon:
            found.append((name.rstrip(b" \t").lower(), field))
    return found


def relaxed_field(name: bytes, field: bytes) -> bytes:
    """A field in the form "relaxed" (§3.4.2), without CRLF: name in lower case, unfolded, one space for any white space."""
    value = field.partition(b":")[2]
    if b"\r\n" in value or b"\t" in value or b"  " in value:
        value = _white_space(b" ", value)
    return name + b":" + value.strip(b" ")


class BodyHash:
    """SHA-256 over a body in canonical form, fed in blocks of any size (RFC 6376 §3.4.3, §3.4.4).

    Only the last line of a block and a count of empty lines are kept: a body of any size needs the memory of a block.
    The body is CRLF-only, as all content is.
    """

    def __init__(self, *, relaxed: bool) -> None:
        self._relaxed = relaxed
        self._hash = hashlib.sha256()
        self._rest = b""  # after the last line end
        self._line_ends = 0  # not hashed yet: dropped at the end of the body, or followed by more text
        self._empty = True

    def update(self, block: bytes) -> None:
        data = self._rest + block if self._rest else block
        end = data.rfind(b"\r\n") + 2
        if end < 2:
            self._rest = data
            return
        self._rest = data[end:]
        self._lines(data[:end])

    def digest(self) -> bytes:
        """The hash of everything, once."""
        if self._rest:
            self._lines(self._rest + b"\r\n")
        # The last line has its end, empty ones after it are not there. An empty body is CRLF or nothing at all.
        if not (self._empty and self._relaxed):
            self._hash.update(b"\r\n")
        return self._hash.digest()

    def _lines(self, lines: bytes) -> None:
        """Whole lines with their ends."""
        if self._relaxed:
            if b"\t" in lines or b"  " in lines:
                lines = _blanks(b" ", lines)
            lines = lines.replace(b" \r\n", b"\r\n")
        text = lines.rstrip(b"\r\n")
        if text:
            self._flush()
            self._hash.update(text)
            self._empty = False
        self._line_ends += (len(lines) - len(text)) // 2

    def _flush(self) -> None:
        count, self._line_ends = self._line_ends, 0
        while count:
            some = min(count, 4_096)
            self._hash.update(_MANY_LINES[: 2 * some])
            count -= some
