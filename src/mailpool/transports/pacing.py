"""When the next message may be handed to a carrier: rates of the options, rates of the other side, and pauses (P-23, P-24)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..options import Rate
from ..policy.backoff import message_backoff
from ..policy.rate import Limiter

log = logging.getLogger("mailpool")

# After this many seconds without an answer about rates, mail goes out without one.
_PATIENCE = 10.0
_EVERY = 3_600.0
_AFTER_FAILURE = 60.0


class Pacing:
    """The clock of one carriage.

    :param rates: those of the options
    :param carrier: may have ``rates`` and ``rates_every``
    :param dice: gives numbers in [0, 1)
    :param changed: called when something may go earlier or later than was said
    """

    def __init__(
        self, rates: Sequence[Rate], carrier: Any, dice: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._own = tuple(rates)
        self._theirs: tuple[Rate, ...] = ()
        # Each with the time at which it is forgotten: a rate that was replaced still knows who went just before.
        self._limiters: list[tuple[Limiter, float]] = [(Limiter(rates), float("inf"))] if rates else []
        self._ask: Callable[[], Awaitable[Sequence[Rate]]] | None = getattr(carrier, "rates", None)
        self._every = float(getattr(carrier, "rates_every", _EVERY))
        self._ask_at = float("-inf")
        self._dice = dice
        self._changed = changed
        self._paused_at = float("-inf")
        self.paused_until = float("-inf")
        self._pauses = 0  # in a row
        self.throttled_since: float | None = None  # and nothing was taken
        self.asking: asyncio.Task[None] | None = None
        self._known = self._ask is None

    @property
    def rates(self) -> tuple[Rate, ...]:
        """All that hold now."""
        return self._own + self._theirs

    @property
    def most_recipients(self) -> int | None:
        """With more than this at once a rate by recipients could never be kept."""
        bounds = (rate.burst or rate.limit for rate in self.rates if rate.unit == "recipients")
        return min(bounds, default=None)

    def refresh(self, now: float) -> None:
        """Ask the other side what it allows, if it is time; ``changed`` is called when it has said so."""
        if self._ask is not None and self.asking is None and now >= self._ask_at:
            self.asking = self._loop.create_task(self._learn(self._ask))
            self.asking.add_done_callback(self._learnt)

    def ready_at(self, now: float, recipients: int) -> float:
        """When a message to so many recipients may go; ``now`` or earlier means at once, infinite: ``changed`` will tell."""
        if not self._known:
            return float("inf")
        return max([self.paused_until, *(limiter.ready_at(now, recipients) for limiter, _ in self._limiters)])

    def take(self, now: float, recipients: int) -> None:
        """One to so many recipients goes now."""
        for limiter, _ in self._limiters:
            limiter.take(now, recipients)

    # -- pauses ----------------------------------------------------------------------------------------------------

    def throttled(self, begun_at: float, now: float, retry_after: float | None) -> None:
        """The other side asks for less: nobody goes for a while, which doubles as long as it goes on asking."""
        if self.throttled_since is None:
            self.throttled_since = now
        if begun_at >= self._paused_at:  # those that went before the pause say nothing about its length
            self._pauses += 1
            self._paused_at = now
            wait = message_backoff(self._pauses, self._dice())
            self.paused_until = now + wait
        if retry_after is not None:
            self.paused_until = max(self.paused_until, now + retry_after)

    def went_well(self, begun_at: float) -> None:
        if begun_at >= self.paused_until:
            self._pauses = 0
            self.throttled_since = None

    # -- the other side's rates ------------------------------------------------------------------------------------

    async def _learn(self, ask: Callable[[], Awaitable[Sequence[Rate]]]) -> None:
        async with asyncio.timeout(_PATIENCE):
            answer: Sequence[Any] = tuple(await ask())
        rates = tuple(rate for rate in answer if isinstance(rate, Rate))
        if len(rates) < len(answer):
            raise TypeError("a rate is no Rate")
        if rates == self._theirs:
            return
        now = self._loop.time()
        longest = max((rate.per for rate in self._theirs), default=0.0)
        self._limiters = [
            (limiter, min(until, now + longest) if index or not self._own else until)
            for index, (limiter, until) in enumerate(self._limiters)
            if until > now
        ]
        self._theirs = rates
        if rates:
            self._limiters.append((Limiter(rates), float("inf")))

    def _learnt(self, task: asyncio.Task[None]) -> None:
        self.asking = None
        self._known = True
        failed = task.cancelled() or task.exception() is not None
        self._ask_at = self._loop.time() + (min(self._every, _AFTER_FAILURE) if failed else self._every)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its text may hold anything; the messages themselves will show what is wrong.
            log.warning("the rates of the other side are not known: %s", type(error).__name__)
        self._changed()
