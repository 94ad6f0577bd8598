"""P-31: SIGTERM and Ctrl-C end a real process within its grace period, with an account of every message."""

from __future__ import annotations

import asyncio
import csv
import os
import re
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailpool.testing import Fault, ScriptedServer, stall

COUNT = 400
GRACE = 2.0
# What a slow machine may add to the grace period: starting to end, an interpreter's exit. Nothing else ends a program
# so soon: `FOREVER` is longer.
SLACK = 200.0
FOREVER = "greeting_timeout=3000&dns_timeout=3000"
EXAMPLE = Path(__file__).parents[2] / "examples" / "sigterm.py"
SIGNALS = [signal.SIGTERM, signal.SIGINT]

pytestmark = [
    pytest.mark.rule("P-31"),
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]

# The system's resolver, stuck: nothing can interrupt it.
STUCK_LOOKUP = """
import socket, sys, time
def getaddrinfo(*arguments, **keywords):
    print("looking up", file=sys.stderr, flush=True)
    time.sleep(3600)
socket.getaddrinfo = getaddrinfo
"""


@dataclass
class Ended:
    status: int
    seconds: float
    out: str
    err: str
    rows: list[dict[str, str]]

    @property
    def fates(self) -> Counter[str]:
        return Counter(row["outcome"] for row in self.rows)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text("email,name\n" + "".join(f"reader{n}@example.com,Alice\n" for n in range(1, COUNT + 1)))
    return path


@pytest.fixture
def stuck_lookup(tmp_path: Path) -> dict[str, str]:
    """An environment in which name look-ups never end."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(STUCK_LOOKUP)
    return {"PYTHONPATH": str(folder)}


class BlackHole:
    """It takes connections and never says a word."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.url = f"smtp://127.0.0.1:{listener.getsockname()[1]}?{FOREVER}"
        self.taken: list[socket.socket] = []

    async def swallow(self) -> None:
        """Wait for a connection."""
        self.taken.append((await asyncio.to_thread(self._listener.accept))[0])


@pytest.fixture
def black_hole() -> Iterator[BlackHole]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.settimeout(200)
        hole = BlackHole(listener)
        yield hole
        for taken in hole.taken:
            taken.close()


