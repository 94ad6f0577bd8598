"""Bytes from the server into replies (RFC 5321 §4.2), however the network cut them.

The parser trusts nothing: lines and replies have a cap, and whatever is not a reply sets ``violation``, after which it
reads no further. Replies that were complete before the violation are handed out all the same, for they answer
commands that were in front of it.
"""

from __future__ import annotations

from ..results import Reply

# RFC 5321 §4.5.3.1.5 asks for 512 octets; some servers exceed it, none needs this much.
MAX_LINE = 8_192
MAX_REPLY = 262_144

# A dictionary look-up is both the check and the conversion of the three digits.
_CODES = {str(code).encode(): code for code in range(200, 600)}


class ProtocolViolation(Exception):
    """The server said something that is no SMTP, or no answer to what was asked: the connection must not be used again."""


class HousekeepingRefused(ProtocolViolation):
    """RSET or NOOP was refused. The two sides are in step, but the connection is in no known state."""


class ReplyParser:
    """Feed it what was read; it returns the replies that are now complete.

    ``violation`` says in words what was wrong with the stream, and is ``None`` as long as nothing was.
    """

    __slots__ = ("_code", "_known", "_lines", "_size", "_tail", "violation")

    def __init__(self) -> None:
        self._tail = b""
        # Servers say the same few lines again and again; looking one up costs a fifth of reading it.
        self._known: dict[bytes, Reply] = {}
        self._code = 0  # of the multi-line reply that is under way
        self._lines: list[bytes] = []
        self._size = 0
        self.violation: str | None = None

    @property
    def has_leftover(self) -> bool:
        """Whether bytes are held that belong to no complete reply: an attack when STARTTLS is next (RFC 3207 §4.2)."""
        return bool(self._tail or self._lines)

    def feed(self, data: bytes) -> list[Reply]:
        replies: list[Reply] = []
        if self.violation is not None:
            return replies
        if self._tail:
            data = self._tail + data
        *lines, self._tail = data.split(b"\n")
        known = self._known
        for full in lines:
            line = full
            if not self._lines:
                reply = known.get(line)
                if reply is not None:
                    replies.append(reply)
                    continue
            if line.endswith(b"\r"):
                line = line[:-1]
            code = _CODES.get(line[:3])
            mark = line[3:4]
            if code is None or mark not in b" -" or len(line) > MAX_LINE:
                self._fail(line)
                return replies
            if not self._lines:
                if mark != b"-":
                    reply = Reply(code, (line[4:],))
                    if len(known) < 32:
                        known[full] = reply
                    replies.append(reply)
                    continue
                self._code = code
            elif code != self._code:
                self.violation = f"one reply mixes the codes {self._code} and {code}"
                return replies
            self._lines.append(line[4:])
            self._size += len(line)
            if self._size > MAX_REPLY:
                self.violation = f"a reply of more than {MAX_REPLY} octets"
                return replies
            if mark != b"-":
                replies.append(Reply(code, tuple(self._lines)))
                self._lines.clear()
                self._size = 0
        # The tail may hold the CR, which does not count, of a line that is just short enough.
        if len(self._tail) > MAX_LINE + self._tail.endswith(b"\r"):
            self._fail(self._tail)
        return replies

    def _fail(self, line: bytes) -> None:
        if len(line) > MAX_LINE:
            self.violation = f"a reply line of more than {MAX_LINE} octets"
        else:
            self.violation = f"expected a reply, got {line[:80]!r}"
        self._tail = b""
