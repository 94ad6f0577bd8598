"""Several relays as one transport: who waits, which relay is next, and what becomes of a message that one did not take.

Messages wait here and not at the relays: a relay is given a message when it has room for it. So little is where a relay
dies, and each keeps its own connections, rate and limits. What may move on is decided by `policy.moving`, whether a
relay is asked by `policy.breaker`, and which by `policy.balance`.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import ConnectionFailed, PoolClosed, SendError, UsageError
from ..message import Sealed
from ..options import Credentials, Options
from ..policy.backoff import message_backoff
from ..policy.balance import Strategy, choose, take_turn
from ..policy.breaker import Health, Sign
from ..policy.state import Lane
from ..pool.alarm import Alarm
from ..pool.closing import Closing, takes_no_more
from ..pool.ledger import Ledger, Whereabouts
from ..pool.pending import Pending
from ..pool.queue import Queue
from ..pool.room import Room
from ..pool.settlement import deadline_exceeded, pool_closed, told
from ..pool.statistics import Counts, Histogram, PoolStats
from ..results import Outcome, Phase, SendResult
from .adding_up import sum_of
from .relay import Notify, Recallable, Relay, RelayPlan
from .travelling import Next, Traveller, absorb, next_step, result, sign_of

# How often a long queue is looked through for those that have waited too long, in seconds.
_SWEEP = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The relays, and how messages are spread over them."""

    relays: tuple[RelayPlan, ...]
    strategy: Strategy = Strategy.FAILOVER
    move_deferred: bool = False


