"""What the end of a transaction means for its message: an outcome, the rest of the recipients, or another try.

Pure decisions over a delivery and a transaction; the pool carries them out.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import (
    AuthenticationFailed,
    DeadlineExceeded,
    Deferred,
    DeliveryUncertain,
    PoolClosed,
    QuotaExceeded,
    Rejected,
    SendError,
    Throttled,
)
from ..options import Options
from ..policy.meaning import Less, Meaning, classify, too_many_recipients
from ..results import Outcome, Phase, RecipientResult, Reply, SendResult
from ..smtp.transaction import Transaction, Verdict
from .delivery import Delivery

_ERROR: dict[Outcome, type[SendError]] = {
    Outcome.REJECTED: Rejected,
    Outcome.DEFERRED: Deferred,
    Outcome.THROTTLED: Throttled,
    Outcome.QUOTA: QuotaExceeded,
    Outcome.AUTH_FAILED: AuthenticationFailed,
}
# How long a quota is taken for used up when the server does not say until when, in seconds.
_QUOTA_WAIT = 60.0


class Next(enum.Enum):
    """What is to be done with the delivery now."""

    SETTLE = "every recipient has an outcome"
    CONTINUE = "the rest of the recipients, in a further transaction"
    REPLACE = "again on another connection, not counted"
    REQUEUE = "again, counted"
    FAIL = "no further try is allowed"


class Asked(NamedTuple):
    """The server wants less of something, and then takes the message for these recipients (P-24)."""

    reply: Reply
    phase: Phase
    meaning: Meaning
    recipients: Sequence[int]


def asked_for_less(delivery: Delivery, transaction: Transaction) -> Asked | None:
    """Whether a reply to the transaction asks for less. To be called before ``absorb``."""
    reply, verdict = transaction.reply, transaction.verdict
    if verdict is Verdict.UNSENT and reply is not None:
        meaning = classify(reply, transaction.phase)
        # An end that was due is an event of the connection, as any other.
        if meaning.less in (None, Less.SESSION, Less.IDLENESS):
            return None
        return Asked(reply, transaction.phase, meaning, ())
    if verdict is not Verdict.ACCEPTED and verdict is not Verdict.REFUSED:
        return None
    asked: Asked | None = None
    concerned = []
    for position, index in enumerate(delivery.batch):
        refusal, phase = transaction.refused.get(position), Phase.RCPT
        if refusal is None and transaction.replies and position in transaction.replies:
            refusal, phase = transaction.replies[position], Phase.END_OF_DATA
        elif refusal is None and verdict is Verdict.REFUSED:
            refusal, phase = reply, transaction.phase
        if refusal is None:
            continue
        meaning = classify(refusal, phase)
        if meaning.less is not None:
            concerned.append(index)
            asked = asked or Asked(refusal, phase, meaning, concerned)
    return asked


def reopen(delivery: Delivery, asked: Asked) -> None:
    """The recipients whom the server wants later have no outcome after all."""
    again = set(asked.recipients)
    delivery.take_back(again)
    delivery.pending = sorted(again.union(delivery.pending))


def absorb(delivery: Delivery, transaction: Transaction) -> None:
    """Note the outcome of every recipient of the transaction that has one now (P-12, P-15)."""
    verdict = transaction.verdict
    own = transaction.replies or {}
    if verdict is Verdict.ACCEPTED and not transaction.refused and not own:
        reply = transaction.reply
        recipients = delivery.envelope.recipients
        for index in delivery.batch:
            delivery.note(
                index, RecipientResult(recipients[index], Outcome.ACCEPTED, Phase.END_OF_DATA, reply)
            )
        _settle_batch(delivery)
        return
    batch = delivery.batch
    refused = transaction.refused
    # Refused for being one too many means "later", as long as the server takes some of them at a time.
    some_taken = len(refused) < len(batch) and verdict is not Verdict.REFUSED
    taken = 0
    for position, index in enumerate(batch):
        address = delivery.envelope.recipients[index]
        refusal = refused.get(position)
        if refusal is not None:
            if not (some_taken and too_many_recipients(refusal)):
                outcome = classify(refusal, Phase.RCPT).outcome
                delivery.note(index, RecipientResult(address, outcome, Phase.RCPT, refusal))
            continue
        taken += 1
        if position in own:
            outcome = classify(own[position], Phase.END_OF_DATA).outcome
            delivery.note(index, RecipientResult(address, outcome, Phase.END_OF_DATA, own[position]))
        elif verdict is Verdict.ACCEPTED:
            delivery.note(
                index, RecipientResult(address, Outcome.ACCEPTED, Phase.END_OF_DATA, transaction.reply)
            )
        elif verdict is Verdict.REFUSED:
            assert transaction.reply is not None
            outcome = classify(transaction.reply, transaction.phase).outcome
            delivery.note(index, RecipientResult(address, outcome, transaction.phase, transaction.reply))
    if some_taken and any(too_many_recipients(reply) for reply in refused.values()):
        delivery.most_recipients = taken  # never more than before: the batch was not larger
    _settle_batch(delivery)


def _settle_batch(delivery: Delivery) -> None:
    """Take those that have an outcome out of ``pending``, at the cost of the batch and not of all that still wait."""
    batch, pending = delivery.batch, delivery.pending
    delivery.batch = ()
    if len(delivery.outcomes) == len(delivery.envelope.recipients):
        delivery.pending = range(0)
        return
    left = [index for index in batch if index not in delivery.outcomes]
    count = len(batch)
    if list(pending[:count]) == list(batch):
        rest = pending[count:]
    else:
        # Picked by their domains (RFC 9422), and so from anywhere.
        picked = set(batch)
        rest = [index for index in pending if index not in picked]
    delivery.pending = [*left, *rest] if left else rest


def next_step(delivery: Delivery, transaction: Transaction, options: Options) -> Next:
    """What is to be done after ``absorb`` (P-11, P-18). Counts nothing."""
    if not delivery.pending:
        return Next.SETTLE
    if transaction.verdict in (Verdict.ACCEPTED, Verdict.REFUSED):
        return Next.CONTINUE
    if delivery.given_up or transaction.failure is not None:
        return Next.FAIL
    if transaction.verdict is Verdict.UNCERTAIN:
        allowed = options.on_uncertain == "requeue" and delivery.duplicates < options.max_duplicates
        return Next.REQUEUE if allowed and options.max_requeues != 0 else Next.FAIL
    # A relay that restarts kills all connections that were idle, and one message may meet them all; one that dies at
    # work may also have died of this message, and is excused once; so is any, after the message has lost two others.
    excused = not delivery.replaced or (delivery.stale and delivery.requeues < 2)
    if (delivery.stale or delivery.reused) and excused and not transaction.mail_answered:
        return Next.REPLACE
    if options.max_requeues < 0 or delivery.requeues < options.max_requeues:
        return Next.REQUEUE
    return Next.FAIL


def whole_result(delivery: Delivery, transaction: Transaction, now: float) -> SendResult | None:
    """What the caller is told when the server took the message for all recipients at once, as nearly always.

    The same that ``absorb`` and ``result`` come to by way of each recipient; None when there is more to it.
    """
    recipients = delivery.envelope.recipients
    reply = transaction.reply
    if (
        transaction.verdict is not Verdict.ACCEPTED
        or transaction.refused
        or transaction.replies
        or len(delivery.batch) != len(recipients)
        or reply is None
        or delivery.first_begun_at is None
    ):
        return None
    return SendResult(
        delivery.message_id,
        delivery.envelope.sender,
        tuple([RecipientResult(one, Outcome.ACCEPTED, Phase.END_OF_DATA, reply) for one in recipients]),
        reply,
        delivery.content.size,
        delivery.attempts,
        delivery.maybe_duplicate,
        delivery.first_begun_at - delivery.queued_at,
        now - delivery.first_begun_at,
    )


def result(delivery: Delivery, now: float) -> SendResult | SendError:
    """What the caller is told when every recipient has an outcome."""
    recipients = delivery.recipients(Outcome.DEFERRED, Phase.QUEUE)
    for recipient in reversed(recipients):
        if recipient.outcome is Outcome.ACCEPTED:
            assert recipient.reply is not None
            first_begun_at = now if delivery.first_begun_at is None else delivery.first_begun_at
            return SendResult(
                delivery.message_id,
                delivery.envelope.sender,
                recipients,
                recipient.reply,
                delivery.content.size,
                delivery.attempts,
                delivery.maybe_duplicate,
                first_begun_at - delivery.queued_at,
                now - first_begun_at,
            )
    return _refusal(delivery, recipients)


def _refusal(delivery: Delivery, recipients: tuple[RecipientResult, ...]) -> SendError:
    """All recipients refused. What may succeed later decides the class, so that a retry is not missed."""
    decisive = next((r for r in recipients if r.outcome is not Outcome.REJECTED), recipients[0])
    reply = decisive.reply
    assert reply is not None
    meaning = classify(reply, decisive.phase)
    who = recipients[0].address if len(recipients) == 1 else f"all {len(recipients)} recipients"
    return _ERROR[decisive.outcome](
        f"the server refused {'the message' if decisive.phase is not Phase.RCPT else who} at {decisive.phase}: {reply}. "
        f"{meaning.advice}".rstrip(),
        phase=decisive.phase,
        reply=reply,
        temporary=decisive.outcome is not Outcome.REJECTED and decisive.outcome is not Outcome.AUTH_FAILED,
        retry_after=meaning.retry_after,
        recipients=recipients,
        message_id=delivery.message_id,
        attempts=delivery.attempts,
        may_have_been_delivered=delivery.may_have_been_delivered,
    )


def failure(delivery: Delivery, transaction: Transaction, cause: SendError) -> SendError:
    """The connection was lost and no further try is allowed."""
    if transaction.verdict is Verdict.UNCERTAIN:
        error = DeliveryUncertain(
            f"the connection was lost after the message was sent and before the server answered ({cause}); "
            "it may or may not have been delivered, and sending it again may make a second copy",
            phase=Phase.END_OF_DATA,
            reply=cause.reply,
            temporary=True,
            may_have_been_delivered=True,
            recipients=delivery.recipients(Outcome.UNCERTAIN, Phase.END_OF_DATA),
            message_id=delivery.message_id,
            attempts=delivery.attempts,
        )
        error.__cause__ = cause
        return error
    return told(transaction.failure or cause, delivery)


def told(error: SendError, delivery: Delivery) -> SendError:
    """The error of a connection, as the outcome of one message."""
    return error.for_message(
        delivery.message_id,
        delivery.attempts,
        delivery.recipients(error.outcome, error.phase),
        may_have_been_delivered=delivery.may_have_been_delivered,
    )


def quota_lasts(error: QuotaExceeded) -> float:
    """For how many seconds messages fail untried after this (P-19a)."""
    return _QUOTA_WAIT if error.retry_after is None else error.retry_after


def pool_closed(delivery: Delivery) -> PoolClosed:
    """The outcome of a message that was not sent before the transporter was closed (P-29)."""
    return PoolClosed(
        "the transporter was closed before the message was sent",
        phase=Phase.QUEUE,
        temporary=True,
        message_id=delivery.message_id,
        attempts=delivery.attempts,
        recipients=delivery.recipients(PoolClosed.outcome, Phase.QUEUE),
        may_have_been_delivered=delivery.may_have_been_delivered,
    )


def deadline_exceeded(delivery: Delivery, seconds: float, phase: Phase, on_its_way: bool) -> DeadlineExceeded:
    """The outcome of a message whose deadline has passed.

    :param seconds: what its deadline was
    :param on_its_way: whether it may still be delivered
    """
    return DeadlineExceeded(
        f"the message had no outcome within its deadline of {seconds:g} s"
        + ("; it may still be delivered" if on_its_way else ""),
        phase=phase,
        temporary=True,
        may_have_been_delivered=delivery.may_have_been_delivered or on_its_way,
        message_id=delivery.message_id,
        attempts=delivery.attempts,
        recipients=delivery.recipients(DeadlineExceeded.outcome, phase),
    )
