"""Misbehaviour on demand: where it happens (``Fault``) and what happens (the actions).

    Fault(at="RCPT", match="nobody@", do=reply("550 5.1.1 no such user"), times=None)
    Fault(at="END", nth=3, do=deliver_then_close())

An action is any callable that takes an ``Incident``; the ones below are the usual kinds.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

At = Literal[
    "CONNECT", "TLS", "GREETING", "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "CONTENT", "END",
    "BDAT", "RSET", "NOOP", "VRFY", "HELP", "QUIT", "IDLE", "ANY",
]  # fmt: skip
_PLACES = frozenset(get_args(At))
# What is no command, and therefore not meant by ANY.
_NO_COMMAND = frozenset({"CONNECT", "TLS", "GREETING", "CONTENT", "IDLE"})


class Incident(Protocol):
    """The moment at which a fault strikes, and what an action can do with it."""

    @property
    def usual(self) -> str | None:
        """What a well-behaved server would say now; ``None`` where it would say nothing."""
        ...

    def answer(self, text: str | None = None) -> None:
        """Go on: say ``text``, or what is usual, and act by it: 2xx and 3xx accept, everything else refuses."""
        ...

    def conclude(self, text: str) -> None:
        """Act as if ``text`` had been answered, and say nothing."""
        ...

    def say(self, text: str) -> None:
        """Say a reply that answers nothing."""
        ...

    def send(self, data: bytes) -> None:
        """Send octets as they are."""
        ...

    def hold(self, seconds: float | None, then: Callable[[], None]) -> None:
        """Handle nothing more on this connection for ``seconds`` (``None``: for ever), then call ``then``."""
        ...

    def drip(self, data: bytes, interval: float, then: Callable[[], None]) -> None:
        """Send one octet each ``interval`` seconds, handling nothing else, then call ``then``."""
        ...

    def close(self, *, close_notify: bool = True) -> None:
        """Close the connection in order, after what was sent so far."""
        ...

    def reset(self) -> None:
        """Cut the connection, after what was sent so far."""
        ...


Action = Callable[[Incident], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule of misbehaviour.

    ``at``           the place; a command means *instead of its reply*. ``CONTENT``: while content arrives. ``END``:
                     instead of the final reply, also that of ``BDAT … LAST``. ``CONNECT``: before TLS and greeting.
                     ``TLS``: before the handshake. ``IDLE``: when the client was silent for ``after`` seconds.
                     ``ANY``: any command, known or not, and ``END``
    ``do``           the action
    ``connection``   only on the connection with this index, from 0
    ``message``      only in the transaction with this number on its connection, from 0
    ``match``        only if this regular expression is found in, or this callable accepts, the text: the command line;
                     at ``CONTENT`` and ``END`` the content so far, as Latin-1
    ``nth``          from which occurrence on, from 1, counted over the whole server
    ``times``        how often; ``None`` for ever
    ``after``        octets of content at ``CONTENT``, seconds at ``IDLE``
    ``probability``  of each occurrence that would be hit
    ``seed``         of that chance, so that a run can be repeated
    """

    at: At
    do: Action
    connection: int | None = None
    message: int | None = None
    match: str | Callable[[str], bool] | None = None
    nth: int = 1
    times: int | None = 1
    after: float = 0
    probability: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.at not in _PLACES:
            raise ValueError(f"there is no place {self.at!r}; choose one of {', '.join(sorted(_PLACES))}")
        if self.nth < 1:
            raise ValueError("nth is counted from 1")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that a fault may strike. ``progress``: octets of content, or seconds of silence."""

    at: str
    connection: int
    message: int
    text: str = ""
    progress: float = 0


@dataclass(slots=True)
class _Watched:
    fault: Fault
    dice: random.Random
    seen: int = 0
    hits: int = 0
    # Content arrives in pieces; a message is one occurrence nevertheless.
    last_content: tuple[int, int] | None = None

    def strikes(self, what: Occurrence) -> bool:
        fault = self.fault
        if not self._concerns(what):
            return False
        self.seen += 1
        if self.seen < fault.nth or (fault.times is not None and self.hits >= fault.times):
            return False
        # Chance is no secret here: it has to be the same in each run.
        if fault.probability < 1.0 and self.dice.random() >= fault.probability:
            return False
        self.hits += 1
        return True

    def _concerns(self, what: Occurrence) -> bool:
        fault = self.fault
        if fault.at != what.at and not (fault.at == "ANY" and what.at not in _NO_COMMAND):
            return False
        if fault.connection not in (None, what.connection) or fault.message not in (None, what.message):
            return False
        if what.progress < fault.after:
            return False
        if what.at == "CONTENT":
            content = (what.connection, what.message)
            if content == self.last_content or not _matches(fault.match, what.text):
                return False
            self.last_content = content
            return True
        return _matches(fault.match, what.text)


def _matches(match: str | Callable[[str], bool] | None, text: str) -> bool:
    if match is None:
        return True
    return re.search(match, text) is not None if isinstance(match, str) else match(text)


@dataclass(slots=True)
class FaultBook:
    """The faults of one server, in order; each counts its own occurrences, and the first that is due strikes.

    ``struck`` lists every fault that has, in order.
    """

    struck: list[Fault] = field(default_factory=list)
    _watched: list[_Watched] = field(default_factory=list)

    def add(self, *faults: Fault) -> None:
        """Watch for these too; their counts start now."""
        # Seeded on purpose.
        self._watched += [_Watched(fault, random.Random(fault.seed)) for fault in faults]  # noqa: S311 - faults are to be repeatable

    def clear(self) -> None:
        """Behave well from now on."""
        self._watched.clear()

    def find(self, what: Occurrence) -> Fault | None:
        """The fault that strikes here, if any."""
        due = [watched.fault for watched in self._watched if watched.strikes(what)]
        if not due:
            return None
        self.struck.append(due[0])
        return due[0]

    def waits(self, at: At) -> Iterator[float]:
        """The ``after`` of each fault at this place that may still strike."""
        for watched in self._watched:
            fault = watched.fault
            if fault.at == at and (fault.times is None or watched.hits < fault.times):
                yield fault.after

    def watches(self, *places: At) -> bool:
        """Whether any fault watches one of these places."""
        return any(watched.fault.at in places for watched in self._watched)
