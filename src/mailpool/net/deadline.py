"""One timer for all the time-outs of a connection."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """A moment that moves with every reply, and a timer that does not.

    The timer fires no later than ``shortest`` seconds after it was set, and so before any deadline that was set after it;
    then it looks where the deadline is. A message costs no timer this way.
    """

    __slots__ = ("_at", "_loop", "_shortest", "_then", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, then: Callable[[], None], *, shortest: float) -> None:
        self._loop = loop
        self._then = then
        self._shortest = shortest
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        return self._at != math.inf

    def set(self, seconds: float) -> None:
        """Call ``then`` so many seconds from now, in place of any time that was set before."""
        self._at = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._shortest, self._look)

    def unset(self) -> None:
        """Nothing is awaited now; the timer stays for the next time."""
        self._at = math.inf

    def clear(self) -> None:
        """Nothing will be awaited any more."""
        self._at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._at == math.inf:
            return
        now = self._loop.time()
        if now < self._at:
            self._timer = self._loop.call_at(min(self._at, now + self._shortest), self._look)
        else:
            self._then()