class Failover:
    """See `mailpool.pool.pool.Pool` for what each method promises.

    :param options: those of the whole; each relay has its own in ``plan``
    :param notify: called as ``notify(event, *details)`` for everything that happens (P-33)
    :param make: makes the transport of one relay
    :param dice: where jitter comes from: a function that gives numbers in [0, 1)
    """

    def __init__(
        self,
        plan: Plan,
        options: Options,
        notify: Notify,
        make: Callable[[RelayPlan, Notify], Recallable],
        *,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._plan = plan
        self._options = options
        self._notify = notify
        self._dice = dice
        self._loop = asyncio.get_running_loop()
        self._counts = Counts()
        self._lane = Lane(None)
        self._queue = Queue(options)
        self._room = Room(self._has_room, lambda: notify("idle"))
        self._ledger = Ledger(
            self._counts, on_given_up=self._given_up, where=self._where, on_detached=lambda *_: None
        )
        self._closing = Closing(self._queue, self._ledger, self._room)
        self._alarm = Alarm(self._run)
        self._waited = Histogram()
        self._alone = False  # no relay is up
        self._some_down = False
        self._sweep_at = math.inf  # when to look for those that have waited too long for a relay to be up
        self._running = False
        self._relays: list[Relay] = []
        for relay in plan.relays:
            self._relays.append(
                Relay(relay, make=make, on_event=self._heard, on_health=self._health_changed, dice=dice)
            )
        self._shares = [relay.share for relay in self._relays]
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
        """Give a message its place in the queue, or to a relay that has room; the future has its outcome.

        :raises UsageError: an argument has no meaning here
        :raises PoolClosed: ``close`` or ``drain`` has begun
        :raises QueueFull: ``max_queue`` messages wait and this one may not
        """
        if auth is not None and not any(relay.takes_logins for relay in self._relays):
            raise UsageError("auth: none of the relays knows logins for single messages")
        if self._closing.begun:
            raise takes_no_more(sealed.message_id)
        now = self._loop.time()
        traveller = Traveller(
            sealed,
            lane=self._lane,
            future=Pending(loop=self._loop),
            now=now,
            priority=priority,
            auth=auth,
            until=None if deadline is None else now + deadline,
        )
        self._queue.append(traveller, may_wait=may_wait)
        self._ledger.enter(traveller, deadline)
        self._sweep_after_wait(now)
        self._run()
        return traveller.future

    @property
    def waiting(self) -> int:
        """How many wait, as ``max_queue`` counts them."""
        return len(self._queue)

    def is_idle(self) -> bool:
        """Whether a relay that is asked now has room, and nobody waits for it (P-20)."""
        return self._room.is_there()

    async def room(self) -> bool:
        """Wait until ``is_idle``; false when closing begins instead."""
        return await self._room.wait()

    def _has_room(self) -> bool:
        if self._queue.held_back or self._lane.due or self._queue.is_full:
            return False
        return self._choose(None, self._loop.time()) is not None

    # -- giving messages to relays ---------------------------------------------------------------------------------

    def _run(self) -> None:
        """Give away whatever has a place to go to, and see to it that the rest is looked at again in time."""
        if self._running or self._closing.closed:
            return
        self._running = True
        try:
            now = self._loop.time()
            lane = self._lane
            while lane.sleeping and lane.sleeping[0][0] <= now:
                self._queue.wake_first(lane)
            # Those that come back are few, and each has been to other relays.
            for traveller in tuple(lane.alone):
                relay = self._choose(traveller, now, takes=True)
                if relay is not None:
                    self._queue.leave(traveller)
                    self._give(traveller, relay, now)
            while True:
                self._queue.admit()
                head: Traveller | None = lane.line.peek()
                relay = None if head is None else self._choose(head, now, takes=True)
                if head is None or relay is None:
                    break
                self._queue.take(lane, alone=False)
                self._give(head, relay, now)
            if self._sweep_at <= now:
                waiting = len(self._queue)
                self._sweep_at = self._give_up(now)
                if len(self._queue) < waiting:
                    self._queue.admit()
                    self._alarm.soon()  # the next in line may go where those could not
            if not self._room.is_there():
                self._room.lost()
            self._room.tell()
            self._alarm.at(self._next_look(now))
        finally:
            self._running = False

    def _choose(self, traveller: Traveller | None, now: float, *, takes: bool = False) -> Relay | None:
        """The relay for a message, or for one that has been nowhere yet. ``takes``: it is given one."""
        admitted: list[int] = []
        spared: list[int] = []
        others_up = False
        for index, relay in enumerate(self._relays):
            if traveller is not None and not traveller.may_go_to(relay):
                continue
            to = admitted
            if traveller is not None and relay in traveller.failed_on:
                to = spared
            else:
                others_up = others_up or relay.down_since is None
            if relay.breaker.admits(now, alone=self._alone):
                to.append(index)
        if not (admitted or others_up):
            admitted = spared  # where it has failed comes after the others, and they may be down for long
        with_room = [index for index in admitted if self._relays[index].transport.is_idle()]
        chosen = choose(self._plan.strategy, self._shares, admitted, with_room)
        if chosen is None:
            return None
        if takes and self._plan.strategy is Strategy.ROUND_ROBIN:
            take_turn(self._shares, with_room, chosen)
        return self._relays[chosen]

    def _give(self, traveller: Traveller, relay: Relay, now: float) -> None:
        if traveller.first_begun_at is None:
            traveller.first_begun_at = now
        left = None if traveller.until is None else max(traveller.until - now, 1e-6)
        try:
            future = relay.transport.submit(
                traveller.unsent, priority=traveller.priority, deadline=left, auth=traveller.auth
            )
        except Exception as error:
            # Whatever it is, it is the outcome of this message (P-14).
            self._ledger.settle(traveller, error)
            return
        assert isinstance(future, Pending)
        relay.gave(traveller, future, now)
        traveller.relay = relay
        future.add_done_callback(partial(self._ended, traveller, relay))

    def _next_look(self, now: float) -> float:
        """When something has to be looked at that tells nobody: silence, a back-off, a breaker whose time is over."""
        wake = math.inf
        for relay in self._relays:
            if relay.hand and relay.breaker.health is not Health.DOWN:
                wake = min(wake, relay.look(now))
            # Without room somebody may wait for it, to pull.
            if relay.breaker.health is Health.DOWN and (self._lane.waiting or not self._room.told):
                opens_at = relay.breaker.opens_at(alone=self._alone)
                wake = min(wake, opens_at if opens_at > now else math.inf)
        if self._lane.waiting:
            wake = min(wake, self._sweep_at)
        if self._lane.sleeping:
            wake = min(wake, self._lane.sleeping[0][0])
        return wake

    # -- outcomes --------------------------------------------------------------------------------------------------

    def _ended(self, traveller: Traveller, relay: Relay, future: asyncio.Future[SendResult]) -> None:
        """A relay is done with a message: settle it, or let it move on."""
        in_hand = relay.ended(traveller)
        traveller.relay = None
        if traveller.settled or future.cancelled():
            relay.showed(Sign.NOTHING, None, probed=in_hand.probes)
            self._alarm.soon()
            return
        error = future.exception()
        outcome = future.result() if error is None else error
        now = self._loop.time()
        if isinstance(outcome, SendResult):
            relay.sent += 1
            if not traveller.attempts and not outcome.rejected:  # nearly always
                relay.showed(Sign.TAKEN, None, probed=in_hand.probes)
                self._settle(traveller, outcome, now)
                self._alarm.soon()
                return
        if isinstance(outcome, PoolClosed):
            absorb(traveller, outcome, move_deferred=False)
            self._ledger.settle(traveller, pool_closed(traveller))
        else:
            sign = sign_of(outcome, traveller.auth is not None)
            case = absorb(traveller, outcome, move_deferred=self._plan.move_deferred)
            self._move(
                traveller,
                relay,
                next_step(traveller, relay, case, self._relays, self._options, now),
            )
            relay.showed(
                sign,
                error if isinstance(error, SendError) else None,
                probed=in_hand.probes,
                retry_after=getattr(error, "retry_after", None),
            )
        self._alarm.soon()

    def _move(self, traveller: Traveller, relay: Relay, step: Next) -> None:
        now = self._loop.time()
        if step is Next.SETTLE:
            self._settle(traveller, result(traveller, now), now)
            return
        if traveller.until is not None and traveller.until <= now:
            # It passed in the same moment, and the relay had it then: nobody else would tell.
            seconds = traveller.until - traveller.queued_at
            self._ledger.settle(
                traveller, deadline_exceeded(traveller, seconds, Phase.QUEUE, on_its_way=False)
            )
            return
        if self._closing.closed:
            # Whoever sends again what ``close`` returns must not make a second copy of it.
            uncertain = any(one.outcome is Outcome.UNCERTAIN for one in traveller.told.values())
            outcome = result(traveller, now) if uncertain else pool_closed(traveller)
            self._settle(traveller, outcome, now)
            return
        relay.moved_on += 1
        traveller.requeues += 1
        self._counts.requeued += 1
        self._notify("requeued", traveller.message_id, traveller.requeues)
        wait = 0.0
        if step is Next.ROUND:
            wait = message_backoff(traveller.rounds, self._dice())
        self._queue.put_to_sleep(traveller, now + wait)
        self._sweep_after_wait(now)

    def _settle(self, traveller: Traveller, outcome: SendResult | BaseException, now: float) -> None:
        if isinstance(outcome, SendResult):
            # Of the last relay it is known when MAIL was written.
            if not traveller.requeues:
                traveller.first_begun_at = now - outcome.took
            begun_at = now if traveller.first_begun_at is None else traveller.first_begun_at
            outcome.waited = max(0.0, begun_at - traveller.queued_at)
            outcome.took = now - begun_at
            self._waited.add(outcome.waited)
        self._ledger.settle(traveller, outcome)

    def _give_up(self, now: float) -> float:
        """End those that have waited too long for a relay to be up (P-19). Returns when to look again."""
        wake = math.inf
        waiting = self._queue.of(self._lane) if self._some_down else []
        for traveller in waiting:
            assert isinstance(traveller, Traveller)
            since = self._stranded_since(traveller)
            if since is None:
                continue
            until = since + self._options.connection_wait
            if until > now:
                wake = min(wake, until)
                continue
            self._queue.leave(traveller)
            self._ledger.settle(traveller, told(self._why_down(traveller), traveller))
        return max(wake, now + _SWEEP) if len(waiting) > 100 else wake

    def _stranded_since(self, traveller: Traveller) -> float | None:
        """Since when it waits and no relay that may carry it is up; None while one is."""
        since = traveller.queued_at
        if traveller.refused_by and traveller.failed_at is not None:
            since = traveller.failed_at  # before that it had others
        for relay in self._relays:
            if traveller.may_go_to(relay):
                if relay.down_since is None:
                    return None
                since = max(since, relay.down_since)
        return since

    def _sweep_after_wait(self, now: float) -> None:
        """Some message may wait for a relay to be up from now on."""
        if self._some_down:
            self._sweep_at = min(self._sweep_at, now + self._options.connection_wait)

    def _why_down(self, traveller: Traveller) -> SendError:
        if isinstance(traveller.error, SendError):
            return traveller.error
        for relay in self._relays:
            error = relay.last_error
            if isinstance(error, SendError):
                # What became of another message there is not what became of this one.
                return relay.is_down(error) if error.attempts else error
        return ConnectionFailed("no relay can be used", phase=Phase.CONNECT, temporary=True)

    # -- what relays report ----------------------------------------------------------------------------------------

    def _heard(self, relay: Relay, event: str, details: tuple[Any, ...]) -> None:
        if event == "idle":
            self._alarm.soon()
            return
        if event == "clear" and any(other.transport.stats().connections for other in self._relays):
            return
        if event == "detached" and isinstance(details[1], SendResult):
            relay.sent += 1
            # Its caller was told that it had given it up.
            self._counts.sent += 1
            self._counts.failed -= 1
        self._notify(event, *details)

    def _health_changed(self, relay: Relay, error: SendError | None) -> None:
        up = relay.breaker.health is Health.UP
        down = [other.breaker.health is not Health.UP for other in self._relays]
        self._alone, self._some_down = all(down), any(down)
        self._sweep_after_wait(self._loop.time())
        if up:
            self._notify("relay_up", relay.name)
        else:
            self._notify("relay_down", relay.name, error)
        self._alarm.soon()

    # -- callers that give up --------------------------------------------------------------------------------------

    def _given_up(self, traveller: Traveller) -> None:
        """Nobody waits for this one any more (P-27); a relay that has it knows how far it is."""
        if traveller.settled:
            return
        if traveller.relay is None:
            self._queue.leave(traveller)
        else:
            traveller.relay.hand[traveller].future.cancel()
        self._ledger.settle(traveller, asyncio.CancelledError())
        self._alarm.soon()

    def _where(self, traveller: Traveller) -> Whereabouts | None:
        # The relay that has it was told the same deadline.
        return Whereabouts(Phase.QUEUE, on_its_way=False) if traveller.relay is None else None

    # -- closing ---------------------------------------------------------------------------------------------------

    async def drain(self, timeout: float | None = None, *, close_timeout: float = 10.0) -> list[Sealed]:
        """Take nothing new, send what is queued, then close (P-30). Returns what could not be sent in time.

        :param timeout: seconds for what is queued
        :param close_timeout: seconds more for what is on the wire then
        """
        return await self._closing.drain(timeout, close_timeout, self.close)

    async def close(self, timeout: float = 10.0) -> list[Sealed]:
        """End what waits, let what is on the wire finish, close all relays (P-29). Returns what was not sent.

        :param timeout: seconds for what is on the wire
        """
        if not self._closing.closed:
            self._alarm.off()
            self._closing.close(frozenset().union(*(relay.hand for relay in self._relays)))
        # Cancelled with us, each closes at once.
        await asyncio.gather(*(relay.transport.close(timeout) for relay in self._relays))
        await self._ledger.all_settled()
        return self._closing.unsent()

    # -- seeing ----------------------------------------------------------------------------------------------------

    def stats(self) -> PoolStats:
        """A snapshot (P-32); ``relays`` has each."""
        now = self._loop.time()
        relays = tuple(relay.stats(now) for relay in self._relays)
        return sum_of(relays, self._queue, self._counts, waited=self._waited, took=self._ledger.took)

    def __repr__(self) -> str:
        up = sum(relay.breaker.health is Health.UP for relay in self._relays)
        return (
            f"<Failover {self._closing}, {up} of {len(self._relays)} relays up, {len(self._queue)} waiting>"
        )
