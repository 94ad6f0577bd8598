"""The pool: it takes messages, and carries out what ``policy.assignment`` decides.

The parts: ``queue`` holds who waits, ``roster`` the connections, ``ledger`` who is owed an outcome; ``outcomes`` does what the
end of a transaction means for its message, and ``closing`` says how the pool ends. Everything runs in callbacks of one event loop, so nothing is
locked; ``run`` is the only place that acts on decisions, and never runs inside itself.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from ..errors import ConnectionFailed, SendError
from ..message import Sealed
from ..net.connect import Connector, connect
from ..net.connection import Connection
from ..options import Credentials, Options
from ..policy.assignment import (
    Assign,
    Close,
    Due,
    GiveUp,
    Open,
    Probe,
    Reserve,
    Wait,
    decide,
)
from ..policy.batch import next_batch
from ..policy.rate import Limiter
from ..policy.state import Slot, State
from ..results import Phase
from ..smtp.transaction import Transaction, prepare
from .alarm import Alarm
from .closing import Closing, takes_no_more
from .delivery import Delivery
from .lanes import PoolLane, lane_of
from .ledger import Ledger, Whereabouts
from .outcomes import Outcomes
from .pending import Pending
from .queue import Queue
from .roster import Notify, Roster
from .snapshot import snapshot
from .statistics import Counts, Histogram, PoolStats
from .throttling import Throttling

# A connection that has been idle for longer may be dead without our knowing it (P-11).
_STALE = 1.0


class Pool:
    """Connections to one relay, kept and lent to messages.

    :param options: see `mailpool.options.Options`
    :param notify: called as ``notify(event, *details)`` for everything that happens (P-33)
    :param connector: how a transport is made; another one stands for another network
    :param dice: where jitter comes from: a function that gives numbers in [0, 1)
    """

    def __init__(
        self,
        options: Options,
        *,
        notify: Notify = lambda *_: None,
        connector: Connector = connect,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._state = State(
            max_connections=options.max_connections,
            idle_timeout=options.idle_timeout,
            connection_wait=options.connection_wait,
            throttle_wait=options.max_throttle_wait,
            check_after=options.check_after,
            ageing=options.max_age is not None,
            # P-25 will share these.
            limiter=Limiter(options.rate) if options.rate else None,
        )
        self._counts = Counts()
        self._queue = Queue(options, lambda: notify("idle"))
        self._room = self._queue.room
        self._ledger = Ledger(
            self._counts,
            on_given_up=self._given_up,
            where=self._where,
            on_detached=lambda *details: notify("detached", *details),
        )
        self._closing = Closing(self._queue, self._ledger, self._room)
        self._alarm = Alarm(self.run)
        self._network = connector  # another connector stands for another network
        throttling = Throttling(options, self._counts, notify, dice)
        self._outcomes = Outcomes(
            options,
            self._counts,
            queue=self._queue,
            ledger=self._ledger,
            closing=self._closing,
            throttling=throttling,
            notify=notify,
            dice=dice,
        )
        self._roster = Roster(
            options,
            self._state,
            self._counts,
            self,
            self._outcomes,
            throttling=throttling,
            notify=notify,
            connector=connector,
            dice=dice,
        )
        self._waited = Histogram()
        # A transaction with more recipients than a rate allows at once could never keep to it.
        bounds = [rate.burst or rate.limit for rate in options.rate if rate.unit == "recipients"]
        self._most_recipients = min(
            [*bounds, *([options.max_recipients] if options.max_recipients else [])], default=None
        )
        self._running = False
        self._gone: asyncio.Future[None] | None = None  # set when closing; done when no connection is left
        self._default = lane_of(self._state, options, options.auth, self._loop.time(), connector)
        self._default.min_connections = options.min_connections
        self.schedule()

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
        """Give a message its place in the queue; the future has its outcome.

        :param priority: higher ones pass lower ones
        :param deadline: seconds until it must have an outcome; None: as long as it takes
        :param auth: another identity than the transporter's
        :param may_wait: whether it may wait for its turn to be queued when ``max_queue`` messages are
        :raises PoolClosed: ``close`` or ``drain`` has begun
        :raises QueueFull: ``max_queue`` messages wait and this one may not
        """
        if self._closing.begun:
            raise takes_no_more(sealed.message_id)
        now = self._loop.time()
        lane = (
            self._default if auth is None else lane_of(self._state, self._options, auth, now, self._network)
        )
        delivery = Delivery(sealed, lane=lane, future=Pending(loop=self._loop), now=now, priority=priority)
        delivery.most_recipients = self._most_recipients
        if lane.quota_until > now:
            self._outcomes.fail(delivery, lane.quota_error, lane.quota_until - now)
            return delivery.future
        if lane.blocked_until > now and lane.open == 0:
            self._outcomes.fail(delivery, lane.blocked_by, lane.blocked_until - now)
            return delivery.future
        self._queue.append(delivery, may_wait=may_wait)
        self._ledger.enter(delivery, deadline)
        self._alarm.soon()
        return delivery.future

    def is_idle(self) -> bool:
        """Whether there is room for more messages (P-20)."""
        return self._room.is_there()

    @property
    def waiting(self) -> int:
        """How many wait, as ``max_queue`` counts them."""
        return len(self._queue)

    async def room(self) -> bool:
        """Wait until ``is_idle``; false when the pool begins to close instead."""
        return await self._room.wait()

    # -- carrying out decisions ------------------------------------------------------------------------------------

    def schedule(self) -> None:
        """Decide soon: messages that are queued together are looked at together."""
        if not self._running:
            self._alarm.soon()

    def run(self) -> None:
        """Do one thing after another until there is nothing to do now."""
        if self._running or self._closing.closed:
            return
        self._running = True
        touched: list[Connection] = []
        try:
            while True:
                now = self._loop.time()
                step = decide(self._state, now)
                if type(step) is Assign:  # nearly always, and three times as fast as a pattern
                    if self._assign(step.slot, step.alone, now):
                        self._roster.update(step.slot)
                        touched.append(step.slot.connection)
                    continue
                match step:
                    case Wait(until):
                        if not self._queue.admit():
                            self._alarm.at(until)
                            break
                    case Open(lane):
                        self._roster.open(lane)
                    case Close(slot, why):
                        self._roster.retire(slot, why)
                    case Reserve(slot):
                        self._roster.reserve(slot)
                    case Due(lane):
                        self._queue.wake_first(lane)
                    case GiveUp(lane, message, throttled):
                        assert isinstance(lane, PoolLane)
                        self._queue.leave(message)
                        error = (lane.asked_for_less if throttled else None) or lane.last_error
                        self._outcomes.fail(message, error)
                    case Probe(slot):
                        self._roster.probe(slot)
                        touched.append(slot.connection)
        finally:
            self._running = False
            # Whatever happens, what was begun is written: a transaction that is not would never end.
            for connection in touched:
                connection.flush()
        self._room.tell()

    def hand_over(self, slot: Slot, now: float) -> bool:
        """What ``run`` would do for a slot of which `takes_next` is true: most messages begin here.

        The state had come to rest before, and with one message of the line begun it rests again, unless others wait for
        a place in the line, or this one could not be begun: then the slot is free, and that is to be decided on. Whoever
        calls writes what the connection has to write.
        """
        if self._running or self._queue.held_back:
            return False
        begun = self._assign(slot, False, now)
        self._room.tell()
        return begun

    def _assign(self, slot: Slot, alone: bool, now: float) -> bool:
        """Begin the next message on ``slot``; whether it could be begun. Connection and token are one step (P-23)."""
        delivery = self._queue.take(slot.lane, alone=alone)
        connection: Connection = slot.connection
        assert connection.session is not None
        capabilities = connection.session.capabilities
        recipients = delivery.envelope.recipients
        batch: Sequence[int] = delivery.pending
        if len(batch) > 1:  # RCPTs may be bounded, by the server or by us
            limits = capabilities.limits
            most = min((cap for cap in (limits.rcpt_max, delivery.most_recipients) if cap), default=None)
            batch = next_batch(recipients, batch, most=most, most_domains=limits.rcpt_domain_max)
        try:
            transaction = prepare(
                delivery.envelope.sender,
                [recipients[i] for i in batch],
                delivery.content,
                capabilities,
                delivery,
                delivery.sealed.extensions,
                now - delivery.queued_at,
            )
        except SendError as error:
            self._outcomes.fail(delivery, error)
            return False
        except Exception as error:
            # A value that no check has caught must not strand the message (P-14).
            self._ledger.settle(delivery, error)
            return False
        if self._state.limiter is not None:
            self._state.limiter.take(now, len(batch))
        if slot.lane.adaptive is not None:
            slot.lane.adaptive.take(now, len(batch))
        delivery.batch = batch
        delivery.attempts += not delivery.continues
        delivery.continues = False
        if delivery.first_begun_at is None:
            delivery.first_begun_at = now
            self._waited.add(now - delivery.queued_at)
        stale = slot.idle_since is not None and now - slot.idle_since > _STALE
        delivery.stale = transaction.cautious = stale
        delivery.reused = connection.served > 0
        connection.begin(transaction)
        self._roster.begun(slot, alone=alone)
        self._state.turn_over(slot.lane)
        return True

    def recall(self, error: SendError) -> None:
        """End everything that waits with ``error``, so that it can go elsewhere; what is on the wire goes on.

        Whoever recalls decides when the relay is tried again: the next message connects at once.
        """
        if self._closing.closed:
            return  # everybody has been told
        for lane in tuple(self._state.lanes.values()):
            assert isinstance(lane, PoolLane)
            self._outcomes.fail_waiting(lane, error, error.retry_after)
            lane.forget_back_off()
        self.schedule()

    # -- callers that give up --------------------------------------------------------------------------------------

    def _given_up(self, delivery: Delivery) -> None:
        """Nobody waits for this one any more (P-27)."""
        if delivery.settled:
            return
        found = self._roster.slot_of(delivery)
        if found is None:
            self._queue.leave(delivery)
            self._ledger.settle(delivery, asyncio.CancelledError())
            self.schedule()
            return
        delivery.given_up = True
        slot, transaction = found
        delivery.detached = _goes_on(slot, transaction)
        if not delivery.detached:
            slot.connection.destroy(
                ConnectionFailed("the message was given up by its caller", phase=Phase.QUEUE, temporary=True)
            )

    def _where(self, delivery: Delivery) -> Whereabouts:
        found = self._roster.slot_of(delivery)
        if found is None:
            return Whereabouts(Phase.QUEUE, False)
        slot, transaction = found
        return Whereabouts(slot.connection.pipeline.awaited or Phase.QUEUE, _goes_on(slot, transaction))

    # -- closing ---------------------------------------------------------------------------------------------------

    async def drain(self, timeout: float | None = None, *, close_timeout: float = 10.0) -> list[Sealed]:
        """Take nothing new, send what is queued, then close (P-30). Returns what could not be sent in time.

        :param timeout: seconds for what is queued
        :param close_timeout: seconds more for what is on the wire then
        """
        return await self._closing.drain(timeout, close_timeout, self.close)

    async def close(self, timeout: float = 10.0) -> list[Sealed]:
        """End what waits, let what is in flight finish, close everything (P-29). Returns what was not sent.

        :param timeout: seconds for what is in flight; then its connections are cut
        """
        if self._gone is not None:
            await asyncio.shield(self._gone)
            return self._closing.unsent()
        self._alarm.off()
        for lane in self._state.lanes.values():
            if lane.adaptive is not None:
                assert isinstance(lane, PoolLane)
                lane.learning.remember(lane.adaptive)
        self._closing.close({transaction.token for transaction in self._roster.in_flight()})
        self._gone = self._roster.shut()
        try:
            await asyncio.wait([self._gone], timeout=timeout)
        except asyncio.CancelledError:
            self._roster.cut("the transporter was closed, and the closing was cancelled")
            raise
        if not self._gone.done():
            self._roster.cut(f"the transporter was closed, and the message had not ended {timeout:g} s later")
            await asyncio.shield(self._gone)  # others may wait for the same
        await self._roster.tasks_ended()
        return self._closing.unsent()

    # -- seeing ----------------------------------------------------------------------------------------------------

    def stats(self) -> PoolStats:
        """A snapshot (P-32)."""
        return snapshot(
            self._state, self._queue, self._roster, self._counts, waited=self._waited, took=self._ledger.took
        )

    def __repr__(self) -> str:
        connections = f"{self._state.total} of {self._state.max_connections} connections"
        return f"<Pool {self._closing}, {connections}, {len(self._queue)} waiting>"


def _goes_on(slot: Slot, transaction: Transaction) -> bool:
    """Whether a transaction that nobody waits for has to end by itself: it cannot be taken back, or not without others."""
    return transaction.end_written or len(slot.connection.pipeline.in_flight) > 1
