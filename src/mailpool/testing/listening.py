"""Being reachable: real sockets on this machine, or a place in a ``MemoryNetwork``."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import socket
from types import TracebackType
from typing import Self

from .wire import Refusal, Wire


class Listening(abc.ABC):
    """A server that is used with ``async with``, or handed to ``MemoryNetwork.listen``.

    ``host``  an address of this machine, IPv4 or IPv6
    ``port``  0 lets the system choose; afterwards the attribute says which
    ``path``  of a Unix socket instead of host and port
    """

    def __init__(self, host: str, port: int, path: str | os.PathLike[str] | None) -> None:
        self.host = host
        self.port = port
        self.path = None if path is None else os.fspath(path)
        self.refusing = False
        self._wires: dict[Wire, None] = {}  # in order: a run with a seed is the same each time
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._starting: asyncio.Task[None] | None = None
        self._paused = False

    @abc.abstractmethod
    def connect(self) -> Wire | None:
        """The protocol of a connection that has just come in, or ``None`` to refuse it."""

    async def start(self) -> None:
        """Listen on the address. ``OSError`` if that is not possible."""
        if self._socket is None:
            self._socket = self._bind()
        self.refusing = False
        await self._serve()

    async def stop(self) -> None:
        """Refuse new connections, cut the open ones, and wait until they are gone. What was recorded stays."""
        if self._starting is not None:
            await self._starting
            self._starting = None
        self.refuse_connections(True)
        await self.disconnect()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            if self.path is not None:
                os.unlink(self.path)

    async def restart(self) -> None:
        """Stop, and listen on the same address again."""
        in_memory = self._socket is None
        await self.stop()
        if in_memory:
            self.refusing = False
        else:
            await self.start()

    async def disconnect(self) -> None:
        """Cut all open connections and wait until they are gone."""
        wires = [wire for wire in self._wires if not wire.gone]
        for wire in wires:
            wire.cut()
        if wires:
            await asyncio.wait([wire.is_lost for wire in wires])

    def refuse_connections(self, refuse: bool) -> None:
        """Refuse new connections (the open ones stay), or take them again on the same address."""
        if refuse == self.refusing:
            return
        self.refusing = refuse
        if self._socket is None:
            return
        if refuse:
            self._close_listener()
            # Bound and not listening: the kernel refuses, and nobody else gets the port.
            self._socket = self._bind()
        else:
            self._socket.listen(100)
            self._starting = asyncio.get_running_loop().create_task(self._serve())

    def pause_reading(self) -> None:
        """Read nothing more on any connection, so that clients feel back-pressure."""
        self._paused = True
        for wire in self._wires:
            wire.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._paused = False
        for wire in self._wires:
            wire.transport.resume_reading()

    def attached(self, wire: Wire) -> None:
        """A connection has its transport."""
        self._wires[wire] = None
        if self._paused:
            # A socket's reader is installed only after this call returns.
            wire.loop.call_soon(wire.transport.pause_reading)

    def detached(self, wire: Wire) -> None:
        """A connection is gone."""
        self._wires.pop(wire, None)

    @property
    def address(self) -> str:
        """Where clients find it, for messages to people."""
        return self.path if self.path is not None else f"{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _bind(self) -> socket.socket:
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(self.path)
        else:
            sock = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((self.host, self.port))
            except OSError:
                sock.close()
                raise
            self.port = sock.getsockname()[1]
        sock.setblocking(False)
        return sock

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._socket is not None
        if self.path is not None:
            self._server = await loop.create_unix_server(self._accept, sock=self._socket)
        else:
            self._server = await loop.create_server(self._accept, sock=self._socket)
        if self.refusing:
            self._server.close()

    def _accept(self) -> asyncio.Protocol:
        return self.connect() or Refusal()

    def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._socket is not None:
            self._socket.close()
