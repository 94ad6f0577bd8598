"""Who waits for the same thing."""

from __future__ import annotations

import asyncio


class Waiters:
    """Each looks for itself, once it is woken, whether what it waits for is there."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._futures: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        """Until the next ``wake``."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._futures.append(future)
        await future

    def wake(self) -> None:
        if not self._futures:
            return  # nearly always
        futures, self._futures = self._futures, []
        for future in futures:
            if not future.done():
                future.set_result(None)
