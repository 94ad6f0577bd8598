"""Reading content strictly: only CRLF ends a line, only CRLF dot CRLF ends the content (RFC 5321 §2.3.8, §4.1.1.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_UNSTUFFED = re.compile(rb"\r\n\.(?!\.)")
_END = b"\r\n.\r\n"


def bare_line_end(data: bytes | bytearray) -> bool:
    """Whether a CR or LF stands alone in ``data``."""
    pairs = data.count(b"\r\n")
    return data.count(b"\r") != pairs or data.count(b"\n") != pairs


def wrong_lines(data: bytes) -> Iterator[str]:
    """What is wrong with the lines of a content, or of a piece of one, in words."""
    if bare_line_end(data):
        yield "a bare CR or LF in the content"
    if max(map(len, data.split(b"\r\n"))) > 998:
        yield "a line of content is longer than 998 octets"


class DotReader:
    """Content up to the lone dot, dot-unstuffed, in pieces that end where lines do."""

    def __init__(self, take: Callable[[bytes], None], complain: Callable[[str], None]) -> None:
        self._take = take
        self._complain = complain
        # The line end of DATA: a dot right after it starts a line too. It is never handed on.
        self._waiting = bytearray(b"\r\n")
        self._searched = 0

    def feed(self, data: bytes) -> bytes | None:
        """Take octets; ``None`` as long as the content goes on, then what follows it."""
        waiting = self._waiting
        waiting += data
        end = waiting.find(_END, self._searched)
        if end >= 0:
            rest = bytes(waiting[end + len(_END) :])
            if end:
                self._hand_on(bytes(waiting[:end]))
            return rest
        cut = waiting.rfind(b"\r\n")
        if cut > 0:
            self._hand_on(bytes(waiting[:cut]))
            del waiting[:cut]
        self._searched = max(0, len(waiting) - len(_END) + 1)
        return None

    @property
    def unfinished(self) -> bytes:
        """What has come and was not handed on."""
        return bytes(self._waiting[2:])

    def _hand_on(self, piece: bytes) -> None:
        """``piece`` starts with the line end before it and lacks its own."""
        for words in wrong_lines(piece):
            self._complain(words)
        if _UNSTUFFED.search(piece):
            self._complain("a line of content starts with a dot that is not doubled")
        self._take(piece.replace(b"\r\n.", b"\r\n")[2:] + b"\r\n")
