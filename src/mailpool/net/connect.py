"""From options to a transport that SMTP can be spoken over."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

from ..errors import ProxyFailed
from ..options import Options
from ..options.proxy import Proxy
from ..results import Phase
from . import socks, tunnel
from .dial import Patience, dial, look_up, own_family
from .timeouts import FAREWELL
from .tls import ResumingContext, proxy_context

# How a transport is made for a protocol; another one stands for another network.
Connector = Callable[[Options, asyncio.BaseProtocol, ResumingContext | None], Awaitable[asyncio.Transport]]


def prepare(options: Options) -> None:
    """See whether what the options need to connect is there, before anybody wants to.

    :raises ConfigurationError: a package is not installed, or a file for TLS with the proxy cannot be loaded
    """
    if options.proxy is None:
        return
    if options.proxy.is_socks:
        socks.python_socks()
    else:
        tunnel.h11()
    if options.proxy.scheme == "https":
        proxy_context(options.proxy)


async def connect(
    options: Options, connection: asyncio.BaseProtocol, context: ssl.SSLContext | None
) -> asyncio.Transport:
    """Dial, through the proxy where there is one, and do TLS from the first byte when ``context`` is given.

    The look-ups have ``dns_timeout``; all that follows shares one ``connection_timeout``.

    :raises SendError: no connection, with the phase in which that failed
    """
    proxy = options.proxy
    if proxy is None:
        own_way = options.sock or options.dial or options.unix_socket
        addresses = (
            []
            if own_way
            else await look_up(options, options.host, options.effective_port, family=own_family(options))
        )
        patience = Patience(options.connection_timeout)
        sock = await dial(options, addresses, patience)
    elif proxy.is_socks:
        sock, patience = await _through_socks(options, proxy)
    else:
        addresses = await _addresses_of(options, proxy)
        patience = Patience(options.connection_timeout)
        sock = await dial(options, addresses, patience)
        transport, way = await tunnel.connect_through(
            proxy, sock, options.host, options.effective_port, patience
        )
        async with patience.step(Phase.TLS, _handshake(options)):
            return await tunnel.hand_over(
                transport, way, connection, context, options.effective_servername, patience
            )
    return await _speak(options, sock, connection, context, patience)


async def _speak(
    options: Options,
    sock: socket.socket,
    connection: asyncio.BaseProtocol,
    context: ssl.SSLContext | None,
    patience: Patience,
) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    try:
        async with patience.step(Phase.TLS, _handshake(options)):
            transport, _ = await loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=context,
                server_hostname=options.effective_servername if context is not None else None,
                # Ours ends first, and knows what it was for.
                ssl_handshake_timeout=patience.seconds + 1 if context is not None else None,
                ssl_shutdown_timeout=FAREWELL if context is not None else None,
            )
    except BaseException:
        sock.close()
        raise
    return transport


def _handshake(options: Options) -> str:
    return f"end of the TLS handshake with {options.effective_servername}"


async def _addresses_of(
    options: Options, proxy: Proxy
) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    return await look_up(options, proxy.host, proxy.port, family=own_family(options), option="proxy")


async def _through_socks(options: Options, proxy: Proxy) -> tuple[socket.socket, Patience]:
    """Where we look up the server's name, the proxy is asked for one address after the other."""
    servers = [options.host]
    if not proxy.resolves:
        # SOCKS4 has room for an IPv4 address and no other.
        family = socket.AF_INET if proxy.scheme == "socks4" else socket.AF_UNSPEC
        found = await look_up(options, options.host, options.effective_port, family=family)
        servers = list(dict.fromkeys(str(target[0]).partition("%")[0] for _, target in found))
    addresses = await _addresses_of(options, proxy)
    patience = Patience(options.connection_timeout)
    refusal: ProxyFailed | None = None
    for server in servers:
        sock = await dial(options, addresses, patience)
        refused = await socks.ask(proxy, sock, server, options.effective_port, patience)
        if refused is None:
            return sock, patience
        # It may know no IPv6, or forbid one address: only if no other may be reached later is that what lasts.
        if refusal is None or (refused.temporary and not refusal.temporary):
            refusal = refused
    assert refusal is not None
    raise refusal
