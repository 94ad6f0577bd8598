"""A random server that takes BDAT plays against the pipeline (RFC 3030): whose mail goes to whom, and who knows of it.

The server reads octets strictly. A BDAT that failed leaves it in a state that only RSET ends, or, as some servers do
it, leaves the first sender and its recipients in place. It remembers what it meant for each message, and each reply has
a text of its own, so that one that went astray is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mailpool.content import BytesContent, Content
from mailpool.results import Phase, Reply
from mailpool.smtp import pipeline as pipeline_module
from mailpool.smtp.pipeline import Pipeline
from mailpool.smtp.transaction import Transaction, Verdict

CODES = st.sampled_from([*[250] * 6, 450, 550, 552])
MOVES = st.lists(
    st.tuples(
        st.sampled_from(["write once", "serve", "deliver", "refuse early", "round trip", "round trip"]), CODES
    ),
    max_size=10,
)
TAILS = [b"", b"\r\n", b"\r\n.\r\n", b"\r\n.\r\nMAIL FROM:<evil@x>\r\n", b"\n.\n", b"\r", b"\n"]


class Streamed:
    """Content in blocks, whose size BDAT would have to know beforehand: it goes out by DATA."""

    eight_bit = binary = utf8_headers = False

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def blocks(self) -> Iterator[bytes]:
        return (self.data[i : i + 7] for i in range(0, len(self.data), 7))


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
    """Reads what came in order; the caller says how each command is answered."""

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
    def may_refuse_early(self) -> bool:
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
            # Some servers want the content although nobody is to have it.
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


def sent(content: Content) -> bytes:
    """The octets as they leave: with CRLF for each line end, but for what is binary."""
    data = b"".join(content.blocks())
    if content.binary:
        return data
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


class ChunkingAgainstServer(RuleBasedStateMachine):
    @initialize(
        depth=st.integers(1, 4),
        window=st.sampled_from([2, 3, 5, 100, 100]),
        one_piece=st.sampled_from([10, 262_144]),
        keeps_sender=st.booleans(),
        lmtp=st.sampled_from([False, False, True]),
        pipelining=st.sampled_from([True, True, True, False]),
    )
    def start(
        self, depth: int, window: int, one_piece: int, keeps_sender: bool, lmtp: bool, pipelining: bool
    ) -> None:
        self.lmtp = lmtp
        self.pipelining = pipelining  # without it only what is binary goes by BDAT
        self.saved = pipeline_module.WINDOW, pipeline_module.ONE_PIECE
        pipeline_module.WINDOW, pipeline_module.ONE_PIECE = window, one_piece
        self.depth, self.keeps_sender = depth, keeps_sender
        self.meant: dict[str, Meant] = {}
        self.open: dict[str, Transaction] = {}
        self.numbers = iter(range(1_000_000))
        self.connect()

    def connect(self) -> None:
        self.pipeline = Pipeline(pipelining=self.pipelining, chunking=True, depth=self.depth, lmtp=self.lmtp)
        self.server = Server(self.meant, self.numbers, keeps_sender=self.keeps_sender, lmtp=self.lmtp)
        self.handed = bytearray()
        self.ended: list[str] = []

    def teardown(self) -> None:
        if not hasattr(self, "saved"):
            return
        try:
            for _ in range(10_000):
                self.write()
                if self.server.unit is not None:
                    self.server.step(250)
                elif self.server.outbox:
                    self.deliver()
                else:
                    break
            assert self.pipeline.is_idle
            assert self.pipeline.can_begin
            assert not self.open, "a message without an outcome"
        finally:
            pipeline_module.WINDOW, pipeline_module.ONE_PIECE = self.saved

    # -- the client ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.pipeline.can_begin)
    @rule(
        count=st.sampled_from([1, 1, 1, 2, 3, 6]),
        tail=st.sampled_from(TAILS),
        kind=st.sampled_from(
            ["usual", "usual", "usual", "empty", "by DATA", "by DATA", "cautious", "binary", "binary"]
        ),
        moves=MOVES,
    )
    def begin(self, count: int, tail: bytes, kind: str, moves: list[tuple[str, int]]) -> None:
        name = f"t{len(self.meant)}"
        data = b"" if kind == "empty" else name.encode() + b" is me" + tail
        binary = kind == "binary"
        content: Content = BytesContent(data, eight_bit=binary, binary=binary)
        if kind == "by DATA":
            content = Streamed(data)
        rcpts = [b"RCPT TO:<%d@%s>\r\n" % (i, name.encode()) for i in range(count)]
        t = Transaction(b"MAIL FROM:<%s@x>\r\n" % name.encode(), rcpts, content, name)
        t.cautious = kind == "cautious"
        t.chunked = binary
        self.meant[name] = Meant()
        self.open[name] = t
        self.pipeline.begin(t)
        self.play(moves)

    def write_once(self) -> bytes:
        data = self.pipeline.data_to_send()
        self.server.inbox += data
        self.handed += data
        return data

    def write(self) -> None:
        while self.write_once():
            pass

    # -- what goes on between them ---------------------------------------------------------------------------------

    @precondition(lambda self: not self.pipeline.is_idle)
    @rule(moves=MOVES)
    def go_on(self, moves: list[tuple[str, int]]) -> None:
        self.play(moves)

    def play(self, moves: list[tuple[str, int]]) -> None:
        codes = cycle([code for _, code in moves])
        for what, code in moves:
            if what == "write once":
                self.write_once()
            elif what == "serve" and self.server.unit is not None:
                self.server.step(code)
            elif what == "deliver" and self.server.outbox:
                self.deliver()
            elif what == "refuse early" and self.server.may_refuse_early:
                self.server.refuse_early(552 if code == 250 else code)
            elif what == "round trip":
                self.write()
                while self.server.unit is not None:
                    self.server.step(next(codes))
                while self.server.outbox:
                    self.deliver()
                self.write()

    def deliver(self) -> None:
        self.pipeline.receive(self.server.outbox.pop(0))
        for t in self.pipeline.finished:
            assert self.open.pop(t.token) is t, "an outcome twice"
            self.ended.append(t.token)
            self.check(t, self.meant[t.token])
        self.pipeline.finished.clear()

    # -- ends ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.open)
    @rule(how=st.sampled_from(["not now", "not now", "silently", "with 421"]), data=st.data())
    def close(self, how: str, data: st.DataObject) -> None:
        if how == "not now":
            return
        if how == "with 421":
            # In place of the reply to what it has not read yet. What it said before arrives before.
            while self.server.outbox:
                self.deliver()
            self.lose(Reply.of("421 closing"))
            return
        # It read up to any octet of what was written, acted by it, and its replies are lost.
        del self.server.inbox[data.draw(st.integers(0, len(self.server.inbox)), "octets that arrived") :]
        while self.server.unit is not None:
            self.server.step(data.draw(CODES, "what it said"))
        self.lose(None)

    @precondition(lambda self: self.pipeline.is_idle and self.pipeline.can_begin)
    @rule()
    def probe(self) -> None:
        self.pipeline.probe()

    # -- what must hold --------------------------------------------------------------------------------------------

    def lose(self, closing: Reply | None) -> None:
        lost = self.pipeline.abandon(closing)
        assert [t.token for t in lost] == list(self.open), "some have no outcome, or two, or another order"
        for t in lost:
            meant = self.meant[t.token]
            assert t.reply is closing
            if t.verdict is Verdict.UNSENT:
                have = [index for _, recipients, _ in meant.taken for _, index in recipients]
                assert set(have) <= set(t.replies or ()), "it is requeued, and the server has it"
            else:
                assert t.verdict is Verdict.UNCERTAIN
                assert closing is None
                assert self.handed_out(t), "its end never left"
                self.whose(t, meant)
            assert all(meant.rcpts[index] == reply for index, reply in t.refused.items())
            assert all(meant.ends[index] == reply for index, reply in (t.replies or {}).items())
        assert sum(t.verdict is Verdict.UNCERTAIN for t in lost) <= self.depth
        assert self.pipeline.data_to_send() == b""
        assert self.pipeline.is_idle
        self.open.clear()
        self.connect()

    def handed_out(self, t: Transaction) -> bool:
        """Whether everything up to the end of this message was written."""
        data = sent(t.content)
        start = self.handed.find(t.commands[0])
        if t.chunked:
            end = b"BDAT %d LAST\r\n%s" % (len(data), data)
            return start >= 0 and self.handed.find(end, start) >= 0
        return start >= 0 and self.handed.find(b".\r\n", self.handed.find(b"DATA\r\n", start)) >= 0

    def whose(self, t: Transaction, meant: Meant) -> None:
        """What was taken, was taken once, under its own sender, for its own recipients, and is what it was."""
        assert len(meant.taken) <= 1
        for sender, recipients, content in meant.taken:
            assert sender == t.token
            accepted = [index for index, reply in meant.rcpts.items() if reply.is_success]
            late = {index for index, reply in meant.ends.items() if not reply.is_success}
            assert recipients == [(t.token, index) for index in accepted if index not in late]
            data = sent(t.content)
            assert t.chunked or not t.content.binary
            if not t.chunked and data and not data.endswith(b"\r\n"):
                data += b"\r\n"
            assert content == data

    def check(self, t: Transaction, meant: Meant) -> None:
        refused = {index: reply for index, reply in meant.rcpts.items() if not reply.is_success}
        assert meant.mail is not None
        if not meant.mail.is_success:
            expected = (Verdict.REFUSED, Phase.MAIL, meant.mail)
            refused = {}
        elif len(refused) == t.recipient_count:
            expected = (Verdict.REFUSED, Phase.RCPT, None)
        elif meant.data is not None and meant.data.code >= 400:
            expected = (Verdict.REFUSED, Phase.DATA, meant.data)
        elif self.lmtp:
            assert t.replies == meant.ends
            assert set(meant.ends) == set(range(t.recipient_count)) - set(refused)
            assert t.reply in meant.ends.values()
            assert t.reply is not None
            assert t.reply.is_success == any(reply.is_success for reply in meant.ends.values())
            taken = Verdict.ACCEPTED if t.reply.is_success else Verdict.REFUSED
            expected = (taken, Phase.END_OF_DATA, t.reply)
        else:
            assert meant.end is not None
            taken = Verdict.ACCEPTED if meant.end.is_success else Verdict.REFUSED
            expected = (taken, Phase.END_OF_DATA, meant.end)
        assert (t.verdict, t.phase, t.reply) == expected
        assert t.refused == refused
        assert len(meant.taken) == (t.verdict is Verdict.ACCEPTED)
        self.whose(t, meant)

    @invariant()
    def in_step(self) -> None:
        if not hasattr(self, "pipeline"):
            return
        assert [t.token for t in self.pipeline.in_flight] == list(self.open)
        for order in (self.server.order, self.ended):
            assert order == sorted(order, key=lambda name: int(name[1:]))
        assert sum(t.end_written for t in self.open.values()) <= self.depth
        for t in self.open.values():
            assert not t.end_written or self.handed_out(t)
            if t.cautious and not t.mail_answered:
                assert not t.end_written
                assert not t.chunked or t.written < len(t.commands), "a BDAT before the reply to MAIL"


ChunkingAgainstServer.TestCase.settings = settings(max_examples=300, stateful_step_count=15, deadline=None)


@pytest.mark.rule("P-02")
@pytest.mark.rule("P-05")
@pytest.mark.rule("P-06")
@pytest.mark.rule("P-11")
@pytest.mark.rule("P-14")
@pytest.mark.rule("P-18")
class TestChunkingAgainstServer(ChunkingAgainstServer.TestCase):
    pass
