"""BDAT: refusals at each place, what is never believed, and connections that end (RFC 3030, P-05, P-06, P-18)."""

from __future__ import annotations

import pytest
from transactions import talk, transaction, writes

from mailpool.results import Phase, Reply
from mailpool.smtp.pipeline import ONE_PIECE, Pipeline
from mailpool.smtp.replies import ProtocolViolation
from mailpool.smtp.transaction import Transaction, Verdict

RSET = b"RSET\r\n"
GOODBYE = Reply.of("421 4.3.2 closing")
ACCEPTED, REFUSED, UNSENT, UNCERTAIN, OPEN = (
    Verdict.ACCEPTED,
    Verdict.REFUSED,
    Verdict.UNSENT,
    Verdict.UNCERTAIN,
    Verdict.OPEN,
)
MAIL, RCPT, END = Phase.MAIL, Phase.RCPT, Phase.END_OF_DATA
LARGE = b"x" * (3 * ONE_PIECE)


def message(name: str, recipients: int = 2) -> bytes:
    t = transaction(name, recipients)
    return b"".join(t.commands[:-1]) + b"BDAT 4 LAST\r\nhi\r\n"


def ready(*names: str, depth: int = 1, body: bytes = b"hi\r\n") -> tuple[Pipeline, list[Transaction]]:
    pipeline = Pipeline(pipelining=True, chunking=True, depth=depth)
    begun = [transaction(name, 2, body) for name in names]
    for t in begun:
        pipeline.begin(t)
    return pipeline, begun


# Replies; verdict, phase, number of the reply that decided; refused recipients and the number of the reply to each.
TABLE = {
    "accepted": ("250 250 250 250", ACCEPTED, END, 3, {}),
    "251 and 252 are acceptance": ("250 251 252 250", ACCEPTED, END, 3, {}),
    "one recipient refused": ("250 550 250 250", ACCEPTED, END, 3, {0: 1}),
    "the other one, for now": ("250 250 450 250", ACCEPTED, END, 3, {1: 2}),
    "MAIL refused": ("550 503 503 503", REFUSED, MAIL, 0, {}),
    "MAIL refused for now": ("451 503 503 554", REFUSED, MAIL, 0, {}),
    "all refused": ("250 550 551 554", REFUSED, RCPT, None, {0: 1, 1: 2}),
    "all refused for now": ("250 450 452 503", REFUSED, RCPT, None, {0: 1, 1: 2}),
    "content refused": ("250 250 250 552", REFUSED, END, 3, {}),
    "content refused for now": ("250 250 250 452", REFUSED, END, 3, {}),
    "content not understood here": ("250 250 250 501", REFUSED, END, 3, {}),
    "content and one refused": ("250 550 250 554", REFUSED, END, 3, {0: 1}),
}


