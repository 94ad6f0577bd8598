"""Encoded words: text of any script in header fields (RFC 2047), always in UTF-8."""

from __future__ import annotations

import binascii
import re
from typing import Final

# RFC 2047 §2: an encoded word has at most 75 characters; 12 of them are its frame.
LONGEST_WORD: Final = 75
_FRAME: Final = len("=?utf-8?q??=")
_SHORTEST_ROOM: Final = _FRAME + 12  # one character of four octets in Q

# RFC 2047 §5 (3): what may stand for itself even in a display name.
_Q = {octet: f"={octet:02X}" for octet in range(256)}
for _safe in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/":
    _Q[_safe] = chr(_safe)
_Q[0x20] = "_"

_WORD = re.compile(r"=\?([^?\s*]++)(?:\*[^?\s]*+)?\?([bBqQ])\?([^?\s]*+)\?=")
_HEX = re.compile(r"=([0-9A-Fa-f]{2})")


def encode_words(
    text: str, *, first: int = LONGEST_WORD, longest: int = LONGEST_WORD, encoding: str = ""
) -> list[str]:
    """``text`` as encoded words, to be separated by one space or a fold each.

    ``first`` and ``longest`` are the most characters of the first and of every other word. No character is split
    over two words (RFC 2047 §5). ``encoding`` is ``"Q"`` or ``"B"``, or ``""`` for whichever is shorter. ``text``
    holds no lone surrogate.
    """
    octets = text.encode()
    quoted = octets.decode("latin-1").translate(_Q)
    if encoding == "Q" or (not encoding and len(quoted) * 3 <= len(octets) * 4 + 8):
        return _cut_q(quoted, max(first, _SHORTEST_ROOM) - _FRAME, longest - _FRAME)
    return _cut_b(octets, max(first, _SHORTEST_ROOM) - _FRAME, longest - _FRAME)


def _cut_q(quoted: str, room: int, later: int) -> list[str]:
    words = []
    start = 0
    while len(quoted) - start > room:
        end = start + room
        if quoted[end - 1] == "=":
            end -= 1
        elif quoted[end - 2] == "=":
            end -= 2
        while quoted[end] == "=" and quoted[end + 1] in "89AB":  # a continuation octet
            end -= 3
        words.append(f"=?utf-8?q?{quoted[start:end]}?=")
        start, room = end, later
    words.append(f"=?utf-8?q?{quoted[start:]}?=")
    return words


def _cut_b(octets: bytes, room: int, later: int) -> list[str]:
    words = []
    start = 0
    while start < len(octets):
        end = start + room // 4 * 3
        if end < len(octets):
            while octets[end] & 0xC0 == 0x80:
                end -= 1
        coded = binascii.b2a_base64(octets[start:end], newline=False).decode("ascii")
        words.append(f"=?utf-8?b?{coded}?=")
        start, room = end, later
    return words


def decode_words(words: list[str]) -> str:
    """The text of the words of a phrase or an unstructured value, of which some may be encoded (RFC 2047 §6.2).

    White space between two encoded words is dropped; what cannot be decoded stays as it is.
    """
    text: list[str] = []
    pending = b""  # a character split over two words, as some senders do
    charset = ""
    after_encoded = False
    for word in words:
        coded = _WORD.fullmatch(word)
        octets = _decoded_octets(coded[2], coded[3]) if coded else None
        if coded is None or octets is None or not _knows(coded[1]):
            if pending:
                text.append(pending.decode(charset, "replace"))
                pending = b""
            if text:
                text.append(" ")
            text.append(word)
            after_encoded = False
            continue
        if pending and coded[1].lower() != charset:
            text.append(pending.decode(charset, "replace"))
            pending = b""
        if text and not after_encoded:
            text.append(" ")
        pending += octets
        charset = coded[1].lower()
        after_encoded = True
    if pending:
        text.append(pending.decode(charset, "replace"))
    return "".join(text)


def _decoded_octets(encoding: str, text: str) -> bytes | None:
    if not text.isascii():
        return None
    if encoding in "qQ":
        return _HEX.sub(lambda pair: chr(int(pair[1], 16)), text.replace("_", " ")).encode("latin-1")
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None


def _knows(charset: str) -> bool:
    try:
        # A space is no text in punycode and idna, whose codecs take quadratic time.
        b" ".decode(charset, "replace")
    except (LookupError, ValueError):
        return False
    return True
