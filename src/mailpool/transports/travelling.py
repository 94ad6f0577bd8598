"""A message on its way over several relays: what it has seen so far, and what the end at one of them means for it.

Pure decisions over a message and an outcome; the failover carries them out.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from ..errors import (
    DeadlineExceeded,
    PoolClosed,
    SendError,
    UnsupportedByServer,
)
from ..message import Sealed
from ..options import Credentials, Options
from ..policy.breaker import Sign
from ..policy.moving import Case, Harm, judge
from ..policy.state import Lane
from ..pool.delivery import Delivery
from ..pool.pending import Pending
from ..pool.settlement import told
from ..results import Outcome, Phase, RecipientResult, SendResult
from . import handover
from .relay import Relay

_SIGNS = {Harm.NONE: Sign.TAKEN, Harm.STRIKE: Sign.STRIKE, Harm.FATAL: Sign.FATAL}


class Next(enum.Enum):
    """What is to be done with the message now."""

    SETTLE = "every recipient has an outcome, or no further try is allowed"
    ON = "to the next relay, or to the same once more"
    ROUND = "no other relay can be asked: again after a back-off"


class Traveller(Delivery):
    """A message with what its relays did. ``told`` is what the last one said of recipients that have no outcome yet."""

    __slots__ = ("auth", "failed_at", "failed_on", "refused_by", "relay", "rounds", "told", "until")

    def __init__(
        self,
        sealed: Sealed,
        *,
        lane: Lane,
        future: Pending,
        now: float,
        priority: int,
        auth: Credentials | None,
        until: float | None,
    ) -> None:
        super().__init__(sealed, lane=lane, future=future, now=now, priority=priority)
        self.auth = auth
        self.until = until  # its deadline
        self.relay: Relay | None = None  # that has it in hand
        self.refused_by: frozenset[Relay] = frozenset()  # never to be asked again
        self.failed_on: frozenset[Relay] = frozenset()  # not before the others
        self.failed_at: float | None = None
        self.rounds = 0
        self.told: dict[int, RecipientResult] = {}

    def may_go_to(self, relay: Relay) -> bool:
        """Whether that relay may carry it, sooner or later."""
        return relay not in self.refused_by and (self.auth is None or relay.takes_logins)


def absorb(traveller: Traveller, outcome: SendResult | BaseException, *, move_deferred: bool) -> Case | None:
    """Note the outcome of every recipient that has one now. Returns the case that lets the others move on, if any does.

    :param move_deferred: whether whatever is refused for now moves on, too
    """
    told: dict[str, RecipientResult] = {}
    begun = lacking = False
    if isinstance(outcome, SendResult | SendError):
        told = {recipient.address: recipient for recipient in outcome.recipients}
        traveller.attempts += outcome.attempts
        begun = outcome.attempts > 0
        lacking = isinstance(outcome, UnsupportedByServer)
    traveller.error = outcome if isinstance(outcome, BaseException) else None
    stays = isinstance(outcome, DeadlineExceeded) or not isinstance(outcome, SendResult | SendError)
    moving: Case | None = None
    left = []
    traveller.told = {}
    for index in traveller.pending:
        address = traveller.envelope.recipients[index]
        found = told.get(address)
        if found is None and isinstance(outcome, SendError):
            found = RecipientResult(address, outcome.outcome, outcome.phase, outcome.reply)
        if found is None:
            continue  # an error that is no outcome: nothing was written
        if isinstance(outcome, PoolClosed) and not found.accepted:
            left.append(index)
            continue
        if found.outcome is not Outcome.ACCEPTED and not stays:
            case = judge(found.outcome, found.reply, begun=begun, lacking=lacking)
            uncertain = found.outcome is Outcome.UNCERTAIN
            if uncertain or case.moves or (move_deferred and found.outcome is Outcome.DEFERRED):
                left.append(index)
                traveller.told[index] = found
                # What says least against the relay decides whether the message may come back.
                if moving is None or (case.again and not moving.again):
                    moving = case
                continue
        traveller.note(index, found)
    traveller.pending = left
    return moving


def sign_of(outcome: SendResult | BaseException, own_login: bool) -> Sign:
    """What an outcome says about the relay.

    :param own_login: whether the message had one: then the login, and its quota, say nothing about others
    """
    if isinstance(outcome, SendResult):
        return Sign.TAKEN
    if not isinstance(outcome, SendError) or isinstance(outcome, PoolClosed | DeadlineExceeded):
        return Sign.NOTHING
    if isinstance(outcome, UnsupportedByServer):
        return Sign.NOTHING
    if outcome.accepted:
        return Sign.STRIKE if outcome.outcome in _OF_CONNECTIONS else Sign.TAKEN
    if own_login and outcome.outcome in (Outcome.AUTH_FAILED, Outcome.QUOTA):
        return Sign.NOTHING
    case = judge(outcome.outcome, outcome.reply, begun=outcome.attempts > 0, lacking=False)
    sign = _SIGNS[case.harm]
    # Who says when to come back means it.
    return Sign.FATAL if sign is Sign.STRIKE and outcome.retry_after is not None else sign


_OF_CONNECTIONS = (Outcome.CONNECTION_FAILED, Outcome.UNCERTAIN)


def next_step(
    traveller: Traveller,
    relay: Relay,
    case: Case | None,
    relays: Sequence[Relay],
    options: Options,
    now: float,
) -> Next:
    """What is to be done after ``absorb``, and note what this relay means for the message (P-18, P-19, P-19a).

    :param relays: all that there are
    """
    if not traveller.pending or case is None:
        return Next.SETTLE
    outcomes = {result.outcome for result in traveller.told.values()}
    begun = getattr(traveller.error, "attempts", 0) > 0
    if Outcome.UNCERTAIN in outcomes:
        allowed = options.on_uncertain == "requeue" and traveller.duplicates < options.max_duplicates
        if not allowed or options.max_requeues == 0:
            return Next.SETTLE
        traveller.duplicates += 1
        traveller.maybe_duplicate = True
    elif Outcome.CONNECTION_FAILED in outcomes and begun and 0 <= options.max_requeues <= traveller.requeues:
        return Next.SETTLE
    if traveller.failed_at is None:
        traveller.failed_at = now
    temporary = getattr(traveller.error, "temporary", True)
    if Outcome.UNCERTAIN in outcomes or (case.again and (begun or temporary)):
        # A connection may end at any time: the first time that is no reason to leave the relay.
        if traveller.requeues or not begun or case.outcome is not Outcome.CONNECTION_FAILED:
            traveller.failed_on |= {relay}
    else:
        traveller.refused_by |= {relay}
    left = [other for other in relays if traveller.may_go_to(other)]
    if not left:
        return Next.SETTLE
    if any(other.breaker.admits(now) for other in left if other not in traveller.failed_on):
        return Next.ON
    throttled = case.outcome is Outcome.THROTTLED
    patience = options.max_throttle_wait if throttled else options.connection_wait
    if now >= traveller.failed_at + patience:
        return Next.SETTLE
    traveller.failed_on = frozenset()
    traveller.rounds += 1
    return Next.ROUND


def result(traveller: Traveller, now: float) -> SendResult | BaseException:
    """What the caller is told: of those who have no outcome, what the last relay said of them."""
    error = traveller.error
    is_outcome = error is None or isinstance(error, SendError)
    if error is not None and not is_outcome and not any(one.accepted for one in traveller.outcomes.values()):
        return error
    for index, address in enumerate(traveller.envelope.recipients):
        if index not in traveller.outcomes:
            found = traveller.told.get(index)
            if found is None and isinstance(error, SendError):
                found = RecipientResult(address, error.outcome, error.phase, error.reply)
            traveller.note(index, found or RecipientResult(address, Outcome.DEFERRED, Phase.QUEUE))
    if isinstance(error, DeadlineExceeded) or (
        isinstance(error, SendError)
        and any(found.outcome in _OF_CONNECTIONS for found in traveller.told.values())
    ):
        # As from the pool: no result while it is not known, or not said, what became of somebody.
        return told(error, traveller)
    ended = handover.final(traveller, now)
    if isinstance(ended, SendResult):
        ended.maybe_duplicate = traveller.maybe_duplicate
    elif isinstance(ended, SendError):
        ended.may_have_been_delivered |= traveller.maybe_duplicate
        if not traveller.attempts:
            ended.recipients = ()
    return ended
