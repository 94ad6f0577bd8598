"""A connection that ends: what was never accepted, and what nobody knows. And replies that nothing asked for."""

from __future__ import annotations

import pytest
from transactions import answer, talk, transaction, writes

from mailpool.results import Phase, Reply
from mailpool.smtp.pipeline import ONE_PIECE, Pipeline
from mailpool.smtp.replies import ProtocolViolation
from mailpool.smtp.transaction import Transaction, Verdict

GOODBYE = Reply.of("421 4.3.2 closing")
LARGE = b"x" * (ONE_PIECE + 1)
UNSENT, UNCERTAIN = Verdict.UNSENT, Verdict.UNCERTAIN


def permitted(body: bytes = b"hi\r\n") -> tuple[Pipeline, Transaction]:
    """A transaction whose content may go out now."""
    pipeline = Pipeline(pipelining=True)
    t = transaction(recipients=2, body=body)
    pipeline.begin(t)
    writes(pipeline)
    answer(pipeline, "250 250 250 354")
    return pipeline, t


@pytest.mark.rule("P-06")
@pytest.mark.rule("P-18")
@pytest.mark.rule("SRV-08")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("codes", "phase", "silent"),
    [
        ("", Phase.MAIL, UNSENT),
        ("250", Phase.RCPT, UNSENT),
        ("250 250", Phase.RCPT, UNSENT),
        ("250 550", Phase.RCPT, UNSENT),
        ("250 250 250", Phase.DATA, UNSENT),
        ("250 550 250", Phase.DATA, UNSENT),
        ("250 250 250 354", Phase.END_OF_DATA, UNCERTAIN),
        ("250 550 250 354", Phase.END_OF_DATA, UNCERTAIN),
    ],
)
class TestLost:
    def test_without_a_word(self, pipelining: bool, codes: str, phase: Phase, silent: Verdict) -> None:
        pipeline = Pipeline(pipelining=pipelining)
        t = transaction(recipients=2)
        pipeline.begin(t)
        talk(pipeline, codes)
        assert pipeline.awaited is phase
        assert pipeline.abandon() == [t]
        assert (t.verdict, t.phase, t.reply) == (silent, phase, None)
        assert pipeline.finished == []
        assert pipeline.is_idle
        assert writes(pipeline) == []

    def test_with_421_in_place_of_the_reply(
        self, pipelining: bool, codes: str, phase: Phase, silent: Verdict
    ) -> None:
        """Servers answer in order: nothing from that command on was accepted, the end of the data included."""
        pipeline = Pipeline(pipelining=pipelining)
        t = transaction(recipients=2)
        pipeline.begin(t)
        talk(pipeline, codes)
        assert pipeline.abandon(GOODBYE) == [t]
        assert (t.verdict, t.phase, t.reply) == (UNSENT, phase, GOODBYE)
        # A recipient that was refused before stays refused.
        assert set(t.refused) == ({0} if "550" in codes else set())


class TestLostWithTwo:
    def ready(self) -> tuple[Pipeline, Transaction, Transaction]:
        pipeline = Pipeline(pipelining=True)
        first, second = transaction("a", 2), transaction("b", 2)
        pipeline.begin(first)
        talk(pipeline, "250 250 250")
        pipeline.receive(Reply.of("354"))
        pipeline.begin(second)
        return pipeline, first, second

    @pytest.mark.rule("P-18")
    @pytest.mark.parametrize(("closing", "verdict"), [(None, UNCERTAIN), (GOODBYE, UNSENT)])
    def test_only_the_one_whose_end_was_written(self, closing: Reply | None, verdict: Verdict) -> None:
        pipeline, first, second = self.ready()
        writes(pipeline)
        assert pipeline.abandon(closing) == [first, second]
        assert [t.verdict for t in (first, second)] == [verdict, UNSENT]
        assert [t.phase for t in (first, second)] == [Phase.END_OF_DATA, Phase.MAIL]

    @pytest.mark.rule("P-18")
    def test_what_was_not_taken_to_be_written_was_not_sent(self) -> None:
        pipeline, first, second = self.ready()
        assert not first.end_written
        assert pipeline.abandon() == [first, second]
        assert [t.verdict for t in (first, second)] == [UNSENT, UNSENT]
        assert writes(pipeline) == []

    def test_after_the_first_was_answered(self) -> None:
        pipeline, first, second = self.ready()
        talk(pipeline, "250 250")
        assert pipeline.abandon() == [second]
        assert (first.verdict, second.verdict, second.phase) == (Verdict.ACCEPTED, UNSENT, Phase.RCPT)
        assert pipeline.finished == [first]

    def test_both_ends_are_never_unanswered_together(self) -> None:
        """One message at most is uncertain after a loss."""
        pipeline, first, second = self.ready()
        writes(pipeline)
        assert not pipeline.can_begin
        talk(pipeline, "250 250 250 250 354")
        pipeline.begin(transaction("c", 2))
        writes(pipeline)
        assert [t.verdict for t in pipeline.abandon()] == [UNCERTAIN, UNSENT]
        assert first.verdict is Verdict.ACCEPTED
        assert second.verdict is UNCERTAIN

    def test_a_refused_message_whose_dot_is_unanswered_has_its_outcome(self) -> None:
        pipeline = Pipeline(pipelining=True)
        t = transaction(recipients=2)
        pipeline.begin(t)
        talk(pipeline, "250 550 550 354")
        assert pipeline.finished == [t]
        assert pipeline.in_flight == []
        assert pipeline.abandon() == []
        assert t.verdict is Verdict.REFUSED

    def test_while_content_is_written(self) -> None:
        pipeline, t = permitted(LARGE)
        assert pipeline.data_to_send()
        assert pipeline.awaited is Phase.CONTENT
        assert pipeline.abandon() == [t]
        assert (t.verdict, t.phase, t.end_written) == (UNSENT, Phase.CONTENT, False)
        assert writes(pipeline) == []


