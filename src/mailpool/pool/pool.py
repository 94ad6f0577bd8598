"""The pool: it carries out what ``policy.assignment`` decides, and tells each message its outcome.

Here are the event loop, the futures and the connections; which message goes where is decided there, and what the end of
a transaction means in ``settlement``. Everything runs in callbacks of one loop, so nothing is locked; ``_run`` is the only
place that acts on decisions and never runs inside itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..auth.login import LoginGate, access_token
from ..errors import (
    AuthenticationFailed,
    ConnectionFailed,
    DeadlineExceeded,
    PoolClosed,
    QueueFull,
    SendError,
    UsageError,
)
from ..message import Sealed
from ..net.connection import Connection, Connector, connect
from ..net.tls import ResumingContext, context_for
from ..options import Credentials, Options
from ..policy.assignment import (
    AHEAD,
    AHEAD_SECONDS,
    Assign,
    Close,
    Due,
    GiveUp,
    Lane,
    Open,
    Probe,
    Reserve,
    Slot,
    State,
    Wait,
    decide,
    pop_due,
    push_sleeping,
)
from ..policy.backoff import full_jitter, half_jitter
from ..policy.batch import next_batch
from ..policy.rate import Limiter
from ..results import Phase
from ..smtp.transaction import Transaction, Verdict, prepare
from .delivery import Delivery, Pending
from .key import ConnectionKey
from .settlement import Next, absorb, failure, next_step, result
from .statistics import Counts, Histogram, PoolStats

log = logging.getLogger("mailpool")

Notify = Callable[..., None]

# P-18 and P-19: base and cap of the back-offs, in seconds.
_MESSAGE_BACKOFF = (1.0, 60.0)
_CONNECT_BACKOFF = (0.1, 30.0)
# What is wrong with a certificate or a name stays wrong for a moment: messages that come meanwhile fail untried.
_LASTING_FAILURE = 1.0
# A connection that has been idle longer counts as reused when it turns out dead (P-11).
_STALE = 1.0


class PoolLane(Lane):
    """A lane with what its connections need."""

    credentials: Credentials | None
    context: ResumingContext
    gate: LoginGate
    last_error: SendError | None
    opened: int  # connections opened so far

    def __init__(self, key: ConnectionKey, credentials: Credentials | None, context: ResumingContext) -> None:
        super().__init__(key)
        self.credentials = credentials
        self.context = context
        self.gate = LoginGate()
        self.last_error = None
        self.opened = 0


class Pool:
    """Connections to one relay, kept and lent to messages.

    :param options: see `mailpool.options.Options`
    :param notify: called as ``notify(event, *details)`` for everything that happens (P-33)
    :param connector: how a transport is made; another one stands for another network
    :param dice: where jitter comes from
    """

    def __init__(
        self,
        options: Options,
        *,
        notify: Notify = lambda *_: None,
        connector: Connector = connect,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.options = options
        self._notify = notify
        self._connector = connector
        self._dice = dice
        self._loop = asyncio.get_running_loop()
        self._state = State(
            max_connections=options.max_connections,
            idle_timeout=options.idle_timeout,
            connection_wait=options.connection_wait,
            check_after=options.check_after,
            ageing=options.max_age is not None,
            limiter=Limiter(options.rate) if options.rate else None,
        )
        most = options.max_messages
        self._max_messages = math.inf if most < 0 else most
        self._ahead = AHEAD if most < 0 else min(AHEAD, most // 4)
        self._slots: dict[Connection, Slot] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._order = itertools.count()
        self._overflow: deque[Delivery] = (
            deque()
        )  # plain sends beyond max_queue, waiting for their turn to be queued
        self._waiting = 0
        self._unsettled: set[Delivery] = set()
        self._running = False
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._had_room = False
        self._draining = False
        self._closing = False
        self._closed: asyncio.Future[None] | None = None
        self._settled_waiters: list[asyncio.Future[None]] = []
        self._room_waiters: list[asyncio.Future[None]] = []
        self._waited = Histogram()
        self._took = Histogram()
        self._counts = Counts()
        self._default = self._lane(options.auth)
        self._default.min_connections = options.min_connections
        self._schedule()

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
        :param deadline: seconds until it must have an outcome
        :param auth: another identity than the transporter's
        :param may_wait: whether it may wait for its turn to be queued when ``max_queue`` messages are
        :raises PoolClosed: ``close`` or ``drain`` has begun
        :raises QueueFull: ``max_queue`` messages wait and this one may not
        """
        if asyncio.get_running_loop() is not self._loop:
            raise UsageError(
                "this transporter belongs to another event loop: it is bound to the loop of its first use. "
                "Make one transporter for each loop, as each asyncio.run() is a new one"
            )
        if self._closing or self._draining:
            raise PoolClosed(
                "the transporter is closed and takes no more messages",
                phase=Phase.QUEUE,
                message_id=sealed.message_id,
            )
        full = self._waiting >= self.options.max_queue
        if full and not may_wait:
            raise QueueFull(
                f"{self._waiting} messages wait already (max_queue); pull from your source when `idle` says so, or "
                "await send_mail",
                phase=Phase.QUEUE,
                temporary=True,
                message_id=sealed.message_id,
            )
        future = Pending(loop=self._loop)
        now = self._loop.time()
        lane = self._default if auth is None else self._lane(auth)
        delivery = Delivery(sealed, lane=lane, future=future, now=now, priority=priority)
        self._unsettled.add(delivery)
        if lane.blocked_until > now and lane.open == 0 and lane.last_error is not None:
            self._fail(delivery, self._of(lane.last_error, delivery, lane.blocked_until - now))
            return future
        future.on_cancel = lambda: self._cancelled(delivery)
        deadline = deadline if deadline is not None else self.options.deadline
        if deadline is not None:
            delivery.deadline = self._loop.call_later(deadline, self._deadline_passed, delivery, deadline)
        if full:
            self._overflow.append(delivery)
        else:
            self._enqueue(delivery)
        return future

    def is_idle(self) -> bool:
        """Whether there is room for more messages (P-20)."""
        return (
            self._waiting < self.options.max_connections * self.options.pipeline_depth
            and not self._draining
            and not self._closing
        )

    async def room(self) -> None:
        """Wait until ``is_idle``, or until the pool begins to close."""
        while not self.is_idle() and not (self._draining or self._closing):
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._room_waiters.append(waiter)
            await waiter

    def _enqueue(self, delivery: Delivery) -> None:
        delivery.waiting_since = self._loop.time()
        delivery.lane.line.append(delivery)
        self._count_waiting(1)
        self._schedule()

    def _count_waiting(self, change: int) -> None:
        self._waiting += change
        if change > 0 and not self.is_idle():
            self._had_room = False

    # -- carrying out decisions ------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Decide soon: messages that are queued together are looked at together."""
        if not self._scheduled and not self._running:
            self._scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        if self._running or self._closing:
            return
        self._running = True
        touched: list[Connection] = []
        try:
            while True:
                now = self._loop.time()
                action = decide(self._state, now)
                match action:
                    case Assign(slot, message, alone):
                        if self._assign(slot, message, alone, now):
                            touched.append(slot.connection)
                    case Wait(until):
                        if not self._refill():
                            self._wake_at(until)
                            break
                    case Open(lane):
                        self._open(lane)
                    case Close(slot, why):
                        self._retire(slot, why)
                    case Reserve(slot):
                        slot.lane.reserved = slot
                        slot.lane.hungry.pop(slot, None)
                    case Due(lane):
                        delivery = pop_due(lane)
                        if delivery.gone:
                            continue
                        delivery.waiting_since = now
                        lane.alone.append(delivery)
                    case GiveUp(lane, message):
                        self._leave_queue(message)
                        assert isinstance(lane, PoolLane)
                        self._fail(message, self._of(lane.last_error, message))
                    case Probe(slot):
                        slot.checked = True
                        slot.lane.idle.pop(slot, None)
                        slot.idle_since = None
                        slot.connection.probe()
                        touched.append(slot.connection)
        finally:
            self._running = False
        for connection in touched:
            connection.flush()
        self._tell_room()

    def _refill(self) -> bool:
        """Move plain sends beyond ``max_queue`` into the queue, as far as there is room."""
        moved = False
        while self._overflow and self._waiting < self.options.max_queue:
            delivery = self._overflow.popleft()
            if not delivery.gone:
                self._enqueue(delivery)
                moved = True
        return moved

    def _wake_at(self, until: float) -> None:
        timer = self._timer
        if until == math.inf or (timer is not None and timer.when() <= until):
            return
        if timer is not None:
            timer.cancel()
        self._timer = self._loop.call_at(until, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._run()

    def _tell_room(self) -> None:
        if self._had_room or not self.is_idle():
            return
        self._had_room = True
        waiters, self._room_waiters = self._room_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._notify("idle")

    def _assign(self, slot: Slot, delivery: Delivery, alone: bool, now: float) -> bool:
        lane = slot.lane
        if alone:
            lane.alone.popleft()
        else:
            lane.line.pop()
        self._waiting -= 1
        connection: Connection = slot.connection
        assert connection.session is not None
        capabilities = connection.session.capabilities
        recipients = delivery.envelope.recipients
        limits = capabilities.limits
        if len(delivery.pending) == 1:
            batch: Sequence[int] = delivery.pending
        else:
            caps = [n for n in (self.options.max_recipients, limits.rcpt_max, delivery.most_recipients) if n]
            batch = next_batch(
                recipients,
                delivery.pending,
                most=min(caps, default=None),
                most_domains=limits.rcpt_domain_max,
            )
        try:
            transaction = prepare(
                delivery.envelope.sender,
                [recipients[i] for i in batch],
                delivery.content,
                capabilities,
                delivery,
            )
        except SendError as error:
            self._fail(delivery, error.for_message(delivery.message_id, delivery.attempts))
            return False
        except Exception as error:  # a bug must not strand the message (P-14)
            self._settle(delivery, error)
            return False
        if self._state.limiter is not None:
            self._state.limiter.take(now, len(batch))
        delivery.batch = batch
        delivery.attempts += not delivery.continues
        delivery.continues = False
        if delivery.first_begun_at is None:
            delivery.first_begun_at = now
            self._waited.add(now - delivery.queued_at)
        idle = slot.idle_since
        delivery.reused = connection.served > 0 or (idle is not None and now - idle > _STALE)
        slot.remaining -= 1
        slot.checked = False
        slot.idle_since = None
        lane.idle.pop(slot, None)
        lane.hungry.pop(slot, None)
        if lane.reserved is slot:
            lane.reserved = None
        slot.alone = alone
        connection.begin(transaction)
        self._near_end(slot, now)
        return True

    # -- connections -----------------------------------------------------------------------------------------------

    def _lane(self, credentials: Credentials | None) -> PoolLane:
        key = ConnectionKey.of(self.options, credentials)
        lane = self._state.lanes.get(key)
        if lane is None:
            lane = self._state.lanes[key] = PoolLane(key, credentials, context_for(self.options))
        assert isinstance(lane, PoolLane)
        return lane

    def _open(self, lane: Lane) -> None:
        assert isinstance(lane, PoolLane)
        slot = Slot(lane)
        slot.connection = Connection(self.options, self, connector=self._connector)
        self._slots[slot.connection] = slot
        lane.opening += 1
        self._state.total += 1
        if lane.blocked_until <= self._loop.time():
            lane.gate.reopen()
        task = self._loop.create_task(self._open_connection(slot, lane), name="mailpool: open a connection")
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open_connection(self, slot: Slot, lane: PoolLane) -> None:
        connection: Connection = slot.connection
        held = False

        async def login(again: bool) -> str | None:
            nonlocal held
            assert lane.credentials is not None
            if not again:
                held = await lane.gate.enter()
            return await access_token(lane.credentials)

        try:
            await connection.open(lane.credentials, lane.context, login)
        except SendError as error:
            self._not_opened(slot, lane, error)
        except asyncio.CancelledError:
            self._not_opened(slot, lane, None)
            raise
        except Exception as error:  # such as a token provider's
            failed = AuthenticationFailed(
                f"the access token could not be had: {type(error).__name__}: {error}",
                phase=Phase.AUTH,
                temporary=True,
            )
            failed.__cause__ = error
            self._not_opened(slot, lane, failed)
        else:
            self._opened(slot, lane)
        finally:
            if held:
                lane.gate.leave()

    def _opened(self, slot: Slot, lane: PoolLane) -> None:
        now = self._loop.time()
        connection: Connection = slot.connection
        lane.opening -= 1
        lane.open += 1
        lane.failures = 0
        lane.first_failure_at = None
        lane.retry_at = lane.blocked_until = 0.0
        lane.gate.succeeded()
        slot.open = True
        slot.remaining = self._lifetime(lane)
        assert connection.session is not None
        if (mail_max := connection.session.capabilities.limits.mail_max) is not None:
            slot.remaining = min(slot.remaining, mail_max)
        if self.options.max_age is not None:
            # P-10: those opened together do not end together.
            slot.retire_at = now + self.options.max_age * (1 - 0.25 * self._dice())
        lane.opened += 1
        self._counts.handshakes += 1
        self._counts.reconnects += lane.opened > self.options.max_connections
        ssl_object = connection.transport_info("ssl_object")
        self._counts.tls_resumed += bool(ssl_object is not None and ssl_object.session_reused)
        self._update(slot, now)
        log.debug("connection opened", extra={"connection": repr(connection)})
        self._notify("connection_opened", connection)
        self._run()

    def _lifetime(self, lane: PoolLane) -> float:
        """How many messages a connection may carry. The first ones get less, each another share, so that their ends are
        spread and no two connections are away at once (P-08)."""
        most = self._max_messages
        if most == math.inf or lane.opened >= self.options.max_connections or most < 2:
            return most
        share = (lane.opened + self._dice()) / self.options.max_connections / 2
        return max(1, most - int(most * share))

    def _not_opened(self, slot: Slot, lane: PoolLane, error: SendError | None) -> None:
        lane.opening -= 1
        connection: Connection = slot.connection
        if connection.has_transport:
            self._leaving(slot)
        else:
            self._forget(slot)
        if error is None or self._closing:
            return
        now = self._loop.time()
        lane.failures += 1
        lane.last_error = error
        self._counts.connection_failures += 1
        log.warning("connection failed: %s", error, extra={"phase": str(error.phase)})
        if error.temporary:
            base, cap = _CONNECT_BACKOFF
            if lane.first_failure_at is None:
                lane.first_failure_at = now
            lane.retry_at = now + full_jitter(lane.failures, self._dice(), base=base, cap=cap)
        else:
            wrong_login = isinstance(error, AuthenticationFailed)
            if wrong_login:
                lane.gate.failed(error)
            lane.blocked_until = now + (self.options.auth_retry_after if wrong_login else _LASTING_FAILURE)
            # With another connection of the same identity still open, messages go on over that.
            if lane.open == 0:
                self._fail_waiting(lane, error)
        self._notify("connection_failed", error)
        self._run()

    def _fail_waiting(self, lane: PoolLane, error: SendError) -> None:
        """What time cannot mend fails all waiting messages of the identity at once (P-19)."""
        wait = max(0.0, lane.blocked_until - self._loop.time())
        for delivery in [*lane.alone, *lane.line, *(entry[2] for entry in lane.sleeping)]:
            if not delivery.gone:
                self._leave_queue(delivery)
                self._fail(delivery, self._of(error, delivery, wait))

    def progress(self, connection: Connection) -> None:
        """`Owner.progress`."""
        slot = self._slots[connection]
        pipeline = connection.pipeline
        assert pipeline is not None
        if pipeline.finished:
            for transaction in pipeline.finished:
                self._ended(transaction, None)
            pipeline.finished.clear()
        self._update(slot, self._loop.time())
        self._run()

    def lost(self, connection: Connection, error: SendError, abandoned: list[Transaction]) -> None:
        """`Owner.lost`."""
        slot = self._slots[connection]
        pipeline = connection.pipeline
        assert pipeline is not None
        lane = slot.lane
        lane.open -= 1
        slot.open = False
        self._leaving(slot)
        # In front of the queue they go, and so the last one first.
        for transaction in pipeline.finished:
            self._ended(transaction, None)
        pipeline.finished.clear()
        for transaction in reversed(abandoned):
            self._ended(transaction, error)
        log.debug("connection lost: %s", error)
        self._notify("connection_lost", error)
        self._schedule()

    def closed(self, connection: Connection) -> None:
        """`Owner.closed`."""
        slot = self._slots.get(connection)
        # One that is still being opened is forgotten by the task that opens it.
        if slot is not None and slot.leaving:
            self._forget(slot)
            self._schedule()

    def _update(self, slot: Slot, now: float) -> None:
        """Put the slot where it belongs after something happened on its connection."""
        lane = slot.lane
        pipeline = slot.connection.pipeline
        if not slot.open:
            return
        if pipeline.is_idle:
            lane.hungry.pop(slot, None)
            slot.alone = False
            if lane.reserved is slot:
                lane.reserved = None
            if slot.exhausted:
                self._retire(slot, "max_messages" if slot.remaining <= 0 else "leaving")
            elif slot not in lane.idle:
                slot.idle_since = now
                lane.idle[slot] = None
        elif pipeline.can_begin and not slot.exhausted and not slot.alone and lane.reserved is not slot:
            lane.hungry[slot] = None
        else:
            lane.hungry.pop(slot, None)

    def _near_end(self, slot: Slot, now: float) -> None:
        if slot.remaining <= self._ahead or slot.retire_at - now <= AHEAD_SECONDS:
            slot.lane.ending[slot] = None

    def _retire(self, slot: Slot, why: str) -> None:
        """Take no more messages on this connection; close it when it is idle."""
        if not slot.open:
            return
        lane = slot.lane
        pipeline = slot.connection.pipeline
        lane.idle.pop(slot, None)
        lane.hungry.pop(slot, None)
        self._leaving(slot)
        if pipeline.is_idle:
            slot.open = False
            lane.open -= 1
            lane.ending.pop(slot, None)
            log.debug("closing a connection: %s", why)
            slot.connection.quit()

    def _leaving(self, slot: Slot) -> None:
        if not slot.leaving:
            slot.leaving = True
            self._state.leaving += 1
        lane = slot.lane
        lane.idle.pop(slot, None)
        lane.hungry.pop(slot, None)
        if not slot.open:
            lane.ending.pop(slot, None)
            if lane.reserved is slot:
                lane.reserved = None

    def _forget(self, slot: Slot) -> None:
        """Nothing of the connection is left."""
        connection: Connection = slot.connection
        if self._slots.pop(connection, None) is None:
            return
        self._state.total -= 1
        self._state.leaving -= slot.leaving
        self._counts.bytes_sent += connection.bytes_sent
        self._counts.bytes_received += connection.bytes_received
        self._notify("connection_closed", connection)
        lane = slot.lane
        if (
            lane is not self._default
            and not lane.connections
            and not lane.waiting
            and lane.blocked_until == 0.0
        ):
            self._state.lanes.pop(lane.key, None)
        if not self._slots:
            if not self._closing:
                self._notify("clear")
            if self._closed is not None and not self._closed.done():
                self._closed.set_result(None)

    # -- outcomes --------------------------------------------------------------------------------------------------

    def _ended(self, transaction: Transaction, cause: SendError | None) -> None:
        """A transaction is over: settle its message, or give it another place in the queue."""
        delivery: Delivery = transaction.token
        now = self._loop.time()
        absorb(delivery, transaction)
        if transaction.verdict is Verdict.UNCERTAIN:
            self._counts.uncertain += 1
        step = next_step(delivery, transaction, self.options)
        if step is Next.SETTLE:
            outcome = result(delivery, now)
            if isinstance(outcome, SendError):
                self._fail(delivery, outcome)
            else:
                self._settle(delivery, outcome)
        elif step is Next.FAIL or (
            self._closing and step is not Next.CONTINUE and transaction.verdict is Verdict.UNCERTAIN
        ):
            assert cause is not None
            self._fail(delivery, failure(delivery, transaction, cause))
        elif self._closing:
            self._fail(delivery, self._pool_closed(delivery))
        else:
            self._again(delivery, step, transaction, now)

    def _again(self, delivery: Delivery, step: Next, transaction: Transaction, now: float) -> None:
        lane = delivery.lane
        delivery.waiting_since = now
        delivery.gone = False
        if step is Next.REPLACE:
            delivery.replaced = True
        elif step is Next.REQUEUE:
            delivery.requeues += 1
            if transaction.verdict is Verdict.UNCERTAIN:
                delivery.duplicates += 1
                delivery.maybe_duplicate = True
            self._counts.requeued += 1
            self._notify("requeued", delivery.message_id, delivery.requeues)
        else:
            # The rest of the recipients: the same attempt goes on.
            delivery.continues = True
        if delivery.requeues > 1 and step is Next.REQUEUE:
            base, cap = _MESSAGE_BACKOFF
            delivery.not_before = now + half_jitter(delivery.requeues - 1, self._dice(), base=base, cap=cap)
            push_sleeping(lane, delivery, next(self._order))
        elif delivery.requeues > 1:
            lane.alone.appendleft(delivery)
        else:
            lane.line.put_first(delivery)
        self._count_waiting(1)

    def _settle(self, delivery: Delivery, outcome: Any) -> None:
        """Tell the caller, once (P-14)."""
        if delivery.settled:
            return
        delivery.settled = True
        self._unsettled.discard(delivery)
        if delivery.deadline is not None:
            delivery.deadline.cancel()
        failed = isinstance(outcome, BaseException)
        if failed:
            self._counts.failed += 1
        else:
            self._counts.sent += 1
        if delivery.first_begun_at is not None:
            self._took.add(self._loop.time() - delivery.first_begun_at)
        future = delivery.future
        future.on_cancel = None
        if delivery.detached:
            self._counts.detached += 1
            self._notify("detached", delivery.message_id, outcome)
        elif not future.done():
            if failed:
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        if not self._unsettled:
            waiters, self._settled_waiters = self._settled_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _fail(self, delivery: Delivery, error: SendError) -> None:
        self._settle(delivery, error)

    def _of(self, error: SendError | None, delivery: Delivery, retry_after: float | None = None) -> SendError:
        """The error of a connection, as the outcome of one message."""
        if error is None:
            error = ConnectionFailed("no connection could be made", phase=Phase.CONNECT, temporary=True)
        copy = error.for_message(
            delivery.message_id,
            delivery.attempts,
            delivery.recipients(),
            may_have_been_delivered=delivery.maybe_duplicate,
        )
        if retry_after is not None:
            copy.retry_after = retry_after
        return copy

    def _pool_closed(self, delivery: Delivery) -> PoolClosed:
        return PoolClosed(
            "the transporter was closed before the message was sent",
            phase=Phase.QUEUE,
            temporary=True,
            message_id=delivery.message_id,
            attempts=delivery.attempts,
            recipients=delivery.recipients(),
            may_have_been_delivered=delivery.maybe_duplicate,
        )

    # -- leaving the queue before the end --------------------------------------------------------------------------

    def _leave_queue(self, delivery: Delivery) -> None:
        """``delivery`` waits somewhere, and shall not be sent."""
        lane = delivery.lane
        delivery.gone = True
        if delivery in lane.alone:
            lane.alone.remove(delivery)
        elif any(entry[2] is delivery for entry in lane.sleeping):
            lane.sleeping = [entry for entry in lane.sleeping if entry[2] is not delivery]
            lane.sleeping.sort(key=lambda entry: entry[:2])
        elif delivery in self._overflow:
            self._overflow.remove(delivery)
            return
        else:
            lane.line.left(delivery)
        self._waiting -= 1

    def _slot_of(self, delivery: Delivery) -> Slot | None:
        """The slot on which a transaction of ``delivery`` is under way."""
        if not delivery.batch:
            return None
        for slot in self._slots.values():
            pipeline = slot.connection.pipeline
            if pipeline is not None and any(t.token is delivery for t in pipeline.in_flight):
                return slot
        return None

    def _cancelled(self, delivery: Delivery) -> None:
        """The caller gave up (P-27)."""
        if delivery.settled:
            return
        slot = self._slot_of(delivery)
        if slot is None:
            self._leave_queue(delivery)
            self._settle(delivery, asyncio.CancelledError())
            self._schedule()
            return
        delivery.detached = True
        in_flight = slot.connection.pipeline.in_flight
        if len(in_flight) == 1 and not in_flight[0].end_written:
            slot.connection.destroy(
                ConnectionFailed("the message was cancelled by its caller", phase=Phase.QUEUE, temporary=True)
            )

    def _deadline_passed(self, delivery: Delivery, seconds: float) -> None:
        if delivery.settled:
            return
        slot = self._slot_of(delivery)
        written = False
        if slot is not None:
            written = any(t.token is delivery and t.end_written for t in slot.connection.pipeline.in_flight)
        error = DeadlineExceeded(
            f"the message had no outcome within its deadline of {seconds:g} s",
            phase=Phase.QUEUE if slot is None else slot.connection.pipeline.awaited or Phase.QUEUE,
            temporary=True,
            may_have_been_delivered=delivery.maybe_duplicate or slot is not None,
            message_id=delivery.message_id,
            attempts=delivery.attempts,
            recipients=delivery.recipients(),
        )
        if slot is None:
            self._leave_queue(delivery)
            self._fail(delivery, error)
            self._schedule()
            return
        alone = len(slot.connection.pipeline.in_flight) == 1
        if alone and not written:
            error.may_have_been_delivered = delivery.maybe_duplicate
        delivery.future.set_exception(error)
        self._cancelled(delivery)

    # -- closing ---------------------------------------------------------------------------------------------------

    async def drain(self, timeout: float | None = None) -> list[Sealed]:
        """Send what is queued, take nothing new, then close (P-30). Returns what could not be sent in time."""
        self._draining = True
        self._wake_room_waiters()
        if self._unsettled:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._settled_waiters.append(waiter)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await waiter
        return await self.close()

    async def close(self, timeout: float = 10.0) -> list[Sealed]:
        """End what waits, let what is in flight finish within ``timeout`` seconds, close everything (P-29)."""
        if self._closing:
            if self._closed is not None:
                await asyncio.shield(self._closed)
            return []
        self._closing = True
        self._wake_room_waiters()
        self._closed = self._loop.create_future()
        unsent: list[Sealed] = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in tuple(self._opening):
            task.cancel()
        in_flight = {
            t.token
            for slot in self._slots.values()
            if slot.connection.pipeline
            for t in slot.connection.pipeline.in_flight
        }
        before = [d for d in self._unsettled if d not in in_flight]
        before.sort(key=lambda d: d.queued_at)
        carried = sorted(in_flight, key=lambda d: d.queued_at)
        for delivery in before:
            delivery.gone = True
            self._fail(delivery, self._pool_closed(delivery))
        self._overflow.clear()
        self._waiting = 0
        for slot in tuple(self._slots.values()):
            if slot.open:
                self._retire(slot, "the pool closes")
        if not self._slots:
            self._closed.set_result(None)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._closed)
        except TimeoutError:
            self._cut("the transporter was closed, and its time was up")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await asyncio.shield(self._closed)
        except asyncio.CancelledError:
            self._cut("the transporter was closed, and the closing was cancelled")
            raise
        finally:
            for delivery in (*before, *carried):
                if delivery.future.done() and not delivery.future.cancelled():
                    error = (
                        delivery.future.exception()
                        if isinstance(delivery.future.exception(), PoolClosed)
                        else None
                    )
                    if error is not None:
                        unsent.append(delivery.sealed)
        if self._opening:
            await asyncio.gather(*self._opening, return_exceptions=True)
        return unsent

    def _cut(self, why: str) -> None:
        for slot in tuple(self._slots.values()):
            connection: Connection = slot.connection
            if slot.open:
                connection.destroy(ConnectionFailed(why, phase=Phase.QUEUE, temporary=True))
            connection.abort()

    def _wake_room_waiters(self) -> None:
        for waiter in self._room_waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._room_waiters.clear()

    # -- seeing ----------------------------------------------------------------------------------------------------

    def stats(self) -> PoolStats:
        """A snapshot (P-32)."""
        lanes = self._state.lanes.values()
        opening = sum(lane.opening for lane in lanes)
        idle = sum(len(lane.idle) for lane in lanes)
        open_now = sum(lane.open for lane in lanes)
        live = [slot.connection for slot in self._slots.values()]
        counts = dataclasses.asdict(self._counts)
        counts["bytes_sent"] += sum(connection.bytes_sent for connection in live)
        counts["bytes_received"] += sum(connection.bytes_received for connection in live)
        return PoolStats(
            connections=self._state.total,
            opening=opening,
            busy=open_now - idle,
            idle=idle,
            closing=self._state.total - opening - open_now,
            queued=self._waiting + len(self._overflow),
            in_flight=len(self._unsettled) - self._waiting - len(self._overflow),
            max_connections=self._state.max_connections,
            rates=self.options.rate,
            relay_is_down=any(lane.is_down for lane in lanes),
            waited=self._waited.copy(),
            took=self._took.copy(),
            **counts,
        )

    def __repr__(self) -> str:
        state = "closed" if self._closing else "draining" if self._draining else "open"
        return f"<Pool {state}, {self._state.total} of {self.options.max_connections} connections, {self._waiting} waiting>"
