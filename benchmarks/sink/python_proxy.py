"""The delaying line in Python, for machines without a C compiler; the same arguments and output as ``proxy.c``."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast


class Side(asyncio.Protocol):
    """One end of a connection; what it hears goes to the other a delay later."""

    def __init__(self, delay: float, port: int | None) -> None:
        self._delay = delay
        self._port = port  # where the other end is to be, if this is the near one
        self._loop = asyncio.get_running_loop()
        self._early: list[bytes] = []
        self.other: Side | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self._port is not None:
            # As late as a greeting is over a real line: the TCP handshake takes three delays.
            self._loop.call_later(3 * self._delay, lambda: self._loop.create_task(self._dial()))

    async def _dial(self) -> None:
        far = Side(self._delay, None)
        far.other = self
        await self._loop.create_connection(lambda: far, "127.0.0.1", self._port)
        self.other = far
        for data in self._early:
            far.take(data)

    def data_received(self, data: bytes) -> None:
        self._loop.call_later(self._delay, self._pass_on, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._loop.call_later(self._delay, self._pass_on, b"")

    def _pass_on(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.take(data)

    def take(self, data: bytes) -> None:
        if self.transport is None:
            return
        if data:
            self.transport.write(data)
        else:
            self.transport.close()


async def serve(port: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Side(delay, port), "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