class TestUnasked:
    @pytest.mark.rule("SRV-03")
    @pytest.mark.parametrize("code", ["250", "220", "354", "550", "451"])
    @pytest.mark.parametrize("pipelining", [True, False])
    def test_when_nothing_is_owed(self, pipelining: bool, code: str) -> None:
        with pytest.raises(ProtocolViolation, match="nothing asked for"):
            Pipeline(pipelining=pipelining).receive(Reply.of(code))

    @pytest.mark.rule("SRV-03")
    @pytest.mark.parametrize("code", ["250", "550"])
    def test_before_a_byte_was_written(self, code: str) -> None:
        """The reply lay there already when the message was begun: it is not its answer."""
        pipeline = Pipeline(pipelining=True)
        t = transaction(recipients=2)
        pipeline.begin(t)
        with pytest.raises(ProtocolViolation):
            pipeline.receive(Reply.of(code))
        assert pipeline.abandon() == [t]
        assert (t.verdict, t.mail_answered) == (UNSENT, False)

    @pytest.mark.rule("SRV-03")
    @pytest.mark.rule("SRV-15")
    @pytest.mark.parametrize("codes", ["250", "250 250", "250 250 250", "250 250 250 354", "250 550 250"])
    @pytest.mark.parametrize("extra", ["250", "550"])
    def test_two_replies_to_one_command(self, codes: str, extra: str) -> None:
        """Without PIPELINING one command is out at a time, so a second reply in the same packet answers nothing."""
        pipeline = Pipeline(pipelining=False)
        t = transaction(recipients=2)
        pipeline.begin(t)
        *before, last = codes.split()
        talk(pipeline, " ".join(before))
        pipeline.receive(Reply.of(last))
        with pytest.raises(ProtocolViolation):
            pipeline.receive(Reply.of(extra))
        assert t.verdict is not Verdict.ACCEPTED
        pipeline.abandon()
        assert t.verdict is (Verdict.REFUSED if (codes, extra) == ("250 250 250 354", "550") else UNSENT)

    @pytest.mark.rule("P-02")
    @pytest.mark.rule("SRV-15")
    @pytest.mark.parametrize("pipelining", [True, False])
    def test_one_reply_too_many_reaches_no_other_message(self, pipelining: bool) -> None:
        pipeline = Pipeline(pipelining=pipelining)
        first, second = transaction("a", 2), transaction("b", 2)
        pipeline.begin(first)
        talk(pipeline, "250 250 250 354 250")
        pipeline.begin(second)
        with pytest.raises(ProtocolViolation):
            pipeline.receive(Reply.of("250 once more"))
        assert second.answered == 0
        assert first.verdict is Verdict.ACCEPTED

    @pytest.mark.rule("SRV-15")
    @pytest.mark.rule("SRV-17")
    def test_more_replies_than_commands_in_a_group(self) -> None:
        pipeline, t = permitted()
        with pytest.raises(ProtocolViolation, match="before the end of the data"):
            pipeline.receive(Reply.of("250"))
        assert pipeline.finished == []
        assert pipeline.abandon() == [t]
        assert t.verdict is UNSENT

    @pytest.mark.rule("SRV-17")
    @pytest.mark.parametrize("code", ["552 5.3.4 too big", "452 4.3.1 disk full"])
    def test_a_refusal_while_content_is_written_is_believed(self, code: str) -> None:
        pipeline, t = permitted(LARGE)
        pipeline.data_to_send()
        with pytest.raises(ProtocolViolation, match="before the end"):
            pipeline.receive(Reply.of(code))
        assert pipeline.finished == [t]
        assert (t.verdict, t.phase, t.reply) == (Verdict.REFUSED, Phase.CONTENT, Reply.of(code))
        assert pipeline.abandon() == []
        assert t.verdict is Verdict.REFUSED

    @pytest.mark.rule("SRV-17")
    @pytest.mark.parametrize("code", ["250", "354"])
    def test_acceptance_while_content_is_written_is_not(self, code: str) -> None:
        pipeline, t = permitted(LARGE)
        pipeline.data_to_send()
        with pytest.raises(ProtocolViolation, match="before the end"):
            pipeline.receive(Reply.of(code))
        assert pipeline.finished == []
        assert pipeline.abandon() == [t]

    @pytest.mark.rule("SRV-15")
    def test_one_reply_too_few_leaves_the_rest_unanswered(self) -> None:
        pipeline = Pipeline(pipelining=True)
        t = transaction(recipients=2)
        pipeline.begin(t)
        talk(pipeline, "250 250 250")
        assert pipeline.awaited is Phase.DATA
        assert pipeline.in_flight == [t]
        assert pipeline.finished == []
