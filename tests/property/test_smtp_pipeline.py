"""A random server plays against the pipeline: whatever it refuses and wherever it ends, every message gets its own outcome.

The server reads the octets that were written, strictly and in its own time, and remembers what it meant by each reply;
every reply has a text of its own, so that one that went astray is seen.
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
from mailpool.smtp.replies import ProtocolViolation
from mailpool.smtp.transaction import Transaction, Verdict

CODES = st.sampled_from([*[250] * 7, 450, 550])
MOVES = st.lists(
    st.tuples(st.sampled_from(["write once", "serve", "deliver", "round trip", "round trip"]), CODES),
    max_size=10,
)
TAILS = [b"", b"\r\n", b"\r\n.", b"\r\n.\r\nMAIL FROM:<evil@x>\r\n", b"\n.\n", b"\r\n.\r"]


class Streamed:
    """Content of octets in blocks, to be written as the pipeline asks for them."""

    eight_bit = binary = utf8_headers = False

    def __init__(self, data: bytes, block: int) -> None:
        self.data = data
        self.size = len(data)
        self._block = block

    def blocks(self) -> Iterator[bytes]:
        return (self.data[i : i + self._block] for i in range(0, len(self.data), self._block))


@dataclass
class Meant:
    """What the server meant for one message."""

    mail: Reply | None = None
    rcpts: dict[int, Reply] = field(default_factory=dict)
    data: Reply | None = None
    end: Reply | None = None
    ends: dict[int, Reply] = field(default_factory=dict)  # LMTP: what each recipient was told after the data
    ended: bool = False  # the end of the data was read
    accepted: tuple[int, ...] = ()  # for whom the message was taken
    content: bytes = b""


class Server:
    """Reads commands in order; the caller says how each is answered."""

    def __init__(self, meant: dict[str, Meant], numbers: Iterator[int], *, lmtp: bool) -> None:
        self._lmtp = lmtp
        self.inbox = bytearray()
        self.outbox: list[Reply] = []
        self.meant = meant
        self._numbers = numbers
        self._in_data = False
        self._subject: str | None = None  # whose envelope or content is being read
        self._sender: str | None = None
        self._taken: list[int] = []

    def reply(self, code: int) -> Reply:
        reply = Reply.of(f"{code} number {next(self._numbers)}")
        self.outbox.append(reply)
        return reply

    @property
    def unit(self) -> bytes | None:
        """The next whole command, or the whole content with its end."""
        if not self._in_data:
            end = self.inbox.find(b"\r\n")
            return None if end < 0 else bytes(self.inbox[: end + 2])
        if self.inbox.startswith(b".\r\n"):
            return b".\r\n"
        end = self.inbox.find(b"\r\n.\r\n")
        return None if end < 0 else bytes(self.inbox[: end + 5])

    @property
    def in_data(self) -> bool:
        return self._in_data

    def step(self, code: int) -> None:
        """Read one unit and answer it: with ``code``, or as the order of commands demands."""
        unit = self.unit
        assert unit is not None
        del self.inbox[: len(unit)]
        if self._in_data:
            self._end(unit, code)
        elif unit.startswith(b"MAIL FROM:<t"):
            self._subject = unit[11:-5].decode()
            assert self._sender is None, "MAIL inside a transaction: an RSET is missing"
            reply = self.meant[self._subject].mail = self.reply(code)
            self._sender = self._subject if reply.is_success else None
            self._taken = []
        elif unit.startswith(b"RCPT TO:<"):
            index, _, name = unit[9:-3].decode().partition("@")
            assert name == self._subject
            reply = self.meant[name].rcpts[int(index)] = self.reply(code if self._sender else 503)
            if reply.is_success:
                self._taken.append(int(index))
        elif unit == b"DATA\r\n":
            assert self._subject is not None
            refusal = 554 if self._sender else 503
            if self._taken:
                refusal = code
            # Some servers want the content although nobody is to have it; one of LMTP may not (RFC 2033 §4.2).
            self._in_data = code == 250 and (bool(self._taken) or not self._lmtp)
            self.meant[self._subject].data = self.reply(354 if self._in_data else refusal)
        elif unit == b"RSET\r\n":
            self._sender, self._taken = None, []
            self.reply(250)
        else:
            assert unit == b"NOOP\r\n", f"no command of ours: {unit!r}"
            self.reply(250)

    def _end(self, unit: bytes, code: int) -> None:
        assert self._subject is not None
        meant = self.meant[self._subject]
        if not self._taken:
            assert unit == b".\r\n", "content for nobody"
        lines = unit[:-3].splitlines(keepends=True)
        meant.content = b"".join(line[1:] if line.startswith(b".") else line for line in lines)
        meant.ended = True
        if self._lmtp:
            # Half of them as the caller says, the others well.
            for place, index in enumerate(self._taken):
                meant.ends[index] = self.reply(250 if place % 2 else code)
            meant.accepted = tuple(index for index, reply in meant.ends.items() if reply.is_success)
        else:
            meant.end = self.reply(code)
            if meant.end.is_success:
                meant.accepted = tuple(self._taken)
        self._in_data, self._sender, self._taken = False, None, []


class PipelineAgainstServer(RuleBasedStateMachine):
    @initialize(
        pipelining=st.booleans(),
        window=st.sampled_from([2, 3, 5, 100]),
        one_piece=st.sampled_from([10, 262_144]),
        lmtp=st.booleans(),
    )
    def start(self, pipelining: bool, window: int, one_piece: int, lmtp: bool) -> None:
        self.pipelining = pipelining
        self.lmtp = lmtp
        self.saved = pipeline_module.WINDOW, pipeline_module.ONE_PIECE
        pipeline_module.WINDOW, pipeline_module.ONE_PIECE = window, one_piece
        self.meant: dict[str, Meant] = {}
        self.open: dict[str, Transaction] = {}
        self.numbers = iter(range(1_000_000))
        self.connect()

    def connect(self) -> None:
        self.pipeline = Pipeline(pipelining=self.pipelining, lmtp=self.lmtp)
        self.server = Server(self.meant, self.numbers, lmtp=self.lmtp)

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
            assert not self.open, "a message without an outcome"
        finally:
            pipeline_module.WINDOW, pipeline_module.ONE_PIECE = self.saved

    # -- the client ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.pipeline.can_begin)
    @rule(
        count=st.sampled_from([1, 1, 1, 2, 3, 6]),
        tail=st.sampled_from(TAILS),
        block=st.sampled_from([0, 1, 4, 50]),
        moves=MOVES,
    )
    def begin(self, count: int, tail: bytes, block: int, moves: list[tuple[str, int]]) -> None:
        name = f"t{len(self.meant)}"
        data = name.encode() + b" is me" + tail
        content: Content = Streamed(data, block) if block else BytesContent(data)
        rcpts = [b"RCPT TO:<%d@%s>\r\n" % (i, name.encode()) for i in range(count)]
        t = Transaction(b"MAIL FROM:<%s@x>\r\n" % name.encode(), rcpts, content, name)
        self.meant[name] = Meant()
        self.open[name] = t
        self.pipeline.begin(t)
        self.play(moves)

    def write(self) -> None:
        for data in iter(self.pipeline.data_to_send, b""):
            self.server.inbox += data

    # -- what goes on between them ---------------------------------------------------------------------------------

    @precondition(lambda self: not self.pipeline.is_idle)
    @rule(moves=MOVES)
    def go_on(self, moves: list[tuple[str, int]]) -> None:
        self.play(moves)

    def play(self, moves: list[tuple[str, int]]) -> None:
        codes = cycle([code for _, code in moves])
        for what, code in moves:
            if what == "write once":
                self.server.inbox += self.pipeline.data_to_send()
            elif what == "serve" and self.server.unit is not None:
                self.server.step(code)
            elif what == "deliver" and self.server.outbox:
                self.deliver()
            elif what == "round trip":
                self.write()
                while self.server.unit is not None:
                    self.server.step(next(codes))
                while self.server.outbox:
                    self.deliver()
                self.write()

    def deliver(self) -> None:
        self.pipeline.receive(self.server.outbox.pop(0))
        self.collect()

    # -- ends ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.open)
    @rule(how=st.sampled_from(["not now", "silently", "with 421"]))
    def close(self, how: str) -> None:
        if how == "not now":
            return
        if how == "with 421":
            # In place of the reply to what it has not read yet. What it said before arrives before.
            while self.server.outbox:
                self.deliver()
            self.lose(Reply.of("421 closing"))
            return
        # The replies are lost; what was written is read and accepted all the same.
        self.lose(None)

    @precondition(lambda self: self.pipeline.awaited is Phase.CONTENT and self.server.in_data)
    @rule()
    def refuse_early(self) -> None:
        """A server that will not hear the rest of the content."""
        assert not self.server.outbox
        (t,) = self.pipeline.in_flight
        reply = self.meant[t.token].end = Reply.of(f"552 early {next(self.numbers)}")
        with pytest.raises(ProtocolViolation):
            self.pipeline.receive(reply)
        assert self.pipeline.finished.pop() is self.open.pop(t.token)
        assert (t.verdict, t.reply, t.end_written) == (Verdict.REFUSED, reply, False)
        self.lose(None)

    @precondition(lambda self: self.pipeline.is_idle and self.meant)
    @rule(
        what=st.sampled_from(["probe", "speak", "speak", "nothing", "nothing"]),
        code=st.sampled_from([250, 354, 550]),
    )
    def idle(self, what: str, code: int) -> None:
        if what == "probe":
            self.pipeline.probe()
        elif what == "speak":
            with pytest.raises(ProtocolViolation):
                self.pipeline.receive(Reply.of(str(code)))
            self.lose(None)

    # -- what must hold --------------------------------------------------------------------------------------------

    def lose(self, closing: Reply | None) -> None:
        lost = self.pipeline.abandon(closing)
        while closing is None and self.server.unit is not None:
            self.server.step(250)
        assert {t.token for t in lost} == set(self.open), "some have no outcome, or two"
        assert [int(t.token[1:]) for t in lost] == sorted(int(t.token[1:]) for t in lost)
        for t in lost:
            meant = self.meant[t.token]
            assert t.reply is closing
            if t.verdict is Verdict.UNSENT:
                assert set(meant.accepted) <= set(t.replies or ()), "it is requeued, and the server has it"
            else:
                assert t.verdict is Verdict.UNCERTAIN
                assert closing is None
                assert meant.ended, "its end never reached the server"
            assert all(meant.rcpts[index] == reply for index, reply in t.refused.items())
            assert all(meant.ends[index] == reply for index, reply in (t.replies or {}).items())
        assert sum(t.verdict is Verdict.UNCERTAIN for t in lost) <= 1
        assert self.pipeline.data_to_send() == b""
        self.open.clear()
        self.connect()

    def collect(self) -> None:
        for t in self.pipeline.finished:
            assert self.open.pop(t.token) is t, "an outcome twice"
            self.check(t, self.meant[t.token])
        self.pipeline.finished.clear()

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
        elif self.lmtp and meant.end is None:
            assert t.replies == meant.ends
            assert set(meant.ends) == set(range(t.recipient_count)) - set(refused)
            assert t.verdict is (Verdict.ACCEPTED if meant.accepted else Verdict.REFUSED)
            assert t.reply in meant.ends.values()
            assert t.reply is not None
            expected = (t.verdict, Phase.END_OF_DATA, t.reply)
            assert t.reply.is_success == bool(meant.accepted)
        else:
            assert meant.end is not None
            taken = Verdict.ACCEPTED if meant.end.is_success else Verdict.REFUSED
            expected = (taken, Phase.END_OF_DATA, meant.end)
        assert (t.verdict, t.phase, t.reply) == expected
        assert t.refused == refused
        everybody = set(range(t.recipient_count))
        late = {index for index, reply in meant.ends.items() if not reply.is_success}
        assert set(meant.accepted) == (
            everybody - set(refused) - late if t.verdict is Verdict.ACCEPTED else set()
        )
        if meant.accepted:
            data = t.content.data
            normal = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
            assert meant.content == (normal if normal.endswith(b"\r\n") else normal + b"\r\n")

    @invariant()
    def in_step(self) -> None:
        if hasattr(self, "pipeline"):
            assert {t.token for t in self.pipeline.in_flight} == set(self.open)
            if self.pipeline.is_idle:
                assert self.pipeline.can_begin
                assert not self.open
            if self.lmtp:
                assert len(self.pipeline.in_flight) <= 1
            if not self.pipelining and not self.lmtp:
                # One command at a time, and the content is not followed by anything.
                if self.server.in_data:
                    assert not self.server.outbox or not self.server.inbox
                    assert self.server.unit in (None, bytes(self.server.inbox))
                else:
                    assert self.server.inbox.count(b"\r\n") + len(self.server.outbox) <= 1


PipelineAgainstServer.TestCase.settings = settings(max_examples=200, stateful_step_count=15, deadline=None)


@pytest.mark.rule("P-02")
@pytest.mark.rule("P-05")
@pytest.mark.rule("P-06")
@pytest.mark.rule("P-14")
@pytest.mark.rule("P-18")
class TestPipelineAgainstServer(PipelineAgainstServer.TestCase):
    pass
