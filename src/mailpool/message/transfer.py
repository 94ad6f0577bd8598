"""Transfer encodings of sources: as in ``encoding``, block by block, with a size that is known before they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..content import Source
from ..errors import MessageError
from .encoding import base64_lines, lines_fit, with_crlf
from .folding import LONGEST_LINE

_OCTETS_PER_LINE: Final = 57
_CHARACTERS_PER_LINE: Final = 76
_LONGEST_HEAD: Final = 1_048_576


class Base64Lines:
    """A source in base64, 76 characters to a line, with no line end after the last (RFC 2045 §6.8)."""

    __slots__ = ("_source", "size")

    ends_line = False

    def __init__(self, source: Source) -> None:
        self._source = source
        characters = (source.size + 2) // 3 * 4
        self.size = characters + (characters - 1) // _CHARACTERS_PER_LINE * 2 if characters else 0

    def blocks(self) -> Iterator[bytes]:
        rest = line_end = b""
        for block in self._source.blocks():
            block = rest + block
            whole = len(block) - len(block) % _OCTETS_PER_LINE
            rest = block[whole:]
            if whole:
                yield line_end + base64_lines(block[:whole])
                line_end = b"\r\n"
        if rest:
            yield line_end + base64_lines(rest)


class Lines:
    """A source of text with CRLF for each of its line ends. It is read once to see whether it may be sent so.

    size       octets after that change
    is_ascii   whether no octet is above 127
    ends_line  whether the last line has its line end

    Raises ``MessageError`` that names ``field`` for NUL and for a line over 998 octets.
    """

    __slots__ = ("_field", "_source", "ends_line", "is_ascii", "size")

    def __init__(self, source: Source, field: str) -> None:
        self._source = source
        self._field = field
        self.size = 0
        self.is_ascii = self.ends_line = True
        line = b""  # the last one, as far as it has come
        for block in self.blocks():
            self.size += len(block)
            self.is_ascii = self.is_ascii and block.isascii()
            self.ends_line = block.endswith(b"\n")
            if b"\0" in block:
                raise MessageError(f"{field}: it holds NUL, which no mail may (RFC 5322 §2.1)", field=field)
            whole = block.rfind(b"\n") + 1
            if not lines_fit(line + block[:whole]) or len(block) - whole > LONGEST_LINE:
                raise _long_line(field)
            line = block[whole:] if whole else line + block
            if len(line) > LONGEST_LINE:
                raise _long_line(field)

    def blocks(self) -> Iterator[bytes]:
        held = b""
        for block in self._source.blocks():
            block = held + block
            # The LF of this CR may come with the next block.
            held = b"\r" if block.endswith(b"\r") else b""
            if held:
                block = block[:-1]
            if block:
                yield with_crlf(block)
        if held:
            yield b"\r\n"

    def head(self) -> bytes:
        """What comes before the first empty line. Raises ``MessageError`` when there is none in the first MiB."""
        head = b""
        for block in self.blocks():
            head += block
            end = 0 if head.startswith(b"\r\n") else head.find(b"\r\n\r\n")
            if end >= 0:
                return head[:end]
            if len(head) > _LONGEST_HEAD:
                raise MessageError(
                    f"{self._field}: there is no empty line after the header", field=self._field
                )
        return head


def holds(source: Source, octets: bytes) -> bool:
    """Whether ``octets``, which have no line end, occur anywhere in ``source``, which is read for that."""
    before = b""
    for block in source.blocks():
        if octets in before + block:
            return True
        before = (before + block)[-len(octets) :]
    return False


def _long_line(field: str) -> MessageError:
    return MessageError(f"{field}: it has a line over {LONGEST_LINE} octets", field=field)
