"""``MemoryNetwork``: what a TCP connection does, without one."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mailpool.testing import MemoryNetwork, MemoryTransport, run_virtual
from mailpool.testing.delay import DelayLine


def clock() -> float:
    return asyncio.get_running_loop().time()


class Peer(asyncio.Protocol):
    """Notes everything that it is told, with the time."""

    def __init__(self, *, half_open: bool = False) -> None:
        self.half_open = half_open
        self.told: list[tuple[float, Any]] = []
        self.transport: MemoryTransport

    @property
    def octets(self) -> bytes:
        return b"".join(what for _, what in self.told if isinstance(what, bytes))

    @property
    def words(self) -> list[Any]:
        return [what for _, what in self.told if not isinstance(what, bytes)]

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.told.append((clock(), data))

    def eof_received(self) -> bool:
        self.told.append((clock(), "eof"))
        return self.half_open

    def pause_writing(self) -> None:
        self.told.append((clock(), "pause"))

    def resume_writing(self) -> None:
        self.told.append((clock(), "resume"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append((clock(), exc if exc is None else type(exc)))


class Sipping(asyncio.BufferedProtocol, Peer):
    """Reads into a buffer of three octets."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(3)

    def get_buffer(self, sizehint: int) -> bytearray:
        assert sizehint > 0
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self.buffer[:nbytes]))


class Place:
    """Something to dial."""

    def __init__(self, peer: Peer | None) -> None:
        self.peer = peer

    def connect(self) -> Peer | None:
        return self.peer


Script = Callable[[Any, Any], Awaitable[None]]


def connected(
    script: Script, *, latency: float = 0.0, client: Any = None, server: Any = None, **options: Any
) -> None:
    """Run a script with both ends of a connection."""

    async def main() -> None:
        network = MemoryNetwork(latency, **options)
        there = server or Peer()
        network.listen("relay", 25, Place(there))
        transport, here = await network.dial("relay", 25, lambda: client or Peer())
        assert transport is here.transport is network.clients[0]
        await script(here, there)
        network.cut()
        await asyncio.sleep(10)
        for peer in (here, there):
            assert [word for word in peer.words if word is None or isinstance(word, type)][1:] == []

    run_virtual(main, timers=True)


def test_octets_take_their_time_and_keep_their_order() -> None:
    async def script(here: Peer, there: Peer) -> None:
        assert clock() == 1.0
        here.transport.write(b"one")
        await asyncio.sleep(0.25)
        here.transport.writelines([b"two", bytearray(b"three")])
        there.transport.write(b"reply")
        await asyncio.sleep(5)
        assert there.told == [(1.5, b"one"), (1.75, b"twothree")]
        assert here.told == [(1.75, b"reply")]
        assert here.transport.writes == 2

    connected(script, latency=0.5)


def test_names() -> None:
    async def script(here: Peer, there: Peer) -> None:
        assert here.transport.get_extra_info("peername") == ("relay", 25)
        assert here.transport.get_extra_info("sockname") == there.transport.get_extra_info("peername")
        assert here.transport.get_extra_info("ssl_object") is None
        assert here.transport.get_protocol() is here

    connected(script)


def test_a_buffered_protocol() -> None:
    async def script(here: Sipping, there: Peer) -> None:
        there.transport.write(b"12345678")
        await asyncio.sleep(1)
        assert [what for _, what in here.told] == [b"123", b"456", b"78"]

    connected(script, client=Sipping())


def test_an_orderly_close_comes_after_the_data() -> None:
    async def script(here: Peer, there: Peer) -> None:
        here.transport.write(b"bye")
        here.transport.close()
        here.transport.write(b"too late")
        assert here.transport.is_closing()
        await asyncio.sleep(1)
        assert there.octets == b"bye"
        assert there.words == ["eof", None]
        assert here.words == [None]

    connected(script, latency=0.1)


def test_a_half_closed_connection_still_carries_the_answer() -> None:
    async def script(here: Peer, there: Peer) -> None:
        assert here.transport.can_write_eof()
        here.transport.write_eof()
        with pytest.raises(RuntimeError):
            here.transport.write(b"x")
        await asyncio.sleep(1)
        there.transport.write(b"answer")
        there.transport.close()
        await asyncio.sleep(1)
        assert here.octets == b"answer"
        assert here.words == ["eof", None]

    connected(script, server=Peer(half_open=True))


def test_abort_is_a_reset_for_the_other_end() -> None:
    async def script(here: Peer, there: Peer) -> None:
        here.transport.write(b"data")
        here.transport.abort()
        await asyncio.sleep(1)
        assert here.words == [None]
        assert there.octets == b"data"
        assert there.words == [ConnectionResetError]

    connected(script, latency=0.1)


def test_closing_with_unread_data_is_a_reset() -> None:
    async def script(here: Peer, there: Peer) -> None:
        here.transport.pause_reading()
        there.transport.write(b"unread")
        await asyncio.sleep(1)
        here.transport.close()
        await asyncio.sleep(1)
        assert there.words == [ConnectionResetError]

    connected(script)


def test_writing_to_an_end_that_is_closed_is_told_one_round_trip_later() -> None:
    async def script(here: Peer, there: Peer) -> None:
        there.transport.close()
        await asyncio.sleep(1)
        start = clock()
        here.transport.write(b"anybody?")
        await asyncio.sleep(1)
        assert here.told[-1] == (pytest.approx(start + 0.2), ConnectionResetError)

    connected(script, latency=0.1, client=Peer(half_open=True))


