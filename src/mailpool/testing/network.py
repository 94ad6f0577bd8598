"""``MemoryNetwork``: hosts, ports and distance without sockets, for tests on a ``VirtualLoop``."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Protocol

from .memory import MemoryTransport

_FIRST_CLIENT_PORT = 50_000


class Reachable(Protocol):
    """What can be put on a network: ``ScriptedServer`` and ``RawServer`` are."""

    def connect(self) -> asyncio.BaseProtocol | None:
        """The protocol for a new connection, or ``None`` to refuse it."""
        ...


class MemoryNetwork:
    """Connects clients and servers in memory; TLS is what both ends begin with ``start_tls``.

    ``latency``  seconds that octets take in one direction; a connection takes two of them to be made
    ``window``   octets that fit into a connection before the writer's own buffer fills

    ``clients`` lists the client's end of every connection made so far, in order.
    """

    def __init__(self, latency: float = 0.0, *, window: int = 65_536) -> None:
        self.latency = latency
        self.window = window
        self.clients: list[MemoryTransport] = []
        self._places: dict[tuple[str, int], Reachable | OSError | None] = {}
        self._ports = itertools.count(_FIRST_CLIENT_PORT)

    def listen(self, host: str, port: int, server: Reachable) -> None:
        """Put a server at a host and port, in place of what was there."""
        self._places[host, port] = server

    def remove(self, host: str, port: int) -> None:
        """Take away what is there. The host stays known while it has another port."""
        del self._places[host, port]

    def black_hole(self, host: str, port: int) -> None:
        """Never answer there: dialling goes on until it is cancelled."""
        self._places[host, port] = None

    def fail(self, host: str, port: int, error: OSError) -> None:
        """Answer every attempt to connect there with an error, such as ``OSError(errno.EHOSTUNREACH, …)``."""
        self._places[host, port] = error

    def cut(self) -> None:
        """Break all connections."""
        for transport in self.clients:
            transport.cut()

    def silence(self) -> None:
        """Lose everything sent on the connections that are open now, and tell nobody."""
        for transport in self.clients:
            transport.silence()

    async def dial(
        self, host: str, port: int, protocol_factory: Callable[[], asyncio.BaseProtocol]
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to a server, as ``loop.create_connection`` does.

        Returns the client's transport and protocol. Raises ``socket.gaierror`` for a host that is not known and
        ``ConnectionRefusedError`` where nobody listens.
        """
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        if not any(known == host for known, _ in self._places):
            raise socket.gaierror(socket.EAI_NONAME, f"no such host in the network: {host}")
        await asyncio.sleep(2 * self.latency)
        there = self._places.get((host, port), ConnectionRefusedError(f"nobody listens on {host}:{port}"))
        if there is None:
            await loop.create_future()
            raise AssertionError("unreachable")
        if isinstance(there, OSError):
            raise there
        served = there.connect()
        if served is None:
            raise ConnectionRefusedError(f"{host}:{port} refuses connections")
        names = (("client.memory", next(self._ports)), (host, port))
        ours, theirs = MemoryTransport.pair(loop, self.latency, self.window, names)
        self.clients.append(ours)
        theirs.begin(served)
        protocol = protocol_factory()
        ours.begin(protocol)
        return ours, protocol
