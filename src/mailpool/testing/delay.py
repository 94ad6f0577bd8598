"""Things that happen later, in order: how distance is simulated."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

# asyncio may run a timer early by the resolution of its clock.
_TICK = 1e-9


class DelayLine:
    """Runs what is pushed after ``delay`` seconds and never out of order.

    A timer for each action would not do: asyncio does not say in which order timers of the same moment run.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, delay: float) -> None:
        self._loop = loop
        self._delay = delay
        self._queue: deque[tuple[float, Callable[[], None]]] = deque()
        self._last_due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def push(self, action: Callable[[], None], delay: float | None = None) -> None:
        """Run ``action`` after ``delay`` seconds (the line's own if ``None``), at once if nothing holds it up."""
        now = self._loop.time()
        due = max(self._last_due, now + (self._delay if delay is None else delay))
        if not self._queue and due <= now:
            action()
            return
        self._last_due = due
        self._queue.append((due, action))
        self._arm()

    def clear(self) -> None:
        """Forget everything that has not run yet."""
        self._queue.clear()
        self._last_due = 0.0  # nothing is left that what comes now could overtake
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._queue and self._timer is None:
            self._timer = self._loop.call_at(self._queue[0][0], self._run)

    def _run(self) -> None:
        self._timer = None
        while self._queue and self._queue[0][0] <= self._loop.time() + _TICK:
            self._queue.popleft()[1]()
        self._arm()
