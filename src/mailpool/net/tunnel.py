"""A way through an HTTP proxy: CONNECT (RFC 9110 §9.3.6), in clear or over TLS with the proxy."""

from __future__ import annotations

import asyncio
import base64
import ssl
import sys
from typing import Any, cast

from ..errors import ConfigurationError, ConnectionFailed, ProxyFailed
from ..options.proxy import Proxy
from ..results import Phase
from .dial import Patience
from .timeouts import FAREWELL
from .tls import proxy_context, proxy_tls_error

# Of an answer's header, in octets.
MOST = 65_536
# The answers that time may mend (RFC 9110 §15.5.9, §15.6; RFC 6585 §4). What a proxy forbids it forbids tomorrow.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
# Where TLS within TLS fails, older versions of asyncio raise a TypeError in place of the reason (gh-113214).
_TRIPS = sys.version_info < (3, 11, 8) or (3, 12) <= sys.version_info < (3, 12, 2)
_ADVICE = {
    403: ": it does not allow this server or this port",
    405: ": it does not do CONNECT",
    407: ": it wants another user and password",
}


def h11() -> Any:
    """The package that reads and writes HTTP.

    :raises ConfigurationError: it is not installed
    """
    try:
        import h11 as package
    except ImportError as error:
        raise ConfigurationError(
            "proxy: HTTP proxies need the package h11: pip install 'mailpool[proxy]'", option="proxy"
        ) from error
    return package


class Tunnel(asyncio.Protocol):
    """Asks the proxy, and keeps what comes after its answer: the server may have spoken already.

    ``rest`` are those octets; ``over`` tells whether the server's side has ended since, ``lost`` whether all has.
    """

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self.rest = b""
        self.over = False
        self.lost = False
        self._proxy = proxy
        self._server = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._h11 = h11()
        self._http = self._h11.Connection(self._h11.CLIENT, max_incomplete_event_size=MOST)
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask(self, transport: asyncio.Transport) -> None:
        """Send the request and wait until the proxy has connected.

        :raises ProxyFailed: it has not
        """
        headers = [("Host", self._server), ("User-Agent", "mailpool")]
        if self._proxy.user is not None:
            # RFC 7617 §2.1: a proxy that names no character set gets UTF-8.
            login = f"{self._proxy.user}:{self._proxy.password or ''}".encode()
            headers.append(("Proxy-Authorization", f"Basic {base64.b64encode(login).decode()}"))
        request = self._h11.Request(method="CONNECT", target=self._server, headers=headers)
        transport.write(self._http.send(request) + self._http.send(self._h11.EndOfMessage()))
        await self._answered

    def data_received(self, data: bytes) -> None:
        if self._answered.done():
            self.rest += data
            return
        self._http.receive_data(data)
        try:
            # 1xx is no answer yet.
            while isinstance(event := self._http.next_event(), self._h11.InformationalResponse):
                pass
        except self._h11.RemoteProtocolError:
            self._fail("answers with something that is no HTTP, or too much of it", temporary=True)
            return
        if not isinstance(event, self._h11.Response):
            return
        if 200 <= event.status_code < 300:
            # The octets that h11 did not read are the server's.
            self.rest = self._http.trailing_data[0]
            self._answered.set_result(None)
        else:
            # Nothing is followed and nothing of the body is read.
            status = f"{event.status_code} {_printable(event.reason)}".strip()
            self._fail(
                f"answers {status} to CONNECT {self._server}{_ADVICE.get(event.status_code, '')}",
                temporary=event.status_code in _PASSING,
            )

    def eof_received(self) -> None:
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._ended(exc)

    def _ended(self, exc: Exception | None) -> None:
        self.over = True
        if not self._answered.done():
            how = f": {exc}" if exc is not None else ""
            self._fail(f"closed the connection before it answered{how}", temporary=True)

    def _fail(self, what: str, *, temporary: bool) -> None:
        self._answered.set_exception(
            ProxyFailed(f"the proxy {self._proxy.url} {what}", phase=Phase.PROXY, temporary=temporary)
        )


