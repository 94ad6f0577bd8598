"""The transporter: what a program creates once and shares."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import math
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, overload

from .errors import ConfigurationError, QueueFull, SendError, UsageError
from .events import Events, Handler
from .message import Sealed
from .net.connect import Connector, connect, prepare
from .options import Credentials, Options, changed_options, parse_options
from .pool.closing import takes_no_more
from .pool.pool import Pool
from .pool.statistics import PoolStats
from .preparing import AnyMessage, Hook, Preparation, Preparing
from .results import Phase, SendResult
from .sending_many import M, SendOutcome, sent_in_turn
from .transports.carriage import Carriage
from .transports.carrier import Carrier, name_of
from .transports.failover import Failover, Plan
from .transports.naming import carrier_of, common_options, names_carrier
from .transports.pooled import pooled_smtp
from .transports.port import Transport
from .transports.relay import Notify, RelayPlan
from .transports.relays import Entry, plan_of
from .transports.smtp import plain_smtp
from .transports.verification import Verification, verify, verify_carrier

log = logging.getLogger("mailpool")

H = TypeVar("H", bound=Handler)
K = TypeVar("K", bound=Hook)


def create_transport(
    options: str | Mapping[str, Any] | Options | Carrier | Sequence[Entry] | None = None,
    /,
    *,
    strategy: str | None = None,
    weights: Sequence[float] | None = None,
    move_deferred: bool | None = None,
    **keywords: Any,
) -> Transporter:
    """A transporter for one relay, for several, or for another way out. Nothing is connected and no event loop is needed yet.

    :param options: a URL (``"smtps://user:pass@host:465/?pool=true"``), a mapping, or ready `Options`; or a `Carrier`,
        or the URL of one (``"file:///var/spool/out?format=maildir"``, ``"sendmail:"``)
    :param keywords: the same by name, in addition; see `mailpool.options.Options` for each with its unit and default.
        With a carrier only those have a meaning that have nothing to do with SMTP; the others are refused, and with the
        URL of one ignored. With several relays they hold for each that does not say otherwise, but for what concerns a
        message before it has a relay
    :param strategy: of several relays: ``"failover"`` (the default): the first that works; ``"round-robin"``;
        ``"least-busy"``
    :param weights: how much of the messages each of several relays is to get; not with failover
    :param move_deferred: whether a message that one of several relays refused for now (4xx) is given to the next for
        whatever reason; otherwise only when the reason is the relay
    :raises ConfigurationError: an option is unknown, malformed or contradicts another; it names the option
    """
    if isinstance(options, list | tuple):
        plan, whole = plan_of(options, strategy or "failover", weights, move_deferred or False, keywords)
        return Transporter(whole, plan=plan)
    for name, value in (("strategy", strategy), ("weights", weights), ("move_deferred", move_deferred)):
        if value is not None:
            raise ConfigurationError(f"{name}: has a meaning with a list of relays only", option=name)
    if isinstance(options, str) and names_carrier(options):
        carrier, in_url = carrier_of(options)
        return Transporter(common_options({**in_url, **keywords}, ignore_smtp=True), carrier=carrier)
    if isinstance(options, Carrier):
        if isinstance(options, type):
            raise ConfigurationError(f"{options.__name__} is a class: give a carrier that is made of it")
        return Transporter(common_options(keywords, ignore_smtp=False), carrier=options)
    if isinstance(options, Options):
        return Transporter(changed_options(options, keywords))
    if options is not None and not isinstance(options, str | Mapping):
        raise ConfigurationError(f"options are a URL or a mapping, not {type(options).__name__}")
    return Transporter(parse_options(options, **keywords))


class Transporter:
    """Sends messages over connections that it keeps. Made by `create_transport`; shared by the whole program.

    It is bound to the event loop of its first use. ``async with`` drains it at the end, and closes it at once when the
    block is left by an exception (P-30).
    """

    def __init__(
        self,
        options: Options,
        *,
        connector: Connector = connect,
        carrier: Carrier | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.options = options
        self.carrier = carrier
        self._plan = plan
        self._connector = connector
        self._events = Events()
        self._transport: Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._preparation = Preparation(options, self._tell_repair)
        prepare(options)
        self._preparing: Preparing  # made with the transport

    # -- sending ---------------------------------------------------------------------------------------------------

    def send_mail(
        self,
        message: AnyMessage,
        *,
        priority: int = 0,
        deadline: float | None = None,
        auth: Credentials | Mapping[str, Any] | tuple[str, str] | None = None,
    ) -> Awaitable[SendResult]:
        """Queue a message; await what is returned for its outcome.

        A plain function: fields are checked and the place in the queue is taken before it returns (P-20a). When
        ``max_queue`` messages wait, this one waits for its turn to be queued.

        A message that has to be awaited itself, for an async iterator, a URL or an async hook, is prepared first: it
        counts as waiting, takes its place when it is prepared, and what is wrong with it is raised by the awaitable.

        :param message: a mapping or `Message` of fields, an ``email.message.EmailMessage``, a mapping with ``raw`` and
            ``envelope``, or a `Sealed` one, as ``close`` returns them
        :param priority: higher ones pass lower ones in the queue; the default is 0, bulk mail may use -1
        :param deadline: seconds until the message must have an outcome; None: the option ``deadline``
        :param auth: another identity than the transporter's; it gets connections of its own (P-04)
        :raises MessageError: a field cannot be sent as it is; nothing was written
        :raises PoolClosed: ``close`` or ``drain`` has begun
        :raises SendError: from the awaitable: what the server said, and in which phase (P-16)
        """
        return self._submit(message, priority=priority, deadline=deadline, auth=_identity(auth))

    def send_soon(
        self,
        message: AnyMessage,
        *,
        priority: int = 0,
        deadline: float | None = None,
        auth: Credentials | Mapping[str, Any] | tuple[str, str] | None = None,
    ) -> None:
        """Queue a message and do not wait; a failure is the event ``error``, logged when nobody listens to that.

        :raises QueueFull: ``max_queue`` messages wait already; the other arguments and errors are `send_mail`'s
        """
        self._submit(
            message, priority=priority, deadline=deadline, auth=_identity(auth), may_wait=False
        ).add_done_callback(self._report)

    def send_many(
        self, source: Iterable[M] | AsyncIterable[M], *, priority: int = -1
    ) -> AsyncIterator[SendOutcome[M]]:
        """Send everything that ``source`` gives, in flat memory: it is asked for the next message only when there is room.

        Yields one `SendOutcome` for each message as they end, which need not be their order, and raises for none
        (P-21). Leaving the loop early cancels what has not been sent. It raises what ``source`` raises, and `PoolClosed`
        when the transporter is closed meanwhile, after the outcomes of what had been taken from the source.

        :param source: messages as `send_mail` takes them
        :param priority: as in `send_mail`; below its default, so that single messages pass a batch
        """
        return sent_in_turn(
            source,
            partial(self._submit, priority=priority),
            begin=self._bound,
            has_room=self.is_idle,
            room=self._room,
            backlog=max(100, 4 * self.options.max_connections * self.options.pipeline_depth),
        )

    async def verify(self) -> Verification:
        """Connect, log in, and tell what the server offers, over a connection of its own that the pool does not count.

        With a carrier: ask that, if it can tell. With several relays: the first that answers.

        :raises SendError: with the phase that failed
        """
        if self._plan is None:
            return await self._verify(self.options, self.carrier)
        for relay in self._plan.relays[:-1]:
            with contextlib.suppress(SendError):
                return await self._verify(relay.options, relay.carrier)
        last = self._plan.relays[-1]
        return await self._verify(last.options, last.carrier)

    async def _verify(self, options: Options, carrier: Carrier | None) -> Verification:
        if carrier is not None:
            self._bound()  # so that what it opens now is closed with the rest
            return await verify_carrier(carrier)
        return await verify(options, self._connector)

    # -- room, events, statistics ----------------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Whether there is room for more messages (P-20): fewer than ``max_connections × pipeline_depth`` wait."""
        if self._closed:
            return False
        if self._transport is None:
            return True
        return self._preparing.has_room and self._transport.is_idle()

    @overload
    def on(self, event: str) -> Callable[[H], H]: ...

    @overload
    def on(self, event: str, handler: H) -> H: ...

    def on(self, event: str, handler: Any = None) -> Any:
        """Call ``handler`` when ``event`` happens; without it, a decorator. See `mailpool.events.EVENTS`.

        :param handler: plain or async; it is never re-entered, and what it raises is logged
        :raises ConfigurationError: there is no such event
        """
        if handler is None:
            return lambda function: self.on(event, function)
        self._events.add(event, handler)
        # One that comes while there is room is called soon, not at the next change (P-20).
        if event == "idle" and self._transport is not None and self.is_idle():
            self._events.call_last("idle")
        elif event == "idle":
            self._start_if_possible()
        return handler

    @overload
    def use(self, stage: str) -> Callable[[K], K]: ...

    @overload
    def use(self, stage: str, hook: K) -> K: ...

    def use(self, stage: str, hook: Any = None) -> Any:
        """Let ``hook`` see each message on its way, after the hooks that came before; without it, a decorator.

        A hook is plain or async. What it raises fails that message: `MailpoolError` as it is, anything else as the cause
        of a `MessageError`. It does not change what messages may read (``access``).

        :param stage: ``"compose"``: the hook is given the fields, a dict, and changes them or returns others.
            ``"sealed"``: it is given the `Sealed` message, and may return another
        :param hook: called with one argument
        :raises ConfigurationError: there is no such stage
        """
        if hook is None:
            return lambda function: self.use(stage, function)
        self._preparation.hooks.add(stage, hook)
        return hook

    def off(self, event: str, handler: Handler) -> None:
        """Take a handler away."""
        self._events.remove(event, handler)

    def stats(self) -> PoolStats:
        """A snapshot of connections, queue and counts (P-32); cheap enough for every second.

        :raises UsageError: called before the first use and outside of an event loop
        :raises PoolClosed: closed before it was ever used
        """
        stats = self._bound().stats()
        if self._preparing:
            stats = dataclasses.replace(stats, held_back=stats.held_back + len(self._preparing))
        return stats

    # -- the end ---------------------------------------------------------------------------------------------------

    async def drain(self, timeout: float | None = None, *, close_timeout: float = 10.0) -> list[Sealed]:
        """Take nothing new, send what is queued, then close (P-30).

        :param timeout: seconds for what is queued; None: as long as it takes
        :param close_timeout: seconds more for what is on the wire when that time is up, as in `close`
        :returns: the messages that were not sent; `send_mail` of another transporter takes them as they are
        :raises UsageError: called by a hook or a content of a message: it would wait for that message
        """
        if self._transport is not None:
            self._preparing.refuse_to_wait_for_itself()
        return await self._end(
            lambda transport: self._drain(transport, timeout, close_timeout), close_timeout
        )

    async def _drain(self, transport: Transport, timeout: float | None, close_timeout: float) -> list[Sealed]:
        if self._preparing:
            loop = asyncio.get_running_loop()
            started = loop.time()
            try:
                async with asyncio.timeout(timeout):
                    await self._preparing.all_ended()
            except TimeoutError:
                await self._preparing.close(close_timeout)
            except asyncio.CancelledError:
                # Nobody comes back to close what is left open.
                await self._close(transport, 0)
                raise
            if timeout is not None:
                timeout = max(0.0, timeout - (loop.time() - started))
        return await transport.drain(timeout, close_timeout=close_timeout)

    async def close(self, timeout: float = 10.0) -> list[Sealed]:
        """Close all connections and clear the queue; every waiting message ends with `PoolClosed` (P-29).

        :param timeout: seconds that messages on the wire have to finish
        :returns: the messages that were not sent
        """
        return await self._end(lambda transport: self._close(transport, timeout), timeout)

    async def _close(self, transport: Transport, timeout: float) -> list[Sealed]:
        if self._preparing:
            await self._preparing.close(timeout)
        return await transport.close(timeout)

    async def _end(
        self, end: Callable[[Transport], Awaitable[list[Sealed]]], close_timeout: float
    ) -> list[Sealed]:
        transport = None if self._transport is None else self._bound()
        self._closed = True
        if transport is None:
            return []
        try:
            return await end(transport)
        finally:
            try:
                await self._preparation.close(close_timeout)
            finally:
                await self._events.finish()

    async def __aenter__(self) -> Transporter:
        self._bound()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.drain()
        else:
            await self.close()

    # -- details ---------------------------------------------------------------------------------------------------

    def _bound(self) -> Transport:
        """The transport, made at the first use and bound to the loop of that use."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise UsageError(
                "a transporter is used inside of a running event loop, and this thread has none: call it from an async "
                "function, or from another thread with asyncio.run_coroutine_threadsafe"
            ) from None
        if self._transport is not None:
            if loop is not self._loop:
                raise UsageError(
                    "this transporter belongs to another event loop: it is bound to the loop of its first use. "
                    "Make one for each loop; each asyncio.run() makes a new loop"
                )
            return self._transport
        if self._closed:
            raise takes_no_more()
        self._loop = loop
        if self._plan is not None:
            self._transport = Failover(self._plan, self.options, self._events.emit, self._relay)
        else:
            self._transport = self._way_out(self.options, self.carrier, self._events.emit)
        most = self.options.max_connections * self.options.pipeline_depth
        transport = self._transport
        self._preparing = Preparing(
            min(most, self.options.max_queue),
            self._tell_room,
            most=self.options.max_queue,
            waiting=lambda: transport.waiting,
        )
        return transport

    def _way_out(self, options: Options, carrier: Carrier | None, notify: Notify) -> Carriage | Pool:
        if carrier is not None:
            return Carriage(carrier, options, notify)
        make = pooled_smtp if options.pool else plain_smtp
        return make(options, notify, self._connector)

    def _relay(self, relay: RelayPlan, notify: Notify) -> Carriage | Pool:
        return self._way_out(relay.options, relay.carrier, notify)

    def _submit(
        self,
        message: AnyMessage,
        *,
        priority: int = 0,
        deadline: float | None = None,
        auth: Credentials | None = None,
        may_wait: bool = True,
    ) -> asyncio.Future[SendResult]:
        transport = self._bound()
        _check(priority, deadline)
        if deadline is None:
            deadline = self.options.deadline
        prepared = self._preparation.prepare(message)
        if isinstance(prepared, Sealed):
            if self._closed and self._preparing:
                raise takes_no_more(prepared.message_id)
            return transport.submit(
                prepared, priority=priority, deadline=deadline, auth=auth, may_wait=may_wait
            )
        try:
            self._refuse_more(transport, may_wait)
        except BaseException:
            prepared.close()
            raise
        return self._preparing.start(
            prepared,
            lambda sealed, left: transport.submit(sealed, priority=priority, deadline=left, auth=auth),
            deadline,
        )

    def _refuse_more(self, transport: Transport, may_wait: bool) -> None:
        """:raises PoolClosed:
        :raises QueueFull:
        """
        if self._closed:
            raise takes_no_more()
        if not may_wait and len(self._preparing) + transport.waiting >= self.options.max_queue:
            raise QueueFull(
                f"{self.options.max_queue} messages wait already (max_queue); pull from your source when `idle` says "
                "so, or await send_mail",
                phase=Phase.QUEUE,
                temporary=True,
            )

    async def _room(self) -> bool:
        """Wait until ``is_idle``; false when the transporter closes instead."""
        assert self._transport is not None
        while not self._closed:
            if not await self._transport.room():
                return False
            if self._preparing.has_room:
                return True
            await self._preparing.changed()
        return False

    def _tell_room(self) -> None:
        if self.is_idle():
            self._events.emit("idle")

    def _start_if_possible(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        if not self._closed:
            self._bound()

    def _tell_repair(self, message_id: str, what: str) -> None:
        log.warning("an address was repaired: %s", what, extra={"message_id": message_id})
        self._events.emit("repaired", message_id, what)

    def _report(self, future: asyncio.Future[SendResult]) -> None:
        if future.cancelled() or future.exception() is None:
            return
        error = future.exception()
        if self._events.wanted("error"):
            self._events.emit("error", error)
        else:
            log.error(
                "a message was not sent: %s", error, extra={"message_id": getattr(error, "message_id", None)}
            )

    def __repr__(self) -> str:
        if self._plan is not None:
            where = ", ".join(relay.name for relay in self._plan.relays)
        else:
            where = self.options.redacted_url() if self.carrier is None else name_of(self.carrier)
        return f"<Transporter {where}, {self._transport or 'not started'}>"


def _check(priority: object, deadline: object) -> None:
    if not isinstance(priority, int):
        raise UsageError(f"priority is a whole number, not {priority!r}")
    if deadline is not None and not (isinstance(deadline, int | float) and 0 < deadline < math.inf):
        raise UsageError(f"deadline is a number of seconds above 0, not {deadline!r}")


def _identity(auth: Credentials | Mapping[str, Any] | tuple[str, str] | None) -> Credentials | None:
    return None if auth is None else Credentials.of(auth)
