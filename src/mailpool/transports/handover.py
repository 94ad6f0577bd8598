"""What the end of a call of ``deliver`` means for its message. Pure, but for looking at the task that made it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from ..errors import (
    AuthenticationFailed,
    ConnectionFailed,
    Deferred,
    DeliveryUncertain,
    MailpoolError,
    QuotaExceeded,
    Rejected,
    SendError,
    Throttled,
)
from ..policy.meaning import LONGEST_WAIT
from ..pool.delivery import Delivery
from ..results import Outcome, Phase, RecipientResult, Reply, SendResult


@dataclass(slots=True)
class Handover:
    """A call of ``deliver`` that is under way."""

    task: asyncio.Task[Any]
    begun_at: float


def outcome_of(task: asyncio.Task[Any], carrier: str) -> SendResult | BaseException:
    """How it ended. Whatever is neither a result nor an error of ours says nothing about where the message is."""
    if task.cancelled():
        return _uncertain(f"{carrier} was stopped")
    error = task.exception()
    if error is None:
        value = task.result()
        if not isinstance(value, SendResult):
            return _uncertain(f"{carrier} returned {type(value).__name__} and no SendResult")
        if not _names_recipients(value):
            return _uncertain(f"{carrier} returned a SendResult whose recipients are no RecipientResult")
        return value
    if isinstance(error, SendError):
        # Made by somebody else, and what is wrong with it must not cost its message the outcome.
        error.retry_after = _seconds(error.retry_after)
        if not _names_recipients(error):
            error.recipients = ()
    if isinstance(error, MailpoolError):
        return error
    # Only its kind: a foreign text may hold anything, such as the key to an API. The cause has it.
    uncertain = _uncertain(f"{carrier} raised {type(error).__name__}")
    uncertain.__cause__ = error
    return uncertain


def _names_recipients(outcome: SendResult | SendError) -> bool:
    recipients: Any = outcome.recipients
    return isinstance(recipients, tuple | list) and all(
        isinstance(one, RecipientResult) for one in recipients
    )


def _seconds(asked: Any) -> float | None:
    """How long to wait, as far as it is a time: nobody waits for ever because of a wrong number."""
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked >= 0:
        return None
    return min(asked, LONGEST_WAIT)


def _uncertain(what: str) -> DeliveryUncertain:
    return DeliveryUncertain(
        f"{what}: the message may or may not have been delivered",
        phase=Phase.HANDOVER,
        temporary=True,
        may_have_been_delivered=True,
    )


def note_final(delivery: Delivery, error: SendError) -> None:
    """Before a repetition: whoever is known to have the message, or to be refused for good, is not asked again."""
    told = {
        recipient.address: recipient
        for recipient in error.recipients
        if recipient.outcome in (Outcome.ACCEPTED, Outcome.REJECTED)
    }
    if told:
        addresses = delivery.envelope.recipients
        for index in delivery.batch:
            if addresses[index] in told:
                delivery.note(index, told[addresses[index]])
        delivery.pending = [index for index in delivery.pending if index not in delivery.outcomes]
        delivery.batch = [index for index in delivery.batch if index not in delivery.outcomes]


def absorb(delivery: Delivery, outcome: SendResult | BaseException) -> None:
    """Note the outcome of every recipient of the batch, and which error decides, of this one and those before."""
    batch, delivery.batch = delivery.batch, ()
    told: dict[str, RecipientResult] = {}
    if isinstance(outcome, (SendResult, SendError)):
        told = {recipient.address: recipient for recipient in outcome.recipients}
    # A recipient of whom a result says nothing may have it or not.
    others, phase, reply = Outcome.UNCERTAIN, Phase.HANDOVER, None
    if isinstance(outcome, SendError):
        others, phase, reply = outcome.outcome, outcome.phase, outcome.reply
    elif not isinstance(outcome, SendResult):
        others = Outcome.REJECTED
    for index in batch:
        address = delivery.envelope.recipients[index]
        found = told.get(address) or RecipientResult(address, others, phase, reply)
        if found.reply is None and isinstance(outcome, SendResult):
            found = RecipientResult(address, found.outcome, found.phase, outcome.reply)
        delivery.note(index, found)
    delivery.pending = delivery.pending[len(batch) :]
    if isinstance(outcome, SendResult):
        return
    # What may succeed later decides, so that a retry is not missed.
    if delivery.error is None or getattr(outcome, "temporary", False):
        delivery.error = outcome


def final(delivery: Delivery, now: float) -> SendResult | BaseException:
    """What the caller is told when every recipient has an outcome."""
    recipients = tuple(delivery.outcomes[index] for index in range(len(delivery.envelope.recipients)))
    begun_at = now if delivery.first_begun_at is None else delivery.first_begun_at
    for recipient in reversed(recipients):
        if recipient.accepted:
            return SendResult(
                delivery.message_id,
                delivery.envelope.sender,
                recipients,
                recipient.reply or _TAKEN,
                delivery.content.size,
                delivery.attempts,
                waited=begun_at - delivery.queued_at,
                took=now - begun_at,
            )
    error = _refusal(recipients) if delivery.error is None else delivery.error
    if not isinstance(error, SendError):
        return error
    uncertain = any(recipient.outcome is Outcome.UNCERTAIN for recipient in recipients)
    return error.for_message(
        delivery.message_id, delivery.attempts, recipients, may_have_been_delivered=uncertain
    )


def _refusal(recipients: tuple[RecipientResult, ...]) -> SendError:
    """A result in which nobody is accepted is none."""
    decisive = next((r for r in recipients if r.outcome is not Outcome.REJECTED), recipients[0])
    who = recipients[0].address if len(recipients) == 1 else f"all {len(recipients)} recipients"
    return _KINDS[decisive.outcome](
        f"{who} not accepted: {decisive.reply or decisive.outcome}",
        phase=decisive.phase,
        reply=decisive.reply,
        temporary=decisive.outcome not in (Outcome.REJECTED, Outcome.AUTH_FAILED),
    )


_TAKEN = Reply.of("250 2.0.0 ok")
_KINDS: dict[Outcome, type[SendError]] = {
    Outcome.REJECTED: Rejected,
    Outcome.DEFERRED: Deferred,
    Outcome.THROTTLED: Throttled,
    Outcome.QUOTA: QuotaExceeded,
    Outcome.AUTH_FAILED: AuthenticationFailed,
    Outcome.CONNECTION_FAILED: ConnectionFailed,
    Outcome.UNCERTAIN: DeliveryUncertain,
}
