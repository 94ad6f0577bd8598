"""The text or HTML of a letter, encoded beforehand as far as it is the same for everybody.

``encoded_text`` says what is right; here is how to come to the same octets without looking at all of the text again.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from ..encoding import encoded_text, lines_fit, quoted_printable, with_crlf
from ..folding import LONGEST_LINE
from .pattern import Pattern, as_text

_ASCII: Final = bytes(range(128))
_search_special: Final = re.compile("[&<>\"']").search


class Values:
    """The values of one message, and what is known of all of them.

    ``plain``     all is printable ASCII
    ``one_line``  all is printable, so that no line ends in a value
    """

    __slots__ = ("one_line", "plain", "texts", "together")

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self.together = "".join(texts.values())
        self.one_line = self.together.isprintable()
        self.plain = self.one_line and self.together.isascii()


def values_of(given: Mapping[str, Any], in_html: Collection[str]) -> tuple[Values, Values]:
    """The values as they go into text, and those that are named in ``in_html`` as they go into HTML.

    ``given`` may hold anything: where a narrower type is named, a compiled wheel raises a ``TypeError`` of its own.
    Raises ``MessageError`` for what is neither text nor a whole number.
    """
    texts = {name: value if type(value) is str else as_text(name, value) for name, value in given.items()}
    text = Values(texts)
    if not in_html or not _search_special(text.together):
        return text, text
    return text, Values(
        {
            name: texts[name] if hasattr(given[name], "__html__") else html.escape(texts[name])
            for name in in_html
        }
    )


class TextPart:
    """A pattern whose text becomes the body of a MIME part."""

    __slots__ = ("_ascii", "_exact", "_high", "_length", "_lines", "_pattern", "_room")

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        try:
            literals = [with_crlf(literal.encode()) for literal in pattern.literals]
        except UnicodeEncodeError:
            literals = [b""]
            self._exact = False
        else:
            # A CR at the end of a literal and an LF at the start of the next are one line end if nothing is between.
            self._exact = not any(literal.endswith("\r") for literal in pattern.literals)
        whole = b"".join(literals)
        self._length = len(whole)
        self._high = len(whole.translate(None, _ASCII))
        self._room = -1  # how many octets all values may have together, for the text to be sent as it is
        if self._exact and not self._high and b"\0" not in whole and lines_fit(whole):
            self._room = LONGEST_LINE - max(map(len, whole.split(b"\r\n")))
        # The literals, and between two of them a place for a value.
        self._ascii = [piece for literal in literals for piece in (literal, b"")][:-1]
        self._ascii[0] = encoding_line("7bit").encode("ascii") + self._ascii[0]
        self._lines = _Lines(literals, pattern.names) if self._exact else None

    def encoded(self, values: Values) -> tuple[bool, bytes]:
        """Whether the text is sent as it is, and the end of the part's header, from Content-Transfer-Encoding on, with
        its body.

        The body is that of ``encoded_text`` for the filled-in text.
        """
        names, texts = self._pattern.names, values.texts
        if values.plain and self._room >= 0:
            pieces = self._ascii.copy()
            pieces[1::2] = given = [texts[name].encode("ascii") for name in names]
            if sum(map(len, given)) <= self._room:
                return True, b"".join(pieces)
        elif values.one_line and self._lines is not None:
            octets = {name: texts[name].encode() for name in names}
            length, high = self._length, self._high
            for name in names:
                length += len(octets[name])
                high += len(octets[name].translate(None, _ASCII))
            # The rule of ``encoded_text``; pure ASCII comes here only when it is not fit to be sent as it is.
            if 0 < high * 6 <= length:
                return False, self._lines.filled(octets)
        encoding, body = encoded_text(self._pattern.filled(texts))
        return encoding == "7bit", encoding_line(encoding).encode("ascii") + body


def encoding_line(encoding: str) -> str:
    """The last line of a text part's header, and the empty one after it."""
    return f"Content-Transfer-Encoding: {encoding}\r\n\r\n"


class _Lines:
    """A text in quoted-printable, of which all but the lines with a value in them are encoded beforehand.

    That works because the encoding of a line depends on nothing but the line with its line end (RFC 2045 §6.7).
    """

    __slots__ = ("_open", "_pieces")

    def __init__(self, literals: list[bytes], names: tuple[str, ...]) -> None:
        self._pieces = [encoding_line("quoted-printable").encode("ascii")]
        # Where in the pieces a line with values goes: its literals, and the names between them.
        self._open: list[tuple[int, list[bytes], list[str]]] = []
        line: list[bytes] = [b""]
        inside: list[str] = []
        for number, literal in enumerate(literals):
            if number:
                inside.append(names[number - 1])
                line.append(b"")
            *ends, rest = literal.split(b"\r\n")
            if ends:
                line[-1] += ends[0] + b"\r\n"
                self._add(line, inside)
                self._add([b"".join([end + b"\r\n" for end in ends[1:]])], [])
                line, inside = [b""], []
            line[-1] += rest
        self._add(line, inside)

    def _add(self, line: list[bytes], inside: list[str]) -> None:
        if inside:
            self._open.append((len(self._pieces), line, inside))
            self._pieces.append(b"")
        elif line[0]:
            self._pieces.append(quoted_printable(line[0]))

    def filled(self, octets: Mapping[str, bytes]) -> bytes:
        pieces = self._pieces.copy()
        for index, line, names in self._open:
            whole = line[0]
            for name, literal in zip(names, line[1:], strict=True):
                whole += octets[name] + literal
            pieces[index] = quoted_printable(whole)
        return b"".join(pieces)
