"""How the work of carriers ends: finished although its caller gave up, or stopped although it does not want to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..errors import Deferred
from ..results import Phase

T = TypeVar("T")
# Who is told to stop has so long each time, in seconds.
GRACE = 1.0


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """Do it to its end, also when the caller gives up meanwhile; only a second cancellation stops it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        return await task


async def written(work: Coroutine[Any, Any, T]) -> T:
    """The same for what writes a file.

    :raises Deferred: it could not be written; a disk that is full now need not be for ever
    """
    try:
        return await finished(work)
    except OSError as error:
        raise Deferred(
            f"the message cannot be written to a file: {error.strerror or type(error).__name__}",
            phase=Phase.HANDOVER,
            temporary=True,
        ) from error


async def stopped(tasks: list[asyncio.Task[Any]], timeout: float) -> bool:
    """Wait for tasks, tell those to stop that take longer, and say whether all have ended."""
    if not tasks:
        return True
    try:
        _, pending = await asyncio.wait(tasks, timeout=timeout)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        raise
    # Told twice: the first time one may still finish what cannot be taken back.
    for _ in range(2):
        for task in pending:
            task.cancel()
        if pending:
            _, pending = await asyncio.wait(pending, timeout=GRACE)
    await asyncio.sleep(0)  # for the callbacks of those that have just ended
    return not pending
