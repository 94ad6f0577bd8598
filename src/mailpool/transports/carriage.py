"""The carriage: makes a whole transport of a `Carrier`.

What is waiting, who is next, how fast, until when and how it ends is the same as in the pool, and so are most of the parts;
where the pool has connections, the carriage has calls of ``deliver`` that are under way.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import random
from collections.abc import Callable
from typing import Any

from ..address import Envelope
from ..errors import (
    DeliveryUncertain,
    QuotaExceeded,
    SendError,
    Throttled,
    UnsupportedByServer,
    UsageError,
)
from ..extensions import Extensions
from ..message import Sealed
from ..options import Credentials, Options
from ..policy.backoff import message_backoff
from ..policy.state import Lane
from ..pool.alarm import Alarm
from ..pool.closing import Closing, takes_no_more
from ..pool.delivery import Delivery
from ..pool.ledger import Ledger, Whereabouts
from ..pool.pending import Pending
from ..pool.queue import Queue
from ..pool.settlement import pool_closed, quota_lasts, told
from ..pool.statistics import Counts, Histogram, PoolStats
from ..results import Phase, SendResult
from .arguments import checked_count
from .carrier import Carrier, name_of
from .finishing import GRACE, stopped
from .handover import Handover, absorb, final, note_final, outcome_of
from .pacing import Pacing

log = logging.getLogger("mailpool")


class Carriage:
    """A transport whose messages are handed to a carrier, at most ``max_connections`` at the same time.

    :param carrier: see `Carrier`
    :param options: of these only the ones count that have nothing to do with SMTP
    :param notify: called as ``notify(event, *details)`` for everything that happens (P-33)
    :param dice: where jitter comes from: a function that gives numbers in [0, 1)
    """

    def __init__(
        self,
        carrier: Carrier,
        options: Options,
        notify: Callable[..., None] = lambda *_: None,
        *,
        dice: Callable[[], float] = random.random,
    ) -> None:
        if most := getattr(carrier, "max_recipients", None):
            checked_count(f"max_recipients of {name_of(carrier)}", most)
        self._carrier = carrier
        self._options = options
        self._notify = notify
        self._dice = dice
        self._loop = asyncio.get_running_loop()
        self._counts = Counts()
        self._lane = Lane(None)
        self._queue = Queue(options, lambda: notify("idle"))
        self._ledger = Ledger(
            self._counts,
            on_given_up=self._given_up,
            where=self._where,
            on_detached=lambda *details: notify("detached", *details),
        )
        self._closing = Closing(self._queue, self._ledger, self._queue.room)
        self._alarm = Alarm(self._run)
        self._pacing = Pacing(options.rate, carrier, dice, self._alarm.soon)
        self._waited = Histogram()
        self._under_way: dict[Delivery, Handover] = {}
        self._quota_until = -math.inf
        self._quota_error: QuotaExceeded | None = None
        self._throttled: Throttled | None = None  # the last of them
        self._shutting_down: asyncio.Task[None] | None = None
        self._alarm.soon()

    # -- messages --------------------------------------------------------------------------------------------------

    def submit(
        self,
        sealed: Sealed,
        *,
        priority: int = 0,
        deadline: float | None = None,
        auth: Credentials | None = None,
        may_wait: bool = True,
    ) -> Pending:
        """Give a message its place in the queue; the future has its outcome. See `mailpool.pool.pool.Pool.submit`.

        :raises UsageError: an argument has no meaning here
        :raises PoolClosed: ``close`` or ``drain`` has begun
        :raises QueueFull: ``max_queue`` messages wait and this one may not
        """
        if auth is not None:
            raise UsageError(f"auth: {name_of(self._carrier)} knows no logins for single messages")
        if self._closing.begun:
            raise takes_no_more(sealed.message_id)
        now = self._loop.time()
        delivery = Delivery(
            sealed, lane=self._lane, future=Pending(loop=self._loop), now=now, priority=priority
        )
        if self._quota_error is not None and self._quota_until > now:
            self._ledger.settle(delivery, self._untried(self._quota_error, delivery, self._quota_until))
            return delivery.future
        if (sealed.extensions is not None or sealed.content.binary) and (lacking := self._lacking(sealed)):
            self._ledger.settle(
                delivery,
                UnsupportedByServer(
                    f"the message needs {' and '.join(lacking)}, which {name_of(self._carrier)} does not do",
                    phase=Phase.HANDOVER,
                    message_id=sealed.message_id,
                ),
            )
            return delivery.future
        self._queue.append(delivery, may_wait=may_wait)
        self._ledger.enter(delivery, deadline)
        self._alarm.soon()
        return delivery.future

    def _lacking(self, sealed: Sealed) -> list[str]:
        """What a message needs, and cannot do without, that the carrier does not know."""
        extensions = sealed.extensions or Extensions()
        known = {*getattr(self._carrier, "extensions", ()), *extensions.optional}
        needed = (*extensions.asked, "BINARYMIME") if sealed.content.binary else extensions.asked
        return [keyword for keyword in needed if keyword not in known]

    @property
    def waiting(self) -> int:
        """How many wait, as ``max_queue`` counts them."""
        return len(self._queue)

    def is_idle(self) -> bool:
        """Whether there is room for more messages (P-20)."""
        return self._queue.room.is_there()

    async def room(self) -> bool:
        """Wait until ``is_idle``; false when closing begins instead."""
        return await self._queue.room.wait()

    # -- handing over ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Hand over whatever may go now, and see to it that the rest is looked at again in time."""
        if self._closing.closed:
            return
        lane = self._lane
        now = self._loop.time()
        wake = math.inf
        while True:
            while lane.sleeping and lane.sleeping[0][0] <= now:
                self._queue.wake_first(lane)
            self._queue.admit()
            delivery = lane.alone[0] if lane.alone else lane.line.peek()
            if delivery is None or len(self._under_way) >= self._options.max_connections:
                break
            delivery.most_recipients = self._most_recipients()
            self._pacing.refresh(now)
            at = self._pacing.ready_at(now, delivery.weight)
            if at > now:
                wake = min(at, self._give_up(now))
                break
            self._begin(self._queue.take(lane, alone=bool(lane.alone)), now)
        if lane.sleeping:
            wake = min(wake, lane.sleeping[0][0])
        self._alarm.at(wake)
        self._queue.room.tell()

    def _most_recipients(self) -> int | None:
        own = getattr(self._carrier, "max_recipients", None)
        bounds = (own, self._options.max_recipients, self._pacing.most_recipients)
        return min((bound for bound in bounds if bound), default=None)

    def _begin(self, delivery: Delivery, now: float) -> None:
        batch = delivery.pending[: delivery.weight]
        sealed = delivery.sealed
        if len(batch) < len(delivery.envelope.recipients):
            some = [delivery.envelope.recipients[index] for index in batch]
            sealed = dataclasses.replace(sealed, envelope=Envelope(delivery.envelope.sender, some))
        self._pacing.take(now, len(batch))
        delivery.batch = batch
        delivery.attempts += not delivery.continues
        delivery.continues = False
        if delivery.first_begun_at is None:
            delivery.first_begun_at = now
            self._waited.add(now - delivery.queued_at)
        task = self._loop.create_task(self._hand_over(sealed))
        self._under_way[delivery] = Handover(task, now)
        task.add_done_callback(lambda done: self._ended(delivery, done))

    async def _hand_over(self, sealed: Sealed) -> Any:
        # In a coroutine of ours, so that whatever is wrong with theirs is an outcome like any other.
        return await self._carrier.deliver(sealed)

    # -- outcomes --------------------------------------------------------------------------------------------------

    def _ended(self, delivery: Delivery, task: asyncio.Task[Any]) -> None:
        """A call of ``deliver`` is over: settle its message, or give it another place in the queue."""
        handover = self._under_way.get(delivery)
        outcome = outcome_of(task, name_of(self._carrier))
        if handover is None or handover.task is not task:
            return  # it had been told to stop and did not: its message has its outcome
        del self._under_way[delivery]
        self._counts.uncertain += isinstance(outcome, DeliveryUncertain)
        now = self._loop.time()
        if isinstance(outcome, Throttled | QuotaExceeded):
            self._notify("throttled", outcome)
        if isinstance(outcome, Throttled):
            self._throttled = outcome
            self._pacing.throttled(handover.begun_at, now, outcome.retry_after)
            note_final(delivery, outcome)
            if delivery.pending and self._again(delivery, outcome, now):
                self._alarm.soon()
                return
        elif isinstance(outcome, SendResult):
            self._pacing.went_well(handover.begun_at)
            self._counts.bytes_sent += delivery.content.size
        if task.cancelled() and delivery.given_up:
            self._settle(delivery, asyncio.CancelledError())
        else:
            self._absorb(delivery, outcome, now)
        if isinstance(outcome, QuotaExceeded) and not self._closing.closed:
            self._quota_exceeded(outcome, now)
        self._alarm.soon()

    def _again(self, delivery: Delivery, error: Throttled, now: float) -> bool:
        """Whether a message that was too fast has another try."""
        if delivery.given_up:
            return False
        if self._closing.closed:
            self._settle(delivery, pool_closed(delivery))
            return True
        if delivery.throttled_at is None:
            delivery.throttled_at = now
        wait = message_backoff(delivery.requeues + 1, self._dice())
        if error.retry_after is not None:
            wait = max(wait, error.retry_after) if delivery.requeues else error.retry_after
        if now + wait - delivery.throttled_at > self._options.max_throttle_wait:
            return False
        delivery.requeues += 1
        self._counts.requeued += 1
        self._notify("requeued", delivery.message_id, delivery.requeues)
        self._queue.put_to_sleep(delivery, now + wait)
        return True

    def _absorb(self, delivery: Delivery, outcome: SendResult | BaseException, now: float) -> None:
        """Note what became of these recipients; the rest comes next, unless nobody waits for it any more."""
        absorb(delivery, outcome)
        if not delivery.pending:
            self._settle(delivery, final(delivery, now))
        elif delivery.given_up:
            self._settle(delivery, asyncio.CancelledError())
        elif self._closing.closed:
            self._settle(delivery, pool_closed(delivery))
        elif isinstance(outcome, QuotaExceeded):
            self._settle(delivery, self._untried(outcome, delivery, now))
        else:
            delivery.continues = True  # the same attempt goes on
            self._queue.put_first(delivery, alone=True)

    def _settle(self, delivery: Delivery, outcome: SendResult | BaseException) -> None:
        if delivery.given_up and not isinstance(outcome, asyncio.CancelledError):
            delivery.detached = True
        self._ledger.settle(delivery, outcome)

    def _quota_exceeded(self, error: QuotaExceeded, now: float) -> None:
        """No other message would be taken either: they fail untried until the quota is over (P-19a)."""
        self._quota_until = now + quota_lasts(error)
        self._quota_error = error
        for delivery in self._queue.of(self._lane):
            self._queue.leave(delivery)
            self._settle(delivery, self._untried(error, delivery, self._quota_until))

    def _give_up(self, now: float) -> float:
        """Nothing is taken: end those that have waited too long for that (P-19a). Returns when to look again."""
        since, error = self._pacing.throttled_since, self._throttled
        if since is None or error is None or now >= self._pacing.paused_until:
            return math.inf
        wake = math.inf
        for head in self._lane.heads():
            at = max(head.waiting_since, since) + self._options.max_throttle_wait
            if at <= now:
                self._queue.leave(head)
                self._settle(head, self._untried(error, head, self._pacing.paused_until))
            wake = min(wake, at)
        return wake

    def _untried(self, error: SendError, delivery: Delivery, until: float) -> SendResult | BaseException:
        """What ended another message ends this one as well; ``until`` is when that is over."""
        if delivery.outcomes:
            # Some have it: a result, with the others refused (P-15).
            delivery.batch = delivery.pending
            absorb(delivery, error)
            return final(delivery, self._loop.time())
        copy = told(error, delivery)
        if error.retry_after is not None:
            copy.retry_after = max(0.0, until - self._loop.time()) or error.retry_after
        return copy

    def recall(self, error: SendError) -> None:
        """End everything that waits with ``error``, so that it can go elsewhere; what is under way goes on."""
        if self._closing.closed:
            return  # everybody has been told
        for delivery in self._queue.of(self._lane):
            self._queue.leave(delivery)
            self._settle(delivery, told(error, delivery))
        self._alarm.soon()

    # -- callers that give up --------------------------------------------------------------------------------------

    def _given_up(self, delivery: Delivery) -> None:
        """Nobody waits for this one any more (P-27): the carrier knows whether it can still be stopped."""
        if delivery.settled:
            return
        delivery.given_up = True
        handover = self._under_way.get(delivery)
        if handover is not None:
            handover.task.cancel()
            return
        self._queue.leave(delivery)
        self._settle(delivery, asyncio.CancelledError())
        self._alarm.soon()

    def _where(self, delivery: Delivery) -> Whereabouts:
        if delivery in self._under_way:
            return Whereabouts(Phase.HANDOVER, on_its_way=True)
        return Whereabouts(Phase.QUEUE, on_its_way=False)

    # -- closing ---------------------------------------------------------------------------------------------------

    async def drain(self, timeout: float | None = None, *, close_timeout: float = 10.0) -> list[Sealed]:
        """Take nothing new, send what is queued, then close (P-30). Returns what could not be sent in time.

        :param timeout: seconds for what is queued
        :param close_timeout: seconds more for what is under way then
        """
        return await self._closing.drain(timeout, close_timeout, self.close)

    async def close(self, timeout: float = 10.0) -> list[Sealed]:
        """End what waits, let what is under way finish, close the carrier (P-29). Returns what was not sent.

        :param timeout: seconds for what is under way; then it is stopped
        """
        if self._shutting_down is None:
            self._alarm.off()
            self._closing.close(self._under_way)
            self._shutting_down = self._loop.create_task(self._shut_down(timeout))
        try:
            await asyncio.shield(self._shutting_down)
        except asyncio.CancelledError:
            for handover in self._under_way.values():
                handover.task.cancel()
            raise
        return self._closing.unsent()

    async def _shut_down(self, timeout: float) -> None:
        tasks: list[asyncio.Task[Any]] = [handover.task for handover in self._under_way.values()]
        try:
            await stopped(tasks, timeout)
        finally:
            # Whoever did not stop is left behind; the messages are not.
            for delivery in tuple(self._under_way):
                del self._under_way[delivery]
                self._counts.uncertain += 1
                self._settle(delivery, self._abandoned(delivery))
        asking = self._pacing.asking
        if asking is not None:
            await stopped([asking], 0)
        close = getattr(self._carrier, "close", None)
        if close is not None:
            closing = self._loop.create_task(_called(close))
            if not await stopped([closing], GRACE):
                log.warning("%s did not close within %g s", name_of(self._carrier), GRACE)
            elif not closing.cancelled() and (error := closing.exception()) is not None:
                log.warning("%s did not close well: %s", name_of(self._carrier), type(error).__name__)

    def _abandoned(self, delivery: Delivery) -> DeliveryUncertain:
        return DeliveryUncertain(
            "the transporter was closed and the message was still being handed over; it may or may not have been delivered",
            phase=Phase.HANDOVER,
            temporary=True,
            may_have_been_delivered=True,
            message_id=delivery.message_id,
            attempts=delivery.attempts,
            recipients=delivery.recipients(DeliveryUncertain.outcome, Phase.HANDOVER),
        )

    # -- seeing ----------------------------------------------------------------------------------------------------

    def stats(self) -> PoolStats:
        """A snapshot (P-32). What is under way counts as busy connections."""
        under_way = len(self._under_way)
        return PoolStats(
            connections=under_way,
            opening=0,
            busy=under_way,
            idle=0,
            closing=0,
            queued=len(self._queue),
            held_back=self._queue.held_back,
            in_flight=under_way,
            max_connections=self._options.max_connections,
            rates=self._pacing.rates,
            disabled=frozenset(),
            relay_is_down=False,
            waited=self._waited.copy(),
            took=self._ledger.took.copy(),
            **dataclasses.asdict(self._counts),
        )

    def __repr__(self) -> str:
        return f"<Carriage {self._closing}, {len(self._under_way)} under way, {len(self._queue)} waiting>"


async def _called(function: Callable[[], Any]) -> None:
    await function()