@pytest.mark.rule("P-05")
@pytest.mark.rule("P-02")
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
class TestEveryRefusal:
    def check(self, t: Transaction, row: tuple[str, Verdict, Phase, int | None, dict[int, int]]) -> None:
        codes, verdict, phase, decided, refused = row
        replies = [Reply.of(f"{code} reply {number}") for number, code in enumerate(codes.split())]
        assert (t.verdict, t.phase) == (verdict, phase)
        assert t.reply == (None if decided is None else replies[decided])
        assert t.refused == {index: replies[number] for index, number in refused.items()}

    def test_alone(self, row: tuple[str, Verdict, Phase, int | None, dict[int, int]]) -> None:
        """Whatever the reason, a BDAT that failed leaves a state that only RSET ends; a message taken leaves none."""
        pipeline, (t,) = ready("a")
        sent = talk(pipeline, row[0])
        assert pipeline.finished == [t]
        self.check(t, row)
        assert sent == ([message("a")] if row[1] is ACCEPTED else [message("a"), RSET])
        if row[1] is REFUSED:
            assert pipeline.awaited is Phase.RSET
            assert pipeline.is_free
            pipeline.receive(Reply.of("250"))
        assert pipeline.is_idle

    def test_the_next_one_travels_with_the_rset(
        self, row: tuple[str, Verdict, Phase, int | None, dict[int, int]]
    ) -> None:
        pipeline, (t,) = ready("a")
        writes(pipeline)
        for code in row[0].split():
            pipeline.receive(Reply.of(code))
        second = transaction("b", 2)
        pipeline.begin(second)
        reset = b"" if t.verdict is ACCEPTED else RSET
        assert writes(pipeline) == [reset + message("b")]
        talk(pipeline, ("250 " if reset else "") + "250 250 250 250")
        assert second.verdict is ACCEPTED

    @pytest.mark.parametrize("depth", [1, 2, 3])
    def test_between_others(
        self, row: tuple[str, Verdict, Phase, int | None, dict[int, int]], depth: int
    ) -> None:
        """One RSET stands before the next already, so there is no other."""
        pipeline, begun = ready(*"ab"[:depth], depth=depth)
        sent = writes(pipeline)
        waiting = list("abc"[len(begun) :])
        for code in row[0].split():
            pipeline.receive(Reply.of(f"{code} reply {len(sent)}"))
        for name in waiting:
            if pipeline.can_begin:
                begun.append(transaction(name, 2))
                pipeline.begin(begun[-1])
        sent += writes(pipeline)
        stream = b"".join(sent)
        assert stream.count(RSET) == sum(map(stream.count, (b"FROM:<b@x>", b"FROM:<c@x>"))) - (
            depth == 1 and row[1] is ACCEPTED
        )
        assert (begun[0].verdict, begun[0].phase) == row[1:3]
        assert all(t.verdict is OPEN for t in begun[1:])


class TestNotUnderstood:
    @pytest.mark.rule("P-07")
    @pytest.mark.parametrize("code", ["500", "502"])
    @pytest.mark.parametrize("depth", [1, 4])
    def test_the_server_has_read_content_as_commands(self, code: str, depth: int) -> None:
        pipeline, begun = ready("a", "b", depth=depth)
        with pytest.raises(ProtocolViolation, match=f"not understood: {code}"):
            talk(pipeline, f"250 250 250 {code}")
        assert pipeline.finished == []
        assert pipeline.abandon() == begun
        # It said that it took nothing, and those behind it went the same way.
        assert all(t.verdict is UNSENT for t in begun)
        assert writes(pipeline) == []

    @pytest.mark.parametrize("code", ["500", "502"])
    def test_also_when_nobody_was_to_receive_it(self, code: str) -> None:
        pipeline, (t,) = ready("a")
        with pytest.raises(ProtocolViolation, match="not understood"):
            talk(pipeline, f"250 550 550 {code}")
        assert t.verdict is not ACCEPTED


@pytest.mark.rule("P-07")
class TestNotBelieved:
    """The server has a sender or a recipient that is not this message's: destroy, and nobody knows what it took."""

    @pytest.mark.parametrize(
        ("codes", "words"),
        [
            ("550 250", "MAIL was refused"),
            ("550 503 250", "MAIL was refused"),
            ("550 503 503 250", "BDAT was answered 250"),
            ("250 550 550 250", "BDAT was answered 250"),
            ("354", "MAIL was answered"),
            ("250 354", "RCPT was answered"),
            ("250 250 250 354", "answered 354"),
            ("550 503 503 354", "answered 354"),
            ("250 550 550 354", "answered 354"),
        ],
    )
    @pytest.mark.parametrize("depth", [1, 2])
    def test_replies_that_do_not_fit(self, codes: str, words: str, depth: int) -> None:
        pipeline, begun = ready("a", "b", depth=depth)
        with pytest.raises(ProtocolViolation, match=words):
            talk(pipeline, codes)
        assert pipeline.finished == []
        assert pipeline.abandon() == begun
        assert begun[0].verdict is UNCERTAIN
        assert begun[1].verdict is (UNCERTAIN if depth == 2 else UNSENT)

    @pytest.mark.parametrize("code", ["250", "354", "500"])
    def test_acceptance_of_a_part(self, code: str) -> None:
        pipeline, (t,) = ready("a", body=LARGE)
        pipeline.data_to_send()
        for early in ("250", "250", "250"):
            pipeline.receive(Reply.of(early))
        with pytest.raises(ProtocolViolation):
            pipeline.receive(Reply.of(code))
        assert pipeline.finished == []
        assert pipeline.abandon() == [t]
        assert t.verdict is UNSENT

    @pytest.mark.parametrize("code", ["250", "550"])
    def test_one_reply_too_many(self, code: str) -> None:
        pipeline, (first,) = ready("a")
        talk(pipeline, "250 250 250 250")
        second = transaction("b", 2)
        pipeline.begin(second)
        with pytest.raises(ProtocolViolation):
            pipeline.receive(Reply.of(code))
        assert first.verdict is ACCEPTED
        assert (second.answered, second.verdict) == (0, OPEN)


