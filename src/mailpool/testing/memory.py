"""A connection in memory: two transports that behave like the two ends of a TCP connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from .delay import DelayLine

_LARGEST_READ = 262_144


class MemoryTransport(asyncio.Transport):
    """One end. ``writes`` counts the calls of ``write`` that had something to say.

    As on a socket, what is written together may be read together, an orderly close arrives after the data, and whoever
    writes to an end that is closed is told so by ``ConnectionResetError``. ``loop.start_tls`` takes it, too.
    """

    # By this, and by the name of abort below, asyncio knows what it can do TLS on.
    _start_tls_compatible = True

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        latency: float,
        window: int,
        sockname: tuple[str, int],
        peername: tuple[str, int],
    ) -> None:
        super().__init__({"sockname": sockname, "peername": peername, "latency": latency})
        self.writes = 0
        self._loop = loop
        self._latency = latency
        self._window = window
        self._line = DelayLine(loop, latency)
        self._peer: MemoryTransport = self
        self._protocol: asyncio.BaseProtocol | None = None
        # What the other end sent and we did not read: octets, then perhaps its end (None), or a break.
        self._received: deque[bytes | ConnectionResetError | None] = deque()
        self._reading = True
        self._delivering = False
        # What we sent and the other end did not read.
        self._unread = 0
        self._high, self._low = 65_536, 16_384
        self._writing_paused = False
        self._eof_written = False
        self._closing = False
        self._lost = False
        self._allowance: int | None = None
        self._silent = False

    def __repr__(self) -> str:
        state = "closed" if self._lost else "closing" if self._closing else "open"
        return f"<MemoryTransport to {self.get_extra_info('peername')} {state}>"

    @classmethod
    def pair(
        cls,
        loop: asyncio.AbstractEventLoop,
        latency: float,
        window: int,
        names: tuple[tuple[str, int], tuple[str, int]],
    ) -> tuple[MemoryTransport, MemoryTransport]:
        """Both ends of a new connection; ``window`` octets fit between them before the writer has to keep some."""
        one = cls(loop, latency, window, names[0], names[1])
        other = cls(loop, latency, window, names[1], names[0])
        one._peer, other._peer = other, one
        return one, other

    def begin(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell the protocol that the connection is made."""
        self._protocol = protocol
        protocol.connection_made(self)

    # What the network may do to it.

    def cut(self) -> None:
        """The connection breaks: both ends get ``ConnectionResetError``, octets under way are lost."""
        error = ConnectionResetError("the connection was cut")
        self._break(error)
        self._peer._break(ConnectionResetError("the connection was cut"))

    def cut_after(self, octets: int) -> None:
        """Break the connection when so many more octets, written on this end, have arrived on the other."""
        self._allowance = octets

    def silence(self) -> None:
        """Lose everything that is sent from now on, in both directions, and tell nobody."""
        self._silent = self._peer._silent = True

    # asyncio.BaseTransport

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        # On a socket too, closing with something unread makes the kernel reset the connection.
        self._send(
            self._peer._be_reset
            if any(isinstance(block, bytes) for block in self._received)
            else self._peer._receive_end
        )
        self._received.clear()
        self._lose_when_flushed()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    # asyncio.ReadTransport

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._schedule_delivery()

    # asyncio.WriteTransport

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = (4 * low if low is not None else 65_536) if high is None else high
        self._low = self._high // 4 if low is None else low
        if not self._high >= self._low >= 0:
            raise ValueError("high must be at least low, and both at least 0")

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return max(0, self._unread - self._window)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._eof_written:
            raise RuntimeError("cannot write after write_eof()")
        if self._closing or not data:
            return
        octets = bytes(data)
        self.writes += 1
        self._unread += len(octets)
        self._send(lambda: self._peer._receive(octets))
        if not self._writing_paused and self.get_write_buffer_size() > self._high:
            self._writing_paused = True
            self.get_protocol().pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not (self._eof_written or self._closing):
            self._eof_written = True
            self._send(self._peer._receive_end)

    def abort(self) -> None:
        if self._lost:
            return
        if not self._closing:
            self._send(self._peer._be_reset)
        self._closing = True
        self._received.clear()
        self._loop.call_soon(self._lose, None)

    def _force_close(self, exc: BaseException | None) -> None:
        self.abort()

    # Between the two ends.

    def _send(self, arrive: Callable[[], None]) -> None:
        if self._latency:
            self._line.push(arrive)
        else:
            self._loop.call_soon(arrive)

    def _receive(self, octets: bytes) -> None:
        """Octets arrive at this end."""
        sender = self._peer
        if self._silent:
            return
        if self._closing:
            # Nobody is here any more. The sender gets to know one way later.
            self._send(sender._be_reset)
            return
        cut = sender._allowance is not None and len(octets) > sender._allowance
        if sender._allowance is not None:
            octets = octets[: sender._allowance]
            sender._allowance -= len(octets)
        if octets:
            self._received.append(octets)
        self._schedule_delivery()
        if cut:
            sender._allowance = None
            sender._break(ConnectionResetError("the connection was cut"))
            self._be_reset()

    def _receive_end(self) -> None:
        if not (self._closing or self._silent):
            self._received.append(None)
            self._schedule_delivery()

    def _be_reset(self) -> None:
        if self._silent:
            return
        error = ConnectionResetError("the other end reset the connection")
        if self._received and self.is_reading():
            # It may overtake what was not read, but a test wants to know what happens.
            self._received.append(error)
        else:
            self._break(error)

    def _schedule_delivery(self) -> None:
        # Not at once: what arrives in the same moment is read together.
        if self._received and not self._delivering:
            self._delivering = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._delivering = False
        if not self._received or not self.is_reading():
            return
        first = self._received[0]
        if not isinstance(first, bytes):
            self._received.popleft()
            if first is None:
                self._deliver_end()
                self._schedule_delivery()
            else:
                self._break(first)
            return
        octets = bytearray()
        while (
            self._received and len(octets) < _LARGEST_READ and isinstance(block := self._received[0], bytes)
        ):
            octets += block
            self._received.popleft()
        taken = self._hand_over(octets)
        if taken < len(octets) and not self._closing:
            self._received.appendleft(bytes(octets[taken:]))
        self._peer._was_read(taken)
        self._schedule_delivery()

    def _hand_over(self, octets: bytearray) -> int:
        """Give octets to the protocol; returns how many it took."""
        protocol = self.get_protocol()
        try:
            if not isinstance(protocol, asyncio.BufferedProtocol):
                cast("asyncio.Protocol", protocol).data_received(bytes(octets))
                return len(octets)
            buffer = protocol.get_buffer(len(octets))
            room = len(memoryview(buffer))
            if not room:
                raise RuntimeError("get_buffer() gave an empty buffer")
            taken = min(room, len(octets))
            memoryview(buffer)[:taken] = octets[:taken]
            protocol.buffer_updated(taken)
            return taken
        except Exception as error:
            self._fail(error)
            return len(octets)

    def _deliver_end(self) -> None:
        protocol = self.get_protocol()
        try:
            stays_open = cast("asyncio.Protocol", protocol).eof_received()
        except Exception as error:
            self._fail(error)
            return
        if not stays_open:
            self.close()

    def _fail(self, error: Exception) -> None:
        self._loop.call_exception_handler(
            {
                "message": "the protocol raised",
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )
        self._break(error)
        self._peer._break(ConnectionResetError("the other end failed"))

    def _was_read(self, octets: int) -> None:
        self._unread -= octets
        if self._writing_paused and not self._lost and self.get_write_buffer_size() <= self._low:
            self._writing_paused = False
            self.get_protocol().resume_writing()
        if self._closing:
            self._lose_when_flushed()

    def _break(self, error: Exception) -> None:
        if not self._closing:
            self._closing = True
            self._received.clear()
            self._line.clear()
            self._loop.call_soon(self._lose, error)

    def _lose_when_flushed(self) -> None:
        # As with a socket: while the other end does not read, only abort() ends a connection with a full buffer.
        if not self.get_write_buffer_size():
            self._loop.call_soon(self._lose, None)

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self.get_protocol().connection_lost(error)
