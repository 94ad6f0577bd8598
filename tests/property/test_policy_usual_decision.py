"""The short way to the usual decision says what the long way says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mailpool.options import Rate
from mailpool.policy.assignment import Assign, Wait, full_decision, usual_decision
from mailpool.policy.rate import Limiter
from mailpool.policy.state import Lane, Slot, State

NOW = 1_000.0


@dataclass(eq=False)
class Message:
    priority: int = 0
    gone: bool = False
    waiting_since: float = NOW
    not_before: float = 0.0
    weight: int = 1


@st.composite
def busy_states(draw: st.DrawFn) -> State:
    """One identity with all its connections open, and most often at work."""
    most = draw(st.integers(1, 5))
    state = State(
        max_connections=most,
        idle_timeout=60.0,
        connection_wait=draw(st.sampled_from([0.0, 30.0])),
        check_after=draw(st.sampled_from([None, 0.0])),
        ageing=draw(st.booleans()),
        limiter=draw(st.sampled_from([None, None, Limiter([Rate(1, 10.0)])])),
    )
    lane = state.lanes["key"] = Lane("key")
    lane.min_connections = draw(st.integers(0, most))
    lane.failures = draw(st.integers(0, 4))
    lane.retry_at = draw(st.sampled_from([0.0, NOW + 5]))
    if state.limiter is not None and draw(st.booleans()):
        state.limiter.take(NOW - 1, 1)
    for _ in range(most):
        slot = Slot(lane, opening=False, open=True, begun=draw(st.integers(1, 50)))
        if state.ageing:
            slot.retire_at = NOW + draw(st.sampled_from([-1.0, 0.0, 1.0]))
        lane.slots[slot] = None
        if draw(st.booleans()):
            lane.ending[slot] = None
        place = draw(st.sampled_from(["working", "working", "hungry", "hungry", "idle"]))
        if place == "hungry":
            lane.hungry[slot] = None
        elif place == "idle" and draw(st.integers(0, 4)) == 0:
            slot.idle_since = NOW - draw(st.integers(0, 70))
            lane.idle[slot] = None
    lane.open = state.total = most
    for _ in range(draw(st.integers(0, 3))):
        lane.line.append(Message(priority=draw(st.integers(0, 2))))
    if draw(st.integers(0, 9)) == 0:
        lane.alone.append(Message())
    return state


@pytest.mark.rule("P-01")
@pytest.mark.rule("P-23")
@settings(deadline=None, max_examples=500)
@given(busy_states())
def test_the_short_way_says_what_the_long_way_says(state: State) -> None:
    short = usual_decision(state, NOW)
    event("long way only" if short is None else type(short).__name__)
    if short is None:
        return
    long = full_decision(state, NOW)
    if isinstance(short, Assign):
        assert short == long
    else:
        # The long way may name a time to look again; where no connection can take a message, that time changes nothing,
        # and where one can, a reply comes first.
        assert short == Wait(math.inf)
        assert isinstance(long, Wait)
