"""What the end of a transaction means for its message, and what the caller is told (P-11, P-12, P-15, P-18)."""

from __future__ import annotations

from typing import Any, cast

import pytest

from mailpool.address import Envelope
from mailpool.content import BytesContent
from mailpool.errors import (
    ConnectionFailed,
    Deferred,
    DeliveryUncertain,
    QuotaExceeded,
    Rejected,
    SendError,
    Throttled,
    TimedOut,
)
from mailpool.message import Sealed
from mailpool.options import Options
from mailpool.policy.state import Lane
from mailpool.pool.delivery import Delivery
from mailpool.pool.settlement import Next, absorb, failure, next_step, result
from mailpool.results import Outcome, Phase, RecipientResult, Reply, SendResult
from mailpool.smtp.transaction import Transaction, Verdict

PEOPLE = tuple(f"{name}@example.org" for name in "abcd")
OK = Reply.of("250 2.0.0 queued")
NO = Reply.of("550 5.1.1 no such user")
LATER = Reply.of("450 4.2.1 later")
FULL = Reply.of("452 4.5.3 too many recipients")
FULL_TOO = Reply.of("552 too many recipients")
CLOSING = Reply.of("421 4.3.2 closing")
ACCEPTED, REFUSED, UNSENT, UNCERTAIN = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.UNSENT, Verdict.UNCERTAIN
END = Phase.END_OF_DATA


def delivery(count: int = 3, **about: Any) -> Delivery:
    sealed = Sealed(Envelope("s@example.org", PEOPLE[:count]), BytesContent(b"x" * 40), "<1@example.org>")
    made = Delivery(sealed, lane=Lane("key"), future=cast("Any", None), now=100.0)
    made.batch = made.pending
    made.attempts = 1
    for name, value in about.items():
        setattr(made, name, value)
    return made


def ended(
    verdict: Verdict,
    phase: Phase = END,
    reply: Reply | None = None,
    refused: dict[int, Reply] | None = None,
    *,
    answered: int = 1,
    count: int = 3,
) -> Transaction:
    t = Transaction(b"MAIL\r\n", [b"RCPT\r\n"] * count, BytesContent(b"x"))
    t.end(verdict, phase)
    t.reply = reply
    t.refused = refused or {}
    t.answered = answered
    return t


def outcomes(made: Delivery) -> dict[str, str]:
    return {r.address[0]: r.outcome.value for r in made.outcomes.values()}


