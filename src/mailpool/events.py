"""Events: who wants to know what happens (P-33)."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from .errors import ConfigurationError

log = logging.getLogger("mailpool")

# How long handlers may take when the transporter closes, in seconds.
FINISHING = 1.0

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)

# Each event with what its handlers are given.
EVENTS: dict[str, str] = {
    "idle": "there is room for more messages",
    "clear": "the last connection has closed, and the transporter is still open",
    "error": "(error) a message given to send_soon failed",
    "repaired": "(message_id, what) an address was read leniently, and something in it was changed",
    "detached": "(message_id, outcome) a message whose caller had gone has its outcome",
    "requeued": "(message_id, times) a message goes back into the queue",
    "throttled": "(error) the server asks for less: too fast, too many connections or logins, or a quota is used up",
    "token": "(user, expires) a new access token came; until when it lives as Unix time, or None where nobody says",
    "connection_opened": "(connection) a connection is ready",
    "connection_failed": "(error) an attempt to connect failed",
    "connection_lost": "(error) a connection broke",
    "extension_disabled": "(name, error) a relay got an extension wrong, and it is not used any more",
    "relay_down": "(name, error) one of several relays gets no messages for a while",
    "relay_up": "(name) one of several relays gets messages again",
    "connection_closed": "(connection) nothing is left of a connection",
}


class Events:
    """Handlers by event. Emitting costs a look-up when nobody listens, and a handler that raises breaks nothing.

    A handler is never re-entered: while it runs, which for an async one may take a while, further ``idle`` events
    melt into one that comes when it has ended; other events wait in order.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, list[_Listener]] = {}
        self._tasks: set[asyncio.Future[Any]] = set()

    def add(self, event: str, handler: Handler) -> None:
        if event not in EVENTS:
            raise ConfigurationError(f"there is no event {event!r}; there are {', '.join(EVENTS)}")
        if not callable(handler):
            raise ConfigurationError(f"the handler of {event!r} is not callable: {handler!r}")
        self._handlers.setdefault(event, []).append(_Listener(handler, self._tasks, melts=event == "idle"))

    def remove(self, event: str, handler: Handler) -> None:
        """Take a handler away; one that is not there is no error."""
        listeners = self._handlers.get(event, [])
        for listener in listeners:
            if listener.handler == handler:  # not "is": each look at a method makes a new one
                listener.forget()
        self._handlers[event] = [listener for listener in listeners if listener.handler != handler]

    def wanted(self, event: str) -> bool:
        return bool(self._handlers.get(event))

    def emit(self, event: str, *details: Any) -> None:
        """Call the handlers of ``event`` soon, each on its own."""
        handlers = self._handlers.get(event)
        if handlers:
            for listener in handlers:
                listener.call(details)

    def call_last(self, event: str, *details: Any) -> None:
        """Call only the handler added last: it came while the event's condition held."""
        self._handlers[event][-1].call(details)

    async def finish(self) -> None:
        """The transporter has closed: let handlers hear what they have not heard yet, for a moment, and end them.

        Whoever waits for room will not get any and is cancelled at once.
        """
        # Futures that have just been settled tell it to their callbacks, which emit.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        listeners = [listener for event in self._handlers.values() for listener in event]
        for listener in listeners:
            if listener.melts:
                listener.stop()
        loop = asyncio.get_running_loop()
        until = loop.time() + FINISHING
        current = asyncio.current_task()
        while loop.time() < until:
            busy = [listener for listener in listeners if listener.is_busy and listener.task is not current]
            if not busy:
                break
            tasks = [listener.task for listener in busy if listener.task is not None]
            if tasks:
                wait = until - loop.time()
                await asyncio.wait(tasks, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)
        errors = self._handlers.get("error", [])
        for listener in listeners:
            unheard = listener.stop()
            if listener in errors:
                for details in unheard:
                    log.error("a message was not sent: %s", *details)
        self._handlers.clear()
        tasks = [task for task in self._tasks if task is not current]
        await asyncio.gather(*tasks, return_exceptions=True)


class _Listener:
    """One handler, called by one call at a time."""

    __slots__ = ("_scheduled", "_stopped", "_tasks", "_waiting", "handler", "melts", "task")

    def __init__(self, handler: Handler, tasks: set[asyncio.Future[Any]], *, melts: bool) -> None:
        self.handler = handler
        self.melts = melts
        self._waiting: list[tuple[Any, ...]] = []
        self._scheduled = False
        self._stopped = False
        self.task: asyncio.Future[Any] | None = None
        self._tasks = tasks

    def call(self, details: tuple[Any, ...]) -> None:
        if self._stopped or (self.melts and self._waiting):
            return
        self._waiting.append(details)
        self._next()

    @property
    def is_busy(self) -> bool:
        return bool(self._waiting) or self._scheduled or self.task is not None

    def forget(self) -> None:
        """Call it no more; a call that is under way goes on."""
        self._stopped = True
        self._waiting.clear()

    def stop(self) -> list[tuple[Any, ...]]:
        """End it; returns what it has not heard."""
        unheard = self._waiting.copy()
        self.forget()
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()
        return unheard

    def _next(self) -> None:
        if self._waiting and not self._scheduled and self.task is None:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        if not self._waiting:
            return
        details = self._waiting.pop(0)
        returned = None
        try:
            returned = self.handler(*details)
        except (
            Exception,
            asyncio.CancelledError,
        ):  # the latter comes from a result that somebody has cancelled
            log.exception("an event handler raised")
        finally:
            if inspect.isawaitable(returned):
                self.task = asyncio.ensure_future(returned)
                self._tasks.add(self.task)
                self.task.add_done_callback(self._done)
            else:
                self._next()

    def _done(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        self.task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("an event handler raised", exc_info=error)
        self._next()
