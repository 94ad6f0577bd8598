"""A proxy that is asked by CONNECT (RFC 9110 §9.3.6), and whose answers are chosen."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable


def agreeing(_: bytes) -> list[bytes]:
    return [b"HTTP/1.1 200 OK\r\n\r\n"]


class ConnectProxy:
    """A proxy that carries to this machine, whatever name it is told.

    ``answer`` gives the blocks in which it answers what it was asked; ``asked`` is that, and ``passed`` is what it carried to
    the server since.
    """

    def __init__(
        self, answer: Callable[[bytes], list[bytes]] = agreeing, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.asked: list[bytes] = []
        self.passed: list[bytes] = []
        self.port = 0
        self._answer = answer
        self._tls = tls
        self._carrying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ConnectProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        # A connection that is forgotten complains when memory is tidied up, which is in some later test.
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: one that the server of the standard library makes complains when it is cancelled.
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            await self._carry(reader, writer, writers)
        finally:
            for each in writers:
                each.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, writers: list[asyncio.StreamWriter]
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head)
            port = int(head.split(b" ")[1].rpartition(b":")[2])
            there, to_there = await asyncio.open_connection("127.0.0.1", port)
            writers.append(to_there)
            for block in self._answer(head):
                writer.write(block)
                await writer.drain()
                await asyncio.sleep(0)

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, keep: bool) -> None:
                with contextlib.suppress(OSError):
                    while block := await source.read(65_536):
                        if keep:
                            self.passed.append(block)
                        sink.write(block)
                sink.close()

            await asyncio.gather(pump(reader, to_there, True), pump(there, writer, False))
        for each in writers:
            each.close()
            with contextlib.suppress(OSError):
                await each.wait_closed()
