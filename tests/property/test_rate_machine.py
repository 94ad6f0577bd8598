"""P-23, P-24, POL-04: whatever happens, no window of any rate ever holds more than it may, and no priority starves.

The machine does what the pool does around `decide`: it asks for the next message, begins it when there is a token, and
reports what became of it. Time goes on by any amount, messages fail, come back, are put off, and limits are learnt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mailpool.options import Rate
from mailpool.policy.adaptive import Adaptive, Learnt
from mailpool.policy.assignment import Assign, Wait, decide
from mailpool.policy.line import FAIR_SHARE
from mailpool.policy.rate import Limiter
from mailpool.policy.state import Lane, Slot, State

pytestmark = [pytest.mark.rule("P-23"), pytest.mark.rule("P-24"), pytest.mark.rule("POL-04")]

# What binary fractions may be off by.
TICK = 1e-6
RATES = st.builds(
    lambda limit, per, burst, unit: Rate(limit, per, burst=min(burst, limit) or None, unit=unit),
    st.integers(1, 6),
    st.sampled_from([0.5, 1.0, 10.0, 60.0]),
    st.integers(0, 6),
    st.sampled_from(["messages", "recipients"]),
)


@dataclass(eq=False)
class Message:
    priority: int
    weight: int
    waiting_since: float = 0.0
    not_before: float = 0.0
    gone: bool = False


class Rates(RuleBasedStateMachine):
    @initialize(
        rates=st.lists(RATES, max_size=3),
        known=st.one_of(
            st.none(),
            st.builds(
                Learnt,
                rate=st.floats(0.1, 20),
                unit=st.sampled_from(["messages", "recipients"]),
                per=st.sampled_from([None, 1.0, 60.0]),
            ),
        ),
    )
    def start(self, rates: list[Rate], known: Learnt | None) -> None:
        self.now = 100.0
        self.rates = rates
        self.state = State(max_connections=3, limiter=Limiter(rates) if rates else None)
        self.lane: Lane = Lane("one")
        if known is not None:
            self.lane.adaptive = Adaptive(known)
        self.state.lanes["one"] = self.lane
        self.slots = [Slot(self.lane, opening=False, open=True) for _ in range(3)]
        self.state.total = self.lane.open = self.lane.total = 3
        for slot in self.slots:
            self.lane.idle[slot] = None
        self.busy: dict[Slot, Message] = {}
        self.events: list[tuple[float, int]] = []
        self.learnt: list[tuple[float, float, float, float, str]] = []  # from, until, window, most, unit
        self.passed = 0
        # The largest message that a rate by recipients can keep to.
        bounds = [rate.burst or rate.limit for rate in rates if rate.unit == "recipients"]
        self.most = min([*bounds, 4])

    # -- what happens ----------------------------------------------------------------------------------------------

    @rule(priority=st.integers(0, 2), weight=st.integers(1, 4))
    def arrives(self, priority: int, weight: int) -> None:
        self.lane.line.append(Message(priority, min(weight, self.most), waiting_since=self.now))

    @rule(count=st.integers(1, 15), priority=st.integers(0, 2))
    def many_arrive(self, count: int, priority: int) -> None:
        for _ in range(count):
            self.arrives(priority, 1)

    @rule(seconds=st.one_of(st.sampled_from([0.0, 0.1, 0.5, 1.0, 10.0, 60.0]), st.floats(0, 100)))
    def time_goes_on(self, seconds: float) -> None:
        self.now += seconds

    @rule(until_next=st.booleans())
    def go(self, until_next: bool) -> None:
        """Do everything that can be done now, or when it can be done next."""
        for _ in range(50):
            step = decide(self.state, self.now)
            if isinstance(step, Assign):
                self._begin(step)
            elif isinstance(step, Wait) and until_next and self.now < step.until < math.inf:
                self.now = step.until
                until_next = False
            else:
                return

    def _begin(self, step: Assign) -> None:
        waiting = {message.priority for message in self.lane.line}
        message: Any = self.lane.line.pop()
        # Fair sharing: nobody below is passed by more than so many of one class above.
        self.passed = self.passed + 1 if message.priority > min(waiting) else 0
        assert self.passed <= FAIR_SHARE * (FAIR_SHARE + 1)
        if self.state.limiter is not None:
            self.state.limiter.take(self.now, message.weight)
        adaptive = self.lane.adaptive
        if adaptive is not None:
            assert self.now >= adaptive.pace.paused_until, "it goes in a pause"
            adaptive.take(self.now, message.weight)
        self.events.append((self.now, message.weight))
        del self.lane.idle[step.slot]
        self.busy[step.slot] = message

    def _free(self, data: Any) -> Message:
        slot = data.draw(st.sampled_from(list(self.busy)))
        self.lane.idle[slot] = None
        return self.busy.pop(slot)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def is_taken(self, data: Any) -> None:
        message = self._free(data)
        if self.lane.adaptive is not None:
            self.lane.adaptive.accepted(self.now, message.weight)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def fails(self, data: Any) -> None:
        self._free(data)

    @precondition(lambda self: self.busy)
    @rule(data=st.data(), again=st.booleans())
    def comes_back(self, data: Any, again: bool) -> None:
        """Its connection was lost, and there is another one: what it took counts all the same."""
        self.lane.line.put_first(self._free(data))

    @precondition(lambda self: self.busy)
    @rule(
        data=st.data(),
        dice=st.floats(0, 0.999),
        hint=st.sampled_from([None, None, 0.5, 90.0]),
        unit=st.sampled_from(["messages", "recipients"]),
        per=st.sampled_from([None, 1.0, 60.0]),
    )
    def is_put_off(self, data: Any, dice: float, hint: float | None, unit: Any, per: float | None) -> None:
        adaptive = self.lane.adaptive = self.lane.adaptive or Adaptive()
        before = adaptive.pace.rate
        adaptive.too_fast(self.now, dice, hint, unit, per)
        after = adaptive.pace.rate
        assert after is None or after > 0
        assert before is None or (after is not None and after <= before), "a refusal made it faster"
        if hint is not None:
            assert adaptive.ready_at(self.now, 1) >= self.now + hint - TICK
        self.lane.line.put_first(self._free(data))

    # -- what holds ------------------------------------------------------------------------------------------------

    @invariant()
    def no_window_is_exceeded(self) -> None:
        if not getattr(self, "events", None):
            return
        end = self.events[-1][0]
        for rate in self.rates:
            bounds = [(rate.limit, rate.per)]
            if rate.burst is not None:
                bounds.append((rate.burst, rate.per * rate.burst / rate.limit))
            for most, per in bounds:
                held = sum(
                    weight if rate.unit == "recipients" else 1
                    for moment, weight in self.events
                    if moment + per > end + TICK
                )
                assert held <= most, f"{held} in a window of {rate}"

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """With a free connection and somebody in line there is a time at which it goes on."""
        if getattr(self, "lane", None) is None or not len(self.lane.line):
            return
        step = decide(self.state, self.now)
        assert not isinstance(step, Wait) or step.until < math.inf or not self.lane.idle


TestRates = Rates.TestCase
TestRates.settings = settings(deadline=None, max_examples=60, stateful_step_count=60)
