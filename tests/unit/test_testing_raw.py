"""``RawServer``: scripts of octets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool.testing import MemoryNetwork, RawServer, RawStream, run_virtual


async def test_a_script_of_octets(converse: Any) -> None:
    async def handler(stream: RawStream) -> None:
        stream.send(b"220 hi\r\n")
        assert await stream.read_line() == b"EHLO x"
        stream.send(b"250 ok\r\n")
        assert await stream.read(3) == b"abc"
        assert await stream.read_until(b"\r\n.\r\n") == b"d\r\n.\r\n"
        assert await stream.read_some() == b"rest"
        stream.send(b"half")
        assert await stream.read_to_end() == b"end"

    async with RawServer(handler) as server:
        talk = await converse(server)
        assert await talk.reply() == "220 hi"
        assert await talk.ask("EHLO x") == ["250 ok"]
        talk.send("abcd\n.\nrest")
        assert await talk.reader.readexactly(4) == b"half"
        talk.send(b"end")
        talk.writer.write_eof()
        assert await talk.rest() == b""
    assert server.connections == 1


async def test_abort(converse: Any) -> None:
    async def handler(stream: RawStream) -> None:
        stream.send(b"220")
        stream.abort()

    async with RawServer(handler) as server:
        talk = await converse(server)
        with pytest.raises(ConnectionResetError):
            await talk.rest()


async def test_what_a_handler_raises_is_told(converse: Any) -> None:
    async def handler(stream: RawStream) -> None:
        assert await stream.read_line() == b"expected"

    server = await RawServer(handler).__aenter__()
    talk = await converse(server)
    talk.send("surprise\n")
    await talk.rest()
    with pytest.raises(AssertionError, match="surprise"):
        await server.stop()
    await server.stop()


async def test_a_client_that_leaves_and_a_handler_that_stays_are_no_mistake(converse: Any) -> None:
    async def handler(stream: RawStream) -> None:
        await stream.read_line()
        await asyncio.sleep(1000)

    async with RawServer(handler) as server:
        (await converse(server)).writer.close()
        (await converse(server)).send("stay\n")
        await asyncio.sleep(0.01)


async def test_tls(converse: Any, authority: Any) -> None:
    async def handler(stream: RawStream) -> None:
        await stream.secure(authority.server_context("127.0.0.1"))
        stream.send(b"220 secret\r\n")
        assert await stream.read_line() == b"x"

    async with RawServer(handler) as server:
        talk = await converse(server, ssl=authority.client_context(), server_hostname="127.0.0.1")
        assert await talk.reply() == "220 secret"
        talk.send("x\n")
        assert await talk.rest() == b""
        broken = await converse(server)
        broken.send("no TLS at all\n")
        await broken.rest()


def test_in_memory(conversation: Any) -> None:
    async def handler(stream: RawStream) -> None:
        stream.send(b"220 hi\r\n")
        await stream.read_to_end()

    async def main() -> None:
        network = MemoryNetwork(0.1)
        server = RawServer(handler)
        network.listen("relay", 25, server)
        talk = await conversation.in_memory(network, "relay", 25)
        assert await talk.reply() == "220 hi"
        talk.writer.close()
        await asyncio.sleep(1)
        server.refuse_connections(True)
        with pytest.raises(ConnectionRefusedError):
            await conversation.in_memory(network, "relay", 25)
        await server.stop()

    run_virtual(main)
