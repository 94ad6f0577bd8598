"""The demo's server as its parent sees it: a process that is started, asked, and always ended."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .ledger import Stored

if TYPE_CHECKING:
    from .server import Settings

_START, _ANSWER, _END = 30.0, 30.0, 3.0  # seconds
# The report is one line.
_LONGEST_LINE = 1 << 28


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What the server saw. ``closed`` counts the connections that it closed, by place."""

    stored: tuple[Stored, ...]
    connections: int
    handshakes: int
    logins: int
    peak: int
    closed: dict[str, int]


class ServerProcess:
    """A running server, at ``port``; ``certificate`` (PEM) is to be trusted, and ``login`` is known to it."""

    def __init__(self, process: asyncio.subprocess.Process, login: tuple[str, str]) -> None:
        self.login = login
        self._process = process
        self.port = 0
        self.certificate = ""

    async def start(self, settings: Settings) -> None:
        told = await self._ask(asdict(settings), _START)
        self.port, self.certificate = int(told["port"]), str(told["certificate"])

    async def calm(self) -> None:
        """No connection is closed from now on."""
        await self._ask("calm", _ANSWER)

    async def report(self) -> ServerReport:
        """What it has stored and counted so far."""
        told = await self._ask("report", _ANSWER)
        stored = tuple(Stored(*message) for message in told["messages"])
        return ServerReport(
            stored, told["connections"], told["handshakes"], told["logins"], told["peak"], told["closed"]
        )

    async def _ask(self, what: str | dict[str, Any], seconds: float) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        line = what if isinstance(what, str) else json.dumps(what)
        async with asyncio.timeout(seconds):
            process.stdin.write(f"{line}\n".encode())
            answer = await process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the demo's server has ended (exit status {await process.wait()})")
        told: dict[str, Any] = json.loads(answer)
        return told


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[ServerProcess]:
    """A server for the time of the block. It ends with it, and with this process, however that ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mailpool.cli.demo.server",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
        # Ctrl-C goes to all programs of the terminal's group. This one ends with its input, after it was asked.
        start_new_session=True,
    )
    try:
        server = ServerProcess(process, (settings.user, settings.password))
        await server.start(settings)
        yield server
    finally:
        await asyncio.shield(_end(process))


async def _end(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(_END):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
