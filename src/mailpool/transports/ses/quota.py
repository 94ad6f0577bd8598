"""What the account may send: so many a second, so many in 24 hours. Both count recipients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...options import Rate

# When the quota of a day is used up it comes back bit by bit; the provider asks to wait for up to ten minutes.
UNTIL_SOME_IS_BACK = 600.0


@dataclass(slots=True)
class Quota:
    """As it was said ``asked_at`` some time, less what has been sent since."""

    left: float = math.inf
    most: float = math.inf
    rate: float = 0.0
    asked_at: float = -math.inf

    def told(self, answer: Mapping[str, Any], now: float) -> None:
        """:param answer: the SendQuota of GetAccount"""
        most = _number(answer.get("Max24HourSend"), -1.0)
        self.most = math.inf if most < 0 else most
        self.left = self.most - _number(answer.get("SentLast24Hours"), 0.0)
        self.rate = _number(answer.get("MaxSendRate"), 0.0)
        self.asked_at = now

    @property
    def rates(self) -> tuple[Rate, ...]:
        """The rate as the limiter knows it; never more than the account has."""
        if self.rate <= 0:
            return ()
        if self.rate < 1:
            return (Rate(1, 1.0 / self.rate, unit="recipients"),)
        return (Rate(math.floor(self.rate), 1.0, unit="recipients"),)


def _number(value: object, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return default
    return float(value)
