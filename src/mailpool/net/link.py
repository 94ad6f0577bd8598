"""What asyncio sees of a connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from .connection import Connection

# Plain asyncio.Protocol takes a fresh 256 KiB for each read; one buffer kept for the life of a connection halves the
# CPU of a message. Replies are short, so this holds many of them.
_BUFFER = 16_384


class Link(asyncio.BufferedProtocol):
    """The protocol of a transport: it hands on what happens, and knows nothing.

    It is a class of its own since asyncio wants one that is written in Python, and ``Connection`` can be compiled.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._view = memoryview(bytearray(_BUFFER))
        self._received = connection.received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: the transports of uvloop do not inherit from asyncio's.
        self.connection.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        self._received(bytes(self._view[:nbytes]))

    def eof_received(self) -> bool:
        self.connection.ended()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.lost(exc)

    def pause_writing(self) -> None:
        self.connection.pause()

    def resume_writing(self) -> None:
        self.connection.resume()
