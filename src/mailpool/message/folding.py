"""Header fields as lines: checked, encoded where needed, and folded (RFC 5322 §2.2.3, RFC 2047)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ..address import encode_words, without_lone_surrogates
from ..errors import MessageError

# What a line should not pass, CRLF not counted: RFC 5322 §2.1.1 says 78, RFC 2047 §2 says 76 with encoded words.
LINE: Final = 76
LONGEST_LINE: Final = 998  # what it must not pass

_search_line_break = re.compile(r"[\r\n\x00]").search
_is_field_name = re.compile(r"[!-9;-~]{1,76}").fullmatch
# Words with the white space before them: a fold goes before the white space and adds none of its own. Many readers
# make one space of a fold and all the white space behind it, so only a single space may be folded at.
_words = re.compile(r"[ \t]*[^ \t]+(?:(?: [ \t]+|\t[ \t]*)[^ \t]+)*").findall


def field_name(name: object, field: str) -> str:
    """``name`` as the name of a header field (RFC 5322 §3.6.8), white space around it dropped.

    Raises ``MessageError`` when it holds anything but printable ASCII without a colon, or passes 76 characters.
    """
    stripped = name.strip(" \t") if isinstance(name, str) else ""
    if not _is_field_name(stripped):
        raise MessageError(
            f"{field}: {name!r:.80} is not the name of a header field; use printable ASCII without colon or space",
            field=field,
        )
    return stripped


def refuse_line_breaks(value: str, field: str) -> None:
    """Raise ``MessageError`` when ``value`` could start a new header line (HDR-01)."""
    bad = _search_line_break(value)
    if bad:
        shown = value[max(0, bad.start() - 20) : bad.start() + 40]
        raise MessageError(f"{field}: {shown!r} holds a line break or NUL, which no header may", field=field)


def fold_text(name: str, value: str, field: str, words: str = "") -> str:
    """A header field with unstructured text (RFC 5322 §2.2.1), folded, with its CRLF; ``""`` when there is no text.

    name   the checked name of the header field
    value  any text; what is not printable ASCII makes the whole value encoded words (RFC 2047 §5 (1))
    field  the name for errors
    words  ``"Q"`` or ``"B"``: how encoded words are encoded; ``""`` for whichever is shorter

    Unfolding and decoding gives ``value`` back. Raises ``MessageError`` for a line break or a NUL.
    """
    plain = value.isascii() and value.isprintable()
    if (
        plain
        and len(name) + 2 + len(value) <= LINE
        and "=?" not in value
        and value[:1] != " "
        and value[-1:] != " "
    ):
        return f"{name}: {value}\r\n" if value else ""
    refuse_line_breaks(value, field)
    if not value.strip(" \t"):
        return ""  # a line of white space alone is obsolete, and some relays end the header at it (HDR-12)
    if _stays_plain(name, value):
        return _fold(name, _words(" " + value))
    return fold_encoded(name, value, words)


def fold_pieces(name: str, pieces: Iterable[str]) -> str:
    """A header field of pieces that are separated by one space each and broken nowhere else.

    No piece may be longer than 900 characters: it has a line of its own at most.
    """
    return _fold(name, [" " + piece for piece in pieces])


def fold_encoded(name: str, value: str, words: str = "") -> str:
    """A header field whose whole value is encoded words; ``words`` as for ``fold_text``."""
    coded = encode_words(without_lone_surrogates(value), first=LINE - len(name) - 2, encoding=words)
    return f"{name}: " + "\r\n ".join(coded) + "\r\n"


def _stays_plain(name: str, value: str) -> bool:
    if not (value.isascii() and value.replace("\t", " ").isprintable()):
        return False
    if value[0] in " \t" or value[-1] in " \t" or ("=?" in value and "?=" in value):
        return False
    return max(map(len, _words(" " + value))) <= LONGEST_LINE - len(name) - 1


def _fold(name: str, words: Iterable[str]) -> str:
    """The words, each with the white space before it, on as few lines as fit."""
    lines = [name, ":"]
    length = len(name) + 1
    first = True
    for word in words:
        length += len(word)
        if length > LINE and not first:
            lines.append("\r\n")
            length = len(word)
        lines.append(word)
        first = False
    lines.append("\r\n")
    return "".join(lines)
