"""A server for tests that do not run an event loop of their own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import TypeVar

from .listening import Listening

Server = TypeVar("Server", bound=Listening)


@contextlib.contextmanager
def in_thread(server: Server) -> Iterator[Server]:
    """Run a server in a thread of its own, for blocking code.

        with in_thread(ScriptedServer()) as server:
            smtplib.SMTP(server.host, server.port).sendmail(...)
        assert len(server.messages) == 1

    A message is in ``server.messages`` before the client has its reply. Everything else that a server offers is to be
    called in its own thread. Raises what starting and stopping the server raise.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(
        target=loop.run_forever, name=f"{type(server).__name__} for a test", daemon=True
    )
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
