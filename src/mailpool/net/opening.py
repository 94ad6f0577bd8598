"""How a connection is opened: connecting, TLS, and the handshake, in which one thing at a time is asked."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from ..errors import ConnectionFailed, ProtocolError, SendError
from ..options import Credentials, Options
from ..results import Phase, Reply
from ..smtp.handshake import Answer, Compute, Expect, Login, Session, StartTLS, Write, handshake
from .connect import Connector
from .login import in_thread, login_context
from .own_name import own_name
from .timeouts import FAREWELL
from .tls import ResumingContext, tls_error

if TYPE_CHECKING:
    from .connection import Connection

LoginHook = Callable[[bool], Awaitable[str | None]]


class Opening:
    """The way of one connection to its first transaction; nobody else drives it meanwhile.

    ``timings`` are the seconds of each step, in their order. ``phase`` is what is waited for.
    """

    def __init__(
        self, connection: Connection, options: Options, timeouts: Mapping[Phase, float], connector: Connector
    ) -> None:
        self.timings: dict[str, float] = {}
        self.phase = Phase.CONNECT
        self._connection = connection
        self._options = options
        self._timeouts = timeouts
        self._connector = connector
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None

    async def run(
        self, credentials: Credentials | None, context: ResumingContext, login: LoginHook | None
    ) -> Session:
        """See ``Connection.open``."""
        connection = self._connection
        started = self._loop.time()
        try:
            connection.transport = await self._connected(context)
            self._time("connect", started)
            session = await self._shake_hands(credentials, context, login)
            # The end may come in one read with the last reply: under TLS it does.
            self._raise_if_over(Phase.EHLO if credentials is None else Phase.AUTH)
            context.opened(connection.transport_info("ssl_object"))
        except SendError as error:
            if isinstance(error, ProtocolError):
                # What a server says out of turn today it may not say tomorrow.
                error.temporary = True
            if error.reply is None:
                # Some servers take a session and then break off: the next handshake is a whole one.
                context.forget_session()
            connection.abort()
            raise
        except BaseException:
            connection.abort()
            raise
        connection.opened(session)
        return session

    def take(self, replies: list[Reply]) -> bool:
        """Take what the server says; false when that is more than it was asked."""
        self._inbox.extend(replies)
        # One command at a time is asked here. Whoever says more could say it without end.
        if len(self._inbox) > 1:
            return False
        if replies or self._connection.violation is not None:
            self.wake()
        return True

    def wake(self) -> None:
        """Something has happened that may be what is waited for."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- details ---------------------------------------------------------------------------------------------------

    async def _connected(self, context: ResumingContext) -> asyncio.Transport:
        options, connection, transport = self._options, self._connection, None
        try:
            transport = await self._connector(
                options, connection.link, context if options.effective_secure else None
            )
            return transport
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise tls_error(error, options) from error
        except (TimeoutError, ConnectionError) as error:
            raise connection.broken(
                Phase.TLS if options.effective_secure else Phase.CONNECT, error
            ) from error
        except OSError as error:
            raise ConnectionFailed(f"cannot connect: {error}", phase=Phase.CONNECT, temporary=True) from error
        finally:
            if transport is None:
                # Given up in the midst of it, uvloop closes what it has made and tells nobody that it is gone.
                connection.gone = True
                if connection.transport is not None:
                    connection.transport.abort()

    async def _shake_hands(
        self, credentials: Credentials | None, context: ResumingContext, login: LoginHook | None
    ) -> Session:
        options, connection = self._options, self._connection
        dialogue = handshake(
            options,
            credentials,
            name=own_name(options, connection.transport_info("sockname")),
            encrypted=options.effective_secure,
        )
        answer: Answer = None
        try:
            while True:
                step = dialogue.send(answer)
                started = self._loop.time()
                match step:
                    case Expect(phase):
                        answer = await self._reply(phase)
                        self._time(phase, started)
                    case Write(phase, data):
                        self._refuse_leftovers(phase)
                        connection.send(data)
                        answer = await self._reply(phase)
                        self._time(phase, started)
                    case StartTLS():
                        self.phase = Phase.TLS
                        self._refuse_leftovers(Phase.STARTTLS)
                        await self._start_tls(context)
                        self._time(Phase.TLS, started)
                        answer = None
                    case Login(again):
                        self.phase = Phase.AUTH
                        token = await login(again) if login is not None else None
                        answer = login_context(options, token, connection.transport_info("ssl_object"))
                    case Compute(work):
                        answer = await in_thread(work, self._timeouts[Phase.AUTH])
        except StopIteration as done:
            self._refuse_leftovers(Phase.AUTH)
            session: Session = done.value
            return session
        finally:
            dialogue.close()

    def _time(self, step: str, started: float) -> None:
        self.timings[step] = self.timings.get(step, 0.0) + self._loop.time() - started

    async def _reply(self, phase: Phase) -> Reply:
        """The next reply, however many bytes at a time it comes."""
        self.phase = phase
        # A last word before the end of the connection is an answer all the same.
        if len(self._inbox) != 1:
            self._raise_if_over(phase)
        if not self._inbox:
            self._waiter = self._loop.create_future()
            try:
                async with asyncio.timeout(self._timeouts[phase]):
                    await self._waiter
            except TimeoutError:
                # The program may have blocked the loop for so long: what came meanwhile counts.
                if not self._inbox:
                    raise self._connection.timed_out(phase) from None
            finally:
                self._waiter = None
        if not self._inbox:
            self._raise_if_over(phase)
        return self._inbox.popleft()

    def _raise_if_over(self, phase: Phase) -> None:
        connection = self._connection
        if connection.error is not None:
            error = connection.error.for_message("", 0)
            error.phase = phase
            raise error
        if connection.violation is not None:
            # What it quotes may be the login, and no more than half of it.
            what = "this is no reply" if phase is Phase.AUTH else connection.violation
            raise connection.violated(what, phase)

    def _refuse_leftovers(self, phase: Phase) -> None:
        """Before anything is said, nothing may have been said that was not asked for: above all not before TLS."""
        connection = self._connection
        if self._inbox or connection.has_leftover or connection.violation is not None:
            raise ProtocolError(
                f"the server spoke out of turn before {phase}; with STARTTLS that is how an attacker injects replies",
                phase=phase,
            )

    async def _start_tls(self, context: ResumingContext) -> None:
        options, connection = self._options, self._connection
        raw, transport = connection.transport, None
        assert raw is not None
        if raw.is_closing():
            # asyncio would begin all the same, and leave a timer behind.
            raise connection.broken(Phase.TLS, None)
        try:
            transport = await self._loop.start_tls(
                raw,
                connection.link,
                context,
                server_hostname=options.effective_servername,
                ssl_handshake_timeout=options.connection_timeout,
                ssl_shutdown_timeout=FAREWELL,
            )
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise tls_error(error, options) from error
        except (TimeoutError, OSError) as error:
            raise connection.broken(Phase.TLS, error) from error
        finally:
            if transport is None:
                # In mid-handshake asyncio may tell nobody that the connection is lost.
                connection.gone = True
                raw.abort()
        if transport is None:
            # Lost in the moment in which it was made, and asyncio raises nothing.
            raise connection.broken(Phase.TLS, None)
        connection.transport = transport
