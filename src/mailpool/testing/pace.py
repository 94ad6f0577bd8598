"""Who may speak when: round trips, and octets that come before the client can have heard what it has to hear."""

from __future__ import annotations

from collections.abc import Callable

from .records import ConnectionRecord, Turn

_CLOCK_ERROR = 1e-6


class Pace:
    """Watches the order of speaking on one connection, for a client ``latency`` seconds away.

    ``complain`` is called with each violation, in words.
    """

    def __init__(self, record: ConnectionRecord, latency: float, complain: Callable[[str], None]) -> None:
        self._record = record
        self._round_trip = 2 * latency
        self._complain = complain
        self._owed: str | None = "the greeting"
        self._owed_until: float | None = None
        # When the client can have heard the first answer of the turn; None while there is none.
        self._answer_heard: float | None = 0.0

    @property
    def turn(self) -> int:
        """The index of the turn that is under way."""
        return len(self._record.turns) - 1

    def arrived(self, now: float) -> None:
        """Octets came."""
        if self._owed is not None:
            if self._owed_until is None or now < self._owed_until:
                self._complain(f"octets were sent before the reply to {self._owed}")
            else:
                self._owed = None
        if self._answer_heard is not None and now >= self._answer_heard:
            self._record.turns.append(Turn(now))
            self._answer_heard = None

    def took(self, verb: str, *, must_wait: bool, more: bool) -> None:
        """A command is being handled; ``more`` octets came with it, and if it ``must_wait`` none should have."""
        self._record.turns[-1].commands.append(verb)
        if must_wait:
            if more:
                self._complain(f"octets were sent before the reply to {verb}")
            self._owed, self._owed_until = verb, None

    def answered(self, now: float) -> None:
        """Replies were sent. A client that far away hears them only half a round trip later."""
        heard = now + self._round_trip - _CLOCK_ERROR if self._round_trip else 0.0
        if self._answer_heard is None:
            self._answer_heard = heard
        self._owed_until = heard

    def secured(self) -> None:
        """TLS is up: the client may speak."""
        self._owed = None
