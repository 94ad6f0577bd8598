"""A path between a client and a server, on real sockets, on which things go wrong.

It forwards octets and knows nothing of SMTP or TLS: what it cuts, it cuts in the midst of whatever is on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

Trouble = Literal["stall", "reset", "black hole", "half open", "truncate"]
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PIECE = 16_384


@dataclass(frozen=True, slots=True)
class Mishap:
    """What becomes of a connection after ``after`` octets in both directions together.

    ``stall``       nothing moves for ``seconds``, then it goes on
    ``reset``       both ends get a TCP reset
    ``black hole``  both ends stay open, and everything is swallowed from now on
    ``half open``   the server is gone, as after a loss of power, and the client is not told
    ``truncate``    both ends get a FIN, under TLS without a close_notify
    """

    trouble: Trouble
    after: int
    seconds: float = 0.3


@dataclass(frozen=True, slots=True)
class Path:
    """How a connection goes: seconds in each direction and up to ``jitter`` more, octets per second in each, and a mishap."""

    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float | None = None
    mishap: Mishap | None = None


class FaultyPath:
    """Listens on this machine, and leads each connection to ``host:port`` over a path of its own.

    :param paths: dealt to the connections like cards, shuffled by ``seed`` and anew when none is left; a good one when
        there are none
    """

    def __init__(self, host: str, port: int, paths: Sequence[Path] = (), *, seed: int = 0) -> None:
        self._target = host, port
        self.paths = list(paths) or [Path()]
        self._dice = random.Random(seed)
        self._deck: list[Path] = []
        self._links: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.connections = 0
        self.struck: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)
        await asyncio.sleep(0)  # a transport that was told to close does so in the next turn of the loop

    async def empty(self) -> None:
        """Wait until no connection is on the way any more."""
        while self._links:
            await asyncio.wait([*self._links])

    def be_good(self) -> None:
        """From now on new connections go well."""
        self.paths, self._deck = [Path()], []

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: one that the server of the standard library makes complains when it is cancelled.
        self.connections += 1
        if not self._deck:
            self._deck = self._dice.sample(self.paths, len(self.paths))
        # Each with dice of its own: what one connection meets does not depend on how fast another is.
        own = _Link(self._deck.pop(), self.struck, random.Random(self._dice.random()))
        link = asyncio.ensure_future(own.carry(self._target, reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)


class _Link:
    """One connection: two pipes, and what happens to both."""

    def __init__(self, path: Path, struck: Counter[str], dice: random.Random) -> None:
        self._path = path
        self._struck = struck
        self._dice = dice
        self._octets = 0
        self._swallows = False
        self._stalled_until = 0.0
        self._over = asyncio.Event()
        self._mishap = path.mishap

    async def carry(
        self, target: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writers = [writer]
        pipes: list[asyncio.Future[Any]] = []
        try:
            far_reader, far_writer = await asyncio.open_connection(*target)
            writers.append(far_writer)
            pipes = [
                asyncio.ensure_future(self._pipe(reader, far_writer, far_writer)),
                asyncio.ensure_future(self._pipe(far_reader, writer, far_writer)),
            ]
            # The list grows before that begins to wait.
            ended = asyncio.ensure_future(asyncio.wait([*pipes]))
            over = asyncio.ensure_future(self._over.wait())
            pipes += [ended, over]
            await asyncio.wait([ended, over], return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            _reset(writer)
        finally:
            # Before anything is awaited: whoever ends the path may cancel this as well.
            for each in writers:
                each.close()
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
            for each in writers:
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, far: asyncio.StreamWriter
    ) -> None:
        """Read pieces, and write each when it is due. What is read while another waits is on its way, too."""
        loop = asyncio.get_running_loop()
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def arrive() -> None:
            while True:
                due, piece = await on_the_way.get()
                await asyncio.sleep(due - loop.time())
                if self._path.bandwidth is not None:
                    await asyncio.sleep(len(piece) / self._path.bandwidth)
                while (stalled := self._stalled_until - loop.time()) > 0:
                    await asyncio.sleep(stalled)
                if not piece:
                    if not self._swallows:
                        writer.write_eof()
                    return
                rest = self._forward(piece, writer, far)
                if rest:
                    await asyncio.sleep(self._stalled_until - loop.time())
                    writer.write(rest)
                if not self._swallows:
                    await writer.drain()

        arriving = asyncio.ensure_future(arrive())
        try:
            while True:
                piece = await reader.read(_PIECE)
                delay = self._path.latency + self._dice.random() * self._path.jitter
                await on_the_way.put((loop.time() + delay, piece))
                if not piece:
                    if self._swallows and writer is far:
                        self._over.set()  # the client has given up
                    await arriving
                    return
        except OSError:
            # One end was cut: so is the other, unless nothing gets through and the client is still there.
            if not self._swallows or writer is far:
                self._over.set()
            await self._over.wait()
        finally:
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)

    def _forward(self, piece: bytes, writer: asyncio.StreamWriter, far: asyncio.StreamWriter) -> bytes:
        """Forward what gets through; returns what does later."""
        if self._swallows:
            return b""
        mishap = self._mishap
        if mishap is None or self._octets + len(piece) <= mishap.after:
            self._octets += len(piece)
            writer.write(piece)
            return b""
        self._mishap = None
        self._struck[mishap.trouble] += 1
        # Up to the very octet: this is how a reply is cut in its midst.
        writer.write(piece[: mishap.after - self._octets])
        rest = piece[mishap.after - self._octets :]
        if mishap.trouble == "stall":
            self._stalled_until = asyncio.get_running_loop().time() + mishap.seconds
            return rest
        if mishap.trouble in ("black hole", "half open"):
            self._swallows = True
            if mishap.trouble == "half open":
                _reset(far)
            return b""
        if mishap.trouble == "reset":
            _reset(writer)
            _reset(far)
        self._over.set()
        return b""


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
