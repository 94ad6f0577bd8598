"""What can be seen from inside while a scenario runs: whether anything waits that could go, and whose turn it is."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from books import disagreements
from evidence import Evidence, Handed
from letters import number_of
from scenario import Scenario

from mailpool.policy.assignment import Wait, decide
from mailpool.transporter import Transporter
from mailpool.transports.failover import Failover

# How often the pool is looked at from inside, in seconds.
GLANCE = 0.5
# After so many messages that passed lower ones, one of the lower ones goes (P-22).
FAIR_SHARE = 10


class Watch:
    """Looks at a transporter now and then. ``is_closing`` is set when there is nothing more to see."""

    def __init__(self, scenario: Scenario, evidence: Evidence, transporter: Transporter) -> None:
        self._scenario = scenario
        self._evidence = evidence
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: Any = transporter._bound()
        self.is_closing = False
        if isinstance(self._transport, Failover):
            for number, relay in enumerate(self._transport._relays):
                self._note_what_is_handed(number, relay.transport)
        for queue in self._queues():
            self._see_turns(queue)
        self._glance()

    @property
    def pools(self) -> list[Any]:
        """One for each relay."""
        transport = self._transport
        if isinstance(transport, Failover):
            return [relay.transport for relay in transport._relays]
        return [transport]

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # -- nothing waits when it could go ----------------------------------------------------------------------------

    def _glance(self) -> None:
        self._timer = self._loop.call_later(GLANCE, self._glance)
        if self.is_closing:
            return
        now = self._loop.time()
        for pool in self.pools:
            self._look_at(pool, now)
        if isinstance(self._transport, Failover):
            self._look_at_relays(self._transport, now)

    def _look_at(self, pool: Any, now: float) -> None:
        """What the pool would do now, it has done or is about to do."""
        complain = self._evidence.complain
        if pool._state.total > self._scenario.options["max_connections"]:
            complain(f"P-01: {pool._state.total} connections are counted")
        for words in disagreements(pool, now):
            complain(words)
        if pool._running or pool._alarm.next_look <= now:
            return
        step = decide(pool._state, now)
        if not isinstance(step, Wait):
            complain(f"P-14: nothing moves at {now:g} s, and {type(step).__name__} could be done")
        elif step.until < math.inf and pool._alarm.next_look > step.until + 1e-6:
            complain(f"P-14: nothing will move at {step.until:g} s, when something has to be done")
        elif pool._queue.held_back and len(pool._queue) < self._scenario.options["max_queue"]:
            complain("P-21: messages stand before the door, and there is room inside")

    def _look_at_relays(self, failover: Any, now: float) -> None:
        """No message waits for a relay that would take it."""
        complain = self._evidence.complain
        lane, queue = failover._lane, failover._queue
        in_hand = sum(len(relay.hand) for relay in failover._relays)
        if len(queue) + queue.held_back + in_hand != len(failover._ledger.open):
            complain(
                f"P-14: {len(failover._ledger.open)} messages have no outcome, and {in_hand} are in hand"
            )
        if failover._running or failover._alarm.next_look <= now:
            return
        if any(pool._alarm.next_look <= now for pool in self.pools):
            return  # there may be room in a moment
        for waiting in (*lane.alone, lane.line.peek()):
            if waiting is not None and failover._choose(waiting, now) is not None:
                complain(f"P-14: nothing moves at {now:g} s, and a relay would take a message")
        if lane.sleeping and failover._alarm.next_look > lane.sleeping[0][0] + 1e-6:
            complain(f"P-14: nobody will wake at {lane.sleeping[0][0]:g} s")
        if queue.held_back and len(queue) < self._scenario.options["max_queue"]:
            complain("P-21: messages stand before the door, and there is room inside")

    # -- who is next -----------------------------------------------------------------------------------------------

    def _queues(self) -> Iterator[Any]:
        if len({step.priority for step in self._scenario.steps}) > 1:
            yield from (pool._queue for pool in self.pools)
            if isinstance(self._transport, Failover):
                yield self._transport._queue

    def _see_turns(self, queue: Any) -> None:
        take, turns = queue.take, Turns(self._evidence)

        def seen(lane: Any, *, alone: bool) -> Any:
            waiting = Counter() if alone else Counter(one.priority for one in lane.line)
            taken = take(lane, alone=alone)
            if not alone:
                turns.taken(lane, taken.priority, waiting)
            return taken

        queue.take = seen

    # -- what relays are given -------------------------------------------------------------------------------------

    def _note_what_is_handed(self, number: int, pool: Any) -> None:
        submit, loop = pool.submit, self._loop

        def seen(sealed: Any, **keywords: Any) -> Any:
            envelope = sealed.envelope
            handed = Handed(
                number_of(envelope.sender),
                number,
                loop.time(),
                tuple(str(one) for one in envelope.recipients),
            )
            self._evidence.handed.append(handed)
            future = submit(sealed, **keywords)
            future.add_done_callback(lambda done: ended(handed, done))
            return future

        def ended(handed: Handed, done: asyncio.Future[Any]) -> None:
            handed.ended_at = loop.time()
            handed.outcome = (
                asyncio.CancelledError() if done.cancelled() else done.exception() or done.result()
            )

        pool.submit = seen


class Turns:
    """Whose turn it is in each line (P-22): higher priorities first, and after ten that passed them one of the lower."""

    def __init__(self, evidence: Evidence) -> None:
        self._complain = evidence.complain
        self._passes: dict[Any, Counter[int]] = {}
        self._passed: dict[Any, dict[int, list[int]]] = {}

    def taken(self, lane: Any, priority: int, waiting: Counter[int]) -> None:
        """One of this priority goes; so many waited of each, this one included."""
        passes = self._passes.setdefault(lane, Counter())
        for higher in waiting:
            if higher > priority and passes[higher] < FAIR_SHARE:
                self._complain(f"P-22: one of priority {priority} goes while one of {higher} waits")
        for other in passes:
            if other > priority:
                passes[other] = 0
        passes[priority] += 1
        # Those that passed whoever waits below, since one of them went.
        passed = self._passed.setdefault(lane, {})
        for lower in [lower for lower in passed if lower >= priority or lower not in waiting]:
            del passed[lower]
        for lower in waiting:
            if lower < priority:
                since = passed.setdefault(lower, [])
                since.append(priority)
                if len(since) > (FAIR_SHARE + 1) ** len(set(since)):
                    self._complain(f"P-22: {len(since)} messages have passed one of priority {lower}")
