"""One run of the demo: start the server, send, compare the books, measure what it would cost without a pool."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mailpool import PoolStats, Transporter, create_transport

from ..batch import Batch
from ..letters import Letter, MailMerge
from ..live import Watch, showing
from ..stop import Stop
from ..tally import Line, Tally
from .ledger import Proof, prove

if TYPE_CHECKING:
    from .host import ServerProcess, ServerReport

# Messages on which the two ways are compared.
SAMPLE = 100
_GRACE = 5.0  # seconds, for Ctrl-C


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the demo is to do. Without ``url`` it brings its own server, which ``close_rate`` and ``lose`` are for."""

    letters: MailMerge
    max_connections: int
    max_messages: int
    seed: int
    close_rate: float
    lose: int
    url: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Seconds for the same number of messages, in calm weather."""

    count: int
    pooled: float
    alone: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that is to be told. ``server`` and ``comparison`` are there with the demo's own server only."""

    total: int
    tally: Tally
    seconds: float
    stats: PoolStats
    proof: Proof
    server: ServerReport | None
    comparison: Comparison | None
    stopped: Stop | None


async def perform(plan: Plan, console: Console) -> Story:
    """Do it.

    :param console: shows progress
    """
    stop = Stop()
    async with AsyncExitStack() as stack:
        stack.enter_context(stop.listening())
        server = await _start_server(plan, stack) if plan.url is None else None
        url, options = _where(plan, server)
        transporter = create_transport(
            url, pool=True, max_connections=plan.max_connections, max_messages=plan.max_messages, **options
        )
        lines: list[Line] = []
        tally = Tally(len(plan.letters))
        watch = Watch(tally, transporter)
        async with showing(watch, console):
            await _send(transporter, plan.letters, lines, tally, stop)
        seconds, stats = watch.seconds, transporter.stats()
        report = await server.report() if server is not None else None
        comparison = None
        if server is not None and not stop.requested:
            await server.calm()
            comparison = await _compare(plan, url, options, stop)
        return Story(
            total=len(plan.letters),
            tally=tally,
            seconds=seconds,
            stats=stats,
            proof=prove(len(plan.letters), lines, report.stored if report is not None else None),
            server=report,
            comparison=comparison,
            stopped=stop if stop.requested else None,
        )


async def _start_server(plan: Plan, stack: AsyncExitStack) -> ServerProcess:
    # Only a demo with a server of its own needs what the server needs.
    from .host import running
    from .server import Settings

    settings = Settings(
        user="demo@example.com",
        password=secrets.token_urlsafe(),
        seed=plan.seed,
        close_rate=plan.close_rate,
        lose=plan.lose,
    )
    return await stack.enter_async_context(running(settings))


def _where(plan: Plan, server: ServerProcess | None) -> tuple[str, dict[str, Any]]:
    if server is None:
        assert plan.url is not None
        return plan.url, plan.options
    # Verified like any other: the certificate that the server made is the only one that is trusted.
    options = {"auth": server.login, "tls": {"ca_data": server.certificate}}
    return f"smtps://127.0.0.1:{server.port}", options


async def _send(
    transporter: Transporter, letters: Iterable[Letter], lines: list[Line], tally: Tally, stop: Stop
) -> None:
    def account(line: Line) -> None:
        lines.append(line)
        tally.add(line)

    await Batch(transporter, account, stop, _GRACE).send(letters)


async def _compare(plan: Plan, url: str, options: dict[str, Any], stop: Stop) -> Comparison | None:
    count = min(SAMPLE, len(plan.letters))
    loop = asyncio.get_running_loop()
    took: list[float] = []
    for pool in (True, False):
        transporter = create_transport(url, pool=pool, max_connections=plan.max_connections, **options)
        tally = Tally(count)
        started = loop.time()
        await _send(transporter, itertools.islice(plan.letters, count), [], tally, stop)
        took.append(loop.time() - started)
        if not tally.all_accepted:
            return None
    return Comparison(count=count, pooled=took[0], alone=took[1])
