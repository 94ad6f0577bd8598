"""The waiting messages: their lines, their back-offs, and who waits for a place among them (P-21)."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import cast

from ..errors import QueueFull
from ..options import Options
from ..policy.state import Lane
from ..results import Phase
from .delivery import Delivery, Place
from .room import Room


class Queue:
    """Counts everything that waits for a connection, a token or a back-off.

    :param on_room: called each time that there is room again, by the measure of one transport
    """

    def __init__(self, options: Options, on_room: Callable[[], None] = lambda: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._most = options.max_queue
        self._room_below = min(options.max_connections * options.pipeline_depth, options.max_queue)
        self.room = Room(self._has_room, on_room)
        self._overflow: deque[Delivery] = deque()  # beyond max_queue, waiting for their turn to be queued
        self._held_back = 0  # of these, those that are not gone
        self._waiting = 0
        self._order = itertools.count()

    def __len__(self) -> int:
        return self._waiting

    @property
    def held_back(self) -> int:
        """How many wait for their turn to be queued."""
        return self._held_back

    @property
    def is_full(self) -> bool:
        """Whether ``max_queue`` messages wait."""
        return self._waiting >= self._most

    def _has_room(self) -> bool:
        return self._waiting < self._room_below

    def clear(self) -> None:
        """Forget whoever waits: each of them has been told."""
        self._waiting = self._held_back = 0
        self._overflow.clear()

    # -- in --------------------------------------------------------------------------------------------------------

    def append(self, delivery: Delivery, *, may_wait: bool) -> None:
        """At the end of its line, or in front of the door when ``max_queue`` messages wait.

        :raises QueueFull: they do, and this one may not wait
        """
        if self._waiting < self._most:
            delivery.lane.line.append(delivery)
            self._count(1)
        elif may_wait:
            self._overflow.append(delivery)
            self._held_back += 1
            delivery.place = Place.DOOR
            delivery.lane.held_back += 1
        else:
            raise QueueFull(
                f"{self._waiting} messages wait already (max_queue); pull from your source when `idle` says so, or "
                "await send_mail",
                phase=Phase.QUEUE,
                temporary=True,
                message_id=delivery.message_id,
            )

    def put_first(self, delivery: Delivery, *, alone: bool) -> None:
        """In front: it has lost its turn, or its other recipients were served already."""
        lane = self._back(delivery)
        if alone:
            delivery.place = Place.ALONE
            lane.alone.appendleft(delivery)
        else:
            delivery.place = Place.LINE
            lane.line.put_first(delivery)

    def put_to_sleep(self, delivery: Delivery, until: float) -> None:
        """It has a back-off of its own, and travels alone after it (P-18)."""
        delivery.not_before = until
        delivery.place = Place.ASLEEP
        self._back(delivery).put_to_sleep(delivery, next(self._order))

    def wake_first(self, lane: Lane) -> None:
        """The back-off of the lane's first sleeper is over."""
        delivery: Delivery = lane.wake_first()
        if delivery.gone:
            return
        delivery.place = Place.ALONE
        delivery.waiting_since = self._loop.time()
        lane.alone.append(delivery)

    def admit(self) -> bool:
        """Let in whom there is a place for; whether there was somebody."""
        admitted = False
        while self._overflow and self._waiting < self._most:
            delivery = self._overflow.popleft()
            if delivery.gone:
                continue
            self._held_back -= 1
            delivery.place = Place.LINE
            delivery.lane.held_back -= 1
            delivery.lane.line.append(delivery)
            self._count(1)
            admitted = True
        return admitted

    def _back(self, delivery: Delivery) -> Lane:
        delivery.waiting_since = self._loop.time()
        delivery.gone = False
        self._count(1)
        return delivery.lane

    def _count(self, change: int) -> None:
        self._waiting += change
        if self._waiting >= self._room_below:
            self.room.lost()

    def of(self, lane: Lane) -> list[Delivery]:
        """Everybody of ``lane`` who waits, be it in front of the door; not those that closing has settled."""
        held_back = (
            [delivery for delivery in self._overflow if delivery.lane is lane] if lane.held_back else []
        )
        everybody = [*lane.alone, *lane.line, *(entry[2] for entry in lane.sleeping), *held_back]
        return [delivery for delivery in everybody if not (delivery.gone or delivery.settled)]

    # -- out -------------------------------------------------------------------------------------------------------

    def take(self, lane: Lane, *, alone: bool) -> Delivery:
        """The next one goes to a connection."""
        self._waiting -= 1
        return cast("Delivery", lane.alone.popleft() if alone else lane.line.pop())

    def leave(self, delivery: Delivery) -> None:
        """``delivery`` waits somewhere, and shall not be sent."""
        lane = delivery.lane
        match delivery.place:
            case Place.DOOR:
                delivery.gone = True
                self._held_back -= 1
                lane.held_back -= 1
                return
            case Place.ALONE:
                lane.alone.remove(delivery)
            case Place.ASLEEP:
                delivery.gone = True  # and dropped when it would have woken
            case Place.LINE:
                lane.line.left(delivery)
        self._waiting -= 1
