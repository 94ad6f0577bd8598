"""A server that reads octets strictly and in its own time, takes BDAT (RFC 3030), and remembers what it meant by each reply.

Every reply has a text of its own, so that one that went astray is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle

from mailpool.results import Reply


@dataclass
class Meant:
    """What the server meant for one message."""

    mail: Reply | None = None
    rcpts: dict[int, Reply] = field(default_factory=dict)
    data: Reply | None = None
    end: Reply | None = None
    # LMTP: what each recipient was told after the content.
    ends: dict[int, Reply] = field(default_factory=dict)
    # Each time it was taken: under which sender, for whom, and what.
    taken: list[tuple[str, list[tuple[str, int]], bytes]] = field(default_factory=list)


class Server:
    """Reads what came in order; the caller says how each command is answered.

    ``keeps_sender`` says what a BDAT that failed leaves behind: a state that only RSET ends, or, as some servers do it,
    the first sender and its recipients.
    """

    def __init__(
        self, meant: dict[str, Meant], numbers: Iterator[int], *, keeps_sender: bool, lmtp: bool
    ) -> None:
        self._lmtp = lmtp
        self.inbox = bytearray()
        self.outbox: list[Reply] = []
        self.order: list[str] = []
        self._meant = meant
        self._numbers = numbers
        self._keeps_sender = keeps_sender
        self._subject = ""  # whose commands these are
        self._sender: str | None = None
        self._taken: list[tuple[str, int]] = []
        self._failed = False
        self._in_data = False
        self._chunk: int | None = None  # octets of the chunk being read
        self._ignoring = False  # the chunk was answered already

    def _reply(self, code: int) -> Reply:
        reply = Reply.of(f"{code} number {next(self._numbers)}")
        self.outbox.append(reply)
        return reply

    @property
    def unit(self) -> bytes | None:
        """The next whole command, content or chunk."""
        if self._chunk is not None:
            return bytes(self.inbox[: self._chunk]) if len(self.inbox) >= self._chunk else None
        if self._in_data:
            end = 0 if self.inbox.startswith(b".\r\n") else self.inbox.find(b"\r\n.\r\n") + 2
            return None if end == 1 else bytes(self.inbox[: end + 3])
        end = self.inbox.find(b"\r\n")
        return None if end < 0 else bytes(self.inbox[: end + 2])

    @property
    def in_data(self) -> bool:
        """Whether it reads what follows DATA."""
        return self._in_data

    @property
    def may_refuse_early(self) -> bool:
        """Whether it reads a chunk that it has not answered."""
        return self._chunk is not None and not self._ignoring

    def refuse_early(self, code: int) -> None:
        """Answer a chunk that is still coming in, and read the rest of it all the same."""
        self._ignoring = True
        if self._lmtp:
            self._answer_each(code, code)
        else:
            self._meant[self._subject].end = self._reply(code)
        self._chunk_failed()

    def _answer_each(self, *codes: int) -> list[tuple[str, int]]:
        """Who took it."""
        assert self._taken, "content for nobody"
        ends = self._meant[self._subject].ends
        for (_, index), code in zip(self._taken, cycle(codes), strict=False):
            ends[index] = self._reply(code)
        return [(name, index) for name, index in self._taken if ends[index].is_success]

    def step(self, code: int) -> None:
        """Read one unit and answer it: with ``code``, or as the order of commands demands."""
        unit = self.unit
        assert unit is not None
        del self.inbox[: len(unit)]
        if self._chunk is not None:
            self._end_of_chunk(unit, code)
        elif self._in_data:
            self._end_of_data(unit, code)
        elif unit.startswith(b"MAIL FROM:<t"):
            self._subject = unit[11:-5].decode()
            assert self._sender is None, "MAIL inside a transaction: an RSET is missing"
            assert not self._failed, "MAIL after a BDAT that failed: an RSET is missing"
            self.order.append(self._subject)
            reply = self._meant[self._subject].mail = self._reply(code)
            self._sender = self._subject if reply.is_success else None
            self._taken = []
        elif unit.startswith(b"RCPT TO:<"):
            index, _, name = unit[9:-3].decode().partition("@")
            assert name == self._subject
            reply = self._meant[name].rcpts[int(index)] = self._reply(code if self._sender else 503)
            if reply.is_success:
                self._taken.append((name, int(index)))
        elif unit == b"DATA\r\n":
            refusal = 554 if self._sender else 503
            # Some servers want the content although nobody is to have it; one of LMTP may not (RFC 2033 §4.2).
            self._in_data = code == 250 and (bool(self._taken) or not self._lmtp)
            said = 354 if self._in_data else code if self._taken else refusal
            self._meant[self._subject].data = self._reply(said)
        elif unit.startswith(b"BDAT "):
            size, last = unit[5:-2].split(b" ")
            assert last == b"LAST"
            self._chunk = int(size)
        else:
            assert unit in (b"RSET\r\n", b"NOOP\r\n"), f"no command of ours: {unit!r}"
            self._reply(250)
            if unit == b"RSET\r\n":
                self._forget()

    def _forget(self) -> None:
        self._sender, self._taken, self._failed = None, [], False

    def _chunk_failed(self) -> None:
        self._failed = self._sender is not None and not self._keeps_sender

    def _end_of_chunk(self, content: bytes, code: int) -> None:
        self._chunk = None
        if self._ignoring:
            self._ignoring = False
            return
        if self._lmtp:
            if takers := self._answer_each(code, 250):
                self._taken = takers
                self._take(content)
            else:
                self._chunk_failed()
            return
        meant = self._meant[self._subject]
        meant.end = self._reply(code if self._taken else 503 if self._sender is None else 554)
        if meant.end.is_success:
            self._take(content)
        else:
            self._chunk_failed()

    def _end_of_data(self, unit: bytes, code: int) -> None:
        assert self._taken or unit == b".\r\n", "content for nobody"
        self._in_data = False
        if self._lmtp:
            self._taken = self._answer_each(code, 250)
            taken = bool(self._taken)
        else:
            end = self._meant[self._subject].end = self._reply(code)
            taken = end.is_success and bool(self._taken)
        if taken:
            lines = unit[:-3].splitlines(keepends=True)
            self._take(b"".join(line[1:] if line.startswith(b".") else line for line in lines))
        self._forget()

    def _take(self, content: bytes) -> None:
        assert self._sender is not None
        self._meant[self._subject].taken.append((self._sender, self._taken, content))
        self._forget()
