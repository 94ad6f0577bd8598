"""BDAT (RFC 3030): what is written together, octet for octet, and when."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from transactions import answer, envelope, transaction, writes

from mailpool.content import StreamedContent
from mailpool.results import Phase, Reply
from mailpool.smtp.pipeline import ONE_PIECE, WINDOW, Pipeline
from mailpool.smtp.transaction import Transaction, Verdict

RSET = b"RSET\r\n"
TAKEN = "250 250 250"


def bdat(body: bytes = b"hi\r\n") -> bytes:
    return b"BDAT %d LAST\r\n%s" % (len(body), body)


def chunking(depth: int = 1) -> Pipeline:
    return Pipeline(pipelining=True, chunking=True, depth=depth)


def begin(pipeline: Pipeline, *names: str) -> list[Transaction]:
    begun = [transaction(name) for name in names]
    for t in begun:
        assert pipeline.can_begin
        pipeline.begin(t)
    return begun


class Streamed:
    eight_bit = binary = utf8_headers = False
    size = 4

    def blocks(self) -> Iterator[bytes]:
        yield b"hi\r\n"


class TestOneMessage:
    def test_all_of_it_is_one_write(self) -> None:
        pipeline = chunking()
        t = transaction("a", 2)
        pipeline.begin(t)
        assert not t.end_written
        assert writes(pipeline) == [envelope("a", 2) + bdat()]
        assert (t.end_written, t.chunked) == (True, True)
        for phase in (Phase.MAIL, Phase.RCPT, Phase.RCPT, Phase.END_OF_DATA):
            assert pipeline.awaited is phase
            assert not pipeline.is_idle
            answer(pipeline, "250")
        assert (t.verdict, t.phase, pipeline.finished) == (Verdict.ACCEPTED, Phase.END_OF_DATA, [t])
        assert writes(pipeline) == []
        assert pipeline.is_idle
        assert pipeline.is_free

    def test_the_next_one_after_it_needs_no_rset(self) -> None:
        pipeline = chunking()
        begin(pipeline, "a")
        writes(pipeline)
        answer(pipeline, TAKEN)
        begin(pipeline, "b")
        assert writes(pipeline) == [envelope("b") + bdat()]

    @pytest.mark.rule("DAT-09")
    @pytest.mark.parametrize(
        "body",
        [b".\r\n", b".a\r\n", b"a\r\n.\r\nb", b"a\r\n..\r\n", b"\r\n.\r\nMAIL FROM:<evil@x>\r\n", b"..."],
    )
    def test_dots_are_left_alone(self, body: bytes) -> None:
        pipeline = chunking()
        pipeline.begin(transaction("a", body=body))
        assert writes(pipeline) == [envelope("a") + bdat(body)]

    @pytest.mark.rule("DAT-09")
    @pytest.mark.parametrize(
        ("body", "sent"),
        [
            (b"a\nb\n", b"a\r\nb\r\n"),
            (b"a\rb\r", b"a\r\nb\r\n"),
            (b"a\r\nb\nc\r\r\n", b"a\r\nb\r\nc\r\n\r\n"),
            (b"no end", b"no end"),
            (b"\n.\n", b"\r\n.\r\n"),
            (b"\xff\x00\n", b"\xff\x00\r\n"),
        ],
    )
    def test_line_ends_are_what_data_would_have_made_of_them_and_are_counted(
        self, body: bytes, sent: bytes
    ) -> None:
        pipeline = chunking()
        pipeline.begin(transaction("a", body=body))
        assert writes(pipeline) == [envelope("a") + bdat(sent)]

    def test_empty_content(self) -> None:
        pipeline = chunking()
        t = transaction("a", body=b"")
        pipeline.begin(t)
        assert writes(pipeline) == [envelope("a") + b"BDAT 0 LAST\r\n"]
        assert t.end_written
        answer(pipeline, TAKEN)
        assert t.verdict is Verdict.ACCEPTED


class TestGroups:
    def test_reset_and_the_next_envelope_travel_with_the_content(self) -> None:
        pipeline = chunking()
        first, second = begin(pipeline, "a", "b")
        assert writes(pipeline) == [envelope("a") + bdat() + RSET + envelope("b")]
        assert not pipeline.can_begin
        assert (first.end_written, second.end_written) == (True, False)

    def test_the_next_end_goes_out_with_the_first_outcome_and_a_third_envelope(self) -> None:
        pipeline = chunking()
        first, second = begin(pipeline, "a", "b")
        writes(pipeline)
        answer(pipeline, "250 250")
        assert writes(pipeline) == []
        answer(pipeline, "250")
        assert pipeline.finished == [first]
        begin(pipeline, "c")
        assert writes(pipeline) == [bdat() + RSET + envelope("c")]
        answer(pipeline, "250 250 250 250")  # RSET, then b
        assert second.verdict is Verdict.ACCEPTED

    @pytest.mark.parametrize("depth", [1, 2, 3, 4, 32])
    def test_as_many_ends_as_the_depth_and_one_envelope_more(self, depth: int) -> None:
        pipeline = chunking(depth)
        names = [f"m{n}" for n in range(depth + 1)]
        begun = begin(pipeline, *names)
        messages = [envelope(name) + bdat() for name in names[:-1]]
        assert writes(pipeline) == [RSET.join([*messages, envelope(names[-1])])]
        assert not pipeline.can_begin
        assert [t.end_written for t in begun] == [True] * depth + [False]
        # Each outcome lets one more out.
        answer(pipeline, TAKEN)
        begin(pipeline, "next")
        assert writes(pipeline) == [bdat() + RSET + envelope("next")]
        answer(pipeline, "250 250 250 250" if depth > 1 else "250 250")
        assert sum(t.end_written and t.verdict is Verdict.OPEN for t in begun) <= depth

    def test_a_long_list_of_recipients_waits_for_its_answers(self) -> None:
        pipeline = chunking()
        t = transaction("a", WINDOW)
        pipeline.begin(t)
        assert writes(pipeline) == [b"".join(t.commands[:WINDOW])]
        answer(pipeline, "250")
        assert writes(pipeline) == [t.commands[WINDOW]]
        answer(pipeline, "250")
        assert writes(pipeline) == [bdat()]
        answer(pipeline, "250 " * (WINDOW - 1))
        assert pipeline.awaited is Phase.END_OF_DATA
        answer(pipeline, "250")
        assert t.verdict is Verdict.ACCEPTED

    def test_a_long_list_that_is_refused_needs_no_bdat(self) -> None:
        pipeline = chunking()
        t = transaction("a", WINDOW)
        pipeline.begin(t)
        writes(pipeline)
        for code in ("250", *["550"] * (WINDOW - 1)):
            answer(pipeline, code)
        # While one was left it might have gone out: the last one was asked by then, and nobody answers for it yet.
        sent = writes(pipeline)
        assert sent == [t.commands[WINDOW] + bdat()]
        answer(pipeline, "550 554")
        assert (t.verdict, t.phase) == (Verdict.REFUSED, Phase.RCPT)
        assert writes(pipeline) == [RSET]

    def test_all_of_the_window_but_one(self) -> None:
        pipeline = chunking()
        t = transaction("a", WINDOW - 2)
        pipeline.begin(t)
        assert writes(pipeline) == [b"".join(t.commands[:-1]) + bdat()]

    def test_depth_and_data_together_are_no_more_than_the_depth(self) -> None:
        """Content that comes in a stream goes by DATA, and its end counts like any other."""
        pipeline = chunking(depth=1)
        first, second = transaction("a", body=Streamed()), transaction("b")
        pipeline.begin(first)
        assert writes(pipeline) == [envelope("a") + b"DATA\r\n"]
        answer(pipeline, "250 250 354")
        assert b"".join(writes(pipeline)) == b"hi\r\n.\r\n"
        pipeline.begin(second)
        assert writes(pipeline) == [envelope("b")]
        answer(pipeline, "250")
        assert first.verdict is Verdict.ACCEPTED
        assert writes(pipeline) == [bdat()]
        answer(pipeline, TAKEN)
        assert second.verdict is Verdict.ACCEPTED

    def test_data_after_bdat(self) -> None:
        pipeline = chunking(depth=4)
        first, second = transaction("a"), transaction("b", body=Streamed())
        pipeline.begin(first)
        pipeline.begin(second)
        assert writes(pipeline) == [envelope("a") + bdat() + RSET + envelope("b") + b"DATA\r\n"]
        answer(pipeline, "250 250 552 250 250 250 354")
        assert b"".join(writes(pipeline)) == b"hi\r\n.\r\n"
        answer(pipeline, "250")
        assert [t.verdict for t in (first, second)] == [Verdict.REFUSED, Verdict.ACCEPTED]

    def test_bdat_after_data_needs_no_rset(self) -> None:
        """The end of DATA leaves nothing behind, whatever is said to it."""
        pipeline = chunking(depth=4)
        pipeline.begin(transaction("a", body=Streamed()))
        writes(pipeline)
        answer(pipeline, "250 250 354")
        writes(pipeline)
        pipeline.begin(transaction("b"))
        assert writes(pipeline) == [envelope("b") + bdat()]


class TestWithout:
    @pytest.mark.parametrize(("pipelining", "announced"), [(True, False), (False, True), (False, False)])
    def test_content_goes_by_data(self, pipelining: bool, announced: bool) -> None:
        """Not announced or switched off; and without PIPELINING BDAT would save one of four round trips."""
        pipeline = Pipeline(pipelining=pipelining, chunking=announced, depth=8)
        t = transaction("a")
        pipeline.begin(t)
        sent = writes(pipeline)
        for code in ("250", "250", "354"):
            answer(pipeline, code)
            sent += writes(pipeline)
        assert b"".join(sent) == envelope("a") + b"DATA\r\nhi\r\n.\r\n"
        assert not t.chunked
        answer(pipeline, "250")
        assert t.verdict is Verdict.ACCEPTED


@pytest.mark.rule("P-11")
class TestCautious:
    def ready(self, depth: int = 1, recipients: int = 2) -> tuple[Pipeline, Transaction]:
        pipeline = chunking(depth)
        t = transaction("a", recipients)
        t.cautious = True
        pipeline.begin(t)
        assert writes(pipeline) == [envelope("a", recipients)]
        assert not pipeline.can_begin
        return pipeline, t

    @pytest.mark.parametrize("depth", [1, 8])
    def test_no_end_of_data_before_the_reply_to_mail(self, depth: int) -> None:
        pipeline, t = self.ready(depth)
        answer(pipeline, "250")
        assert pipeline.can_begin
        assert writes(pipeline) == [bdat()]
        answer(pipeline, TAKEN)
        assert t.verdict is Verdict.ACCEPTED

    def test_a_dead_connection_shows_before_it_could_be_uncertain(self) -> None:
        pipeline, t = self.ready()
        assert pipeline.abandon() == [t]
        assert (t.verdict, t.mail_answered) == (Verdict.UNSENT, False)

    def test_mail_refused(self) -> None:
        """Nothing more is written, and there is no sender to reset."""
        pipeline, t = self.ready()
        answer(pipeline, "550 503 503")
        assert (t.verdict, t.phase) == (Verdict.REFUSED, Phase.MAIL)
        assert writes(pipeline) == []
        assert pipeline.is_idle

    def test_all_recipients_refused(self) -> None:
        pipeline, t = self.ready(recipients=1)
        pipeline.receive(Reply.of("250"))
        assert writes(pipeline) == [bdat()]
        answer(pipeline, "550 503")
        assert (t.verdict, t.phase) == (Verdict.REFUSED, Phase.RCPT)
        assert writes(pipeline) == [RSET]

    def test_the_one_behind_it_is_not_held_up(self) -> None:
        pipeline, _ = self.ready(depth=4)
        answer(pipeline, "250")
        begin(pipeline, "b")
        assert writes(pipeline) == [bdat() + RSET + envelope("b") + bdat()]


class Source:
    """Octets that say how many they are, and may be wrong."""

    def __init__(self, size: int, *blocks: bytes) -> None:
        self.size = size
        self._blocks = blocks

    def blocks(self) -> Iterator[bytes]:
        yield from self._blocks


class TestStreamed:
    """Content that is not in memory goes out by BDAT, too, and is complete only when its source has ended as it said."""

    def begun(self, *pieces: bytes | Source) -> tuple[Pipeline, Transaction]:
        pipeline = chunking(depth=4)
        t = transaction("a", body=StreamedContent(pieces))
        pipeline.begin(t)
        return pipeline, t

    def test_in_its_own_blocks(self) -> None:
        pipeline, t = self.begun(b"head\r\n", Source(12, b"abc", b"", b"defgh\r\n", b"\r\n"), b"end\r\n")
        sent = list(writes(pipeline))
        assert b"".join(sent).endswith(b"BDAT 23 LAST\r\nhead\r\nabcdefgh\r\n\r\nend\r\n")
        assert t.chunked
        assert t.end_written
        assert pipeline.can_begin

    @pytest.mark.rule("DAT-08")
    @pytest.mark.parametrize(
        "source",
        [Source(5, b"abc"), Source(5, b"abcd", b"ef"), Source(5, b"abcde", b"f"), Source(5), Source(0, b"a")],
    )
    @pytest.mark.parametrize("after", [(), (b"end\r\n",)])
    def test_a_source_of_another_size_completes_nothing(
        self, source: Source, after: tuple[bytes, ...]
    ) -> None:
        pipeline, t = self.begun(b"head\r\n", source, *after)
        written: list[bytes] = []
        with pytest.raises(ValueError, match="than it said"):
            written.extend(iter(pipeline.data_to_send, b""))
        sent = b"".join(written)
        command, _, content = sent.partition(b" LAST\r\n")
        assert not sent or len(content) < int(command.rpartition(b" ")[2])
        assert not t.end_written


class TestLarge:
    @pytest.mark.parametrize(
        ("size", "lengths"),
        [
            (ONE_PIECE, [ONE_PIECE]),
            (ONE_PIECE + 1, [ONE_PIECE, 1]),
            (3 * ONE_PIECE, [ONE_PIECE] * 3),
        ],
    )
    def test_in_blocks_with_one_command(self, size: int, lengths: list[int]) -> None:
        pipeline = chunking()
        body = b"x" * size
        t = transaction("a", body=body)
        pipeline.begin(t)
        head = envelope("a") + b"BDAT %d LAST\r\n" % size
        sent: list[bytes] = []
        while data := pipeline.data_to_send():
            assert not t.end_written or sum(map(len, sent)) + len(data) == len(head) + size
            sent.append(data)
            assert t.end_written == (sum(map(len, sent)) == len(head) + size)
        assert b"".join(sent) == head + body
        assert [len(data) for data in sent] == [len(head) + lengths[0], *lengths[1:]]

    def test_line_ends_count_before_it_is_cut(self) -> None:
        body = b"x" * (ONE_PIECE - 1) + b"\n" + b"y\n"
        pipeline = chunking()
        pipeline.begin(transaction("a", body=body))
        sent = b"".join(writes(pipeline))
        assert sent == envelope("a") + bdat(body.replace(b"\n", b"\r\n"))

    def test_the_next_one_waits_for_the_last_block(self) -> None:
        pipeline = chunking(depth=4)
        body = b"x" * (2 * ONE_PIECE)
        pipeline.begin(transaction("a", body=body))
        assert pipeline.data_to_send()
        answer(pipeline, "250 250")
        assert not pipeline.can_begin
        assert pipeline.data_to_send()
        assert pipeline.data_to_send() == b""
        assert pipeline.can_begin
        begin(pipeline, "b")
        assert writes(pipeline) == [RSET + envelope("b") + bdat()]

    @pytest.mark.rule("P-26")
    def test_while_blocks_are_written_content_is_what_takes_time(self) -> None:
        """The time-out of the end of the data starts with the end of the data, not with the last RCPT."""
        pipeline = chunking()
        pipeline.begin(transaction("a", body=b"x" * (2 * ONE_PIECE)))
        pipeline.data_to_send()
        answer(pipeline, "250 250")
        assert pipeline.awaited is Phase.CONTENT
        writes(pipeline)
        assert pipeline.awaited is Phase.END_OF_DATA
