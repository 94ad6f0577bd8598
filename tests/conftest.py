"""What all tests share: a plain client that keeps no rules, and a certificate authority."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mailpool.testing import Authority, MemoryNetwork, RawServer, ScriptedServer


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


@pytest.fixture(scope="session")
def authority() -> Authority:
    """A certificate authority for this run."""
    return Authority()
