"""Any arrivals, any rates: no window ever holds more than its limit, and nothing goes later than that needs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpool.options import Rate
from mailpool.policy.rate import Limiter, SlidingWindow

pytestmark = [pytest.mark.rule("P-23"), pytest.mark.rule("POL-04")]
limits = st.integers(1, 6)
pers = st.sampled_from([0.1, 0.7, 1.0, 3.0, 60.0])
gaps = st.one_of(st.just(0.0), st.floats(0.0, 5.0), st.sampled_from([0.1, 0.5, 1.0]))
arrivals = st.lists(st.tuples(gaps, st.integers(1, 8)), max_size=40)


def held(events: list[tuple[float, int]], end: float, per: float) -> int:
    """Units in the window of ``per`` that ends with ``end``."""
    return sum(units for moment, units in events if moment + per > end)


@settings(deadline=None, max_examples=200)
@given(limits, pers, arrivals)
def test_a_window_is_never_fuller_and_never_emptier_than_it_must_be(
    limit: int, per: float, todo: list[tuple[float, int]]
) -> None:
    window = SlidingWindow(limit, per)
    events: list[tuple[float, int]] = []
    now = 0.0
    for gap, units in todo:
        now += gap
        counted = min(units, limit)
        at = window.ready_at(now, units)
        assert at < math.inf
        if at > now:
            # It had to wait: a moment earlier there was no room.
            assert held(events, now, per) + counted > limit
            assert held(events, math.nextafter(at, -math.inf), per) + counted > limit
        now = max(now, at)
        assert held(events, now, per) + counted <= limit
        assert window.ready_at(now, units) <= now, "it was told to come now"
        window.take(now, units)
        events.append((now, units))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.builds(
            lambda limit, per, burst, unit: Rate(limit, per, burst=min(burst, limit) or None, unit=unit),
            limits,
            pers,
            st.integers(0, 6),
            st.sampled_from(["messages", "recipients"]),
        ),
        max_size=3,
    ),
    arrivals,
)
def test_all_rates_hold_in_every_window(rates: list[Rate], todo: list[tuple[float, int]]) -> None:
    limiter = Limiter(rates)
    events: list[tuple[float, int]] = []
    now = 0.0

    def room(rate: Rate, at: float, units: int) -> bool:
        weighed = [(moment, n if rate.unit == "recipients" else 1) for moment, n in events]
        own = units if rate.unit == "recipients" else 1
        bounds = [(rate.limit, rate.per)]
        if rate.burst is not None and rate.burst < rate.limit:
            bounds.append((rate.burst, rate.per * rate.burst / rate.limit))
        return all(held(weighed, at, per) + min(own, most) <= most for most, per in bounds)

    for gap, units in todo:
        now += gap
        for _ in range(10):  # each rate may move it on; together they settle at once
            at = limiter.ready_at(now, units)
            if at <= now:
                break
            assert not all(room(rate, math.nextafter(at, -math.inf), units) for rate in rates), "too late"
            now = at
        assert at <= now
        assert all(room(rate, now, units) for rate in rates)
        limiter.take(now, units)
        events.append((now, units))