class TestEarly:
    """A refusal of a large content comes before all of it is written; the rest has to follow all the same."""

    def refused(self, code: str = "552", **how: int) -> tuple[Pipeline, Transaction]:
        pipeline, (t,) = ready("a", body=LARGE, **how)
        assert len(pipeline.data_to_send()) > ONE_PIECE
        for early in ("250", "250", "250", code):
            pipeline.receive(Reply.of(early))
        return pipeline, t

    @pytest.mark.rule("SRV-17")
    @pytest.mark.parametrize("code", ["552", "452"])
    def test_it_is_believed_at_once(self, code: str) -> None:
        pipeline, t = self.refused(code)
        assert pipeline.finished == [t]
        assert (t.verdict, t.phase, t.reply) == (REFUSED, END, Reply.of(code))
        assert pipeline.in_flight == []

    def test_the_rest_of_the_content_and_then_rset(self) -> None:
        pipeline, _ = self.refused()
        assert not pipeline.can_begin
        assert not pipeline.is_free
        assert b"".join(writes(pipeline)) == LARGE[ONE_PIECE:] + RSET
        assert pipeline.can_begin
        pipeline.begin(second := transaction("b", 2))
        assert writes(pipeline) == [message("b")]
        talk(pipeline, "250 250 250 250 250")
        assert second.verdict is ACCEPTED

    @pytest.mark.rule("P-26")
    def test_while_the_rest_is_written_the_connection_is_busy(self) -> None:
        """A server that refuses and then reads no more must be given up some time; and QUIT is no content."""
        pipeline, _ = self.refused()
        assert not pipeline.is_idle
        assert pipeline.awaited is Phase.CONTENT

    def test_all_recipients_refused_while_it_is_written(self) -> None:
        pipeline, (t,) = ready("a", body=LARGE)
        pipeline.data_to_send()
        for early in ("250", "550", "550"):
            pipeline.receive(Reply.of(early))
        assert t.verdict is OPEN
        assert b"".join(writes(pipeline)) == LARGE[ONE_PIECE:]
        pipeline.receive(Reply.of("554"))
        assert (t.verdict, t.phase) == (REFUSED, RCPT)
        assert writes(pipeline) == [RSET]

    @pytest.mark.rule("P-06")
    @pytest.mark.parametrize("closing", [None, GOODBYE])
    def test_lost_after_it(self, closing: Reply | None) -> None:
        pipeline, t = self.refused()
        assert pipeline.abandon(closing) == []
        assert t.verdict is REFUSED
        assert writes(pipeline) == []


