"""A fault meeting a connection: the ``Incident`` that actions are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .dialogue import Step

if TYPE_CHECKING:
    from .connection import Connection


class Strike:
    """One step of a connection, in the hands of an action; see ``Incident`` for what each method means."""

    def __init__(self, connection: Connection, step: Step) -> None:
        self._connection = connection
        self._step = step

    @property
    def usual(self) -> str | None:
        return self._step.text

    def answer(self, text: str | None = None) -> None:
        said = self._step.text if text is None else text
        if said is not None:
            self.say(said)
        # Where nothing is usually said, words are an addition; at CONNECT and TLS they come instead of going on.
        if said is None or self._step.text is not None:
            self.conclude(said or "")

    def conclude(self, text: str) -> None:
        self._step.effect(text)

    def say(self, text: str) -> None:
        self._connection.say(text)

    def send(self, data: bytes) -> None:
        self._connection.put(data)

    def hold(self, seconds: float | None, then: Callable[[], None]) -> None:
        self._connection.hold(seconds, then)

    def drip(self, data: bytes, interval: float, then: Callable[[], None]) -> None:
        self._connection.drip(data, interval, then)

    def close(self, *, close_notify: bool = True) -> None:
        self._connection.close(close_notify=close_notify)

    def reset(self) -> None:
        self._connection.reset()
