"""The pool: it carries out what ``policy.assignment`` decides, and tells each message its outcome.

The parts: ``queue`` holds who waits, ``roster`` the connections, ``ledger`` who is owed an outcome, ``closing`` says how it
ends, and ``settlement`` what the end of a transaction means. Everything runs in callbacks of one event loop, so nothing is
locked; ``run`` is the only place that acts on decisions, and never runs inside itself.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from ..errors import ConnectionFailed, QuotaExceeded, SendError
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
from ..policy.backoff import message_backoff
from ..policy.batch import next_batch
from ..policy.rate import Limiter
from ..policy.state import DOWN_AFTER, Slot, State
from ..results import Phase
from ..smtp.transaction import Transaction, Verdict, prepare
from .alarm import Alarm
from .closing import Closing, takes_no_more
from .delivery import Delivery
from .lanes import PoolLane, lane_of
from .ledger import Ledger, Whereabouts
from .pending import Pending
from .queue import Queue
from .roster import Notify, Roster
from .settlement import (
    Asked,
    Next,
    absorb,
    asked_for_less,
    failure,
    next_step,
    pool_closed,
    quota_lasts,
    reopen,
    result,
    told,
    whole_result,
)
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
        self._notify = notify
        self._dice = dice
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
        self._throttling = Throttling(options, self._counts, notify, dice)
        self._network = connector  # another connector stands for another network
        self._roster = Roster(
            options,
            self._state,
            self._counts,
            self,
            throttling=self._throttling,
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
            self._ledger.settle(delivery, self._told(lane.quota_error, delivery, lane.quota_until - now))
            return delivery.future
        if lane.blocked_until > now and lane.open == 0:
            self._ledger.settle(delivery, self._told(lane.last_error, delivery, lane.blocked_until - now))
            return delivery.future
        self._queue.append(delivery, may_wait=may_wait)
        self._ledger.enter(delivery, deadline)
        self._alarm.soon()
        return delivery.future

    def is_idle(self) -> bool:
        """Whether there is room for more messages (P-20)."""
        return self._room.is_there()

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
                    case GiveUp(lane, message):
                        assert isinstance(lane, PoolLane)
                        self._queue.leave(message)
                        self._ledger.settle(message, self._told(lane.last_error, message))
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
            self._ledger.settle(delivery, self._told(error, delivery))
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

    # -- outcomes --------------------------------------------------------------------------------------------------

    def ended(self, transaction: Transaction, cause: SendError | None, slot: Slot) -> None:
        """A transaction is over: settle its message, or give it another place in the queue."""
        delivery: Delivery = transaction.token
        now = self._loop.time()
        whole = whole_result(delivery, transaction, now)
        adaptive = delivery.lane.adaptive
        if whole is not None:
            self._ledger.settle(delivery, whole)
            if adaptive is not None:
                adaptive.accepted(now, len(delivery.batch))
            return
        asked = asked_for_less(delivery, transaction)
        absorb(delivery, transaction)
        if asked is not None and self._put_off(delivery, transaction, asked, cause, slot):
            return
        if adaptive is not None and transaction.verdict is Verdict.ACCEPTED:
            adaptive.accepted(now, transaction.recipient_count - len(transaction.refused))
        uncertain = transaction.verdict is Verdict.UNCERTAIN
        self._counts.uncertain += uncertain
        step = next_step(delivery, transaction, self._options)
        if step is Next.SETTLE:
            outcome = result(delivery, now)
            self._ledger.settle(delivery, outcome)
            if isinstance(outcome, QuotaExceeded) and not self._closing.closed:
                assert isinstance(delivery.lane, PoolLane)
                self.quota_exceeded(delivery.lane, outcome)
        elif step is Next.FAIL or (self._closing.closed and uncertain):
            assert cause is not None
            self._ledger.settle(delivery, failure(delivery, transaction, cause))
        elif self._closing.closed:
            self._ledger.settle(delivery, pool_closed(delivery))
        else:
            self._again(delivery, step, uncertain, now)

    def _put_off(
        self, delivery: Delivery, transaction: Transaction, asked: Asked, cause: SendError | None, slot: Slot
    ) -> bool:
        """The server wants the message later (P-24): keep it, and go slower. Whether that is all there is to do."""
        lane = delivery.lane
        assert isinstance(lane, PoolLane)
        others_went = lane.adaptive is None or lane.adaptive.since is None
        if cause is None and self._throttling.heard(lane, slot, asked.reply, asked.phase, asked.meaning):
            self._roster.retire(slot, "the server wants it so")
        if self._closing.closed or delivery.given_up:
            return False
        if not self._throttling.may_wait(delivery):
            if transaction.verdict is not Verdict.UNSENT or not self._options.max_throttle_wait:
                return False
            self._ledger.settle(delivery, self._told(lane.last_error, delivery))
            return True
        reopen(delivery, asked)
        wait = self._throttling.own_wait(delivery, others_went)
        if wait:
            self._queue.put_to_sleep(delivery, self._loop.time() + wait)
        else:
            self._queue.put_first(delivery, alone=False)
        return True

    def _again(self, delivery: Delivery, step: Next, uncertain: bool, now: float) -> None:
        if step is Next.CONTINUE:
            delivery.continues = True  # the rest of the recipients: the same attempt goes on
        elif step is Next.REPLACE:
            delivery.replaced = True
        else:
            delivery.requeues += 1
            self._counts.requeued += 1
            if uncertain:
                delivery.duplicates += 1
                delivery.maybe_duplicate = True
            self._notify("requeued", delivery.message_id, delivery.requeues)
            if delivery.requeues > 1:
                wait = message_backoff(delivery.requeues - 1, self._dice())
                self._queue.put_to_sleep(delivery, now + wait)
                return
        self._queue.put_first(delivery, alone=delivery.requeues > 1)

    def unreachable(self, lane: PoolLane, error: SendError) -> None:
        """What time cannot mend fails all waiting messages of the identity at once (P-19)."""
        self._fail_waiting(lane, error, max(0.0, lane.blocked_until - self._loop.time()))

    def quota_exceeded(self, lane: PoolLane, error: QuotaExceeded) -> None:
        """No other message of the identity would be taken either: they fail untried until the quota is over (P-19a)."""
        self._notify("throttled", error)
        lane.quota_until = self._loop.time() + quota_lasts(error)
        # What was said to one message holds for all, but not what became of it before.
        shared = error.for_message("", 0)
        shared.may_have_been_delivered = False
        lane.quota_error = shared
        self._fail_waiting(lane, shared, error.retry_after)

    def _fail_waiting(self, lane: PoolLane, error: SendError, wait: float | None) -> None:
        for delivery in self._queue.of(lane):
            self._queue.leave(delivery)
            self._ledger.settle(delivery, self._told(error, delivery, wait))

    def _told(
        self, error: SendError | None, delivery: Delivery, retry_after: float | None = None
    ) -> SendError:
        """The error of a connection, as the outcome of one message."""
        if error is None:
            error = ConnectionFailed("no connection could be made", phase=Phase.CONNECT, temporary=True)
        copy = told(error, delivery)
        if retry_after is not None:
            copy.retry_after = retry_after
        return copy

    def recall(self, error: SendError) -> None:
        """End everything that waits with ``error``, so that it can go elsewhere; what is on the wire goes on.

        Whoever recalls decides when the relay is tried again: the next message connects at once.
        """
        for lane in tuple(self._state.lanes.values()):
            assert isinstance(lane, PoolLane)
            self._fail_waiting(lane, error, error.retry_after)
            lane.failures = min(lane.failures, DOWN_AFTER)
            lane.retry_at = 0.0
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
