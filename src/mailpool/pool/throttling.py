"""What the pool does when a relay asks for less (P-24): it notes it, slows down, and keeps the message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from ..errors import ProtocolError, QuotaExceeded, SendError, Throttled, TimedOut
from ..options import Options
from ..policy.adaptive import Adaptive
from ..policy.backoff import message_backoff
from ..policy.meaning import Less, Meaning, classify
from ..policy.state import Slot
from ..results import Outcome, Phase, Reply
from ..smtp.transaction import Transaction
from .delivery import Delivery
from .lanes import PoolLane
from .statistics import Counts

log = logging.getLogger("mailpool")

# A message that is put off so often while others are taken waits for itself.
_OWN_AFTER = 3
# A connection that has been idle for longer and is closed then was closed for that.
_AT_WORK = 1.0


class Throttling:
    """Carries what servers say over into the limits of their lanes."""

    def __init__(
        self, options: Options, counts: Counts, notify: Callable[..., None], dice: Callable[[], float]
    ) -> None:
        self._patience = options.max_throttle_wait
        self._counts = counts
        self._notify = notify
        self._dice = dice
        self._loop = asyncio.get_running_loop()

    # -- what is heard ---------------------------------------------------------------------------------------------

    def heard(self, lane: PoolLane, slot: Slot, reply: Reply, phase: Phase, meaning: Meaning) -> bool:
        """The server asks for less in reply to a message, or by closing. Whether ``slot`` is to be given up."""
        adaptive = self._start(lane)
        now = self._loop.time()
        hint, less = meaning.retry_after, meaning.less
        retire = False
        if less is Less.CONNECTIONS:
            retire = adaptive.too_many(now, _others(lane, slot))
        elif less is Less.SESSION or less is Less.IDLENESS:
            # On a new connection that cannot be the reason.
            before = slot.begun - 1
            retire = before > 0
            if retire and less is Less.SESSION:
                adaptive.session_ended(before)
        if not retire:
            adaptive.too_fast(now, self._dice(), hint, meaning.unit, meaning.per)
        self._tell(lane, adaptive, reply, phase, meaning)
        return retire

    def turned_away(self, lane: PoolLane, slot: Slot, error: SendError, meaning: Meaning) -> None:
        """The server did not let a connection in, and asks for less."""
        assert error.reply is not None
        adaptive = self._start(lane)
        now = self._loop.time()
        hint = meaning.retry_after
        if meaning.less is Less.RATE:
            adaptive.too_fast(now, self._dice(), hint, meaning.unit, meaning.per)
            adaptive.openings.pause_until(adaptive.pace.paused_until)
        elif meaning.less is not Less.CONNECTIONS or not adaptive.too_many(now, _others(lane, slot)):
            adaptive.too_many_openings(now, self._dice(), hint)
        lane.retry_at = max(lane.retry_at, adaptive.openings.ready_at(now, 1))
        self._tell(lane, adaptive, error.reply, error.phase, meaning)

    def _start(self, lane: PoolLane) -> Adaptive:
        if lane.adaptive is None:
            lane.adaptive = Adaptive()
        return lane.adaptive

    def _tell(self, lane: PoolLane, adaptive: Adaptive, reply: Reply, phase: Phase, meaning: Meaning) -> None:
        error = throttled(reply, phase, meaning)
        lane.last_error = lane.asked_for_less = error
        lane.learning.remember(adaptive)
        self._counts.throttled += 1
        log.info(
            "%s", error, extra={"phase": str(phase), "learnt": repr(adaptive.learnt(lane.learning.user))}
        )
        self._notify("throttled", error)

    # -- connections -----------------------------------------------------------------------------------------------

    def opening(self, lane: PoolLane) -> None:
        """A connection is about to be opened; the next one waits for its turn."""
        if lane.adaptive is not None:
            now = self._loop.time()
            openings = lane.adaptive.openings
            openings.take(now, 1)
            lane.retry_at = max(lane.retry_at, openings.ready_at(now, 1))

    def opened(self, lane: PoolLane) -> float:
        """A connection is ready. How many messages the server takes on it, as far as was learnt."""
        if lane.adaptive is None:
            return float("inf")
        lane.adaptive.opened(self._loop.time())
        return lane.adaptive.most_messages

    def lost(self, lane: PoolLane, slot: Slot, error: SendError, abandoned: Sequence[Transaction]) -> None:
        """The server ended a connection at work, perhaps because it has a bound for messages on one."""
        now = self._loop.time()
        messages = slot.begun - len(abandoned)
        at_work = abandoned or (slot.idle_since is not None and now - slot.idle_since < _AT_WORK)
        if messages < 1 or not at_work or isinstance(error, TimedOut | ProtocolError):
            return
        if error.reply is not None and classify(error.reply, error.phase).less not in (None, Less.SESSION):
            return
        if any(transaction.mail_answered or transaction.token.given_up for transaction in abandoned):
            return
        last = lane.learning.last_end
        lane.learning.last_end = (messages, now)
        known = lane.adaptive is not None and lane.adaptive.is_known_end(messages)
        # Twice the same, one after the other: those of a relay that restarts end together.
        if known or (last is not None and last[0] == messages and slot.opened_at >= last[1]):
            adaptive = self._start(lane)
            adaptive.session_ended(messages)
            lane.learning.remember(adaptive)

    # -- messages --------------------------------------------------------------------------------------------------

    def may_wait(self, delivery: Delivery) -> bool:
        """Whether a message that the server wants later is kept: not for longer than its caller is patient."""
        adaptive = delivery.lane.adaptive
        if delivery.given_up or not self._patience or adaptive is None:
            return False
        now = self._loop.time()
        if delivery.throttled_at is None:
            delivery.throttled_at = now
        return max(now, adaptive.ready_at(now, delivery.weight)) - delivery.throttled_at <= self._patience

    def own_wait(self, delivery: Delivery, others_went: bool) -> float:
        """Seconds that a message waits by itself: 0 as long as it is no different from the others."""
        delivery.throttles += others_went
        extra = delivery.throttles - _OWN_AFTER
        if extra <= 0:
            return 0.0
        return message_backoff(extra, self._dice())


def throttled(reply: Reply, phase: Phase, meaning: Meaning) -> SendError:
    """The error that says what the server asks for."""
    kind = QuotaExceeded if meaning.outcome is Outcome.QUOTA else Throttled
    return kind(
        f"the server asks for less at {phase}: {reply}. {meaning.advice}",
        phase=phase,
        reply=reply,
        temporary=True,
        retry_after=meaning.retry_after,
    )


def _others(lane: PoolLane, slot: Slot) -> int:
    """Connections of the lane besides ``slot`` that are meant to stay."""
    stays = slot.leaving or not (slot.open or slot.opening)
    return lane.total - lane.leaving - (not stays)
