"""Work that may be stuck for long, beside the event loop: it holds up neither that nor the end of the program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")


async def in_daemon_thread(work: Callable[[], T], name: str) -> T:
    """Run ``work`` in a daemon thread of its own, and return what it returns.

    It cannot be interrupted when nobody waits for it any more, and a thread of the loop's executor would keep the program
    from ending for as long as it is stuck.

    :param name: of the thread
    :raises RuntimeError: the system has no thread left
    """
    # By way of an executor the loop knows that there is something to wait for, as one with a clock that jumps must.
    return await asyncio.get_running_loop().run_in_executor(_DaemonThread(name), work)


class _DaemonThread(Executor):
    """Starts a thread for each call, and never waits for one."""

    def __init__(self, name: str) -> None:
        self._name = name

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as caught:
                # Whatever it is, who waits must hear of it: nobody else sees how a thread ends.
                future.set_exception(caught)
            else:
                future.set_result(result)

        threading.Thread(target=run, name=self._name, daemon=True).start()
        return future
