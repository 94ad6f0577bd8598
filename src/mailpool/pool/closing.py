"""How a transport ends: it takes nothing more, sends for a while what it has, and gives back what was not sent (P-29, P-30).

What is under way its owner ends, each transport in its own way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container

from ..errors import PoolClosed
from ..message import Sealed
from ..results import Phase
from .delivery import Delivery
from .ledger import Ledger
from .queue import Queue
from .room import Room
from .settlement import pool_closed


def takes_no_more(message_id: str | None = None) -> PoolClosed:
    """The error of a message that comes after the end has begun."""
    return PoolClosed(
        "the transporter is closed and takes no more messages", phase=Phase.QUEUE, message_id=message_id
    )


class Closing:
    """Open, then perhaps draining, then closed."""

    def __init__(self, queue: Queue, ledger: Ledger, room: Room) -> None:
        self._queue = queue
        self._ledger = ledger
        self._room = room
        self._last: list[Delivery] = []  # those that had no outcome when closing began
        self.begun = False  # nothing is taken any more
        self.closed = False  # and nothing is begun

    async def drain(
        self,
        timeout: float | None,
        close_timeout: float,
        close: Callable[[float], Awaitable[list[Sealed]]],
    ) -> list[Sealed]:
        """Take nothing new, wait until everything has an outcome, then close (P-30). Returns what could not be sent in time.

        :param timeout: seconds for what is queued
        :param close_timeout: seconds more for what is under way then
        :param close: closes the transport
        """
        self._take_no_more()
        try:
            async with asyncio.timeout(timeout):
                await self._ledger.all_settled()
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            # Nobody comes back to close what is left open. (Behind an ``await`` mypyc would raise an object that is gone:
            # this file is not compiled.)
            await close(0)
            raise
        return await close(close_timeout)

    def close(self, under_way: Container[Delivery]) -> None:
        """Begin nothing more, and end what waits (P-29).

        :param under_way: what does not wait, and is left to the owner
        """
        self._take_no_more()
        self.closed = True
        self._last = list(self._ledger.open)
        for delivery in self._last:
            if delivery not in under_way:
                self._ledger.settle(delivery, pool_closed(delivery))
        self._queue.clear()

    def unsent(self) -> list[Sealed]:
        """What closing has ended. Each is returned once, be it to a later ``close`` when the first one was cancelled."""
        last, self._last = self._last, []
        return [delivery.unsent for delivery in last if delivery.was_not_sent]

    def _take_no_more(self) -> None:
        self.begun = True
        self._room.close()

    def __str__(self) -> str:
        return "closed" if self.closed else "draining" if self.begun else "open"