class Program:
    """A program under way, whose standard error is read as it comes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.err = ""
        self._news = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, *arguments: str, environment: dict[str, str] | None = None) -> Program:
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-W", "error", *arguments,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env={**os.environ, **(environment or {})},
            )
        )  # fmt: skip

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.err += line.decode()
            self._news.set()

    async def says(self, words: str) -> None:
        async with asyncio.timeout(200):
            while words not in self.err:
                self._news.clear()
                await self._news.wait()

    async def end(self, *signals: signal.Signals, report: Path | None = None) -> Ended:
        """Send signals, the next one when the first was heard, and wait."""
        assert self.process.stdout is not None
        started = time.monotonic()
        for index, number in enumerate(signals):
            if index:
                await self.says("taking no more")
            self.process.send_signal(number)
        try:
            async with asyncio.timeout(GRACE + SLACK + 20):
                out = await self.process.stdout.read()
                status = await self.process.wait()
        finally:
            if self.process.returncode is None:
                self.process.kill()
        seconds = time.monotonic() - started
        await self._reading
        rows = []
        if report is not None:
            with report.open(newline="") as file:
                rows = list(csv.DictReader(file))
        return Ended(status, seconds, out.decode(), self.err, rows)


def send(url: str, table: Path, report: Path, *more: str, grace: float = GRACE) -> list[str]:
    return [
        "-m", "mailpool.cli", "send", "--url", url, "--from", "alice@example.com", "--subject", "News",
        "--text", "Dear {name}", "--csv", str(table), "--report", str(report), "--grace", str(grace), *more,
    ]  # fmt: skip


def check_account(ended: Ended) -> None:
    assert sorted(int(row["number"]) for row in ended.rows) == list(range(1, COUNT + 1))
    assert ended.fates.total() == COUNT
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("number", SIGNALS)
async def test_send_in_mid_batch(number: signal.Signals, table: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.csv"
    async with ScriptedServer(latency=0.05) as server:
        program = await Program.start(*send(f"smtp://{server.host}:{server.port}", table, report, grace=20.0))
        await server.wait_for_messages(20, timeout=200)
        ended = await program.end(number, report=report)
    check_account(ended)
    assert ended.status == 128 + number
    assert ended.seconds < 20 + SLACK
    # What was under way was let finish, and both sides agree about it.
    assert set(ended.fates) == {"accepted", "not sent"}
    accepted = {row["address"] for row in ended.rows if row["outcome"] == "accepted"}
    assert accepted == {m.recipients[0] for m in server.messages}
    assert f"{len(server.messages)} accepted" in ended.out


@pytest.mark.parametrize("number", SIGNALS)
async def test_send_while_no_answer_comes(number: signal.Signals, table: Path, tmp_path: Path) -> None:
    """The server took five messages and is silent since: they are uncertain, and not one is forgotten."""
    report = tmp_path / "report.csv"
    silent = Fault(at="END", do=stall(), nth=11, times=None)
    async with ScriptedServer(faults=[silent]) as server:
        program = await Program.start(*send(f"smtp://{server.host}:{server.port}", table, report))
        await server.wait_for_messages(10, timeout=200)
        ended = await program.end(number, report=report)
    check_account(ended)
    assert ended.status == 128 + number
    assert ended.seconds < GRACE + SLACK
    assert ended.fates["accepted"] == 10
    assert 1 <= ended.fates["uncertain"] <= 5
    assert ended.fates["not sent"] == COUNT - 10 - ended.fates["uncertain"]


@pytest.mark.parametrize("number", SIGNALS)
async def test_send_into_a_black_hole(
    number: signal.Signals, table: Path, tmp_path: Path, black_hole: BlackHole
) -> None:
    report = tmp_path / "report.csv"
    program = await Program.start(*send(black_hole.url, table, report))
    await black_hole.swallow()
    ended = await program.end(number, report=report)
    check_account(ended)
    assert ended.status == 128 + number
    assert ended.seconds < GRACE + SLACK
    assert ended.fates == {"not sent": COUNT}


@pytest.mark.parametrize("number", SIGNALS)
async def test_send_with_a_stuck_name_lookup(
    number: signal.Signals, table: Path, tmp_path: Path, stuck_lookup: dict[str, str]
) -> None:
    report = tmp_path / "report.csv"
    program = await Program.start(
        *send(f"smtp://relay.example.com:25?{FOREVER}", table, report), environment=stuck_lookup
    )
    await program.says("looking up")
    ended = await program.end(number, report=report)
    check_account(ended)
    assert ended.status == 128 + number
    assert ended.seconds < GRACE + SLACK
    assert ended.fates == {"not sent": COUNT}


async def test_the_second_signal_ends_it_at_once(table: Path, tmp_path: Path, black_hole: BlackHole) -> None:
    report = tmp_path / "report.csv"
    program = await Program.start(*send(black_hole.url, table, report, grace=600.0))
    await black_hole.swallow()
    ended = await program.end(signal.SIGINT, signal.SIGINT, report=report)
    check_account(ended)
    assert ended.status == 130
    assert ended.seconds < SLACK  # far from the grace period


def account_of_example(out: str) -> dict[str, int]:
    return {kind: int(count) for count, kind in re.findall(r"(\d+) (sent|failed|uncertain|not sent)", out)}


@pytest.mark.parametrize("number", SIGNALS)
async def test_the_example_in_mid_batch(number: signal.Signals) -> None:
    async with ScriptedServer(latency=0.05) as server:
        url = f"smtp://{server.host}:{server.port}"
        program = await Program.start(str(EXAMPLE), url, str(COUNT), "20")
        await server.wait_for_messages(20, timeout=200)
        ended = await program.end(number)
    account = account_of_example(ended.out)
    assert (ended.status, ended.err) == (1, "")
    assert account["sent"] == len(server.messages)
    assert sum(account.values()) == COUNT


@pytest.mark.parametrize("number", SIGNALS)
async def test_the_example_into_a_black_hole(number: signal.Signals, black_hole: BlackHole) -> None:
    program = await Program.start(str(EXAMPLE), black_hole.url, str(COUNT), str(GRACE))
    await black_hole.swallow()
    ended = await program.end(number)
    assert ended.seconds < GRACE + SLACK
    assert (ended.status, account_of_example(ended.out)["not sent"], ended.err) == (1, COUNT, "")


@pytest.mark.parametrize("number", SIGNALS)
async def test_the_example_with_a_stuck_name_lookup(
    number: signal.Signals, stuck_lookup: dict[str, str]
) -> None:
    program = await Program.start(
        str(EXAMPLE),
        f"smtp://relay.example.com:25?{FOREVER}",
        str(COUNT),
        str(GRACE),
        environment=stuck_lookup,
    )
    await program.says("looking up")
    ended = await program.end(number)
    assert ended.seconds < GRACE + SLACK
    assert (ended.status, account_of_example(ended.out)["not sent"]) == (1, COUNT)
