"""Back-offs grow to a cap and are spread by chance (P-18, P-19)."""

from __future__ import annotations

import pytest

from mailpool.policy.backoff import full_jitter, half_jitter

LAST = 1.0 - 2**-53  # the highest that random() gives


@pytest.mark.rule("P-19")
@pytest.mark.parametrize(
    ("attempt", "bound"), [(1, 0.1), (2, 0.2), (3, 0.4), (9, 25.6), (10, 30.0), (61, 30.0), (10**9, 30.0)]
)
def test_full_jitter(attempt: int, bound: float) -> None:
    waits = [full_jitter(attempt, dice, base=0.1, cap=30.0) for dice in (0.0, 0.5, LAST)]
    assert waits == pytest.approx([0.0, bound / 2, bound])
    assert max(waits) <= bound


@pytest.mark.rule("P-18")
@pytest.mark.parametrize(
    ("attempt", "bound"), [(1, 1.0), (2, 2.0), (6, 32.0), (7, 60.0), (100, 60.0), (10**9, 60.0)]
)
def test_half_jitter(attempt: int, bound: float) -> None:
    waits = [half_jitter(attempt, dice, base=1.0, cap=60.0) for dice in (0.0, 0.5, LAST)]
    assert waits == pytest.approx([bound / 2, bound * 3 / 4, bound])
    assert max(waits) <= bound
