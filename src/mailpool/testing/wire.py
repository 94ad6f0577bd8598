"""The octets of one server-side connection: distance, TLS, closing and cutting. No SMTP in here.

TLS runs over memory buffers instead of ``loop.start_tls``, so that it is delayed like everything else, can fail at any
octet, and ends with or without close_notify as a script wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Callable
from typing import cast

from .delay import DelayLine
from .records import TlsRecord

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Refusal(asyncio.Protocol):
    """Stands in for a connection that is not wanted: a socket can only be reset once it was accepted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        abort(cast("asyncio.Transport", transport))


def abort(transport: asyncio.Transport) -> None:
    """Close ``transport`` with a TCP reset, so that the peer sees an error and not an orderly end."""
    import socket

    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


class _Tls:
    def __init__(self, context: ssl.SSLContext, ready: Callable[[TlsRecord], None]) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.ready: Callable[[TlsRecord], None] | None = ready
        self.record: TlsRecord | None = None


class Wire(asyncio.Protocol):
    """One connection as a server sees it, ``latency`` seconds away from its client in each direction."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.closing = False
        self.gone = False
        self._ended = False
        self._tls: _Tls | None = None
        self._early: bytearray | None = None

    # To be overridden.

    def attached(self) -> None:
        """The transport is there; the client cannot know yet."""

    def opened(self) -> None:
        """The client knows that it is connected."""

    def received(self, data: bytes) -> None:
        """Octets of the client, decrypted."""

    def ended(self, error: Exception | None) -> None:
        """The client closed its side or the connection broke. Called at most once, and not after ``close``."""

    def tls_failed(self, error: ssl.SSLError) -> None:
        """The handshake, or a TLS record, was wrong. The connection closes."""

    def lost(self) -> None:
        """The transport is gone."""

    # What a script does.

    def send(self, data: bytes) -> None:
        """Send octets, encrypted if TLS is up."""
        if self.closing or not data:
            return
        if self._tls is not None and self._tls.record is not None:
            self._tls.object.write(data)
            data = self._tls.outgoing.read()
        self._depart(data)

    def close(self, *, close_notify: bool = True) -> None:
        """Close after everything sent so far; under TLS with close_notify, unless told otherwise."""
        if self.closing:
            return
        if close_notify and self._tls is not None and self._tls.record is not None:
            # The client's own close_notify may come later or never: only ours is sent here.
            with contextlib.suppress(ssl.SSLError):
                self._tls.object.unwrap()
            self._depart(self._tls.outgoing.read())
        self.closing = True
        self._outbound.push(self.transport.close)

    def reset(self) -> None:
        """Cut the connection with a TCP reset, after what was sent so far."""
        if not self.closing:
            self.closing = True
            self._outbound.push(lambda: abort(self.transport))

    def cut(self) -> None:
        """Cut the connection at once, whatever is under way."""
        self.closing = True
        self._inbound.clear()
        self._outbound.clear()
        abort(self.transport)

    def expect_tls(self, early: bytes = b"") -> None:
        """Keep what comes from now on for ``start_tls``, and ``early``, which came before."""
        if self._early is None:
            self._early = bytearray(early)

    def start_tls(self, context: ssl.SSLContext, ready: Callable[[TlsRecord], None]) -> None:
        """Take what comes from now on as TLS; ``ready`` is called when the handshake is done."""
        self._tls = _Tls(context, ready)
        early, self._early = self._early, None
        if early:
            self._arrive(bytes(early))

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        loop = asyncio.get_running_loop()
        self.loop = loop
        self.transport = cast("asyncio.Transport", transport)
        self.is_lost = loop.create_future()
        self._inbound = DelayLine(loop, self.latency)
        self._outbound = DelayLine(loop, self.latency)
        # TCP's own three-way handshake: a client on the same machine sees nothing of it, and a network in memory
        # leaves its last third to us.
        last_third: float = transport.get_extra_info("latency", 0.0)
        self.distance = self.latency + last_third
        self.attached()
        self._inbound.push(self.opened, 3 * self.latency + last_third)

    def data_received(self, data: bytes) -> None:
        self._inbound.push(lambda: self._arrive(data))

    def eof_received(self) -> bool:
        self._inbound.push(lambda: self._end(None))
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._outbound.clear()
        if self.closing:
            self._inbound.clear()
        self._inbound.push(lambda: self._finish(exc))

    def _finish(self, error: Exception | None) -> None:
        self._end(error)
        self.closing = True
        self.lost()
        if not self.is_lost.done():
            self.is_lost.set_result(None)

    def _end(self, error: Exception | None) -> None:
        if not self._ended and not self.closing:
            self._ended = True
            self.ended(error)

    def _depart(self, data: bytes) -> None:
        def write() -> None:
            if not self.transport.is_closing():
                self.transport.write(data)

        if data:
            self._outbound.push(write)

    def _arrive(self, data: bytes) -> None:
        if self.closing:
            return
        if self._early is not None:
            self._early += data
        elif self._tls is None:
            self.received(data)
        else:
            self._tls.incoming.write(data)
            self._pump(self._tls)

    def _pump(self, tls: _Tls) -> None:
        # One write of the client may be many TLS records: they are handed on together.
        plain: list[bytes] = []
        outcome: ssl.SSLError | None = None
        try:
            if tls.record is None:
                tls.object.do_handshake()
                self._established(tls)
            while block := tls.object.read(65_536):
                plain.append(block)
            outcome = ssl.SSLZeroReturnError()
        except ssl.SSLError as error:
            outcome = error
        self._depart(tls.outgoing.read())
        if plain:
            self.received(b"".join(plain))
        if isinstance(outcome, ssl.SSLZeroReturnError):
            if tls.record is not None:
                tls.record.close_notify = True
            self._end(None)
        elif not isinstance(outcome, ssl.SSLWantReadError):
            self.tls_failed(outcome)
            self.close(close_notify=False)

    def _established(self, tls: _Tls) -> None:
        cipher = tls.object.cipher()
        tls.record = TlsRecord(
            version=tls.object.version() or "",
            cipher=cipher[0] if cipher else "",
            session_reused=bool(tls.object.session_reused),
            peer_certificate=tls.object.getpeercert(binary_form=True),
        )
        # The end of the handshake, and the tickets of TLS 1.3, go out before anything that is said now.
        self._depart(tls.outgoing.read())
        if tls.ready is not None:
            tls.ready(tls.record)
