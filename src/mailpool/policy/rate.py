"""Rate arithmetic (P-23): exact sliding windows, so that no window of ``per`` seconds ever holds more than ``limit``.

A fixed window lets twice the limit pass around its edge, and a bucket lets a full bucket pass on top of the refill. Here
the moment of each event is kept until it has left the window: the newest may go when the one ``limit`` before it is out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ..options import Rate


class SlidingWindow:
    """At most ``limit`` units in any window of ``per`` seconds."""

    __slots__ = ("_events", "_limit", "_per", "_units")

    def __init__(self, limit: int, per: float) -> None:
        self._limit = limit
        self._per = per
        self._events: deque[tuple[float, int]] = deque()
        self._units = 0

    def ready_at(self, now: float, units: int) -> float:
        """The earliest time at which ``units`` more may go; ``now`` or earlier means at once.

        More units than the limit go when the window is empty: they would otherwise wait for ever.
        """
        self._forget(now)
        excess = self._units + min(units, self._limit) - self._limit
        if excess <= 0:
            return now
        for moment, weight in self._events:
            excess -= weight
            if excess <= 0:
                return moment + self._per
        raise AssertionError("the window holds fewer units than it counted")

    def units(self, now: float) -> int:
        """How many it holds."""
        self._forget(now)
        return self._units

    def bound(self, limit: int) -> None:
        """Another limit holds from now on, for what went before as well."""
        self._limit = limit

    def take(self, now: float, units: int) -> None:
        self._events.append((now, units))
        self._units += units

    def _forget(self, now: float) -> None:
        events = self._events
        while events and events[0][0] + self._per <= now:
            self._units -= events.popleft()[1]


class Limiter:
    """Several rates that must hold together."""

    __slots__ = ("_windows",)

    def __init__(self, rates: Sequence[Rate]) -> None:
        self._windows: list[tuple[SlidingWindow, bool]] = []
        for rate in rates:
            by_recipient = rate.unit == "recipients"
            self._windows.append((SlidingWindow(rate.limit, rate.per), by_recipient))
            if rate.burst is not None and rate.burst < rate.limit:
                # As many as the burst in the share of the time that they are entitled to, and so no more back to back.
                share = rate.per * rate.burst / rate.limit
                self._windows.append((SlidingWindow(rate.burst, share), by_recipient))

    def ready_at(self, now: float, recipients: int) -> float:
        """When a message to so many recipients may go; ``now`` or earlier means at once."""
        return max(
            (w.ready_at(now, recipients if by_recipient else 1) for w, by_recipient in self._windows),
            default=now,
        )

    def take(self, now: float, recipients: int) -> None:
        """MAIL for so many recipients is being written now."""
        for window, by_recipient in self._windows:
            window.take(now, recipients if by_recipient else 1)
