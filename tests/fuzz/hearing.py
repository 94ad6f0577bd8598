"""What a client says on one connection, taken apart: commands, ends of messages, chunks.

It knows the messages that the client was given and nothing of what the server answers. What is not a command of the
grammar, or not the content that was given, is an ``AssertionError``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

# The content of every message begins with this and its number.
MARK: Final = b"X-Number: "

_COMMAND: Final = re.compile(
    rb"""(?: (?:EHLO|HELO|LHLO)\ (?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F.:IPv]+\])
        | (?:STARTTLS|DATA|RSET|NOOP|QUIT)
        | AUTH\ [A-Z0-9-]+(?:\ (?:=|[A-Za-z0-9+/]+={0,2}))?
        | MAIL\ FROM:<(?:[a-z0-9.]+@[a-z.]+)?>(?:\ (?:SIZE=\d+|BODY=8BITMIME|SMTPUTF8|RET=HDRS|ENVID=[!-~]+))*
        | RCPT\ TO:<(?:"a\ b"|[^\x00-\x20<>"]+)@[a-z.]+>(?:\ (?:NOTIFY=[A-Z,]+|ORCPT=[!-~]+))*
        | BDAT\ \d+\ LAST
    )""",
    re.VERBOSE,
)
_ANSWER: Final = re.compile(rb"\*|=|(?:[A-Za-z0-9+/]+={0,2})?")


class Heard(NamedTuple):
    """One thing that is owed a reply: a command by its verb, an answer within AUTH, or the ``end`` of a message, which
    is a ``chunk`` when BDAT brought it.

    ``argument`` is the recipient of RCPT and the number of the message at its end.
    """

    verb: str
    argument: str = ""


class Hearing:
    """Feed it what the client wrote; ``heard`` grows."""

    def __init__(self, contents: Mapping[int, bytes]) -> None:
        self.heard: list[Heard] = []
        self.last_line = b""
        self.secure = False
        self.logged_in_clear = False
        self._contents = contents
        self._buffer = bytearray()
        self._chunk: int | None = None
        self.speaks_tls = False  # from here on it is not for us

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while not self.speaks_tls and self._next():
            pass

    def rest(self) -> bytes:
        """What came after STARTTLS and is TLS; from now on what is fed has been decrypted."""
        taken, self._buffer, self.speaks_tls, self.secure = bytes(self._buffer), bytearray(), False, True
        return taken

    def begun(self) -> list[Heard]:
        """The message whose end has not come. It may be on its way, and a server may have taken it without looking."""
        number = re.match(re.escape(MARK) + rb"(\d+)\r\n", self._buffer)
        verb = "chunk" if self._chunk is not None else "end"
        if self._chunk is None and not (self.heard and self.heard[-1].verb == "DATA"):
            return []
        numbers = self._contents if number is None else [int(number[1])]
        return [Heard(verb, str(one)) for one in numbers]

    def _next(self) -> bool:
        if self._chunk is not None:
            if len(self._buffer) < self._chunk:
                return False
            self._message("chunk", self._take(self._chunk))
            self._chunk = None
            return True
        last = self.heard[-1].verb if self.heard else ""
        if last == "STARTTLS" and self._buffer[:1] == b"\x16":
            self.speaks_tls = True
            return False
        if last == "DATA" and self._buffer.startswith(MARK[: len(self._buffer)]):
            end = self._buffer.find(b"\r\n.\r\n")
            if end < 0:
                return False
            stuffed = self._take(end + 5)[:-3]
            self._message("end", re.sub(rb"(?m)^\.", b"", stuffed))
            return True
        end = self._buffer.find(b"\r\n")
        if end < 0:
            assert len(self._buffer) < 20_000, "a line without an end"
            return False
        self._line(self._take(end + 2)[:-2], last)
        return True

    def _line(self, line: bytes, last: str) -> None:
        assert b"\r" not in line
        assert b"\n" not in line
        self.last_line = line
        if last in ("AUTH", "answer") and _COMMAND.fullmatch(line) is None:
            assert _ANSWER.fullmatch(line), line
            self.heard.append(Heard("answer"))
            return
        if last == "DATA" and line == b".":  # nobody was to have it
            self.heard.append(Heard("end"))
            return
        assert _COMMAND.fullmatch(line), line
        verb = line.split(b" ")[0].decode()
        if verb == "BDAT":
            self._chunk = int(line.split(b" ")[1])
        elif verb == "RCPT":
            self.heard.append(Heard(verb, line.partition(b"<")[2].partition(b">")[0].decode()))
        else:
            if verb == "AUTH" and not self.secure:
                self.logged_in_clear = True
            self.heard.append(Heard(verb))

    def _message(self, verb: str, content: bytes) -> None:
        assert content.startswith(MARK), content[:80]
        number = int(content[len(MARK) :].partition(b"\r\n")[0])
        assert content == self._contents[number], f"message {number} is not what was given"
        self.heard.append(Heard(verb, str(number)))

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def decoded(self) -> bytes:
        """The last line and what it is in base64, for a server that repeats what it was told."""
        words = self.last_line.split(b" ")[-1]
        try:
            return self.last_line + b" " + base64.b64decode(words, validate=True)
        except ValueError:
            return self.last_line
