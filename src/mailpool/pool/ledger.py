"""Who waits for which outcome, and until when: every message is entered once and settled once (P-14, P-26)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from ..results import Phase, SendResult
from .delivery import Delivery
from .settlement import deadline_exceeded
from .statistics import Counts, Histogram
from .waiters import Waiters


class Whereabouts(NamedTuple):
    """How far a message is."""

    phase: Phase
    on_its_way: bool  # it may be delivered whatever is done now


class Ledger:
    """The messages that have no outcome yet.

    :param on_given_up: called with a message for which nobody waits any more; it may be settled then, or later
    :param where: how far a message is whose deadline has passed; None when that is somebody else's to tell
    :param on_detached: called with the Message-ID and the outcome of a message that went on after it was given up
    """

    def __init__(
        self,
        counts: Counts,
        *,
        on_given_up: Callable[[Any], None],
        where: Callable[[Any], Whereabouts | None],
        on_detached: Callable[[str, Any], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._counts = counts
        self._on_given_up = on_given_up
        self._where = where
        self._on_detached = on_detached
        self._waiters = Waiters()
        self.open: dict[Delivery, None] = {}  # in the order in which they were sent
        self.took = Histogram()

    def enter(self, delivery: Delivery, deadline: float | None) -> None:
        """From now on somebody waits for what becomes of the message.

        :param deadline: seconds until it must have an outcome
        """
        self.open[delivery] = None
        future = delivery.future
        future.subject = delivery
        future.on_cancel = self._on_given_up
        if deadline is not None:
            delivery.deadline = self._loop.call_later(deadline, self._deadline_passed, delivery, deadline)

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
            self._waiters.wake()

    async def all_settled(self) -> None:
        while self.open:
            await self._waiters.wait()

    def _deadline_passed(self, delivery: Delivery, seconds: float) -> None:
        """Tell the caller, who waits no longer then (P-26)."""
        where = None if delivery.future.done() else self._where(delivery)
        if where is None:
            return
        delivery.future.set_exception(
            deadline_exceeded(delivery, seconds, where.phase, on_its_way=where.on_its_way)
        )
        self._on_given_up(delivery)
