"""From options to a transport that SMTP can be spoken over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..options import Options
from .dial import dial
from .timeouts import FAREWELL
from .tls import ResumingContext

# How a transport is made for a protocol; another one stands for another network.
Connector = Callable[[Options, asyncio.BaseProtocol, ResumingContext | None], Awaitable[asyncio.Transport]]


async def connect(
    options: Options, connection: asyncio.BaseProtocol, context: ResumingContext | None
) -> asyncio.Transport:
    """Dial, and do TLS from the first byte when ``context`` is given."""
    sock = await dial(options)
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_connection(
            lambda: connection,
            sock=sock,
            ssl=context,
            server_hostname=options.effective_servername if context is not None else None,
            ssl_handshake_timeout=options.connection_timeout if context is not None else None,
            ssl_shutdown_timeout=FAREWELL if context is not None else None,
        )
    except BaseException:
        sock.close()
        raise
    return transport
