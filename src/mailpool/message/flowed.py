"""Text whose paragraphs the reader may wrap anew: ``format=flowed`` (RFC 3676 §4)."""

from __future__ import annotations

import re
from typing import Final

# RFC 3676 §4.2: at most 78 with the space that says "goes on", and one may be stuffed in front.
_LINE: Final = 77
_SIGNATURE: Final = "-- "
_line_ends = re.compile(r"\r\n|\r|\n").split
_words = re.compile(r"[^ ]+ *| +").findall
_quotes = re.compile(r">* ?").match


def flowed(text: str) -> str:
    """``text`` with its long lines broken where the line goes on with a space, and the others fixed.

    A line that begins with ``>`` is a quotation, and stays one where it is broken. Lines that begin with a space or
    ``From`` are stuffed with a space. Spaces at the end of a line are dropped, but for the signature's ``-- ``.
    """
    return "\n".join(piece for line in _line_ends(text) for piece in _pieces(line))


def _pieces(line: str) -> list[str]:
    if line == _SIGNATURE:
        return [line]
    line = line.rstrip(" ")
    prefix = ""
    if line.startswith(">"):
        found = _quotes(line)
        prefix = found[0] if found else ""
        line = line[len(prefix) :]
        if not line:
            return [prefix.rstrip(" ")]
    pieces = _broken(line, _LINE - len(prefix))
    if prefix:
        first, *rest = pieces
        # Without a space, what begins with > would be quoted once more often.
        return [prefix + first, *(prefix.rstrip(" ") + " " + piece for piece in rest)]
    return [_stuffed(piece) for piece in pieces]


def _broken(line: str, room: int) -> list[str]:
    pieces: list[str] = []
    piece: list[str] = []
    length = 0
    for word in _words(line):
        if piece and length + len(word) > room and piece != [_SIGNATURE]:
            pieces.append("".join(piece))
            piece, length = [], 0
        piece.append(word)
        length += len(word)
    return [*pieces, "".join(piece)]


def _stuffed(line: str) -> str:
    return f" {line}" if line.startswith((" ", ">", "From ")) else line
