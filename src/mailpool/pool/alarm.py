"""When a transport looks again at what it may do now: soon, or at a time, however many have asked for it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Alarm:
    """:param look: called in a turn of its own, and never by the one who asks for it"""

    def __init__(self, look: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._look = look
        self._soon = False
        self._timer: asyncio.Handle | None = None
        self._at = math.inf  # uvloop's handles do not tell

    @property
    def next_look(self) -> float:
        """The time of the loop at which it goes off."""
        return self._loop.time() if self._soon else self._at

    def soon(self) -> None:
        """What happens until then is looked at together."""
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self._now)

    def at(self, when: float) -> None:
        """In addition to what was asked for before: the earliest time counts, and whoever looks asks for the next."""
        if when >= self._at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._at = when
        self._timer = self._loop.call_at(when, self._in_time)

    def off(self) -> None:
        """No time counts any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _now(self) -> None:
        self._soon = False
        self._look()

    def _in_time(self) -> None:
        self._timer = None
        self._at = math.inf
        self._look()
