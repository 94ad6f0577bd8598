"""The demo's SMTP server: a real one in a process of its own, that closes connections as if it were a bad day.

It is started as ``python -m mailpool.cli.demo.server`` and talks to its parent in lines of JSON: settings come first on
standard input, the address goes out on standard output; ``calm`` ends the bad weather, ``report`` asks for what was
stored. When standard input ends, so does the server: no parent's death leaves it behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import sys
import warnings
from dataclasses import asdict, dataclass, field
from email.parser import BytesHeaderParser
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from ..loop import run
from .certificate import make_certificate
from .weather import Manner, Place, Weather

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``lose``: how many messages to accept and throw away, to see that the demo finds out."""

    user: str
    password: str
    seed: int = 0
    close_rate: float = 0.0
    lose: int = 0


@dataclass(slots=True)
class Store:
    """All that the server knows. ``messages`` holds Message-ID, recipient of the envelope, and the To field."""

    settings: Settings
    messages: list[tuple[str, str, str]] = field(default_factory=list)
    connections: int = 0
    handshakes: int = 0
    logins: int = 0
    open: int = 0
    peak: int = 0
    closed: dict[str, int] = field(default_factory=dict)
    calm: bool = False
    lost: int = 0

    def keep(self, recipients: list[str], content: bytes) -> None:
        if self.lost < self.settings.lose:
            self.lost += 1
            return
        header = BytesHeaderParser().parsebytes(content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        for recipient in recipients:
            self.messages.append((str(header["Message-ID"]), recipient, str(header["To"])))

    def log_in(self, server: Any, session: Any, envelope: Any, mechanism: str, login: Any) -> AuthResult:
        wanted = LoginPassword(self.settings.user.encode(), self.settings.password.encode())
        self.logins += login == wanted
        return AuthResult(success=login == wanted)


class Hooks:
    """What aiosmtpd asks its user."""

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        # It reads commands one by one from a buffer, and content from the same, so groups of commands are safe with it.
        responses.insert(1, "250-PIPELINING")
        return responses

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert isinstance(server, MoodyConnection)
        return server.take(envelope)


class MoodyConnection(SMTP):
    """A connection that may be closed at any point of a message."""

    def __init__(self, store: Store) -> None:
        with warnings.catch_warnings():
            # TLS is there from the first byte, which aiosmtpd does not count as TLS.
            warnings.simplefilter("ignore", UserWarning)
            super().__init__(
                Hooks(),
                hostname="demo.example.com",
                ident="mailpool demo",
                auth_required=True,
                auth_require_tls=False,
                authenticator=store.log_in,
                loop=asyncio.get_running_loop(),
            )
        self._store = store
        self._weather = Weather(store.settings.seed, store.connections, store.settings.close_rate)
        store.connections += 1
        self._fault: tuple[Place, Manner] | None = None
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Not before the TLS handshake is over.
        store = self._store
        self._counted = True
        store.handshakes += 1
        store.open += 1
        store.peak = max(store.peak, store.open)

    def connection_lost(self, error: Exception | None) -> None:
        self._store.open -= self._counted
        self._counted = False
        super().connection_lost(error)

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        fault = self._weather.next_message()
        self._fault = None if self._store.calm else fault
        await self._strike(Place.BEFORE_MAIL)
        await super().smtp_MAIL(arg)
        await self._strike(Place.AFTER_MAIL)

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        await self._strike(Place.BEFORE_RCPT)
        await super().smtp_RCPT(arg)
        await self._strike(Place.AFTER_RCPT)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        await self._strike(Place.BEFORE_DATA)
        if self._fault is not None and self._fault[0] in (Place.AFTER_DATA, Place.IN_CONTENT):
            await self.push("354 go ahead")
            await self._strike(Place.AFTER_DATA)
            for _ in range(4):
                await self._reader.readuntil(b"\r\n")
            await self._strike(Place.IN_CONTENT)
        await super().smtp_DATA(arg)

    def take(self, envelope: Envelope) -> str:
        """A whole message is here."""
        place = self._fault[0] if self._fault is not None else None
        if place is not Place.NOT_STORED:
            self._store.keep(envelope.rcpt_tos, bytes(envelope.original_content or b""))
        if place in (Place.NOT_STORED, Place.STORED):
            # A 421 here would be an answer, and this is the place where none comes.
            self._end(Manner.RESET if self._fault and self._fault[1] is Manner.RESET else Manner.CLOSE)
        return "250 2.0.0 stored"

    async def _strike(self, place: Place) -> None:
        if self._fault is None or self._fault[0] is not place:
            return
        if self._fault[1] is Manner.SAY_421:
            await self.push("421 4.3.2 the service is closing the connection")
        self._end(self._fault[1])

    def _end(self, manner: Manner) -> None:
        assert self._fault is not None
        closed = self._store.closed
        closed[self._fault[0]] = closed.get(self._fault[0], 0) + 1
        # No isinstance: the transports of uvloop do not inherit from asyncio's.
        transport = cast("asyncio.WriteTransport", self.transport)
        if manner is Manner.RESET:
            transport.abort()
        else:
            transport.close()
        # How aiosmtpd ends the task of a connection.
        raise asyncio.CancelledError


async def serve(
    settings: Settings, context: ssl.SSLContext, certificate: str, lines: asyncio.StreamReader
) -> None:
    """Listen until the parent's lines end."""
    store = Store(settings)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: MoodyConnection(store), HOST, 0, ssl=context, backlog=256)
    _say({"port": server.sockets[0].getsockname()[1], "certificate": certificate})
    while line := (await lines.readline()).strip():
        if line == b"calm":
            store.calm = True
            _say({})
        elif line == b"report":
            told = asdict(store)
            del told["settings"]
            _say(told)
    server.close()


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


async def _main() -> None:
    lines = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    try:
        settings = Settings(**json.loads(await lines.readline()))
        await serve(settings, *make_certificate(HOST), lines)
    finally:
        pipe.close()


def main() -> None:
    """Run in this process."""
    # It has much to say about connections that end, which here is the point.
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    with contextlib.suppress(BrokenPipeError):
        run(_main())


if __name__ == "__main__":
    main()
