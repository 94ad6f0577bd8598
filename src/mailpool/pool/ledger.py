"""Who waits for which outcome: every message is entered once and settled once (P-14)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..results import SendResult
from .delivery import Delivery
from .statistics import Counts, Histogram


class Ledger:
    """The messages that have no outcome yet.

    :param on_detached: called with the Message-ID and the outcome of a message for which nobody waits any more
    """

    def __init__(self, counts: Counts, on_detached: Callable[[str, Any], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._counts = counts
        self._on_detached = on_detached
        self._waiters: list[asyncio.Future[None]] = []
        self.open: dict[Delivery, None] = {}  # in the order in which they were sent
        self.took = Histogram()

    def settle(self, delivery: Delivery, outcome: SendResult | BaseException) -> None:
        """Tell the caller what became of the message; only the first time counts."""
        if delivery.settled:
            return
        delivery.settled = True
        self.open.pop(delivery, None)
        if delivery.deadline is not None:
            delivery.deadline.cancel()
        future = delivery.future
        future.on_cancel = None
        future.subject = None  # no cycle for the garbage collector
        if type(outcome) is SendResult:
            self.took.add(outcome.took)
            self._counts.sent += 1
            if not future.done():
                future.set_result(outcome)
        else:
            assert isinstance(outcome, BaseException)
            if delivery.first_begun_at is not None:
                self.took.add(self._loop.time() - delivery.first_begun_at)
            self._counts.failed += 1
            if not future.done():
                future.set_exception(outcome)
        if delivery.detached:
            self._counts.detached += 1
            self._on_detached(delivery.message_id, outcome)
        if not self.open:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def all_settled(self) -> None:
        while self.open:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter
