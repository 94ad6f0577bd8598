"""Messages that have to be prepared before they can take their place in the queue.

A content may have to be fetched, a hook may have to be awaited. Meanwhile the message counts as one that waits (P-20), can
be cancelled (P-27), and ends with the transporter (P-29, P-30).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from ..errors import DeadlineExceeded, PoolClosed, UsageError
from ..message import Sealed
from ..pool.pending import Pending
from ..pool.waiters import Waiters
from ..results import Phase, SendResult
from .hooks import go_on

# Enough to keep a pool busy over slow sources, and no flood for those who answer.
_AT_ONCE = 100

# Whether this is run by the preparation of a message.
_within: ContextVar[bool] = ContextVar("mailpool: within a preparation", default=False)

# Submit(sealed, seconds that are left or None): the future of its outcome.
Submit = Callable[[Sealed, float | None], asyncio.Future[SendResult]]


class Preparing:
    """The messages of one transporter that are being prepared, each in a task of its own.

    :param room_below: how many may be prepared while there is room for more
    :param on_room: called each time that there is room again
    :param most: how many may wait, those that are prepared included
    :param waiting: how many wait that have been prepared
    """

    def __init__(
        self, room_below: int, on_room: Callable[[], None], *, most: int, waiting: Callable[[], int]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._room_below = room_below
        self._most = most
        self._waiting = waiting
        self._on_room = on_room
        self._open: dict[Pending, asyncio.Task[Sealed]] = {}
        self._places = asyncio.Semaphore(max(_AT_ONCE, room_below))
        self._was_full = False
        self._waiters = Waiters()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def has_room(self) -> bool:
        """Whether one more may come. Whoever hears that none may is told when one may."""
        count = len(self._open)
        there = count < self._room_below
        if there and count:
            there = count + self._waiting() < self._most
        self._was_full = self._was_full or not there
        return there

    async def changed(self) -> None:
        """Wait until there is room again, or none is prepared any more."""
        await self._waiters.wait()

    def start(
        self, steps: Coroutine[Any, Any, Sealed], submit: Submit, deadline: float | None
    ) -> asyncio.Future[SendResult]:
        """Finish ``steps`` in a task, then submit what they make; the future has the outcome.

        :param steps: may have begun already
        :param deadline: seconds from now until there must be an outcome
        :raises UsageError: ``deadline`` is no number of seconds above 0
        """
        if deadline is not None:
            _check(deadline, steps)
        future = Pending(loop=self._loop)
        until = None if deadline is None else self._loop.time() + deadline
        task = self._loop.create_task(self._finish(steps, deadline))
        task.add_done_callback(lambda _: self._ended(future, task, submit, until))
        future.subject = task
        future.on_cancel = _cancel
        self._open[future] = task
        self._was_full = self._was_full or len(self._open) >= self._room_below
        return future

    async def _finish(self, steps: Coroutine[Any, Any, Sealed], deadline: float | None) -> Sealed:
        limit = asyncio.timeout(deadline)
        # A hook may send a message itself and wait for it: that one does not wait for the place that the hook has.
        place = contextlib.nullcontext() if _within.get() else self._places
        _within.set(True)
        try:
            async with limit, place:
                return await go_on(steps)
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(
                f"the message was not prepared within its deadline of {deadline:g} s",
                phase=Phase.QUEUE,
                temporary=True,
            ) from None
        finally:
            steps.close()

    def _ended(
        self, future: Pending, task: asyncio.Task[Sealed], submit: Submit, until: float | None
    ) -> None:
        self._open.pop(future, None)
        future.on_cancel = future.subject = None
        error = None if task.cancelled() else task.exception()
        if not future.done():
            if task.cancelled():
                future.cancel()
            elif error is not None:
                future.set_exception(error)
            else:
                self._submit(future, task.result(), submit, until)
        if self._was_full and self.has_room:
            self._was_full = False
            self._waiters.wake()
            self._on_room()
        if not self._open:
            self._waiters.wake()

    def _submit(self, future: Pending, sealed: Sealed, submit: Submit, until: float | None) -> None:
        try:
            # What is past is told by the pool, in its own words.
            inner = submit(sealed, None if until is None else max(until - self._loop.time(), 1e-6))
        except Exception as error:  # whatever it is, it is the outcome of this message (P-14)
            future.set_exception(error)
            return
        future.subject = inner
        future.on_cancel = _cancel
        inner.add_done_callback(lambda _: _copy(inner, future))

    # -- the end ---------------------------------------------------------------------------------------------------

    def refuse_to_wait_for_itself(self) -> None:
        """:raises UsageError: this is run by what prepares a message"""
        if self._open and asyncio.current_task() in self._open.values():
            raise UsageError(
                "drain waits for every message that is being prepared, and this one waits for drain: call it in a task "
                "that neither a hook nor a content awaits, or call close"
            )

    async def all_ended(self) -> None:
        """Wait until none is being prepared."""
        while self._open:
            await self.changed()

    async def close(self, timeout: float) -> None:
        """End those that are being prepared with ``PoolClosed``.

        :param timeout: seconds that their hooks and sources have to clean up
        """
        open_now = dict(self._open)
        for future, task in open_now.items():
            future.on_cancel = future.subject = None
            if not future.done():
                future.set_exception(
                    PoolClosed(
                        "the transporter was closed before the message was prepared",
                        phase=Phase.QUEUE,
                        temporary=True,
                    )
                )
            task.cancel()
        self._waiters.wake()
        if open_now:
            await asyncio.wait(open_now.values(), timeout=timeout)


def _copy(inner: asyncio.Future[SendResult], outer: Pending) -> None:
    outer.on_cancel = outer.subject = None
    error = None if inner.cancelled() else inner.exception()
    if outer.done():
        return
    if inner.cancelled():
        outer.cancel()
    elif error is not None:
        outer.set_exception(error)
    else:
        outer.set_result(inner.result())


def _check(deadline: object, steps: Coroutine[Any, Any, Sealed]) -> None:
    if not (isinstance(deadline, int | float) and 0 < deadline < math.inf):
        steps.close()
        raise UsageError(f"deadline is a number of seconds above 0, not {deadline!r}")


def _cancel(inner: asyncio.Future[Any]) -> None:
    inner.cancel()
