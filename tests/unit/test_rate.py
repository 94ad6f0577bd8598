"""Rates are exact: never more than the limit in any window, and never later than that needs (P-23)."""

from __future__ import annotations

import pytest

from mailpool.options import Rate
from mailpool.policy.rate import Limiter, SlidingWindow

pytestmark = [pytest.mark.rule("P-23"), pytest.mark.rule("POL-04")]


def times(limiter: Limiter, count: int, recipients: int = 1) -> list[float]:
    """When each of ``count`` messages goes, all of them waiting from 0 on."""
    now, out = 0.0, []
    for _ in range(count):
        now = max(now, limiter.ready_at(now, recipients))
        limiter.take(now, recipients)
        out.append(now)
    return out


class TestWindow:
    def test_the_next_goes_when_the_one_a_limit_before_it_is_out(self) -> None:
        window = SlidingWindow(3, 10.0)
        for now in (0.0, 1.0, 5.0):
            assert window.ready_at(now, 1) <= now
            window.take(now, 1)
        assert window.ready_at(5.0, 1) == 10.0
        assert window.ready_at(9.999, 1) == 10.0
        assert window.ready_at(10.0, 1) == 10.0
        window.take(10.0, 1)
        assert window.ready_at(10.0, 1) == 11.0

    def test_the_edge_of_a_fixed_window_does_not_let_twice_the_limit_pass(self) -> None:
        window = SlidingWindow(10, 1.0)
        for _ in range(10):
            window.take(0.95, 1)
        assert window.ready_at(1.0, 1) == pytest.approx(1.95)

    def test_unused_tokens_do_not_pile_up(self) -> None:
        window = SlidingWindow(2, 1.0)
        window.take(0.0, 1)
        for _ in range(2):
            assert window.ready_at(1_000.0, 1) == 1_000.0
            window.take(1_000.0, 1)
        assert window.ready_at(1_000.0, 1) == 1_001.0

    def test_units(self) -> None:
        window = SlidingWindow(10, 1.0)
        window.take(0.0, 4)
        window.take(0.5, 5)
        assert window.ready_at(0.5, 1) == 0.5
        assert window.ready_at(0.5, 2) == 1.0
        assert window.ready_at(0.5, 5) == 1.0
        assert window.ready_at(0.5, 6) == 1.5

    def test_more_than_the_limit_goes_alone(self) -> None:
        window = SlidingWindow(3, 1.0)
        assert window.ready_at(0.0, 50) == 0.0
        window.take(0.0, 50)
        assert window.ready_at(0.0, 1) == 1.0
        window.take(1.0, 1)
        assert window.ready_at(1.0, 50) == 2.0

    def test_old_events_are_forgotten(self) -> None:
        window = SlidingWindow(5, 1.0)
        for now in range(1_000):
            window.ready_at(float(now), 1)
            window.take(float(now), 1)
        assert len(window._events) <= 2


class TestLimiter:
    def test_none(self) -> None:
        assert Limiter([]).ready_at(5.0, 1_000) <= 5.0

    def test_a_limit(self) -> None:
        assert times(Limiter([Rate(2, 1.0)]), 7) == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0]

    def test_several_hold_together(self) -> None:
        assert times(Limiter([Rate(2, 1.0), Rate(3, 10.0)]), 7) == [0.0, 0.0, 1.0, 10.0, 10.0, 11.0, 20.0]

    @pytest.mark.parametrize(
        ("burst", "expected"),
        [
            (1, [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]),
            (2, [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]),
            (4, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]),
        ],
    )
    def test_burst_caps_how_many_go_back_to_back(self, burst: int, expected: list[float]) -> None:
        assert times(Limiter([Rate(4, 1.0, burst=burst)]), 6) == expected

    def test_messages_count_once_whatever_they_hold(self) -> None:
        assert times(Limiter([Rate(2, 1.0)]), 3, recipients=50) == [0.0, 0.0, 1.0]

    def test_recipients(self) -> None:
        assert times(Limiter([Rate(10, 1.0, unit="recipients")]), 4, recipients=5) == [0.0, 0.0, 1.0, 1.0]

    def test_recipients_and_messages_together(self) -> None:
        limiter = Limiter([Rate(10, 1.0, unit="recipients"), Rate(1, 0.5)])
        assert times(limiter, 4, recipients=5) == [0.0, 0.5, 1.0, 1.5]

    def test_asking_takes_nothing(self) -> None:
        limiter = Limiter([Rate(1, 1.0)])
        for _ in range(5):
            assert limiter.ready_at(0.0, 1) == 0.0
        limiter.take(0.0, 1)
        assert limiter.ready_at(0.0, 1) == 1.0
