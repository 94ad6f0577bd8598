"""Functions of the user's that see each message on its way: before it is composed, and when it is sealed."""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Final, TypeVar

from ..errors import ConfigurationError, MailpoolError, MessageError
from ..net import cancelled

T = TypeVar("T")
Hook = Callable[[Any], Any]

STAGES: Final = {
    "compose": "fields: a dict, defaults included; change it, or return another mapping",
    "sealed": "sealed: return another Sealed, or nothing to leave it",
}


class Hooks:
    """The hooks of one transporter, in the order in which they were added; ``are_there`` says whether there are any."""

    def __init__(self) -> None:
        self.are_there = False
        self._of: dict[str, list[Hook]] = {stage: [] for stage in STAGES}

    def add(self, stage: str, hook: Hook) -> None:
        """:raises ConfigurationError: there is no such stage, or ``hook`` cannot be called"""
        if stage not in self._of:
            raise ConfigurationError(f"there is no stage {stage!r:.40}; there are {', '.join(STAGES)}")
        if not callable(hook):
            raise ConfigurationError(f"a hook is a function, not {type(hook).__name__}")
        self._of[stage].append(hook)
        self.are_there = True

    async def run(self, stage: str, value: Any, kinds: type | tuple[type, ...]) -> Any:
        """What the hooks of ``stage`` make of ``value``; one that returns ``None`` has changed it in place, or not at all.

        :param kinds: of what a hook may return
        :raises MessageError: a hook raised something, which is its cause, or returned something else; what belongs to
            mailpool passes as it is
        """
        for hook in self._of[stage]:
            name = getattr(hook, "__qualname__", type(hook).__name__)
            try:
                returned = hook(value)
                if inspect.isawaitable(returned):
                    returned = await _in_a_task(returned)
            except MailpoolError:
                raise
            except (Exception, asyncio.CancelledError) as error:  # whatever the user's own code raises
                if isinstance(error, asyncio.CancelledError) and cancelled.is_ours():
                    raise
                raise MessageError(
                    f"the {stage} hook {name} failed: {type(error).__name__}: {error}"
                ) from error
            if returned is None:
                continue
            if not isinstance(returned, kinds):
                raise MessageError(f"the {stage} hook {name} returned {type(returned).__name__}")
            value = returned
        return value


@types.coroutine
def in_a_task() -> Generator[None, None, None]:
    """Stand where something has to be awaited.

    What is before the first one is done by the one who begins the coroutine, without a task, so that most messages take
    their place at once; the rest by a task that goes on here.
    """
    yield


@types.coroutine
def go_on(steps: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await a coroutine that stands there: ``await`` itself takes only those that have not begun."""
    done: T = yield from steps
    return done


async def _in_a_task(awaitable: Awaitable[Any]) -> Any:
    try:
        await in_a_task()
    except BaseException:
        # Cancelled before it began; Python would complain that nobody awaited it.
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise
    return await awaitable
