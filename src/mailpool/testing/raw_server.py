"""``RawServer``: for scripts that know exactly which octets come and go."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable

from .listening import Listening
from .records import TlsRecord
from .wire import Wire


class RawStream(Wire):
    """One connection of a ``RawServer``. Reading raises ``EOFError`` when the client has closed."""

    def __init__(self, server: RawServer, latency: float) -> None:
        super().__init__(latency)
        self._server = server
        self._buffer = bytearray()
        self._over = False
        self._news = asyncio.Event()

    async def read_line(self) -> bytes:
        """The next line, without its CRLF."""
        return (await self.read_until(b"\r\n"))[:-2]

    async def read_until(self, mark: bytes) -> bytes:
        """Everything up to and including ``mark``, such as ``b"\\r\\n.\\r\\n"``."""
        while (end := self._buffer.find(mark)) < 0:
            await self._more()
        return self._take(end + len(mark))

    async def read(self, octets: int) -> bytes:
        """Exactly so many octets."""
        while len(self._buffer) < octets:
            await self._more()
        return self._take(octets)

    async def read_some(self) -> bytes:
        """Whatever is there, at least one octet."""
        while not self._buffer:
            await self._more()
        return self._take(len(self._buffer))

    async def read_to_end(self) -> bytes:
        """Everything until the client closes."""
        while not self._over:
            await self._more()
        return self._take(len(self._buffer))

    async def secure(self, context: ssl.SSLContext) -> None:
        """Do the server's side of a TLS handshake. ``EOFError`` if it fails."""
        secured: list[TlsRecord] = []

        def ready(record: TlsRecord) -> None:
            secured.append(record)
            self._news.set()

        self.expect_tls(self._take(len(self._buffer)))
        self.start_tls(context, ready)
        while not secured:
            await self._more()

    def abort(self) -> None:
        """Cut the connection with a TCP reset, after what was sent so far."""
        self.reset()

    def attached(self) -> None:
        self._server.attached(self)

    def opened(self) -> None:
        self._server.run(self)

    def received(self, data: bytes) -> None:
        self._buffer += data
        self._news.set()

    def ended(self, error: Exception | None) -> None:
        self._over = True
        self._news.set()

    def tls_failed(self, error: ssl.SSLError) -> None:
        self.ended(error)

    def lost(self) -> None:
        self._over = True
        self._news.set()
        self._server.detached(self)

    def _take(self, octets: int) -> bytes:
        taken = bytes(self._buffer[:octets])
        del self._buffer[:octets]
        return taken

    async def _more(self) -> None:
        if self._over:
            raise EOFError(f"the client ended the connection; unread: {bytes(self._buffer)!r}")
        self._news.clear()
        await self._news.wait()


Handler = Callable[[RawStream], Awaitable[None]]


class RawServer(Listening):
    """Runs ``handler`` for each connection, and closes it when the handler returns.

        async def rude(stream: RawStream) -> None:
            stream.send(b"220 hi\\r\\n")
            assert await stream.read_line() == b"EHLO me"
            stream.send(b"250-unfinished\\r\\n")
            stream.abort()

        async with RawServer(rude) as server: ...

    What a handler raises is raised again by ``stop``, and so by leaving ``async with``; ``EOFError`` is no mistake.
    ``connections`` counts what was accepted.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        latency: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(host, port, path)
        self.connections = 0
        self._handler = handler
        self._latency = latency
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []

    def connect(self) -> Wire | None:
        if self.refusing:
            return None
        self.connections += 1
        return RawStream(self, self._latency)

    def run(self, stream: RawStream) -> None:
        """Start the handler for a stream."""
        task = stream.loop.create_task(self._handle(stream))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def stop(self) -> None:
        """As for every server; then raise what the handlers raised."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await super().stop()
        if self._errors:
            errors, self._errors = self._errors, []
            raise errors[0]

    async def _handle(self, stream: RawStream) -> None:
        try:
            await self._handler(stream)
        except EOFError:
            pass
        finally:
            stream.close()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._errors.append(error)
