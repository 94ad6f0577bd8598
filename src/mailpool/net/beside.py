"""Work that may be stuck for long, beside the event loop: it holds up neither that nor the end of the program."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_daemon_thread(work: Callable[[], T], name: str) -> T:
    """Run ``work`` in a daemon thread of its own, and return what it returns.

    It cannot be interrupted when nobody waits for it any more, and a thread of the loop's executor would keep the program
    from ending for as long as it is stuck.

    :param name: of the thread
    :raises RuntimeError: the system has no thread left
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as caught:
            # Whatever it is, who waits must hear of it: nobody else sees how a thread ends.
            tell(future.set_exception, caught)
        else:
            tell(future.set_result, result)

    def tell(finish: Callable[[Any], None], outcome: object) -> None:
        # The loop may have been closed while the work was stuck: nobody waits any more then.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if future.done() else finish(outcome))

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future
