"""What is written together, octet for octet, and what each reply then means: the way of a message that is taken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from transactions import transaction, writes

from mailpool.content import BytesContent
from mailpool.results import Phase, Reply
from mailpool.smtp.pipeline import ONE_PIECE, WINDOW, Pipeline
from mailpool.smtp.replies import ProtocolViolation
from mailpool.smtp.transaction import Transaction, Verdict

OK = Reply.of("250 ok")
GO = Reply.of("354 go")


def answer(pipeline: Pipeline, *replies: Reply | str) -> None:
    for reply in replies:
        pipeline.receive(reply if isinstance(reply, Reply) else Reply.of(reply))


class Streamed:
    """Content that is no BytesContent, and may be larger than memory."""

    eight_bit = binary = utf8_headers = False

    def __init__(self, *blocks: bytes, then: Exception | None = None) -> None:
        self._blocks = blocks
        self._then = then
        self.read = 0

    @property
    def size(self) -> int:
        return sum(map(len, self._blocks))

    def blocks(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.read += 1
            yield block
        if self._then is not None:
            raise self._then


class TestWithPipelining:
    def test_two_round_trips_and_two_writes(self) -> None:
        pipeline = Pipeline(pipelining=True)
        t = transaction(recipients=2)
        pipeline.begin(t)
        assert writes(pipeline) == [b"MAIL FROM:<a@x>\r\nRCPT TO:<0@a>\r\nRCPT TO:<1@a>\r\nDATA\r\n"]
        answer(pipeline, OK, OK, OK)
        assert writes(pipeline) == []
        assert not pipeline.can_begin
        answer(pipeline, GO)
        assert writes(pipeline) == [b"hi\r\n.\r\n"]
        assert t.end_written
        assert pipeline.finished == []
        done = Reply.of("250 queued")
        answer(pipeline, done)
        assert pipeline.finished == [t]
        assert (t.verdict, t.phase, t.reply, t.refused) == (Verdict.ACCEPTED, Phase.END_OF_DATA, done, {})
        assert t.token == "a"
        assert pipeline.is_idle
        assert pipeline.awaited is None

    def test_one_round_trip_when_the_next_is_waiting(self) -> None:
        """The content, its end and the next envelope are one write."""
        pipeline = Pipeline(pipelining=True)
        first, second, third = (transaction(name) for name in "abc")
        pipeline.begin(first)
        writes(pipeline)
        answer(pipeline, OK, OK, GO)
        assert pipeline.can_begin
        pipeline.begin(second)
        assert writes(pipeline) == [b"hi\r\n.\r\nMAIL FROM:<b@x>\r\nRCPT TO:<0@b>\r\nDATA\r\n"]
        assert not pipeline.can_begin
        assert pipeline.in_flight == [first, second]
        answer(pipeline, "250 a", "250 m", "250 r", GO)
        assert pipeline.finished == [first]
        assert pipeline.can_begin
        pipeline.begin(third)
        assert writes(pipeline) == [b"hi\r\n.\r\nMAIL FROM:<c@x>\r\nRCPT TO:<0@c>\r\nDATA\r\n"]
        answer(pipeline, "250 b", OK, OK, GO)
        assert writes(pipeline) == [b"hi\r\n.\r\n"]
        answer(pipeline, "250 c")
        assert [(t.token, t.reply) for t in pipeline.finished] == [(n, Reply.of(f"250 {n}")) for n in "abc"]

    @pytest.mark.parametrize("count", [WINDOW - 2, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW])
    def test_no_more_than_the_window_is_unanswered(self, count: int) -> None:
        pipeline = Pipeline(pipelining=True)
        t = transaction(recipients=count)
        pipeline.begin(t)
        sent = b"".join(writes(pipeline))
        assert sent.count(b"\r\n") == min(WINDOW, count + 2)
        for answered in range(1, count + 2):
            answer(pipeline, OK)
            sent += b"".join(writes(pipeline))
            assert sent.count(b"\r\n") == min(count + 2, answered + WINDOW)
        assert sent == b"".join(t.commands)
        answer(pipeline, GO)
        assert writes(pipeline) == [b"hi\r\n.\r\n"]

    def test_a_window_is_filled_in_one_write_when_replies_come_together(self) -> None:
        pipeline = Pipeline(pipelining=True)
        t = transaction(recipients=250)
        pipeline.begin(t)
        assert [len(w.splitlines()) for w in writes(pipeline)] == [WINDOW]
        answer(pipeline, *[OK] * WINDOW)
        assert [len(w.splitlines()) for w in writes(pipeline)] == [WINDOW]


class TestWithoutPipelining:
    def test_one_command_at_a_time(self) -> None:
        pipeline = Pipeline(pipelining=False)
        t = transaction(recipients=2)
        pipeline.begin(t)
        for expected, reply in [
            (b"MAIL FROM:<a@x>\r\n", OK),
            (b"RCPT TO:<0@a>\r\n", OK),
            (b"RCPT TO:<1@a>\r\n", OK),
            (b"DATA\r\n", GO),
            (b"hi\r\n.\r\n", OK),
        ]:
            assert writes(pipeline) == [expected]
            assert writes(pipeline) == []
            assert not pipeline.can_begin
            answer(pipeline, reply)
        assert writes(pipeline) == []
        assert pipeline.finished == [t]
        assert pipeline.can_begin

    def test_the_next_waits_for_the_end_of_the_first(self) -> None:
        pipeline = Pipeline(pipelining=False)
        pipeline.begin(transaction("a"))
        for reply in (OK, OK, GO):
            writes(pipeline)
            answer(pipeline, reply)
        assert not pipeline.can_begin
        writes(pipeline)
        assert not pipeline.can_begin
        answer(pipeline, OK)
        pipeline.begin(transaction("b"))
        assert writes(pipeline) == [b"MAIL FROM:<b@x>\r\n"]


@pytest.mark.parametrize("pipelining", [True, False])
class TestContent:
    def ready(self, pipelining: bool, content: object) -> tuple[Pipeline, Transaction]:
        pipeline = Pipeline(pipelining=pipelining)
        t = transaction()
        t.content = content
        pipeline.begin(t)
        for reply in (OK, OK, GO):
            writes(pipeline)
            answer(pipeline, reply)
        return pipeline, t

    @pytest.mark.rule("DAT-03")
    def test_dots_and_ends(self, pipelining: bool) -> None:
        pipeline, _ = self.ready(pipelining, BytesContent(b".a\r\nb"))
        assert writes(pipeline) == [b"..a\r\nb\r\n.\r\n"]

    def test_empty(self, pipelining: bool) -> None:
        pipeline, _ = self.ready(pipelining, BytesContent(b""))
        assert writes(pipeline) == [b".\r\n"]

    @pytest.mark.parametrize(("size", "pieces"), [(ONE_PIECE, 1), (ONE_PIECE + 1, 6)])
    def test_large_content_goes_in_blocks(self, pipelining: bool, size: int, pieces: int) -> None:
        pipeline, t = self.ready(pipelining, BytesContent(b"x" * size))
        sent = []
        while data := pipeline.data_to_send():
            sent.append(data)
            assert t.end_written == (data[-5:] == b"\r\n.\r\n")
        assert len(sent) == pieces
        assert b"".join(sent) == b"x" * size + b"\r\n.\r\n"

    def test_a_stream_is_read_only_as_fast_as_it_is_written(self, pipelining: bool) -> None:
        content = Streamed(b"", b"a\r", b"\n.b", b"", b"\r\n")
        pipeline, t = self.ready(pipelining, content)
        assert content.read == 0
        assert pipeline.awaited is Phase.CONTENT
        assert pipeline.data_to_send() == b"a"
        assert content.read == 2
        assert not pipeline.can_begin
        assert writes(pipeline) == [b"\r\n..b", b"\r\n", b".\r\n"]
        assert pipeline.awaited is Phase.END_OF_DATA
        assert t.end_written
        answer(pipeline, OK)
        assert t.verdict is Verdict.ACCEPTED

    def test_a_new_attempt_reads_from_the_start(self, pipelining: bool) -> None:
        content = Streamed(b"a\r\n", b"b\r\n")
        for _ in range(2):
            pipeline, _ = self.ready(pipelining, content)
            assert b"".join(writes(pipeline)) == b"a\r\nb\r\n.\r\n"

    @pytest.mark.rule("DAT-07")
    @pytest.mark.parametrize("before", [[], [b"a\r\n"], [b"a\r\n", b"b\r"]])
    def test_a_source_that_fails_never_ends_the_data(self, pipelining: bool, before: list[bytes]) -> None:
        pipeline, t = self.ready(pipelining, Streamed(*before, then=OSError("disk")))
        sent: list[bytes] = []
        with pytest.raises(OSError, match="disk"):
            sent.extend(iter(pipeline.data_to_send, b""))
        assert b".\r\n" not in b"".join(sent)
        assert not t.end_written
        assert pipeline.abandon() == [t]
        assert t.verdict is Verdict.UNSENT
        assert writes(pipeline) == []

    @pytest.mark.rule("DAT-07")
    def test_and_asking_again_does_not_end_it_either(self, pipelining: bool) -> None:
        pipeline, t = self.ready(pipelining, Streamed(b"a\r\n", then=OSError("disk")))
        with pytest.raises(OSError, match="disk"):
            writes(pipeline)
        assert writes(pipeline) == []
        assert not t.end_written


class TestProbe:
    def test_noop(self) -> None:
        pipeline = Pipeline(pipelining=True)
        pipeline.probe()
        assert writes(pipeline) == [b"NOOP\r\n"]
        assert pipeline.awaited is Phase.NOOP
        answer(pipeline, OK)
        assert pipeline.is_idle

    @pytest.mark.parametrize("reply", ["500 what", "451 busy", "354 go"])
    def test_a_server_that_does_not_know_noop_is_not_trusted(self, reply: str) -> None:
        pipeline = Pipeline(pipelining=True)
        pipeline.probe()
        writes(pipeline)
        with pytest.raises(ProtocolViolation, match="NOOP"):
            answer(pipeline, reply)