class TestAbsorb:
    @pytest.mark.rule("P-15")
    @pytest.mark.rule("SRV-14")
    @pytest.mark.parametrize(
        ("transaction", "expected"),
        [
            (ended(ACCEPTED, reply=OK), "a accepted, b accepted, c accepted"),
            (ended(ACCEPTED, reply=OK, refused={1: NO}), "a accepted, b rejected, c accepted"),
            (ended(ACCEPTED, reply=OK, refused={0: LATER, 1: NO}), "a deferred, b rejected, c accepted"),
            (ended(REFUSED, Phase.MAIL, NO), "a rejected, b rejected, c rejected"),
            (ended(REFUSED, Phase.MAIL, LATER), "a deferred, b deferred, c deferred"),
            (
                ended(REFUSED, Phase.RCPT, None, {0: NO, 1: LATER, 2: NO}),
                "a rejected, b deferred, c rejected",
            ),
            (ended(REFUSED, Phase.DATA, LATER, {2: NO}), "a deferred, b deferred, c rejected"),
            (
                ended(REFUSED, END, Reply.of("554 5.7.1 spam"), {0: LATER}),
                "a deferred, b rejected, c rejected",
            ),
            # A message that was refused is not tried again with those for whom there was no room.
            (
                ended(REFUSED, END, Reply.of("554 5.7.1 spam"), {2: FULL}),
                "a rejected, b rejected, c deferred",
            ),
            (ended(REFUSED, Phase.DATA, LATER, {0: FULL_TOO}), "a deferred, b deferred, c deferred"),
            (ended(UNSENT, Phase.MAIL), ""),
            (ended(UNSENT, Phase.DATA, CLOSING, {1: NO}), "b rejected"),
            (ended(UNCERTAIN, END, None, {2: LATER}), "c deferred"),
            (ended(UNCERTAIN, END), ""),
        ],
    )
    def test_every_recipient_that_has_an_outcome(self, transaction: Transaction, expected: str) -> None:
        made = delivery()
        absorb(made, transaction)
        assert ", ".join(f"{who} {what}" for who, what in sorted(outcomes(made).items())) == expected
        assert list(made.pending) == [i for i in range(3) if i not in made.outcomes]
        assert list(made.batch) == []

    def test_each_with_the_reply_that_decided(self) -> None:
        made = delivery()
        absorb(made, ended(ACCEPTED, reply=OK, refused={1: NO}))
        assert made.outcomes == {
            0: RecipientResult(PEOPLE[0], Outcome.ACCEPTED, END, OK),
            1: RecipientResult(PEOPLE[1], Outcome.REJECTED, Phase.RCPT, NO),
            2: RecipientResult(PEOPLE[2], Outcome.ACCEPTED, END, OK),
        }

    @pytest.mark.rule("P-12")
    def test_positions_in_a_batch_are_not_those_in_the_envelope(self) -> None:
        made = delivery(4, batch=[1, 3], pending=[1, 3])
        absorb(made, ended(ACCEPTED, reply=OK, refused={1: NO}, count=2))
        assert outcomes(made) == {"b": "accepted", "d": "rejected"}

    @pytest.mark.rule("P-12")
    @pytest.mark.rule("SRV-18")
    @pytest.mark.parametrize("full", [FULL, FULL_TOO])
    @pytest.mark.parametrize("verdict", [ACCEPTED, UNSENT, UNCERTAIN])
    def test_too_many_recipients_means_the_rest_later(self, full: Reply, verdict: Verdict) -> None:
        made = delivery(4)
        absorb(made, ended(verdict, reply=OK, refused={0: NO, 2: full, 3: full}, count=4))
        assert outcomes(made) == (
            {"a": "rejected", "b": "accepted"} if verdict is ACCEPTED else {"a": "rejected"}
        )
        assert list(made.pending) == ([2, 3] if verdict is ACCEPTED else [1, 2, 3])
        assert made.most_recipients == 1

    @pytest.mark.rule("P-12")
    def test_unless_not_one_was_taken(self) -> None:
        """Then there is no number that would do, and it would go on for ever."""
        made = delivery(2)
        absorb(made, ended(REFUSED, Phase.RCPT, None, {0: FULL, 1: FULL}, count=2))
        assert outcomes(made) == {"a": "deferred", "b": "deferred"}
        assert list(made.pending) == []

    @pytest.mark.rule("P-12")
    def test_a_full_mailbox_is_no_full_transaction(self) -> None:
        made = delivery(2)
        absorb(made, ended(ACCEPTED, reply=OK, refused={1: Reply.of("452 4.2.2 mailbox full")}, count=2))
        assert outcomes(made) == {"a": "accepted", "b": "deferred"}
        assert made.most_recipients is None

    @pytest.mark.rule("P-12")
    def test_transaction_after_transaction(self) -> None:
        made = delivery(4)
        for taken in range(4):
            absorb(
                made,
                ended(ACCEPTED, reply=OK, refused=dict.fromkeys(range(1, 4 - taken), FULL), count=4 - taken),
            )
            assert list(made.pending) == list(range(taken + 1, 4))
            made.batch = made.pending
        assert set(outcomes(made).values()) == {"accepted"}
        assert isinstance(result(made, 101.0), SendResult)