def _printable(reason: bytes) -> str:
    return "".join(filter(str.isprintable, reason.decode("latin-1")))[:100]


async def connect_through(
    proxy: Proxy, sock: Any, host: str, port: int, patience: Patience
) -> tuple[asyncio.Transport, Tunnel]:
    """Ask the proxy at the other end of ``sock`` to connect to ``host``.

    :returns: a transport whose octets are the server's, with a `Tunnel` as its protocol: `hand_over` replaces it
    :raises ProxyFailed: the proxy did not; ``temporary`` where time may mend that
    :raises TLSFailed: there is no trustworthy TLS with an ``https`` proxy
    """
    loop = asyncio.get_running_loop()
    tunnel = Tunnel(proxy, host, port)
    secure = proxy.scheme == "https"
    transport = None
    try:
        async with patience.step(Phase.PROXY, f"answer from the proxy {proxy.url}"):
            transport, _ = await loop.create_connection(
                lambda: tunnel,
                sock=sock,
                ssl=proxy_context(proxy) if secure else None,
                server_hostname=proxy.host.removesuffix(".") if secure else None,
                # Ours ends first, and knows what it was for.
                ssl_handshake_timeout=patience.seconds + 1 if secure else None,
                ssl_shutdown_timeout=FAREWELL if secure else None,
            )
            if _TRIPS and secure and hasattr(transport, "_ssl_protocol"):
                within: Any = transport
                within._force_close = lambda error: within.abort()
            await tunnel.ask(transport)
    except (ssl.SSLError, ssl.CertificateError) as error:
        _discard(transport, sock)
        raise proxy_tls_error(error, proxy) from error
    except OSError as error:
        _discard(transport, sock)
        raise ProxyFailed(
            f"the proxy {proxy.url} closed the connection: {error}", phase=Phase.PROXY, temporary=True
        ) from error
    except BaseException:
        _discard(transport, sock)
        raise
    return transport, tunnel


def _discard(transport: asyncio.Transport | None, sock: Any) -> None:
    if transport is not None:
        transport.abort()
    else:
        sock.close()


async def hand_over(
    transport: asyncio.Transport,
    tunnel: Tunnel,
    protocol: asyncio.BaseProtocol,
    context: ssl.SSLContext | None,
    servername: str,
    patience: Patience,
) -> asyncio.Transport:
    """Give the connection to ``protocol``, after TLS with the server where there is a ``context``.

    :returns: the transport that is the protocol's
    """
    if context is None:
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        _deliver(tunnel.rest, protocol)
        if tunnel.lost:
            # asyncio told the tunnel, and tells nobody twice.
            asyncio.get_running_loop().call_soon(protocol.connection_lost, None)
        return transport
    try:
        if tunnel.rest:
            # Read as TLS it would be nonsense; read after TLS it would be an attacker's.
            raise ConnectionFailed(
                "the server spoke before TLS, which it was to begin with", phase=Phase.TLS, temporary=True
            )
        if tunnel.over or transport.is_closing():
            raise ConnectionFailed(
                "the server closed the connection before TLS", phase=Phase.TLS, temporary=True
            )
        secured = await asyncio.get_running_loop().start_tls(
            transport,
            protocol,
            context,
            server_hostname=servername,
            ssl_handshake_timeout=patience.seconds + 1,
            ssl_shutdown_timeout=FAREWELL,
        )
        if secured is None:
            raise ConnectionResetError("the connection was closed")
    except BaseException:
        transport.abort()
        raise
    protocol.connection_made(secured)
    return secured


def _deliver(data: bytes, protocol: asyncio.BaseProtocol) -> None:
    if isinstance(protocol, asyncio.BufferedProtocol):
        while data:
            buffer = memoryview(protocol.get_buffer(len(data)))
            count = min(len(data), len(buffer))
            buffer[:count] = data[:count]
            protocol.buffer_updated(count)
            data = data[count:]
    elif data:
        cast("asyncio.Protocol", protocol).data_received(data)
