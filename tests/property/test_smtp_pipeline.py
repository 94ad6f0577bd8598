"""A random server without BDAT plays against the pipeline: with and without PIPELINING, by SMTP and by LMTP."""

from __future__ import annotations

import pytest
from against_server import COUNTS, MOVES, TAILS, AgainstServer, Streamed
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from mailpool.content import BytesContent
from mailpool.results import Phase, Reply
from mailpool.smtp.replies import ProtocolViolation
from mailpool.smtp.transaction import Verdict


class PipelineAgainstServer(AgainstServer):
    @initialize(
        pipelining=st.sampled_from([True, True, False]),
        window=st.sampled_from([2, 3, 5, 100]),
        one_piece=st.sampled_from([10, 262_144]),
        lmtp=st.sampled_from([False, False, True]),
    )
    def start(self, pipelining: bool, window: int, one_piece: int, lmtp: bool) -> None:
        self.announce(pipelining=pipelining, lmtp=lmtp, window=window, one_piece=one_piece)

    @precondition(lambda self: self.pipeline.can_begin)
    @rule(count=COUNTS, tail=TAILS, block=st.sampled_from([0, 1, 4, 50]), moves=MOVES)
    def begin(self, count: int, tail: bytes, block: int, moves: list[tuple[str, int]]) -> None:
        data = self.next_name.encode() + b" is me" + tail
        self.send(Streamed(data, block) if block else BytesContent(data), count)
        self.play(moves)

    @precondition(lambda self: self.pipeline.awaited is Phase.CONTENT and self.server.in_data)
    @rule()
    def refuse_early(self) -> None:
        """A server that will not hear the rest of the content."""
        assert not self.server.outbox
        (t,) = self.pipeline.in_flight
        reply = Reply.of(f"552 early {next(self.numbers)}")
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

    @invariant()
    def one_at_a_time(self) -> None:
        if not hasattr(self, "pipeline"):
            return
        if self.lmtp:
            assert len(self.pipeline.in_flight) <= 1
        if not self.pipelining and not self.lmtp:
            # One command at a time, and the content is not followed by anything.
            if self.server.in_data:
                assert not self.server.outbox or not self.server.inbox
                assert self.server.unit in (None, bytes(self.server.inbox))
            else:
                assert self.server.inbox.count(b"\r\n") + len(self.server.outbox) <= 1


PipelineAgainstServer.TestCase.settings = settings(max_examples=300, stateful_step_count=15, deadline=None)


@pytest.mark.rule("P-02")
@pytest.mark.rule("P-05")
@pytest.mark.rule("P-06")
@pytest.mark.rule("P-14")
@pytest.mark.rule("P-18")
class TestPipelineAgainstServer(PipelineAgainstServer.TestCase):
    pass