class TestNextStep:
    @pytest.mark.parametrize(
        ("verdict", "pending", "step"),
        [
            (ACCEPTED, [], Next.SETTLE),
            (REFUSED, [], Next.SETTLE),
            (UNSENT, [], Next.SETTLE),  # all were refused before the connection was lost
            (UNCERTAIN, [], Next.SETTLE),
            (ACCEPTED, [1], Next.CONTINUE),
            (REFUSED, [1], Next.CONTINUE),
            (UNSENT, [1], Next.REQUEUE),
            (UNCERTAIN, [1], Next.REQUEUE),
        ],
    )
    def test_by_verdict(self, verdict: Verdict, pending: list[int], step: Next) -> None:
        assert next_step(delivery(pending=pending), ended(verdict), Options()) is step

    @pytest.mark.rule("P-11")
    @pytest.mark.parametrize(
        ("about", "answered", "step"),
        [
            ({"reused": True}, 0, Next.REPLACE),
            ({"reused": True, "requeues": 5}, 0, Next.REPLACE),
            ({"reused": True}, 1, Next.REQUEUE),  # the server has said something to MAIL
            ({"reused": False}, 0, Next.REQUEUE),  # a new connection is no stale one
            ({"reused": True, "replaced": True}, 0, Next.REQUEUE),  # once
        ],
    )
    def test_one_replacement_is_free(self, about: dict[str, Any], answered: int, step: Next) -> None:
        transaction = ended(UNSENT, Phase.MAIL, answered=answered)
        assert next_step(delivery(**about), transaction, Options()) is step
        # Also where no requeue is allowed: it is not counted as one.
        strict = Options(max_requeues=0)
        expected = step if step is Next.REPLACE else Next.FAIL
        assert next_step(delivery(**about), transaction, strict) is expected

    @pytest.mark.rule("P-11")
    def test_an_uncertain_message_is_never_replaced_for_free(self) -> None:
        transaction = ended(UNCERTAIN, answered=0)
        assert next_step(delivery(reused=True), transaction, Options(max_requeues=0)) is Next.FAIL

    @pytest.mark.rule("P-18")
    @pytest.mark.rule("POL-07")
    @pytest.mark.parametrize(
        ("max_requeues", "requeues", "step"),
        [
            (-1, 0, Next.REQUEUE),
            (-1, 10**6, Next.REQUEUE),
            (0, 0, Next.FAIL),
            (1, 0, Next.REQUEUE),
            (1, 1, Next.FAIL),
            (3, 2, Next.REQUEUE),
            (3, 3, Next.FAIL),
        ],
    )
    def test_requeues_are_bounded(self, max_requeues: int, requeues: int, step: Next) -> None:
        options = Options(max_requeues=max_requeues)
        assert next_step(delivery(requeues=requeues), ended(UNSENT), options) is step

    @pytest.mark.rule("P-18")
    @pytest.mark.rule("POL-06")
    @pytest.mark.rule("SRV-13")
    @pytest.mark.parametrize(
        ("options", "duplicates", "step"),
        [
            ({}, 0, Next.REQUEUE),
            ({}, 1, Next.FAIL),
            ({"max_duplicates": 0}, 0, Next.FAIL),
            ({"max_duplicates": 3}, 2, Next.REQUEUE),
            ({"max_duplicates": 3}, 3, Next.FAIL),
            ({"on_uncertain": "fail"}, 0, Next.FAIL),
            ({"on_uncertain": "fail", "max_duplicates": 9}, 0, Next.FAIL),
            ({"max_requeues": 0}, 0, Next.FAIL),
            ({"max_requeues": 1}, 0, Next.REQUEUE),
            ({"max_requeues": -1}, 1, Next.FAIL),
        ],
    )
    def test_uncertain(self, options: dict[str, Any], duplicates: int, step: Next) -> None:
        made = delivery(duplicates=duplicates, requeues=duplicates)
        assert next_step(made, ended(UNCERTAIN), Options(**options)) is step

    @pytest.mark.rule("P-18")
    def test_max_duplicates_holds_whatever_max_requeues_says(self) -> None:
        made = delivery(requeues=50, duplicates=0)
        assert next_step(made, ended(UNCERTAIN), Options(max_requeues=50)) is Next.REQUEUE

    @pytest.mark.rule("P-27")
    @pytest.mark.parametrize("verdict", [UNSENT, UNCERTAIN])
    def test_it_was_given_up(self, verdict: Verdict) -> None:
        assert (
            next_step(delivery(given_up=True, reused=True), ended(verdict, answered=0), Options())
            is Next.FAIL
        )


