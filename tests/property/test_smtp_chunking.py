"""A random server that takes BDAT plays against the pipeline (RFC 3030): whose mail goes to whom, and who knows of it."""

from __future__ import annotations

import pytest
from against_server import COUNTS, MOVES, TAILS, AgainstServer, Streamed
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from mailpool.content import BytesContent, Content


class ChunkingAgainstServer(AgainstServer):
    @initialize(
        depth=st.integers(1, 4),
        window=st.sampled_from([2, 3, 5, 100, 100]),
        one_piece=st.sampled_from([10, 262_144]),
        keeps_sender=st.booleans(),
        lmtp=st.sampled_from([False, False, True]),
        # Without it only what is binary goes by BDAT.
        pipelining=st.sampled_from([True, True, True, False]),
    )
    def start(
        self, depth: int, window: int, one_piece: int, keeps_sender: bool, lmtp: bool, pipelining: bool
    ) -> None:
        self.announce(
            pipelining=pipelining,
            chunking=True,
            lmtp=lmtp,
            window=window,
            one_piece=one_piece,
            depth=depth,
            keeps_sender=keeps_sender,
        )

    @precondition(lambda self: self.pipeline.can_begin)
    @rule(
        count=COUNTS,
        tail=TAILS,
        kind=st.sampled_from(
            ["usual", "usual", "usual", "empty", "by DATA", "by DATA", "cautious", "binary", "binary"]
        ),
        moves=MOVES,
    )
    def begin(self, count: int, tail: bytes, kind: str, moves: list[tuple[str, int]]) -> None:
        data = b"" if kind == "empty" else self.next_name.encode() + b" is me" + tail
        binary = kind == "binary"
        content: Content = BytesContent(data, eight_bit=binary, binary=binary)
        if kind == "by DATA":
            content = Streamed(data, 7)
        self.send(content, count, cautious=kind == "cautious", chunked=binary)
        self.play(moves)

    @precondition(lambda self: self.pipeline.is_idle and self.pipeline.can_begin)
    @rule()
    def probe(self) -> None:
        self.pipeline.probe()

    @invariant()
    def cautious_ones_wait(self) -> None:
        if not hasattr(self, "pipeline"):
            return
        for t in self.open.values():
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
