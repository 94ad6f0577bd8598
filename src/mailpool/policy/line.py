"""Who is next: the line of waiting messages (P-22)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

# After so many messages in a row have passed a lower priority, one of the lower goes.
FAIR_SHARE = 10


class Waiting(Protocol):
    """What can stand in line. ``gone`` is set on those that left it from the middle."""

    priority: int
    gone: bool


T = TypeVar("T", bound=Waiting)


class Line(Generic[T]):
    """First come, first served within a priority; higher priorities first, but none starves.

    Leaving from the middle costs nothing: the one that leaves is marked ``gone`` and ``left`` is called; it is skipped
    when its turn comes.
    """

    __slots__ = ("_classes", "_count", "_gone", "_order", "_passes")

    def __init__(self) -> None:
        self._classes: dict[int, deque[T]] = {}
        self._order: list[int] = []  # priorities with somebody in line, highest first
        self._passes: dict[int, int] = {}  # how many of a priority went since one below it did
        self._count = 0
        self._gone = 0  # marked, and still in a deque

    def __len__(self) -> int:
        return self._count

    def append(self, item: T) -> None:
        self._class(item.priority).append(item)
        self._count += 1

    def put_first(self, item: T) -> None:
        """In front of its own priority: a message that lost its turn through no fault of its own."""
        self._class(item.priority).appendleft(item)
        self._count += 1

    def left(self, item: T) -> None:
        """``item`` is in line and goes without being served."""
        item.gone = True
        self._count -= 1
        self._gone += 1
        if self._gone > 64 and self._gone > self._count:
            self._sweep()

    def peek(self) -> T | None:
        """The next one, or None when nobody waits."""
        if self._count == 0:
            return None
        return self._classes[self._turn()][0]

    def pop(self) -> T:
        """Take the next one."""
        turn = self._turn()
        if len(self._passes) > 1:
            for priority in self._passes:
                if priority > turn:
                    self._passes[priority] = 0
            if len(self._order) > 1:
                self._passes[turn] += 1
        self._count -= 1
        return self._classes[turn].popleft()

    def heads(self) -> Iterator[T]:
        """The first of each priority."""
        for priority in tuple(self._order):
            head = self._first(priority)
            if head is not None:
                yield head

    def __iter__(self) -> Iterator[T]:
        for priority in self._order:
            yield from (item for item in self._classes[priority] if not item.gone)

    def _class(self, priority: int) -> deque[T]:
        found = self._classes.get(priority)
        if found is None:
            self._order = sorted([*self._classes, priority], reverse=True)
            self._passes.setdefault(priority, 0)
            found = self._classes[priority] = deque()
        return found

    def _turn(self) -> int:
        """The priority whose turn it is. Somebody is in line."""
        while True:
            turn = self._order[-1]
            for priority in self._order:
                if self._passes[priority] < FAIR_SHARE:
                    turn = priority
                    break
            if self._first(turn) is not None:
                return turn

    def _first(self, priority: int) -> T | None:
        waiting = self._classes[priority]
        while waiting and waiting[0].gone:
            waiting.popleft()
            self._gone -= 1
        if waiting:
            return waiting[0]
        del self._classes[priority]
        self._order.remove(priority)
        # While a lower class waits it is still counted how often it was passed.
        if len(self._order) < 2 and (not self._order or self._order[0] > priority):
            self._passes = dict.fromkeys(self._order, 0)
        return None

    def _sweep(self) -> None:
        """Forget those that left, when they are the majority: a cancelled batch holds no memory."""
        for priority, waiting in self._classes.items():
            self._classes[priority] = deque(item for item in waiting if not item.gone)
        self._gone = 0
