"""What is known when it is decided who goes next: connections, messages and counters, as plain data.

The pool keeps it up to date; `mailpool.policy.assignment` reads it and changes nothing.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from .adaptive import Adaptive
from .line import Line
from .rate import Limiter

# Attempts to connect go one at a time once so many in a row have failed: the relay counts as down (P-19).
DOWN_AFTER = 3


class Waiting(Protocol):
    """A message in the queue, as the decision sees it."""

    priority: int
    gone: bool
    waiting_since: float
    not_before: float

    @property
    def weight(self) -> int:
        """How many recipients the next transaction has: what a rate by recipients counts."""
        ...


@dataclass(slots=True, eq=False)
class Slot:
    """One connection, being opened, open, or closing."""

    lane: Lane
    opening: bool = True
    open: bool = False
    leaving: bool = False  # takes no more messages, and closes when it is idle
    idle_since: float | None = None
    checked: bool = False  # it has been asked, or has just been opened, since it was last used
    begun: int = 0  # messages so far
    alone: bool = False  # carries a message that travels alone
    remaining: float = math.inf  # messages that it may still begin
    ahead: float = -1  # with so few remaining its replacement is begun (P-08)
    retire_at: float = math.inf
    opened_at: float = 0.0
    connection: Any = None

    @property
    def exhausted(self) -> bool:
        return self.remaining <= 0 or self.leaving


@dataclass(slots=True, eq=False)
class Lane:
    """The messages and connections that share one key (P-04)."""

    key: Hashable
    line: Line[Any] = field(default_factory=Line)
    alone: deque[Any] = field(default_factory=deque)  # travel alone on their connection, and are due (P-18)
    sleeping: list[tuple[float, int, Any]] = field(default_factory=list)  # a heap of those that are not due
    held_back: int = 0  # messages of this key that wait for their turn to be queued
    idle: dict[Slot, None] = field(default_factory=dict)  # the longest idle first
    hungry: dict[Slot, None] = field(default_factory=dict)  # busy, and able to begin another message
    probing: dict[Slot, None] = field(default_factory=dict)  # waiting for the answer to a NOOP
    slots: dict[Slot, None] = field(default_factory=dict)  # all that are open
    ending: dict[Slot, None] = field(default_factory=dict)  # near their last message or the end of their age
    opening: int = 0
    open: int = 0
    total: int = 0  # with those that are closing
    leaving: int = 0  # of these, closing or about to
    reserved: Slot | None = None  # takes nothing until it is idle, for a message that travels alone
    min_connections: int = 0
    failures: int = 0  # attempts to connect that failed in a row
    retry_at: float = 0.0
    first_failure_at: float | None = None
    blocked_until: float = 0.0
    refill_at: float = 0.0  # not before is the minimum of connections restored
    adaptive: Adaptive | None = None  # what the relay bears, once it has asked for less (P-24)

    @property
    def connections(self) -> int:
        return self.open + self.opening

    @property
    def due(self) -> int:
        """Messages that could go now, if there were a connection and a token."""
        return len(self.line) + len(self.alone)

    @property
    def waiting(self) -> int:
        return len(self.line) + len(self.alone) + len(self.sleeping)

    @property
    def is_down(self) -> bool:
        return self.failures >= DOWN_AFTER and self.open == 0

    @property
    def may_grow(self) -> bool:
        """Whether the relay bears another connection, as far as is known."""
        return self.adaptive is None or self.total < self.adaptive.most_connections

    def put_to_sleep(self, message: Waiting, order: int) -> None:
        """Until its ``not_before``; ``order`` breaks ties."""
        heapq.heappush(self.sleeping, (message.not_before, order, message))

    def wake_first(self) -> Any:
        """Take the first sleeping message, whose time has come."""
        return heapq.heappop(self.sleeping)[2]

    def heads(self) -> Iterator[Any]:
        if self.alone:
            yield self.alone[0]
        yield from self.line.heads()


@dataclass(slots=True, eq=False)
class State:
    """Everything that a decision depends on, but the time."""

    max_connections: int
    idle_timeout: float = math.inf
    connection_wait: float = math.inf
    throttle_wait: float = math.inf
    check_after: float | None = None
    ageing: bool = False  # whether connections have a greatest age
    limiter: Limiter | None = None
    lanes: dict[Hashable, Lane] = field(default_factory=dict)
    total: int = 0  # connections open, opening and closing
    leaving: int = 0  # of these, closing or about to

    def turn_over(self, lane: Lane) -> None:
        """``lane`` has been served: the others come first now, so that keys share tokens and places evenly."""
        if len(self.lanes) > 1:
            self.lanes[lane.key] = self.lanes.pop(lane.key)
