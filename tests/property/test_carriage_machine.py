"""P-14 for the carriage: whatever is done in whatever order, every message ends once, and what is said of it is true."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mailpool import (
    DeadlineExceeded,
    DeliveryUncertain,
    Outcome,
    Phase,
    PoolClosed,
    QueueFull,
    QuotaExceeded,
    Rejected,
    Sealed,
    SendResult,
    Throttled,
    all_accepted,
)
from mailpool.address import Envelope
from mailpool.content import BytesContent
from mailpool.options import Options, Rate
from mailpool.testing import VirtualLoop
from mailpool.transports.carriage import Carriage

WAYS = ["take", "take", "take", "reject", "throttle", "quota", "raise", "finish", "ignore"]


class Book:
    """A carrier that knows whom it has taken a message for, and never takes more than it may."""

    max_recipients = 2

    def __init__(self, dice: random.Random, most: int) -> None:
        self.dice = dice
        self.most = most
        self.at_once = 0
        self.taken: list[tuple[str, str]] = []
        self.closed = 0

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        assert not self.closed
        assert len(sealed.envelope.recipients) <= self.max_recipients
        self.at_once += 1
        assert self.at_once <= self.most
        way = self.dice.choice(WAYS)
        try:
            await self._wait(way)
        finally:
            self.at_once -= 1
        match way:
            case "reject":
                raise Rejected("no", phase=Phase.HANDOVER)
            case "throttle":
                retry_after = self.dice.choice((None, 0, 3))
                raise Throttled("slower", phase=Phase.HANDOVER, temporary=True, retry_after=retry_after)
            case "quota":
                raise QuotaExceeded("enough", phase=Phase.HANDOVER, temporary=True, retry_after=2)
            case "raise":
                raise ValueError
        self.taken += [(sealed.message_id, address) for address in sealed.envelope.recipients]
        return all_accepted(sealed)

    async def _wait(self, way: str) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.dice.choice((0, 0.1, 1, 5))
        while loop.time() < until:
            try:
                await asyncio.sleep(until - loop.time())
            except asyncio.CancelledError:
                if way == "finish":
                    return
                if way != "ignore":
                    raise

    async def close(self) -> None:
        self.closed += 1


class Machine(RuleBasedStateMachine):
    """Rules run between turns of a loop whose clock jumps."""

    @initialize(
        seed=st.integers(0, 10**6),
        most=st.integers(1, 3),
        queue=st.integers(1, 6),
        rate=st.sampled_from([(), (Rate(2, 1.0),), (Rate(3, 2.0, unit="recipients"),)]),
        patience=st.sampled_from([0.0, 5.0]),
    )
    def begin(self, seed: int, most: int, queue: int, rate: tuple[Rate, ...], patience: float) -> None:
        self.loop = VirtualLoop()
        self.complaints: list[Any] = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self.book = Book(random.Random(seed), most)
        self.sends: dict[str, Any] = {}
        self.sealed: dict[str, Sealed] = {}
        self.returned: list[Sealed] = []
        self.closing: list[asyncio.Task[Any]] = []
        self.detached: list[str] = []
        options = Options(max_connections=most, max_queue=queue, rate=rate, max_throttle_wait=patience)

        async def make() -> Carriage:
            return Carriage(self.book, options, self.heard, dice=random.Random(seed).random)

        self.carriage = self.loop.run_until_complete(make())

    def heard(self, event: str, *details: Any) -> None:
        if event == "detached":
            self.detached.append(details[0])

    def step(self, action: Any) -> Any:
        async def run() -> Any:
            return action()

        return self.loop.run_until_complete(run())

    @rule(
        recipients=st.integers(1, 5),
        priority=st.integers(-1, 1),
        deadline=st.sampled_from([None, None, 0.5, 3.0]),
        may_wait=st.booleans(),
    )
    def send(self, recipients: int, priority: int, deadline: float | None, may_wait: bool) -> None:
        identity = f"<{len(self.sealed)}@example.org>"
        envelope = Envelope("a@example.org", [f"r{n}@example.org" for n in range(recipients)])
        sealed = self.sealed[identity] = Sealed(envelope, BytesContent(b"x\r\n"), identity)
        try:
            self.sends[identity] = self.step(
                lambda: self.carriage.submit(sealed, priority=priority, deadline=deadline, may_wait=may_wait)
            )
        except QueueFull:
            assert not may_wait
        except PoolClosed:
            assert self.closing

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.5, 2.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @precondition(lambda self: self.sends)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        send = self.sends[data.draw(st.sampled_from(sorted(self.sends)))]
        self.step(send.cancel)

    @precondition(lambda self: self.closing)
    @rule()
    def cancel_closing(self) -> None:
        self.step(self.closing[-1].cancel)

    @rule(how=st.sampled_from(["close", "drain"]), seconds=st.sampled_from([0.0, 1.0, 30.0]))
    def end(self, how: str, seconds: float) -> None:
        if len(self.closing) < 3:
            self.closing.append(self.loop.create_task(getattr(self.carriage, how)(seconds)))

    @invariant()
    def books_are_in_order(self) -> None:
        stats = self.carriage.stats()
        assert stats.connections <= stats.max_connections
        assert stats.queued >= 0
        assert stats.held_back >= 0
        assert self.complaints == []

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return

        async def finish() -> None:
            self.returned += await self.carriage.close(10)
            for outcome in await asyncio.gather(*self.closing, return_exceptions=True):
                if isinstance(outcome, list):
                    self.returned += outcome
            await asyncio.sleep(100)

        self.loop.run_until_complete(finish())
        left = asyncio.all_tasks(self.loop)
        timers = self.loop.pending_timers()
        # Futures whose exception nobody looks at complain when they are collected.
        outcomes = {identity: self.outcome(send) for identity, send in self.sends.items()}
        self.loop.close()
        assert left == set()
        assert timers == []
        assert self.complaints == []
        assert self.book.closed == 1
        assert len(self.book.taken) == len(set(self.book.taken)), "a recipient got a message twice"
        stats = self.carriage.stats()
        settled_at_once = stats.sent + stats.failed
        assert settled_at_once == len(self.sends)
        assert (stats.queued, stats.held_back, stats.in_flight) == (0, 0, 0)
        for identity, outcome in outcomes.items():
            self.judge(identity, outcome)
        not_sent = [identity for identity, outcome in outcomes.items() if isinstance(outcome, PoolClosed)]
        if not any(task.cancelled() for task in self.closing):
            assert sorted(sealed.message_id for sealed in self.returned) == sorted(not_sent)

    @staticmethod
    def outcome(send: Any) -> Any:
        assert send.done(), "a message has no outcome"
        return asyncio.CancelledError() if send.cancelled() else send.exception() or send.result()

    def judge(self, identity: str, outcome: Any) -> None:
        taken = {address for message, address in self.book.taken if message == identity}
        everybody = set(self.sealed[identity].envelope.recipients)
        if isinstance(outcome, SendResult):
            assert set(outcome.accepted) <= taken
            assert outcome.accepted
            unsure = {r.address for r in outcome.recipients if r.outcome is Outcome.UNCERTAIN}
            assert taken - set(outcome.accepted) <= unsure
            assert {r.address for r in outcome.recipients} == everybody
        elif isinstance(outcome, PoolClosed):
            assert set(outcome.accepted) == taken
        elif isinstance(outcome, (DeliveryUncertain, DeadlineExceeded)):
            assert outcome.may_have_been_delivered or not taken
        elif not isinstance(outcome, asyncio.CancelledError):
            assert not taken, f"{outcome!r}, and yet it was delivered"


Machine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestMachine = pytest.mark.rule("P-14")(Machine.TestCase)
