"""A random server plays against the pipeline: whatever it refuses and wherever it ends, every message gets its own outcome.

What lives here: the moves of both sides, and what must hold whatever was announced. Each test that plays says what its
server announces, and which messages there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from strict_server import Meant, Server

from mailpool.content import Content
from mailpool.results import Phase, Reply
from mailpool.smtp import pipeline as pipeline_module
from mailpool.smtp.pipeline import Pipeline
from mailpool.smtp.transaction import Transaction, Verdict

CODES = st.sampled_from([*[250] * 9, 450, 550, 552])
MOVES = st.lists(
    st.tuples(
        st.sampled_from(["write once", "serve", "deliver", "refuse early", "round trip", "round trip"]), CODES
    ),
    max_size=5,
)
COUNTS = st.sampled_from([1, 1, 1, 2, 3, 6])
TAILS = st.sampled_from(
    [
        b"",
        b"\r\n",
        b"\r\n.",
        b"\r\n.\r\n",
        b"\r\n.\r\nMAIL FROM:<evil@x>\r\n",
        b"\n.\n",
        b"\r\n.\r",
        b"\r",
        b"\n",
    ]
)


class Streamed:
    """Content in blocks, to be written as the pipeline asks for them. It has no size that BDAT could announce."""

    eight_bit = binary = utf8_headers = False

    def __init__(self, data: bytes, block: int) -> None:
        self.data = data
        self.size = len(data)
        self._block = block

    def blocks(self) -> Iterator[bytes]:
        return (self.data[i : i + self._block] for i in range(0, len(self.data), self._block))


def sent(content: Content) -> bytes:
    """The octets as they leave, before dots are stuffed: with CRLF for each line end, but for what is binary."""
    data = b"".join(content.blocks())
    if content.binary:
        return data
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def sent_by_data(content: Content) -> bytes:
    """The same behind DATA, where the last line is ended too."""
    data = sent(content)
    return data if not data or data.endswith(b"\r\n") else data + b"\r\n"


class AgainstServer(RuleBasedStateMachine):
    """One pipeline and one server after the other. A subclass has the rule that calls ``announce`` and those that ``send``."""

    def announce(
        self,
        *,
        pipelining: bool,
        lmtp: bool,
        window: int,
        one_piece: int,
        chunking: bool = False,
        depth: int = 1,
        keeps_sender: bool = False,
    ) -> None:
        self.saved = pipeline_module.WINDOW, pipeline_module.ONE_PIECE
        pipeline_module.WINDOW, pipeline_module.ONE_PIECE = window, one_piece
        self.pipelining, self.lmtp, self.chunking = pipelining, lmtp, chunking
        self.depth, self.keeps_sender = depth, keeps_sender
        self.meant: dict[str, Meant] = {}
        self.open: dict[str, Transaction] = {}
        self.numbers = iter(range(1_000_000))
        self.connect()

    def connect(self) -> None:
        self.pipeline = Pipeline(
            pipelining=self.pipelining, chunking=self.chunking, depth=self.depth, lmtp=self.lmtp
        )
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

    @property
    def next_name(self) -> str:
        return f"t{len(self.meant)}"

    def send(self, content: Content, count: int, *, cautious: bool = False, chunked: bool = False) -> None:
        """Begin a message for so many recipients."""
        name = self.next_name
        rcpts = [b"RCPT TO:<%d@%s>\r\n" % (i, name.encode()) for i in range(count)]
        t = Transaction(b"MAIL FROM:<%s@x>\r\n" % name.encode(), rcpts, content, name)
        t.cautious = cautious
        t.chunked = chunked
        self.meant[name] = Meant()
        self.open[name] = t
        self.pipeline.begin(t)

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
            elif what == "refuse early" and self.server.may_refuse_early:
                self.server.refuse_early(552 if code == 250 else code)
            elif what in ("serve", "refuse early") and self.server.unit is not None:
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
        for t in self.pipeline.finished:
            assert self.open.pop(t.token) is t, "an outcome twice"
            self.ended.append(t.token)
            self.check(t, self.meant[t.token])
        self.pipeline.finished.clear()

    # -- ends ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.open)
    @rule(
        how=st.sampled_from(["not now", "silently", "in the midst", "with 421"]),
        written=st.booleans(),
        data=st.data(),
    )
    def close(self, how: str, written: bool, data: st.DataObject) -> None:
        if how == "not now":
            return
        if written:
            self.write()
        if how == "with 421":
            # In place of the reply to what it has not read yet. What it said before arrives before.
            while self.server.outbox:
                self.deliver()
            self.lose(Reply.of("421 closing"))
            return
        # It read what was written, to the end or up to any octet, acted by it, and its replies are lost.
        if how == "in the midst":
            del self.server.inbox[data.draw(st.integers(0, len(self.server.inbox)), "octets that arrived") :]
        while self.server.unit is not None:
            self.server.step(250 if how == "silently" else data.draw(CODES, "what it said"))
        self.lose(None)

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
        start = self.handed.find(t.commands[0])
        if t.chunked:
            data = sent(t.content)
            end = b"BDAT %d LAST\r\n%s" % (len(data), data)
        else:
            lines = sent_by_data(t.content).splitlines(keepends=True)
            end = b"".join(b"." + line if line.startswith(b".") else line for line in lines) + b".\r\n"
        return start >= 0 and self.handed.find(end, start) >= 0

    def whose(self, t: Transaction, meant: Meant) -> None:
        """What was taken, was taken once, under its own sender, for its own recipients, and is what it was."""
        assert len(meant.taken) <= 1
        for sender, recipients, content in meant.taken:
            assert sender == t.token
            accepted = [index for index, reply in meant.rcpts.items() if reply.is_success]
            late = {index for index, reply in meant.ends.items() if not reply.is_success}
            assert recipients == [(t.token, index) for index in accepted if index not in late]
            assert t.chunked or not t.content.binary
            assert content == (sent(t.content) if t.chunked else sent_by_data(t.content))

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
        if self.pipeline.is_idle:
            assert self.pipeline.can_begin
            assert not self.open
        for order in (self.server.order, self.ended):
            assert order == sorted(order, key=lambda name: int(name[1:]))
        assert sum(t.end_written for t in self.open.values()) <= self.depth
        assert all(self.handed_out(t) for t in self.open.values() if t.end_written)
