"""Stories: a transporter and a scripted server in memory, on a clock that jumps. Each ends with nothing left behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from mailpool import SendError, SendResult
from mailpool.options import parse_options
from mailpool.testing import Fault, MemoryNetwork, ScriptedServer, run_virtual
from mailpool.testing.faults import Action, Incident
from mailpool.transporter import Transporter

HOST, PORT = "relay.example", 25
Outcome = SendResult | SendError | asyncio.CancelledError


class Relay:
    """What a story is given: the transporter, the server, the network between them, and the events so far."""

    def __init__(self, server: Any, latency: float, window: int, options: dict[str, Any]) -> None:
        self.server = server
        self.network = MemoryNetwork(latency, window=window)
        self.dials = 0
        self.events: list[tuple[str, tuple[Any, ...]]] = []
        self.options = {"host": HOST, "port": PORT, "pool": True, **options}
        self.network.listen(HOST, self.options["port"], server)
        self.transporter = self.another()

    def another(self, **changes: Any) -> Transporter:
        """A further transporter for the same server."""
        return Transporter(parse_options(**{**self.options, **changes}), connector=self._connect)

    async def _connect(self, options: Any, connection: Any, context: Any) -> Any:
        self.dials += 1
        async with asyncio.timeout(options.connection_timeout):
            transport, _ = await self.network.dial(options.host, options.effective_port, lambda: connection)
        return transport

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def mail(
        self, number: object, to: str | Iterable[str] = "to@example.org", **fields: Any
    ) -> dict[str, Any]:
        """Fields of a message whose Message-ID tells its number."""
        return {
            "from": "from@example.org",
            "to": to if isinstance(to, str) else list(to),
            "subject": f"number {number}",
            "text": f"body of {number}\n",
            "message_id": f"<{number}@example.org>",
            **fields,
        }

    def send(
        self, number: object, to: str | Iterable[str] = "to@example.org", **keywords: Any
    ) -> Awaitable[Any]:
        """``send_mail`` of such a message; ``priority``, ``deadline`` and ``auth`` are its arguments, all else fields."""
        how = {name: keywords.pop(name) for name in ("priority", "deadline", "auth") if name in keywords}
        return self.transporter.send_mail(self.mail(number, to, **keywords), **how)

    def burst(self, count: int, **keywords: Any) -> list[Awaitable[Any]]:
        return [self.send(number, **keywords) for number in range(count)]

    @staticmethod
    async def ends(*sends: Awaitable[Any]) -> list[Any]:
        """How each ended: its result or its error."""
        return await asyncio.gather(*sends, return_exceptions=True)

    async def end(self, send: Awaitable[Any]) -> Any:
        return (await self.ends(send))[0]

    def listen(self, *names: str) -> None:
        for name in names:
            self.transporter.on(name, lambda *details, name=name: self.events.append((name, details)))

    def heard(self, name: str) -> list[tuple[Any, ...]]:
        return [details for event, details in self.events if event == name]


Story = Callable[[Relay], Awaitable[None]]


def received(server: ScriptedServer) -> list[str]:
    """The numbers of the messages that the server took, in order."""
    return [(message.message_id or "").strip("<>").partition("@")[0] for message in server.messages]


def play(
    story: Story,
    server: Any = None,
    *,
    latency: float = 0.0,
    window: int = 65_536,
    timeout: float = 86_400.0,
    right: bool = True,
    **options: Any,
) -> Any:
    """Run a story, close, and see that neither task nor timer nor connection is left. Returns the server.

    ``right``: the client must not have broken the protocol.
    """
    served = ScriptedServer() if server is None else server

    async def main() -> None:
        relay = Relay(served, latency, window, options)
        await story(relay)
        await relay.transporter.close()
        # What is under way on the network arrives.
        await asyncio.sleep(5 * latency + 2)
        if isinstance(served, ScriptedServer):
            assert served.open_connections == 0, "connections are left open"

    run_virtual(main, timeout=timeout, timers=True)
    if right and isinstance(served, ScriptedServer):
        assert served.violations == []
    return served


def watching(at: Any, note: Callable[[Incident], None], **fault: Any) -> Fault:
    """A fault that changes nothing and only tells that it was passed."""

    def act(incident: Incident) -> None:
        note(incident)
        incident.answer()

    action: Action = act
    return Fault(at=at, do=action, times=None, **fault)


@pytest.fixture(autouse=True)
def _same_dice() -> None:
    """The library rolls ``random.random``: the same in each run."""
    random.seed(2_821)


@pytest.fixture(name="play")
def play_fixture() -> Callable[..., Any]:
    return play


@pytest.fixture(name="received")
def received_fixture() -> Callable[[ScriptedServer], list[str]]:
    return received


@pytest.fixture(name="watching")
def watching_fixture() -> Callable[..., Fault]:
    return watching


@pytest.fixture
def capabilities() -> Callable[[bool], tuple[str, ...]]:
    """What a server announces, with or without PIPELINING."""

    def announce(pipelining: bool, *more: str) -> tuple[str, ...]:
        usual = ("SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8", *more)
        return ("PIPELINING", *usual) if pipelining else usual

    return announce
