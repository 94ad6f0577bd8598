"""Sending everything that a source gives, in flat memory (P-21)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from .errors import PoolClosed
from .preparing import AnyMessage
from .results import Phase, SendResult

M = TypeVar("M", bound=AnyMessage)


@dataclasses.dataclass(slots=True)
class SendOutcome(Generic[M]):
    """What became of one item of `Transporter.send_many`: a ``result``, or the ``error`` that ``send_mail`` would raise."""

    message: M
    result: SendResult | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


async def sent_in_turn(
    source: Iterable[M] | AsyncIterable[M],
    submit: Callable[[M], asyncio.Future[SendResult]],
    *,
    begin: Callable[[], object],
    has_room: Callable[[], bool],
    room: Callable[[], Awaitable[bool]],
    backlog: int,
) -> AsyncGenerator[SendOutcome[M], None]:
    """The outcomes of what ``source`` gives, as they come; see `mailpool.Transporter.send_many`.

    :param submit: takes a message, and gives the future of its outcome
    :param begin: called once, before the source is asked for anything
    :param has_room: whether there is room for another message
    :param room: waits for room; false when there will never be any
    :param backlog: so many outcomes may wait to be asked for before the source has to
    """
    begin()
    ended: asyncio.Queue[SendOutcome[M] | None] = asyncio.Queue()
    futures: dict[asyncio.Future[SendResult], None] = {}  # in order, as they are cancelled
    consumed = asyncio.Event()

    def note(item: M, future: asyncio.Future[SendResult]) -> None:
        futures.pop(future, None)
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            ended.put_nowait(SendOutcome(item, result=future.result()))
        else:
            assert isinstance(error, Exception)
            ended.put_nowait(SendOutcome(item, error=error))

    def start(item: M) -> None:
        try:
            future = submit(item)
        except Exception as error:  # whatever is wrong with one message, the others go on
            ended.put_nowait(SendOutcome(item, error=error))
            return
        futures[future] = None
        future.add_done_callback(lambda done: note(item, done))

    async def pull() -> None:
        async with contextlib.aclosing(_as_async(source)) as items:
            async for item in items:
                start(item)
                # A consumer that is slow, or a queue that is full: the source waits for both.
                while ended.qsize() > backlog:
                    consumed.clear()
                    await consumed.wait()
                if not (has_room() or await room()):
                    raise PoolClosed(
                        "the transporter was closed before the source was exhausted", phase=Phase.QUEUE
                    )

    puller = asyncio.ensure_future(pull())
    puller.add_done_callback(lambda _: ended.put_nowait(None))
    try:
        while True:
            outcome = await ended.get()
            consumed.set()
            if outcome is not None:
                yield outcome
            if puller.done() and not futures and ended.empty():
                break
        puller.result()
    finally:
        puller.cancel()
        for future in tuple(futures):
            future.cancel()
        await asyncio.gather(puller, return_exceptions=True)


async def _as_async(source: Iterable[M] | AsyncIterable[M]) -> AsyncGenerator[M, None]:
    if isinstance(source, AsyncIterable):
        try:
            async for item in source:
                yield item
        finally:
            # Its own clean-up is not left to the garbage collector, which would do it in a task that nobody awaits.
            if isinstance(source, AsyncGenerator):
                await source.aclose()
    else:
        for item in source:
            yield item