def test_back_pressure() -> None:
    async def script(here: Peer, there: Peer) -> None:
        here.transport.set_write_buffer_limits(high=100, low=10)
        assert here.transport.get_write_buffer_limits() == (10, 100)
        there.transport.pause_reading()
        here.transport.write(b"x" * 1000)
        assert here.transport.get_write_buffer_size() == 0
        here.transport.write(b"y" * 100)
        assert here.words == []
        here.transport.write(b"z")
        assert here.words == ["pause"]
        assert here.transport.get_write_buffer_size() == 101
        await asyncio.sleep(1)
        assert there.octets == b""
        there.transport.resume_reading()
        await asyncio.sleep(1)
        assert here.words == ["pause", "resume"]
        assert len(there.octets) == 1101
        with pytest.raises(ValueError):
            here.transport.set_write_buffer_limits(high=1, low=2)

    connected(script, window=1000)


def test_only_abort_ends_a_connection_whose_buffer_does_not_drain() -> None:
    async def script(here: Peer, there: Peer) -> None:
        there.transport.pause_reading()
        here.transport.write(b"x" * 2000)
        here.transport.close()
        await asyncio.sleep(100)
        assert here.words == []
        here.transport.abort()
        await asyncio.sleep(1)
        assert here.words == [None]

    connected(script, window=1000)


def test_a_cut_and_half_delivered_octets() -> None:
    async def script(here: Peer, there: Peer) -> None:
        here.transport.cut_after(5)
        here.transport.write(b"123")
        here.transport.write(b"45678")
        await asyncio.sleep(1)
        assert there.octets == b"12345"
        assert here.words == there.words == [ConnectionResetError]

    connected(script, latency=0.1)


def test_silence() -> None:
    async def script(here: Peer, there: Peer) -> None:
        here.transport.silence()
        here.transport.write(b"hello?")
        there.transport.close()
        await asyncio.sleep(1000)
        assert here.told == []
        assert there.told == [(2.0, None)]

    async def late(here: Peer, there: Peer) -> None:
        await asyncio.sleep(2)
        await script(here, there)

    connected(late)


def test_a_protocol_that_raises_loses_its_connection_and_is_told_of() -> None:
    class Broken(Peer):
        def data_received(self, data: bytes) -> None:
            raise LookupError("mine")

    async def script(here: Peer, there: Peer) -> None:
        there.transport.write(b"x")
        await asyncio.sleep(1)
        assert here.words == [LookupError]
        assert there.words == [ConnectionResetError]

    with pytest.raises(AssertionError, match="mine"):
        connected(script, client=Broken())


def test_another_protocol_may_take_over() -> None:
    async def script(here: Peer, there: Peer) -> None:
        other = Peer()
        here.transport.set_protocol(other)
        there.transport.write(b"x")
        await asyncio.sleep(1)
        assert (here.octets, other.octets) == (b"", b"x")
        here.transport.set_protocol(here)

    connected(script)


class TestDialling:
    def test_a_host_that_nobody_knows(self) -> None:
        with pytest.raises(socket.gaierror, match="no such host"):
            run_virtual(lambda: MemoryNetwork().dial("nowhere", 25, Peer))

    def test_a_port_where_nobody_listens(self) -> None:
        async def main() -> None:
            network = MemoryNetwork(0.5)
            network.listen("relay", 25, Place(Peer()))
            with pytest.raises(ConnectionRefusedError):
                await network.dial("relay", 26, Peer)
            assert clock() == 1.0
            network.listen("relay", 26, Place(None))
            with pytest.raises(ConnectionRefusedError):
                await network.dial("relay", 26, Peer)
            network.remove("relay", 25)
            with pytest.raises(ConnectionRefusedError):
                await network.dial("relay", 25, Peer)

        run_virtual(main)

    def test_an_error_of_ones_own(self) -> None:
        async def main() -> None:
            network = MemoryNetwork()
            network.fail("relay", 25, OSError(errno.EHOSTUNREACH, "no route"))
            with pytest.raises(OSError, match="no route"):
                await network.dial("relay", 25, Peer)

        run_virtual(main)

    def test_a_black_hole_swallows_until_it_is_cancelled(self) -> None:
        async def main() -> None:
            network = MemoryNetwork(0.1)
            network.black_hole("relay", 25)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(120):
                    await network.dial("relay", 25, Peer)
            assert clock() == 120
            assert network.clients == []

        run_virtual(main, timers=True)

    def test_silence_and_cut_are_for_all_connections(self) -> None:
        async def main() -> None:
            network = MemoryNetwork()
            network.listen("relay", 25, Place(Peer()))
            _, here = await network.dial("relay", 25, Peer)
            network.silence()
            network.cut()
            await asyncio.sleep(1)
            assert here.words == [ConnectionResetError]

        run_virtual(main)


def test_what_is_pushed_after_a_delay_line_was_cleared_waits_for_nothing_that_was_in_it() -> None:
    """A connection that was lost closed, on the server's side, when its last octet would have left: it held a timer."""

    async def story() -> None:
        line = DelayLine(asyncio.get_running_loop(), 0.0)
        ran: list[float] = []
        line.push(lambda: ran.append(-1), 100.0)
        line.clear()
        line.push(lambda: ran.append(clock()))
        assert ran == [0.0]

    run_virtual(story, timers=True)
