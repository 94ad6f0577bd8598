"""Whether there is room for more messages, and who is told when there is (P-20)."""

from __future__ import annotations

from collections.abc import Callable

from .waiters import Waiters


class Room:
    """:param has_room: whether there is room now
    :param on_room: called each time that room appears
    """

    def __init__(self, has_room: Callable[[], bool], on_room: Callable[[], None]) -> None:
        self._has_room = has_room
        self._on_room = on_room
        self._closed = False
        self._waiters = Waiters()
        self.told = False  # that there is room, and there has been since

    def is_there(self) -> bool:
        """Whether there is room now. Whoever hears that there is none is told when there is."""
        there = not self._closed and self._has_room()
        if not there:
            self.told = False
        return there

    async def wait(self) -> bool:
        """Wait for room; false when there will never be any."""
        while not self._closed:
            if self._has_room():
                return True
            self.told = False
            await self._waiters.wait()
        return False

    def lost(self) -> None:
        """There is none now: the next is news."""
        self.told = False

    def tell(self) -> None:
        """Say so if room has appeared since there was none."""
        if self.told or not self.is_there():
            return
        self.told = True
        self._waiters.wake()
        self._on_room()

    def close(self) -> None:
        """Nobody needs to wait for room."""
        self._closed = True
        self._waiters.wake()
