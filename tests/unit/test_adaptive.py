"""P-24: how limits fall and rise, without a pool."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpool.options import Rate
from mailpool.policy.adaptive import Adaptive, Learnt, Pace
from mailpool.policy.rate import SlidingWindow

pytestmark = pytest.mark.rule("P-24")


def run(pace: Pace, limit: int, per: float, seconds: float, *, start: float = 0.0, dice: float = 0.5) -> int:
    """Send as fast as the pace lets, to somebody who allows so much. How many were taken."""
    theirs = SlidingWindow(limit, per)
    now, taken = start, 0
    while now < start + seconds:
        now = max(now + 1e-3, pace.ready_at(now, 1))
        pace.take(now, 1)
        if theirs.ready_at(now, 1) <= now:
            theirs.take(now, 1)
            pace.accepted(now, 1)
            taken += 1
        else:
            pace.throttled(now, dice, None)
    return taken


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([(30, 60.0), (5, 1.0), (14, 1.0), (100, 1.0), (10, 10.0), (600, 60.0)]),
    st.floats(0, 0.999),
)
def test_it_settles_within_a_tenth_of_what_is_allowed(theirs: tuple[int, float], dice: float) -> None:
    limit, per = theirs
    pace = Pace()
    run(pace, limit, per, 1_000, dice=dice)
    taken = run(pace, limit, per, 1_000, start=1_001, dice=dice)
    assert 0.9 <= taken / (1_000 * limit / per) <= 1.1


def test_it_rises_when_more_is_allowed() -> None:
    pace = Pace()
    run(pace, 5, 1.0, 300)
    slow = pace.rate
    assert slow is not None
    run(pace, 50, 1.0, 300, start=400)
    assert pace.rate is not None
    assert pace.rate > 30


def test_a_rate_that_is_not_used_stays() -> None:
    pace = Pace(10.0)
    for second in range(1_000):
        pace.take(second, 1)
        pace.accepted(second + 0.1, 1)
    assert pace.rate == 10


def test_pauses_double_until_something_is_taken() -> None:
    pace = Pace()
    now, pauses = 0.0, []
    for _ in range(8):
        pace.throttled(now, 0.999, None)
        pauses.append(round(pace.paused_until - now))
        now = pace.paused_until
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    pace.take(now, 1)
    pace.accepted(now, 1)
    pace.throttled(now, 0.999, None)
    assert pace.paused_until - now <= 1


def test_what_was_on_its_way_is_the_same_refusal() -> None:
    pace = Pace(100.0)
    pace.throttled(10.0, 0.5, None)
    until, rate = pace.paused_until, pace.rate
    for _ in range(20):
        pace.throttled(10.01, 0.5, None)
    assert (pace.paused_until, pace.rate) == (until, rate)


@settings(deadline=None, max_examples=100)
@given(st.floats(0.1, 50), st.lists(st.floats(0, 3), max_size=100), st.floats(0.5, 20))
def test_a_pace_is_kept_in_windows_of_any_length(rate: float, gaps: list[float], window: float) -> None:
    pace = Pace(rate)
    now, moments = 0.0, []
    for gap in gaps:
        now = max(now + gap, pace.ready_at(now + gap, 1))
        pace.take(now, 1)
        moments.append(now)
    for last in moments:
        held = sum(1 for moment in moments if last - window < moment <= last)
        assert held <= rate * (window + 0.021) + 1 + 1e-6


# -- connections -----------------------------------------------------------------------------------------------------


def test_connections_fall_to_the_others_and_rise_one_at_a_time() -> None:
    adaptive = Adaptive()
    assert adaptive.too_many(0.0, 4)
    assert adaptive.too_many(0.0, 3)
    assert adaptive.most_connections == 3
    assert adaptive.since == 0
    rises = []
    for second in range(1, 1_000):
        before = adaptive.most_connections
        adaptive.accepted(second, 1)
        if adaptive.most_connections > before:
            rises.append(second)
            adaptive.too_many(second, 3)
    assert adaptive.since is not None or adaptive.most_connections == 3
    # Each refusal of one more doubles the time until the next try.
    assert rises == [60, 180, 420, 900]


def test_with_no_other_connection_fewer_cannot_help() -> None:
    adaptive = Adaptive()
    assert not adaptive.too_many(0.0, 0)
    assert adaptive.most_connections == 1


# -- memory ----------------------------------------------------------------------------------------------------------


@given(
    st.builds(
        Learnt,
        user=st.sampled_from([None, "u"]),
        max_connections=st.one_of(st.none(), st.integers(1, 9)),
        rate=st.one_of(st.none(), st.floats(0.01, 1_000)),
        unit=st.sampled_from(["messages", "recipients"]),
        per=st.sampled_from([None, 1.0, 60.0]),
        connection_rate=st.one_of(st.none(), st.floats(0.01, 10)),
        max_messages=st.one_of(st.none(), st.integers(1, 500)),
    )
)
def test_what_is_remembered_is_what_was_learnt(known: Learnt) -> None:
    assert Adaptive(known).learnt(known.user) == known


@pytest.mark.parametrize(
    ("learnt", "rate"),
    [
        (Learnt(), None),
        (Learnt(rate=0.5), Rate(30, per=60.0)),
        (Learnt(rate=250.4), Rate(250)),
        (Learnt(rate=0.001), Rate(4, per=3_600.0)),
        (Learnt(rate=14.0, per=1.0, unit="recipients"), Rate(14, unit="recipients")),
    ],
)
def test_a_learnt_rate_as_an_option(learnt: Learnt, rate: Rate | None) -> None:
    assert learnt.as_rate() == rate


def test_the_most_messages_are_tried_again_now_and_then() -> None:
    adaptive = Adaptive(Learnt(max_messages=20))
    for _ in range(20):
        adaptive.opened(0.0)
    assert adaptive.most_messages == 25
    assert adaptive.is_known_end(20)
    adaptive.session_ended(20)
    assert adaptive.most_messages == 20
    assert math.isinf(adaptive.most_connections)
