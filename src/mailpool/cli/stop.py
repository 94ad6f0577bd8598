"""SIGTERM and Ctrl-C: the first asks for an orderly end, the second for an immediate one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether the user wants an end. Made inside the event loop.

    ``asked``   done at the first signal
    ``hurry``   done at the second
    ``signal``  the first one
    ``why``     in words, once it is asked for
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.asked: asyncio.Future[None] = self._loop.create_future()
        self.hurry: asyncio.Future[None] = self._loop.create_future()
        self.signal: signal.Signals | None = None
        self.why = ""

    @property
    def requested(self) -> bool:
        return self.asked.done()

    @property
    def signal_name(self) -> str:
        return self.signal.name if self.signal is not None else ""

    @property
    def exit_status(self) -> int:
        """As the shell tells a death by that signal: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.signal or 0)

    def ask(self, number: int) -> None:
        """A signal has come."""
        if self.signal is None:
            self.signal = signal.Signals(number)
            self.why = self.why or f"stopped by {self.signal_name}"
        for step in (self.asked, self.hurry):
            if not step.done():
                step.set_result(None)
                return

    def end(self, why: str) -> None:
        """An orderly end for another reason."""
        if not self.asked.done():
            self.why = why
            self.asked.set_result(None)

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Listen for signals inside the block; what was there before is back afterwards."""

        def hear(number: int, frame: FrameType | None) -> None:
            # Only this wakes a loop that sleeps in its selector, and it does on every platform.
            self._loop.call_soon_threadsafe(self.ask, number)

        before = {number: signal.signal(number, hear) for number in _SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
