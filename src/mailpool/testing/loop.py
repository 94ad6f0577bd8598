"""A loop whose clock jumps: tests of rules about minutes take milliseconds, and always the same ones."""

from __future__ import annotations

import asyncio
import concurrent.futures
import selectors
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Deadlock(AssertionError):
    """Nothing is ready, nothing is scheduled, and yet somebody waits: a real program would hang for ever."""


class LeftBehind(AssertionError):
    """Tasks, timers or errors were left when the test was over."""


class _JumpingSelector(selectors.BaseSelector):
    """Instead of waiting for the next timer, moves the clock to it.

    Real sockets still work, but time does not wait for them: it passes only when they have nothing to say.
    """

    def __init__(self, start: float) -> None:
        self.now = start
        # Calls in other threads that are not finished: only for them is real time spent.
        self.threads = 0
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or timeout == 0:
            return ready
        if self.threads:
            return self._real.select(None)
        if timeout is None:
            raise Deadlock("nothing is ready and nothing is scheduled")
        self.now += timeout
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return cast("Mapping[Any, selectors.SelectorKey]", self._real.get_map())

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a virtual clock, which starts at ``start`` seconds.

    When nothing is ready it jumps to the next timer; when there is none either, it raises ``Deadlock``. Work in other
    threads is waited for, while the clock stands still. Meant for ``MemoryNetwork``: a real peer would see the clock
    run away.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._jumping = _JumpingSelector(start)
        self._set_timers: weakref.WeakSet[asyncio.TimerHandle] = weakref.WeakSet()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        self._set_timers.add(timer)
        return timer

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._jumping.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def pending_timers(self) -> list[asyncio.TimerHandle]:
        """The timers that are set and have not run."""
        return [timer for timer in self._set_timers if not timer.cancelled() and timer.when() > self.time()]

    def _thread_done(self, future: asyncio.Future[Any]) -> None:
        self._jumping.threads -= 1


def run_virtual(
    test: Coroutine[Any, Any, T] | Callable[[], Awaitable[T]],
    *,
    timeout: float | None = 86_400.0,
    start: float = 0.0,
    timers: bool = False,
) -> T:
    """Run a coroutine, or a function that gives one, on a ``VirtualLoop``, and see that nothing is left.

    ``timeout``  virtual seconds, ``None`` for no bound
    ``start``    what the clock shows at first, seconds
    ``timers``   whether timers that are still set count as left behind

    Returns what the coroutine returns. Raises what it raises; ``TimeoutError``; ``Deadlock`` with the tasks that wait;
    ``LeftBehind`` if tasks are left or an error went to the loop's exception handler.
    """
    loop = VirtualLoop(start)
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))

    async def main() -> T:
        async with asyncio.timeout(timeout):
            return await (test() if callable(test) else test)

    asyncio.set_event_loop(loop)
    try:
        task = loop.create_task(main(), name="the test")
        try:
            result = loop.run_until_complete(task)
        except Deadlock:
            raise Deadlock(
                f"nothing can happen any more at {loop.time():g} s; waiting:\n{_describe(loop)}"
            ) from None
        # What closes with call_soon needs a few turns.
        loop.run_until_complete(_turns(5))
        if asyncio.all_tasks(loop):
            raise LeftBehind(f"tasks were left:\n{_describe(loop)}")
        if timers and loop.pending_timers():
            raise LeftBehind(f"timers were left: {loop.pending_timers()}")
        _tidy(loop)
        if errors:
            raise LeftBehind("\n".join(_what(context) for context in errors)) from errors[0].get("exception")
        return result
    finally:
        _tidy(loop)
        asyncio.set_event_loop(None)
        loop.close()


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _tidy(loop: VirtualLoop) -> None:
    """End what still runs. Whoever refuses to end is left to the garbage collector."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    try:
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    except Deadlock:
        pass


def _describe(loop: VirtualLoop) -> str:
    return "\n".join(f"  {task.get_name()}: {_where(task)}" for task in asyncio.all_tasks(loop))


def _where(task: asyncio.Task[Any]) -> str:
    """The innermost coroutine that waits, as far as it can be seen."""
    awaited: Any = task.get_coro()
    place = repr(awaited)
    while awaited is not None and (frame := getattr(awaited, "cr_frame", None)) is not None:
        place = f"{awaited.__qualname__} ({frame.f_code.co_filename}:{frame.f_lineno})"
        awaited = awaited.cr_await
    return place


def _what(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return f"{context['message']}: {error!r}" if error is not None else str(context["message"])
