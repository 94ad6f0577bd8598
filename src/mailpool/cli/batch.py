"""One batch through one transporter, to its end or to the user's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mailpool import PoolClosed, SendOutcome, Transporter

from .letters import Letter
from .stop import Stop
from .tally import Fate, Line

# How the grace period is used: messages under way may finish, then what is on the wire is given a moment, then it is
# cut. What is left is for the report.
_FINISH = 0.7
_CLOSE = 0.1
# Seconds for the farewell of idle connections, which is never worth more.
_FAREWELL = 1.0

Account = Callable[[Line], None]


class Batch:
    """Sends letters and accounts for every one of them, also for those that were never begun.

    :param transporter: is closed at the end
    :param account: is given one `Line` for each letter
    :param stop: when to end early
    :param grace: seconds from the first signal to the end
    """

    def __init__(self, transporter: Transporter, account: Account, stop: Stop, grace: float) -> None:
        self._transporter = transporter
        self._account = account
        self._stop = stop
        self._grace = grace
        self._under_way: dict[int, Letter] = {}

    async def send(self, letters: Iterable[Letter]) -> None:
        """Send them all, close the transporter, and return."""
        source = iter(letters)
        sending = asyncio.ensure_future(self._consume(source))
        await asyncio.wait({sending, self._stop.asked}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            # Nothing new is begun any more; what was begun gets most of the grace period.
            await asyncio.wait(
                {sending, self._stop.hurry},
                timeout=self._grace * _FINISH,
                return_when=asyncio.FIRST_COMPLETED,
            )
        await self._close(_FAREWELL if sending.done() else self._grace * _CLOSE)
        await asyncio.wait({sending}, timeout=_FAREWELL)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        self._account_for_the_rest(source)
        if not sending.cancelled():
            sending.result()  # an error of the source is the caller's

    def _account_for_the_rest(self, source: Iterator[Letter]) -> None:
        # The pool gives every message an outcome. Were it ever to fail in that, nobody would be left without an account.
        for letter in self._under_way.values():
            self._account(
                Line(letter.number, letter.address, Fate.UNCERTAIN, detail="ended without an outcome")
            )
        self._under_way.clear()
        if self._stop.requested:
            for letter in source:
                self._account(Line.not_sent(letter, self._stop.why))

    async def _consume(self, source: Iterator[Letter]) -> None:
        # Closed while it waited for room: there is no more to come, and what was taken has its outcome by then.
        with contextlib.suppress(PoolClosed):
            async for outcome in self._transporter.send_many(self._until_stopped(source)):
                self._settle(outcome)

    def _until_stopped(self, source: Iterator[Letter]) -> Iterator[Letter]:
        # Asked before each: a letter taken from the source is one that is begun.
        while not self._stop.requested:
            letter = next(source, None)
            if letter is None:
                return
            self._under_way[letter.number] = letter
            yield letter

    def _settle(self, outcome: SendOutcome[Letter]) -> None:
        del self._under_way[outcome.message.number]
        self._account(Line.of(outcome))

    async def _close(self, timeout: float) -> None:
        closing: asyncio.Future[Any] = asyncio.ensure_future(
            self._transporter.close(0.0 if self._stop.hurry.done() else timeout)
        )
        await asyncio.sleep(0)  # it has to have begun before it can be hurried
        await asyncio.wait({closing, self._stop.hurry}, return_when=asyncio.FIRST_COMPLETED)
        if self._stop.hurry.done():
            await asyncio.wait({closing}, timeout=_FAREWELL)
            closing.cancel()  # cuts the connections at once
        await asyncio.gather(closing, return_exceptions=True)
