"""A connection for its own sake: what does the server offer, and how long does each step take?"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

from ..auth.tokens import Tokens
from ..errors import SendError
from ..net.connect import Connector, connect
from ..net.connection import Connection
from ..net.timeouts import FAREWELL
from ..net.tls import context_for
from ..options import Options
from ..smtp.capabilities import Capabilities
from ..smtp.transaction import Transaction
from .carrier import Carrier, name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What ``verify`` found. ``timings`` are seconds by step, in their order; they add up to ``total``.

    Of a carrier there is no more than its name as ``host``, what it says as ``greeting``, and the time of ``verify``.
    """

    host: str
    port: int
    address: str
    greeting: str
    capabilities: Capabilities
    mechanism: str | None
    tls_version: str | None
    cipher: str | None
    certificate: dict[str, Any] | None
    timings: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.timings.values())


class _Alone:
    """The owner of a connection that carries no messages."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def progress(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection, error: SendError, abandoned: list[Transaction]) -> None: ...

    def closed(self, connection: Connection) -> None:
        self.gone.set()


async def verify(options: Options, connector: Connector = connect) -> Verification:
    """Connect, log in if ``auth`` is set, and say goodbye. The pool's connections are not counted or used.

    :raises SendError: with the phase that failed
    """
    owner = _Alone()
    connection = Connection(options, owner, connector=connector)

    token: str | None = None

    async def login(again: bool) -> str | None:
        nonlocal token
        if options.auth is not None:
            token = await Tokens.here().token(
                options.auth, refused=token if again else None, proxy=options.proxy
            )
        return token

    session = await connection.open(options.auth, context_for(options), login)
    peer = connection.transport_info("peername")
    ssl_object: ssl.SSLObject | None = connection.transport_info("ssl_object")
    cipher = ssl_object.cipher() if ssl_object is not None else None
    connection.quit()
    async with asyncio.timeout(FAREWELL * 2):
        await owner.gone.wait()
    return Verification(
        host=options.host,
        port=options.effective_port,
        address=str(peer[0]) if isinstance(peer, tuple) else str(peer or options.unix_socket),
        greeting=str(session.greeting),
        capabilities=session.capabilities,
        mechanism=session.mechanism,
        tls_version=ssl_object.version() if ssl_object is not None else None,
        cipher=cipher[0] if cipher is not None else None,
        certificate=connection.transport_info("peercert") or None,
        timings=dict(connection.timings),
    )


async def verify_carrier(carrier: Carrier) -> Verification:
    """Ask a carrier whether mail could go out; one without ``verify`` says nothing.

    :raises SendError: it could not
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    ask = getattr(carrier, "verify", None)
    said = await ask() if ask is not None else None
    return Verification(
        host=name_of(carrier),
        port=0,
        address="",
        greeting=str(said or ""),
        capabilities=Capabilities({}),
        mechanism=None,
        tls_version=None,
        cipher=None,
        certificate=None,
        timings={"verify": loop.time() - begun},
    )