class TestResult:
    @pytest.mark.rule("P-15")
    def test_accepted_by_some_is_success(self) -> None:
        made = delivery(first_begun_at=103.0, attempts=2, maybe_duplicate=True)
        absorb(made, ended(ACCEPTED, reply=OK, refused={1: NO}))
        told = result(made, 107.5)
        assert isinstance(told, SendResult)
        assert told.accepted == ("a@example.org", "c@example.org")
        assert told.rejected == ("b@example.org",)
        assert [r.reply for r in told.recipients] == [OK, NO, OK]
        assert (told.message_id, told.sender, told.size) == ("<1@example.org>", "s@example.org", 40)
        assert (told.attempts, told.maybe_duplicate) == (2, True)
        assert (told.waited, told.took) == (3.0, 4.5)
        assert (told.reply, told.response) == (OK, "250 2.0.0 queued")

    @pytest.mark.rule("P-12")
    @pytest.mark.rule("P-15")
    def test_one_of_several_transactions_is_enough(self) -> None:
        """The first recipient was refused, and the transaction of the last ones too; the one between went through."""
        made = delivery(4, batch=[0])
        absorb(made, ended(REFUSED, Phase.RCPT, None, {0: NO}, count=1))
        made.batch = [1, 2]
        absorb(made, ended(ACCEPTED, reply=OK, count=2))
        made.batch = [3]
        absorb(made, ended(REFUSED, Phase.MAIL, LATER, count=1))
        told = result(made, 101.0)
        assert isinstance(told, SendResult)
        assert told.accepted == PEOPLE[1:3]
        assert told.rejected == (PEOPLE[0], PEOPLE[3])
        assert told.reply == OK

    def test_the_reply_is_that_of_the_last_transaction_that_was_accepted(self) -> None:
        made = delivery(2, batch=[0])
        absorb(made, ended(ACCEPTED, reply=OK, count=1))
        made.batch = [1]
        last = Reply.of("250 2.0.0 queued too")
        absorb(made, ended(ACCEPTED, reply=last, count=1))
        told = result(made, 101.0)
        assert isinstance(told, SendResult)
        assert told.reply == last

    def test_a_clock_that_begins_with_the_message(self) -> None:
        made = delivery(queued_at=0.0, first_begun_at=0.0)
        absorb(made, ended(ACCEPTED, reply=OK))
        told = result(made, 5.0)
        assert isinstance(told, SendResult)
        assert (told.waited, told.took) == (0.0, 5.0)

    @pytest.mark.rule("P-15")
    @pytest.mark.rule("P-16")
    @pytest.mark.rule("P-17")
    @pytest.mark.parametrize(
        ("transaction", "kind", "phase", "temporary"),
        [
            (ended(REFUSED, Phase.MAIL, NO), Rejected, Phase.MAIL, False),
            (ended(REFUSED, Phase.MAIL, LATER), Deferred, Phase.MAIL, True),
            (ended(REFUSED, Phase.RCPT, None, dict.fromkeys(range(3), NO)), Rejected, Phase.RCPT, False),
            # What may succeed later decides, so that a retry is not missed.
            (ended(REFUSED, Phase.RCPT, None, {0: NO, 1: LATER, 2: NO}), Deferred, Phase.RCPT, True),
            (ended(REFUSED, END, Reply.of("554 spam"), {0: LATER}), Deferred, Phase.RCPT, True),
            (ended(REFUSED, END, Reply.of("554 spam"), {0: NO}), Rejected, Phase.RCPT, False),
            (ended(REFUSED, END, Reply.of("451 too fast, slow down")), Throttled, END, True),
            (ended(REFUSED, END, Reply.of("550 daily sending quota exceeded")), QuotaExceeded, END, True),
        ],
    )
    def test_all_refused_is_an_error(
        self, transaction: Transaction, kind: type[SendError], phase: Phase, temporary: bool
    ) -> None:
        made = delivery()
        absorb(made, transaction)
        error = result(made, 105.0)
        assert type(error) is kind
        assert (error.phase, error.temporary) == (phase, temporary)
        assert (error.message_id, error.attempts) == ("<1@example.org>", 1)
        assert error.accepted == ()
        assert error.rejected == PEOPLE[:3]
        assert error.reply is not None
        assert str(error.reply) in str(error)
        assert not error.may_have_been_delivered

    def test_a_refusal_after_an_uncertain_try_says_so(self) -> None:
        made = delivery(maybe_duplicate=True, attempts=2)
        absorb(made, ended(REFUSED, END, Reply.of("554 duplicate")))
        error = result(made, 105.0)
        assert isinstance(error, Rejected)
        assert error.may_have_been_delivered


class TestFailure:
    CAUSE = TimedOut("no reply", phase=END, temporary=True)

    @pytest.mark.rule("P-17")
    @pytest.mark.rule("P-18")
    @pytest.mark.rule("SRV-13")
    def test_uncertain(self) -> None:
        made = delivery(attempts=2)
        transaction = ended(UNCERTAIN, refused={1: NO})
        absorb(made, transaction)
        error = failure(made, transaction, self.CAUSE)
        assert type(error) is DeliveryUncertain
        assert error.__cause__ is self.CAUSE
        assert error.may_have_been_delivered
        assert (error.phase, error.attempts, error.message_id) == (END, 2, "<1@example.org>")
        assert [r.outcome for r in error.recipients] == [
            Outcome.UNCERTAIN,
            Outcome.REJECTED,
            Outcome.UNCERTAIN,
        ]
        assert [r.reply for r in error.recipients] == [None, NO, None]

    @pytest.mark.rule("P-16")
    @pytest.mark.parametrize("before", [False, True])
    def test_unsent(self, before: bool) -> None:
        made = delivery(maybe_duplicate=before)
        transaction = ended(UNSENT, Phase.RCPT, CLOSING, {0: NO})
        absorb(made, transaction)
        cause = ConnectionFailed("closed", phase=Phase.RCPT, reply=CLOSING, temporary=True)
        error = failure(made, transaction, cause)
        assert type(error) is ConnectionFailed
        assert error is not cause
        assert (error.reply, error.temporary, error.may_have_been_delivered) == (CLOSING, True, before)
        assert [r.outcome for r in error.recipients] == [
            Outcome.REJECTED,
            Outcome.CONNECTION_FAILED,
            Outcome.CONNECTION_FAILED,
        ]
        assert (cause.message_id, cause.recipients) == (None, ())

    def test_what_was_accepted_before_is_told(self) -> None:
        made = delivery(4, batch=[0, 1])
        absorb(made, ended(ACCEPTED, reply=OK, count=2))
        made.batch = made.pending
        transaction = ended(UNSENT, Phase.MAIL)
        absorb(made, transaction)
        error = failure(made, transaction, ConnectionFailed("closed", phase=Phase.MAIL))
        assert error.accepted == PEOPLE[:2]
        assert error.rejected == PEOPLE[2:]
