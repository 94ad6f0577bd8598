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

    :param host: a name or address in ASCII: internationalised names come as A-labels (RFC 5891)
    :raises OSError: ``socket.gaierror`` as the resolver gave it
    :raises UnicodeError: ``host`` is not ASCII
    """
    # Given text, the standard library would fetch its codec for IDNA from a file: with no descriptor left that fails, and
    # it is remembered as a codec that does not exist.
    name = host.encode("ascii")
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
            found = socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)
            result = [(entry[0], entry[4]) for entry in found]
        except (OSError, UnicodeError) as caught:
            error = caught
        except BaseException as caught:
            # Whatever it is, who waits must hear of it: nobody else sees how a thread ends.
            error = _broken(caught)
        # The loop may have been closed while the resolver was stuck: nobody waits any more then.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, result, error)

    try:
        threading.Thread(target=look_up, name=f"mailpool-resolve-{host}", daemon=True).start()
    except RuntimeError as caught:  # The system has no thread left.
        raise _broken(caught) from caught
    return await future


def _broken(error: BaseException) -> socket.gaierror:
    """The look-up could not be made, which says nothing of the name: a later one may succeed."""
    told = socket.gaierror(socket.EAI_AGAIN, f"{type(error).__name__}: {error}")
    told.__cause__ = error
    return told