@pytest.mark.rule("P-06")
@pytest.mark.rule("P-18")
class TestLost:
    @pytest.mark.parametrize("depth", [1, 2, 3, 4])
    @pytest.mark.parametrize("answered", range(4))
    def test_without_a_word_as_many_as_were_written(self, depth: int, answered: int) -> None:
        pipeline, begun = ready(*"abcde"[: depth + 1], depth=depth)
        talk(pipeline, "250 " * answered)
        assert pipeline.abandon() == begun
        assert [t.verdict for t in begun] == [UNCERTAIN] * depth + [UNSENT]
        assert [t.phase for t in begun] == [[MAIL, RCPT, RCPT, END][answered]] + [MAIL] * depth

    @pytest.mark.parametrize("depth", [1, 2, 3, 4])
    @pytest.mark.parametrize("answered", range(4))
    def test_421_in_place_of_a_reply_leaves_nothing_uncertain(self, depth: int, answered: int) -> None:
        pipeline, begun = ready(*"abcde"[: depth + 1], depth=depth)
        talk(pipeline, "250 " * answered)
        assert pipeline.abandon(GOODBYE) == begun
        assert all((t.verdict, t.reply) == (UNSENT, GOODBYE) for t in begun)

    @pytest.mark.parametrize("depth", [1, 2, 3, 4])
    @pytest.mark.parametrize("answered", range(4))
    def test_a_421_from_a_server_that_goes_on_answering_decides_its_own_end_at_most(
        self, depth: int, answered: int
    ) -> None:
        pipeline, begun = ready(*"abcde"[: depth + 1], depth=depth)
        talk(pipeline, "250 " * answered)
        assert pipeline.abandon(GOODBYE, goes_on=True) == begun
        own = UNSENT if answered == 3 else UNCERTAIN
        assert [t.verdict for t in begun] == [own] + [UNCERTAIN] * (depth - 1) + [UNSENT]

    def test_before_it_was_taken_to_be_written(self) -> None:
        pipeline, begun = ready("a", "b", depth=4)
        assert pipeline.abandon() == begun
        assert {t.verdict for t in begun} == {UNSENT}

    @pytest.mark.parametrize("blocks", [1, 2])
    def test_in_the_midst_of_the_content(self, blocks: int) -> None:
        pipeline, (t,) = ready("a", body=LARGE)
        for _ in range(blocks):
            pipeline.data_to_send()
        assert pipeline.abandon() == [t]
        assert t.verdict is UNSENT
        assert writes(pipeline) == []

    def test_with_the_last_block(self) -> None:
        pipeline, (t,) = ready("a", body=LARGE)
        for _ in range(3):
            pipeline.data_to_send()
        pipeline.abandon()
        assert t.verdict is UNCERTAIN


class TestForgottenReply:
    """Exim 4.96 does not answer BDAT when its disk gets full meanwhile. What it says to the RSET behind is no acceptance."""

    @staticmethod
    def say(pipeline: Pipeline, *replies: str) -> None:
        for reply in replies:
            writes(pipeline)
            pipeline.receive(Reply.of(reply))

    @pytest.mark.rule("P-14")
    @pytest.mark.rule("P-15")
    @pytest.mark.rule("P-18")
    def test_the_message_is_in_doubt(self) -> None:
        pipeline, begun = ready("a", "b")
        self.say(pipeline, "250 OK", "250 Accepted", "250 Accepted", "250 OK id=1", "250 Reset OK")
        self.say(pipeline, "250 OK", "250 Accepted", "250 Accepted")
        writes(pipeline)
        with pytest.raises(ProtocolViolation, match="as RSET used to be: 250 Reset OK"):
            pipeline.receive(Reply.of("250 Reset OK"))
        pipeline.abandon()
        assert [t.verdict for t in begun] == [ACCEPTED, UNCERTAIN]

    @pytest.mark.parametrize("first", ["250 OK", "554 no"])
    def test_a_server_that_answers_everything_alike_is_believed(self, first: str) -> None:
        pipeline, begun = ready("a", "b")
        self.say(pipeline, "250 OK", "250 OK", "250 OK", first, "250 OK", "250 OK", "250 OK", "250 OK")
        self.say(pipeline, "250 OK")
        assert begun[1].verdict is ACCEPTED
