"""One SMTP connection: bytes in, bytes out, time-outs; what they mean is decided in ``smtp``.

A connection is opened by a coroutine (``open``), and then driven by its replies alone: no task, no future and no timer
for a command. Each read is one pass: all replies, then the owner, who may begin the next message, then one write.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from ..errors import ConnectionFailed, ProtocolError, SendError, TimedOut
from ..options import Credentials, Options
from ..results import Phase, Reply
from ..smtp import commands
from ..smtp.handshake import Answer, Compute, Expect, Login, Session, StartTLS, Write, handshake
from ..smtp.pipeline import Pipeline
from ..smtp.replies import HousekeepingRefused, ProtocolViolation, ReplyParser
from ..smtp.transaction import Transaction
from .connect import Connector, connect
from .deadline import Deadline
from .login import in_thread, login_context
from .own_name import own_name
from .timeouts import FAREWELL, phase_timeouts
from .tls import ResumingContext, tls_error

LoginHook = Callable[[bool], Awaitable[str | None]]

# Plain asyncio.Protocol takes a fresh 256 KiB for each read; one buffer kept for the life of a connection halves the
# CPU of a message. Replies are short, so this holds many of them.
_BUFFER = 16_384
# Octets that are written before others have their turn: some milliseconds, with base64 and TLS.
_ONE_TURN = 262_144
_OF_TLS = frozenset({"ssl_object", "peercert", "cipher"})


class Owner(Protocol):
    """Who is told what happens on a connection that has been opened."""

    def progress(self, connection: Connection) -> None:
        """Transactions may have finished, and there may be room for another. What is begun now goes out in one write."""

    def lost(self, connection: Connection, error: SendError, abandoned: list[Transaction]) -> None:
        """The connection is over; it will not be used again. ``abandoned`` had no outcome and have one now."""

    def closed(self, connection: Connection) -> None:
        """The transport is gone: nothing of the connection is left."""


class Connection(asyncio.BufferedProtocol):
    """A connection to one server as one identity.

    ``pipeline`` is None until ``open`` has returned. ``served`` counts the transactions begun on it. With ``in_turn`` a
    transaction begins when the one before it has its outcome, whatever the server offers.
    """

    def __init__(
        self, options: Options, owner: Owner, *, connector: Connector = connect, in_turn: bool = False
    ) -> None:
        self.pipeline: Pipeline | None = None
        self.session: Session | None = None
        self.served = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        # An extension that the server offers and seems not to master: the replies did not fit, or did not come.
        self.suspect: str | None = None
        self.timings: dict[str, float] = {}  # seconds of each step of the handshake
        self._options = options
        self._owner = owner
        self._connector = connector
        self._in_turn = in_turn
        self._loop = asyncio.get_running_loop()
        self._timeouts = phase_timeouts(options)
        self._transport: asyncio.Transport | None = None
        self._context: ResumingContext | None = None
        self._parser = ReplyParser()
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._inbox: deque[Reply] = deque()  # replies of the handshake
        self._waiter: asyncio.Future[None] | None = None
        self._error: SendError | None = None  # why it is over
        self._leaving = False  # QUIT is on its way
        self._gone = False
        self._paused = False
        self._goes_on = False  # writing does, in the next turn of the loop
        # No phase is shorter than the shortest, so one timer serves all of them.
        self._deadline = Deadline(self._loop, self._time_is_up, shortest=min(self._timeouts.values()))
        self._farewell: asyncio.TimerHandle | None = None

    # -- opening ---------------------------------------------------------------------------------------------------

    async def open(
        self, credentials: Credentials | None, context: ResumingContext, login: LoginHook | None = None
    ) -> Session:
        """Connect and run the handshake; afterwards the connection takes transactions.

        :param credentials: who to be
        :param context: for TLS from the first byte and for STARTTLS
        :param login: awaited right before credentials are used; returns the access token if one is configured
        :raises SendError: with the phase in which it failed; the connection is closed
        """
        options = self._options
        self._context = context
        started = self._loop.time()
        try:
            self._transport = await self._connected(context)
            self._time("connect", started)
            self.session = await self._shake_hands(credentials, context, login)
            # The end may come in one read with the last reply: under TLS it does.
            self._raise_if_over(Phase.EHLO if credentials is None else Phase.AUTH)
        except ProtocolError as error:
            # What a server says out of turn today it may not say tomorrow.
            error.temporary = True
            self.abort()
            raise
        except BaseException:
            self.abort()
            raise
        capabilities = self.session.capabilities
        self.pipeline = Pipeline(
            pipelining=capabilities.pipelining,
            chunking=capabilities.chunking,
            depth=options.pipeline_depth,
            lmtp=options.lmtp,
            in_turn=self._in_turn,
        )
        return self.session

    async def _connected(self, context: ResumingContext) -> asyncio.Transport:
        options, transport = self._options, None
        try:
            transport = await self._connector(options, self, context if options.effective_secure else None)
            return transport
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise tls_error(error, options) from error
        except (TimeoutError, ConnectionError) as error:
            raise self._broken(Phase.TLS if options.effective_secure else Phase.CONNECT, error) from error
        except OSError as error:
            raise ConnectionFailed(f"cannot connect: {error}", phase=Phase.CONNECT, temporary=True) from error
        finally:
            if transport is None:
                # Given up in the midst of it, uvloop closes what it has made and tells nobody that it is gone.
                self._gone = True
                if self._transport is not None:
                    self._transport.abort()

    async def _shake_hands(
        self, credentials: Credentials | None, context: ResumingContext, login: LoginHook | None
    ) -> Session:
        options = self._options
        dialogue = handshake(
            options,
            credentials,
            name=own_name(options, self.transport_info("sockname")),
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
                        self._send(data)
                        answer = await self._reply(phase)
                        self._time(phase, started)
                    case StartTLS():
                        self._refuse_leftovers(Phase.STARTTLS)
                        await self._start_tls(context)
                        self._time(Phase.TLS, started)
                        answer = None
                    case Login(again):
                        token = await login(again) if login is not None else None
                        answer = login_context(options, token, self.transport_info("ssl_object"))
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
                    raise self._timed_out(phase) from None
            finally:
                self._waiter = None
        if not self._inbox:
            self._raise_if_over(phase)
        return self._inbox.popleft()

    def _raise_if_over(self, phase: Phase) -> None:
        if self._error is not None:
            error = self._error.for_message("", 0)
            error.phase = phase
            raise error
        if self._parser.violation is not None:
            # What it quotes may be the login, and no more than half of it.
            what = "this is no reply" if phase is Phase.AUTH else self._parser.violation
            raise self._violated(what, phase)

    def _refuse_leftovers(self, phase: Phase) -> None:
        """Before anything is said, nothing may have been said that was not asked for: above all not before TLS."""
        if self._inbox or self._parser.has_leftover:
            raise ProtocolError(
                f"the server spoke out of turn before {phase}; with STARTTLS that is how an attacker injects replies",
                phase=phase,
            )

    async def _start_tls(self, context: ResumingContext) -> None:
        assert self._transport is not None
        options = self._options
        raw, transport = self._transport, None
        if raw.is_closing():
            # asyncio would begin all the same, and leave a timer behind.
            raise self._broken(Phase.TLS, None)
        try:
            transport = await self._loop.start_tls(
                raw,
                self,
                context,
                server_hostname=options.effective_servername,
                ssl_handshake_timeout=options.connection_timeout,
                ssl_shutdown_timeout=FAREWELL,
            )
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise tls_error(error, options) from error
        except (TimeoutError, OSError) as error:
            raise self._broken(Phase.TLS, error) from error
        finally:
            if transport is None:
                # In mid-handshake asyncio may tell nobody that the connection is lost.
                self._gone = True
                raw.abort()
        if transport is None:
            # Lost in the moment in which it was made, and asyncio raises nothing.
            raise self._broken(Phase.TLS, None)
        self._transport = transport

    # -- transactions ----------------------------------------------------------------------------------------------

    def begin(self, transaction: Transaction) -> None:
        """Put a transaction in line; ``flush`` writes it. Only when the pipeline can begin one."""
        assert self.pipeline is not None
        self.served += 1
        self.pipeline.begin(transaction)

    def probe(self) -> None:
        """NOOP; ``progress`` is called when the server has answered."""
        assert self.pipeline is not None
        self.pipeline.probe()

    def flush(self) -> None:
        """Write what there is, as long as the peer takes it; of much, a part in each turn of the loop."""
        pipeline = self.pipeline
        if pipeline is None:
            return
        before = pipeline.awaited
        most = self.bytes_sent + _ONE_TURN
        try:
            while pipeline.has_output and self._may_write() and (data := pipeline.data_to_send()):
                self._send(data)
                # A fast peer takes everything, and others want to run meanwhile.
                if self.bytes_sent >= most:
                    self._go_on_soon()
                    break
        except Exception as error:
            # The source of a streamed content failed: the message cannot be completed, and must not be ended.
            failure = SendError(f"the content could not be read: {error}", phase=Phase.CONTENT)
            failure.__cause__ = error
            pipeline.blame(failure)
            self._over(failure)
            return
        awaited = pipeline.awaited
        # Each block of content has its own time, and so has the answer after the last one.
        if awaited is not None and (not self._deadline.is_set or before is Phase.CONTENT):
            self._deadline.set(self._timeouts[awaited])

    def _go_on_soon(self) -> None:
        if not self._goes_on:
            self._goes_on = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._goes_on = False
        if not self._is_over():
            self.flush()

    def _is_over(self) -> bool:
        return self._leaving or self._error is not None

    def _may_write(self) -> bool:
        """Writing may make the transport pause us, so this is asked each time."""
        return not self._paused and self._error is None

    @property
    def has_transport(self) -> bool:
        """Whether the owner is going to be told ``closed``."""
        return self._transport is not None and not self._gone

    # -- closing ---------------------------------------------------------------------------------------------------

    def quit(self) -> None:
        """Say goodbye, wait a second at most for the answer, and close (P-13). Only when nothing is owed."""
        if self._leaving or self._error is not None or self._transport is None:
            return
        self._leaving = True
        self._keep_session()
        self._deadline.clear()
        self._send(commands.QUIT)
        self._farewell = self._loop.call_later(FAREWELL, self._cut)

    def abort(self) -> None:
        """Close at once, whatever is under way; the owner is not told what was lost."""
        self._leaving = True
        self._deadline.clear()
        self._cut()

    def destroy(self, error: SendError) -> None:
        """Close at once and tell the owner what was lost, as if the connection had broken."""
        self._over(error)

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _over(self, error: SendError, closing: Reply | None = None, *, goes_on: bool = False) -> None:
        """The end, unless it was the end already: cut the connection and tell the owner."""
        if self._error is not None or self._leaving:
            return
        self._error = error
        self._deadline.clear()
        self._keep_session()
        if self._transport is not None:
            self._transport.abort()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self.pipeline is not None:
            self._owner.lost(self, error, self.pipeline.abandon(closing, goes_on=goes_on))

    # -- what asyncio calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: the transports of uvloop do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes_received += nbytes
        if self._error is not None:
            return
        replies = self._parser.feed(bytes(self._view[:nbytes]))
        pipeline = self.pipeline
        if pipeline is None:
            self._inbox.extend(replies)
            if len(self._inbox) > 1:
                # One command at a time is asked here. Whoever says more could say it without end.
                self._over(self._violated("it answers more than it was asked", Phase.EHLO))
                return
            waiter = self._waiter
            if (replies or self._parser.violation) and waiter is not None and not waiter.done():
                waiter.set_result(None)
            return
        if self._leaving:
            if replies and self._transport is not None:
                self._transport.close()
            return
        try:
            for reply in replies:
                code = reply.code
                if code == 421 or code == 221:
                    # Nobody asks for these here: QUIT is answered elsewhere.
                    closing = reply if code == 421 else None
                    self._over(self._said_goodbye(reply), closing, goes_on=reply is not replies[-1])
                    return
                pipeline.receive(reply)
            if self._parser.violation is not None:
                raise ProtocolViolation(self._parser.violation)
        except ProtocolViolation as error:
            # A last word on a connection on which nothing is under way says nothing against pipelining.
            last_word = pipeline.is_idle and bool(replies) and replies[-1].is_temporary
            if (
                self._parser.violation is None
                and not last_word
                and not isinstance(error, HousekeepingRefused)
            ):
                self.suspect = self._extension_in_use()
            self._over(self._violated(str(error), pipeline.awaited or Phase.QUEUE))
            return
        if replies:
            self._owner.progress(self)
            if pipeline.has_output:
                self.flush()
            # What is awaited now was asked for just now, or comes next.
            awaited = pipeline.awaited
            if awaited is None:
                self._deadline.unset()
            elif not self._is_over():
                self._deadline.set(self._timeouts[awaited])

    def eof_received(self) -> bool:
        # Waiting for what is still to be written would be waiting for one who does not read any more.
        if not self._leaving:
            self._over(self._broken(self._phase(), None))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._gone:
            return
        self._gone = True
        if not self._leaving and self._error is None:
            self._over(self._broken(self._phase(), exc))
        self._deadline.clear()
        if self._farewell is not None:
            self._farewell.cancel()
        self._owner.closed(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.flush()

    # -- time ------------------------------------------------------------------------------------------------------

    def _time_is_up(self) -> None:
        if self.pipeline is not None:
            awaited = self.pipeline.awaited or Phase.QUEUE
            # A server that throws away what it got with the command before leaves a group half answered.
            if awaited in (Phase.RCPT, Phase.DATA):
                self.suspect = self._extension_in_use()
            self._over(self._timed_out(awaited))

    def _extension_in_use(self) -> str | None:
        """The boldest one: without it the next connection shows whether the other is sound."""
        if self.session is None or not self.session.capabilities.pipelining:
            return None
        return "CHUNKING" if self.session.capabilities.chunking else "PIPELINING"

    # -- details ---------------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        assert self._transport is not None
        self.bytes_sent += len(data)
        self._transport.write(data)

    def _keep_session(self) -> None:
        if self._transport is not None and self._context is not None:
            ssl_object = self._transport.get_extra_info("ssl_object")
            if ssl_object is not None:
                self._context.keep_session(ssl_object)

    def transport_info(self, name: str) -> Any:
        """What asyncio knows of the transport: ``"peername"``, ``"ssl_object"``, ``"peercert"`` …"""
        if self._transport is None:
            return None
        found = self._transport.get_extra_info
        if name in _OF_TLS and self._context is not None and not self._context.has_made(found("ssl_object")):
            return None  # the TLS is with a proxy, and says nothing about the server
        return found(name)

    def _phase(self) -> Phase:
        """What is waited for; in the handshake the one who waits knows better."""
        return (self.pipeline.awaited if self.pipeline is not None else None) or Phase.QUEUE

    def _said_goodbye(self, reply: Reply) -> ConnectionFailed:
        return ConnectionFailed(
            f"the server closed the connection: {reply}", phase=self._phase(), reply=reply, temporary=True
        )

    def _violated(self, what: str, phase: Phase) -> ProtocolError:
        return ProtocolError(
            f"the server broke the protocol during {phase}: {what}", phase=phase, temporary=True
        )

    def _timed_out(self, phase: Phase) -> TimedOut:
        return TimedOut(
            f"no complete reply within {self._timeouts[phase]:g} s ({phase})", phase=phase, temporary=True
        )

    def _broken(self, phase: Phase, error: BaseException | None) -> ConnectionFailed:
        if isinstance(error, TimeoutError):
            return TimedOut(f"timed out ({phase}): {error}", phase=phase, temporary=True)
        how = f": {error}" if str(error or "") else " without a word"
        return ConnectionFailed(
            f"the server closed the connection ({phase}){how}", phase=phase, temporary=True
        )

    def __repr__(self) -> str:
        if self._gone:
            state = "closed"
        elif self._leaving:
            state = "closing"
        elif self._error is not None:
            state = f"broken: {self._error}"
        elif self.pipeline is None:
            state = "opening"
        elif self.pipeline.is_idle:
            state = "idle"
        else:
            state = f"waiting for the reply to {self.pipeline.awaited}"
        return f"<Connection to {self._options.host}:{self._options.effective_port}, {state}, {self.served} served>"
