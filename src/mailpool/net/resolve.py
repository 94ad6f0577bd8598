"""Name look-ups that hold nothing up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

Address = tuple[socket.AddressFamily, tuple[Any, ...]]


async def resolve(host: str, port: int, *, family: int = socket.AF_UNSPEC) -> list[Address]:
    """The addresses of ``host``, in the system's order of preference (RFC 6724).

    The look-up runs in a daemon thread of its own: the system's resolver cannot be interrupted, and a thread of the
    loop's executor would keep the program from ending for as long as the resolver is stuck.

    :raises OSError: ``socket.gaierror`` as the resolver gave it
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[Address]] = loop.create_future()

    def finish(result: list[Address] | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result or [])

    def look_up() -> None:
        result: list[Address] | None = None
        error: BaseException | None = None
        try:
            found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
            result = [(entry[0], entry[4]) for entry in found]
        except (OSError, UnicodeError) as caught:
            error = caught
        # The loop may have been closed while the resolver was stuck: nobody waits any more then.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=look_up, name=f"mailpool-resolve-{host}", daemon=True).start()
    return await future
