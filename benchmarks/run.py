"""One client against one server of its own: a figure, or an error when the two count differently."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from .job import Job
from .peers import aiosmtplib, mailpool, nodemailer, replay, smtp_source, stdlib
from .places import cores
from .processes import BenchmarkError, Client, wait
from .servers import AnyServer, serving

# The server, not the client, is what was measured when it works for more than this share of the time.
BUSY = 0.9

PEERS: dict[str, ModuleType] = {
    "mailpool": mailpool,
    "nodemailer": nodemailer,
    "aiosmtplib": aiosmtplib,
    "smtplib": stdlib,
    "smtp-source": smtp_source,
    "replay": replay,
}
# They know neither warm-up nor figures of their own.
_BARE = ("smtp-source",)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One line of the table.

    :param key: by which ratios name it
    :param server: ``smtp-sink``; ``sink`` with CHUNKING; ``sink-data`` is the same without; ``none``
    :param round_trip: milliseconds
    """

    key: str
    label: str
    peer: str
    server: str = "smtp-sink"
    round_trip: float = 0.0
    job: Job = field(default_factory=Job)
    patience: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What one run of one client gave. ``cpu`` is milliseconds per message, that is seconds per thousand."""

    rate: float
    settled: float
    cpu: float
    peak: float
    server_busy: float
    octets: float

    @property
    def server_is_the_limit(self) -> bool:
        return self.server_busy > BUSY


def measure(runs: list[Run], folder: str) -> list[Figure]:
    """Run the clients, all at the same time when there are several, which only suits those that mostly wait."""
    with contextlib.ExitStack() as stack:
        setups: dict[str, Client] = {}
        started: list[tuple[Run, Job, AnyServer | None, Client]] = []
        for run in runs:
            job = run.job.but(folder=folder)
            if run.peer in (*_BARE, "replay"):
                job = job.but(warmup=0)
            server = None
            if run.server != "none":
                server, port = stack.enter_context(serving(run.server, job, run.round_trip))
                job = job.but(port=port)
            command = PEERS[run.peer].command(job)
            client = Client(command.words, command.environment, cores()[1])
            stack.callback(client.kill)
            started.append((run, job, server, client))
            if run.peer in _BARE and run.round_trip:
                setups[run.key] = stack.enter_context(_setup(run, job))
        clients = [client for *_, client in started] + list(setups.values())
        wait(clients, max(run.patience for run in runs))
        return [_figure(*each, setups.get(each[0].key)) for each in started]


@contextlib.contextmanager
def _setup(run: Run, job: Job) -> Iterator[Client]:
    """The same client with one message for each connection: what to take off for connecting, which others time apart."""
    job = job.but(messages=job.connections)
    with serving(run.server, job, run.round_trip) as (_, port):
        command = PEERS[run.peer].command(job.but(port=port))
        client = Client(command.words, command.environment, cores()[1])
        try:
            yield client
        finally:
            client.kill()


def _figure(run: Run, job: Job, server: AnyServer | None, client: Client, setup: Client | None) -> Figure:
    report: dict[str, Any] = client.report()
    if run.peer in _BARE:
        # It ends with an error when anything is refused, so that its end says what it sent.
        report = {"accepted": job.total, "refused": 0, "seconds": client.seconds, "cpu": client.cpu}
    timed = job.messages
    if setup is not None:
        setup.report()
        timed -= job.connections
        report["seconds"] -= setup.seconds
    accepted, refused = job.expected()
    if (report["accepted"], report["refused"]) != (accepted, refused):
        raise BenchmarkError(
            f"{run.label}: {report['accepted']} accepted and {report['refused']} refused, not {accepted} and {refused}"
        )
    busy = 0.0
    if server is not None:
        share = job.messages / job.total
        busy = server.cpu() * share / report["seconds"]
        server.check(accepted, refused)
    return Figure(
        rate=(timed - (timed // job.refused_every if job.refused_every else 0)) / report["seconds"],
        settled=timed / report["seconds"],
        cpu=report["cpu"] * 1000 / job.messages,
        peak=max(report.get("peak_kib", 0), client.peak_kib) / 1024,
        server_busy=busy,
        octets=report.get("octets", 0) / report["seconds"],
    )


def as_dict(run: Run) -> dict[str, Any]:
    return dataclasses.asdict(run)
