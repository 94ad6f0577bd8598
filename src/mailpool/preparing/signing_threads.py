"""Threads for signing what takes long, which end with the transporter (P-29)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class SigningThreads:
    """A few threads, made when the first is needed. ``cryptography`` and ``hashlib`` let others run meanwhile."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Call ``work`` beside the event loop; what is still at it after ``close`` is called here."""
        if self._closed:
            return work()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "mailpool-sign")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def close(self, timeout: float) -> None:
        """End the threads; none is left afterwards, unless one is at work for longer than that.

        :param timeout: seconds for what is being signed; nobody waits for it any more, and its thread ends after it
        """
        self._closed = True
        threads, self._threads = self._threads, None
        if threads is None:
            return
        threads.shutdown(wait=False, cancel_futures=True)
        # To wait for a thread takes a thread.
        waiting = ThreadPoolExecutor(1, "mailpool-sign-end")
        ended = asyncio.get_running_loop().run_in_executor(waiting, threads.shutdown)
        try:
            await asyncio.wait([ended], timeout=timeout)
        finally:
            waiting.shutdown(wait=ended.done())
