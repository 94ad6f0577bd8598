"""What all tests share: a plain client that keeps no rules, a certificate authority, and no silent skips in CI."""

from __future__ import annotations

import asyncio
import fnmatch
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

from mailpool.testing import Authority, MemoryNetwork, RawServer, ScriptedServer

# How long examples take says something about the machine only, which others may be using. The same examples in each run:
# what a run proves does not depend on luck. `--hypothesis-profile=others` looks for other ones.
hypothesis.settings.register_profile(
    "same",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "others", parent=hypothesis.settings.get_profile("same"), derandomize=False, max_examples=1_000
)
hypothesis.settings.load_profile("same")

ALLOWED_SKIPS = Path(__file__).with_name("allowed-skips.txt")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def judge_skip(report: Report) -> Report:
    """In CI a skip is a failure unless ``allowed-skips.txt`` lists it: what is not run proves nothing."""
    expected_to_fail = hasattr(report, "wasxfail")
    if not report.skipped or expected_to_fail or os.environ.get("CI") != "true" or may_skip(report.nodeid):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = (
        f"{report.nodeid}: {reason}\nA skip in CI has to be listed in tests/{ALLOWED_SKIPS.name}."
    )
    return report


def may_skip(test: str) -> bool:
    """Whether a line of the list is, or is a pattern for, this test."""
    lines = (line.partition("#")[0].strip() for line in ALLOWED_SKIPS.read_text().splitlines())
    # A test's own name may hold brackets, which patterns take for something else.
    return any(line and (line == test or fnmatch.fnmatchcase(test, line)) for line in lines)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return judge_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return judge_skip((yield))


class Conversation:
    """A hand-written client: it sends what it is told to, and can read whole replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def over_socket(cls, server: ScriptedServer | RawServer, **options: Any) -> Conversation:
        if server.path is not None:
            return cls(*await asyncio.open_unix_connection(server.path, **options))
        return cls(*await asyncio.open_connection(server.host, server.port, **options))

    @classmethod
    async def in_memory(cls, network: MemoryNetwork, host: str, port: int) -> Conversation:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await network.dial(host, port, lambda: protocol)
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop()))

    def send(self, data: str | bytes) -> None:
        """Write octets; a text gets CRLF line ends where it has LF."""
        self.writer.write(data if isinstance(data, bytes) else data.replace("\n", "\r\n").encode())

    async def reply(self) -> str:
        """The next whole reply, its lines joined by LF. ``EOFError`` if the connection ends first."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            line = await self.reader.readuntil(b"\r\n")
            lines.append(line[:-2].decode())
        return "\n".join(lines)

    async def ask(self, *lines: str, replies: int | None = None) -> list[str]:
        """Send lines in one write and read as many replies, or ``replies`` of them."""
        self.send("".join(f"{line}\n" for line in lines))
        return [await self.reply() for _ in range(len(lines) if replies is None else replies)]

    async def codes(self, *lines: str, replies: int | None = None) -> list[int]:
        """As ``ask``, with the codes only."""
        return [int(reply[:3]) for reply in await self.ask(*lines, replies=replies)]

    async def begin(self, *lines: str) -> Conversation:
        """Read the greeting, say EHLO, and then each line on its own."""
        await self.reply()
        for line in ("EHLO client.example", *lines):
            await self.ask(line)
        return self

    async def message(self, content: str = "Subject: hi\n\nhello\n", *recipients: str) -> list[int]:
        """Hand over a message from ``a@example.org`` with a pipelined envelope; returns all codes."""
        to = recipients or ("b@example.org",)
        lines = ("MAIL FROM:<a@example.org>", *(f"RCPT TO:<{address}>" for address in to), "DATA")
        codes = await self.codes(*lines)
        if codes[-1] == 354:
            self.send(f"{content}.\n")
            codes.append(int((await self.reply())[:3]))
        return codes

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()


Converse = Callable[..., Awaitable[Conversation]]


@pytest.fixture
async def converse() -> AsyncIterator[Converse]:
    """Opens conversations with a server over a socket, and closes them when the test ends."""
    opened: list[Conversation] = []

    async def open_one(server: ScriptedServer | RawServer, **options: Any) -> Conversation:
        conversation = await Conversation.over_socket(server, **options)
        opened.append(conversation)
        return conversation

    yield open_one
    for conversation in opened:
        conversation.writer.transport.abort()


@pytest.fixture
def conversation() -> type[Conversation]:
    """The class itself, for tests that bring their own loop."""
    return Conversation


@pytest.fixture
def pass_time() -> Callable[[float], None]:
    """Sets the clock of the running loop ahead by seconds.

    So a time-out that is to strike can be so long that it strikes on no machine before its time has come, and what has
    happened by then is certain.
    """

    def pass_time(seconds: float) -> None:
        loop: Any = asyncio.get_running_loop()
        before = loop.time
        loop.time = lambda: before() + seconds

    return pass_time


@pytest.fixture(scope="session")
def authority() -> Authority:
    """A certificate authority for this run."""
    return Authority()
