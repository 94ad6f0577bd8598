"""One SMTP connection: bytes in, bytes out, time-outs; what they mean is decided in ``smtp``.

A connection is opened by a coroutine (``opening``), and then driven by its replies alone: no task, no future and no
timer for a command. Each read is one pass: all replies, then the owner, who may begin the next message, then one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol

from ..errors import ConnectionFailed, ProtocolError, SendError, TimedOut
from ..options import Credentials, Options
from ..results import Phase, Reply
from ..smtp import commands
from ..smtp.habits import Habits
from ..smtp.handshake import Session
from ..smtp.pipeline import Pipeline
from ..smtp.replies import HousekeepingRefused, ProtocolViolation, ReplyParser
from ..smtp.transaction import Transaction
from .connect import Connector, connect
from .deadline import Deadline
from .link import Link
from .opening import LoginHook, Opening
from .timeouts import FAREWELL, phase_timeouts
from .tls import ResumingContext

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


class Connection:
    """A connection to one server as one identity.

    ``pipeline`` is None until it is open. ``served`` counts the transactions begun on it. ``suspect`` is an extension
    that the server offers and seems not to master: the replies did not fit, or did not come. ``habits``
    are what connections to this server share of what they find out about it.
    """

    def __init__(
        self, options: Options, owner: Owner, *, connector: Connector = connect, habits: Habits | None = None
    ) -> None:
        self.pipeline: Pipeline | None = None
        self.session: Session | None = None
        self.served = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.suspect: str | None = None
        self.transport: asyncio.Transport | None = None
        self.gone = False  # nothing is left of the transport
        self.error: SendError | None = None  # why it is over
        self._options = options
        self._owner = owner
        self._habits = habits
        self._loop = asyncio.get_running_loop()
        self._timeouts = phase_timeouts(options)
        self._context: ResumingContext | None = None
        self._parser = ReplyParser()
        self._unreadable: SendError | None = None  # why the content that is written will stay incomplete
        self._leaving = False  # QUIT is on its way
        self._paused = False
        self._goes_on = False  # writing does, in the next turn of the loop
        # No phase is shorter than the shortest, so one timer serves all of them.
        self._deadline = Deadline(self._loop, self._time_is_up, shortest=min(self._timeouts.values()))
        self._farewell: asyncio.TimerHandle | None = None
        self.link = Link(self)
        self._opening = Opening(self, options, self._timeouts, connector)

    # -- opening ---------------------------------------------------------------------------------------------------

    def open(
        self, credentials: Credentials | None, context: ResumingContext, login: LoginHook | None = None
    ) -> Awaitable[Session]:
        """Connect and run the handshake; afterwards the connection takes transactions.

        :param credentials: who to be
        :param context: for TLS from the first byte and for STARTTLS
        :param login: awaited right before credentials are used; returns the access token if one is configured
        :raises SendError: with the phase in which it failed; the connection is closed
        """
        self._context = context
        return self._opening.run(credentials, context, login)

    def opened(self, session: Session) -> None:
        """The handshake is done."""
        self.session = session
        capabilities = session.capabilities
        self.pipeline = Pipeline(
            pipelining=capabilities.pipelining,
            chunking=capabilities.chunking,
            depth=self._options.pipeline_depth,
            lmtp=self._options.lmtp,
            habits=self._habits,
        )

    @property
    def timings(self) -> dict[str, float]:
        """The seconds of each step of the opening."""
        return self._opening.timings

    @property
    def violation(self) -> str | None:
        """What was wrong with what the server sent."""
        return self._parser.violation

    @property
    def has_leftover(self) -> bool:
        """Whether there is a part of a reply that was not asked for."""
        return self._parser.has_leftover

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
                self.send(data)
                # A fast peer takes everything, and others want to run meanwhile.
                if self.bytes_sent >= most:
                    self._go_on_soon()
                    break
        except Exception as error:
            # The source of a streamed content failed: the message cannot be completed, and must not be ended.
            failure = SendError(f"the content could not be read: {error}", phase=Phase.CONTENT)
            failure.__cause__ = error
            pipeline.blame(failure)
            self._unreadable = failure
            self._go_on_soon()  # with what is in line before it
            self._leave_incomplete(pipeline, failure)
            return
        awaited = pipeline.awaited
        # Each block of content has its own time, and so has the answer after the last one.
        if awaited is not None and (not self._deadline.is_set or before is Phase.CONTENT):
            self._deadline.set(self._timeouts[awaited])

    def _leave_incomplete(self, pipeline: Pipeline, failure: SendError) -> None:
        """Cut the connection in the midst of a content, once nobody else waits for an outcome on it (P-27)."""
        if len(pipeline.in_flight) <= 1:
            self._over(failure)

    def _go_on_soon(self) -> None:
        if not self._goes_on:
            self._goes_on = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._goes_on = False
        if not self._is_over():
            self.flush()

    def _is_over(self) -> bool:
        return self._leaving or self.error is not None

    def _may_write(self) -> bool:
        """Writing may make the transport pause us, so this is asked each time."""
        return not self._paused and self.error is None

    @property
    def has_transport(self) -> bool:
        """Whether the owner is going to be told ``closed``."""
        return self.transport is not None and not self.gone

    # -- closing ---------------------------------------------------------------------------------------------------

    def quit(self) -> None:
        """Say goodbye, wait a second at most for the answer, and close (P-13). Only when nothing is owed."""
        if self._leaving or self.error is not None or self.transport is None:
            return
        self._leaving = True
        self._keep_session()
        self._deadline.clear()
        self.send(commands.QUIT)
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
        if self.transport is not None:
            self.transport.abort()

    def _over(self, error: SendError, closing: Reply | None = None, *, goes_on: bool = False) -> None:
        """The end, unless it was the end already: cut the connection and tell the owner."""
        if self.error is not None or self._leaving:
            return
        self.error = error
        self._deadline.clear()
        self._keep_session()
        if self.transport is not None:
            self.transport.abort()
        self._opening.wake()
        if self.pipeline is not None:
            self._owner.lost(self, error, self.pipeline.abandon(closing, goes_on=goes_on))

    # -- what the link calls -----------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """All that could be read."""
        self.bytes_received += len(data)
        if self.error is not None:
            return
        replies = self._parser.feed(data)
        pipeline = self.pipeline
        if pipeline is None:
            if not self._opening.take(replies):
                self._over(self.violated("it answers more than it was asked", Phase.EHLO))
            return
        if self._leaving:
            if replies and self.transport is not None:
                self.transport.close()
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
            self._over(self.violated(str(error), pipeline.awaited or Phase.QUEUE))
            return
        if replies:
            self._owner.progress(self)
            if pipeline.has_output:
                self.flush()
            if self._unreadable is not None:
                self._leave_incomplete(pipeline, self._unreadable)
            # What is awaited now was asked for just now, or comes next.
            awaited = pipeline.awaited
            if awaited is None:
                self._deadline.unset()
            elif not self._is_over():
                self._deadline.set(self._timeouts[awaited])

    def ended(self) -> None:
        """The server sends nothing more."""
        # Waiting for what is still to be written would be waiting for one who does not read any more.
        if not self._leaving:
            self._over(self.broken(self._phase(), None))

    def lost(self, why: Exception | None) -> None:
        """The transport is gone."""
        if self.gone:
            return
        self.gone = True
        if not self._leaving and self.error is None:
            self._over(self.broken(self._phase(), why))
        self._deadline.clear()
        if self._farewell is not None:
            self._farewell.cancel()
        self._owner.closed(self)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self.flush()

    # -- time ------------------------------------------------------------------------------------------------------

    def _time_is_up(self) -> None:
        if self.pipeline is not None:
            awaited = self.pipeline.awaited or Phase.QUEUE
            # A server that throws away what it got with the command before leaves a group half answered.
            if awaited in (Phase.RCPT, Phase.DATA):
                self.suspect = self._extension_in_use()
            self._over(self.timed_out(awaited))

    def _extension_in_use(self) -> str | None:
        """The boldest one: without it the next connection shows whether the other is sound."""
        if self.session is None or self.pipeline is None:
            return None
        capabilities = self.session.capabilities
        if capabilities.chunking and (capabilities.pipelining or self.pipeline.owes_chunk):
            return "CHUNKING"
        return "PIPELINING" if capabilities.pipelining else None

    # -- details ---------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.bytes_sent += len(data)
        self.transport.write(data)

    def _keep_session(self) -> None:
        if self.transport is not None and self._context is not None:
            ssl_object = self.transport.get_extra_info("ssl_object")
            if ssl_object is not None:
                self._context.keep_session(ssl_object)

    def transport_info(self, name: str) -> Any:
        """What asyncio knows of the transport: ``"peername"``, ``"ssl_object"``, ``"peercert"`` …"""
        if self.transport is None:
            return None
        found = self.transport.get_extra_info
        if name in _OF_TLS and self._context is not None and not self._context.has_made(found("ssl_object")):
            return None  # the TLS is with a proxy, and says nothing about the server
        return found(name)

    def _phase(self) -> Phase:
        """What is waited for."""
        if self.pipeline is None:
            return self._opening.phase
        return self.pipeline.awaited or Phase.QUEUE

    def _said_goodbye(self, reply: Reply) -> ConnectionFailed:
        return ConnectionFailed(
            f"the server closed the connection: {reply}", phase=self._phase(), reply=reply, temporary=True
        )

    def violated(self, what: str, phase: Phase) -> ProtocolError:
        return ProtocolError(
            f"the server broke the protocol during {phase}: {what}", phase=phase, temporary=True
        )

    def timed_out(self, phase: Phase) -> TimedOut:
        return TimedOut(
            f"no complete reply within {self._timeouts[phase]:g} s ({phase})", phase=phase, temporary=True
        )

    def broken(self, phase: Phase, error: BaseException | None) -> ConnectionFailed:
        if isinstance(error, TimeoutError):
            return TimedOut(f"timed out ({phase}): {error}", phase=phase, temporary=True)
        how = f": {error}" if str(error or "") else " without a word"
        return ConnectionFailed(
            f"the server closed the connection ({phase}){how}", phase=phase, temporary=True
        )

    def __repr__(self) -> str:
        if self.gone:
            state = "closed"
        elif self._leaving:
            state = "closing"
        elif self.error is not None:
            state = f"broken: {self.error}"
        elif self.pipeline is None:
            state = "opening"
        elif self.pipeline.is_idle:
            state = "idle"
        else:
            state = f"waiting for the reply to {self.pipeline.awaited}"
        return f"<Connection to {self._options.host}:{self._options.effective_port}, {state}, {self.served} served>"
