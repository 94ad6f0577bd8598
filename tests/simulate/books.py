"""Whether the pool's books agree with its connections, at a moment when it is at rest.

Looks inside, because a slot that is noted in the wrong place does no visible harm for a while: it only is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mailpool.results import Phase


def disagreements(pool: Any, now: float) -> Iterator[str]:
    """What does not agree, in words."""
    state = pool._state
    slots = list(pool._roster)
    if state.total != len(slots):
        yield f"P-32: {state.total} connections are counted, and {len(slots)} are kept"
    if state.leaving != sum(slot.leaving for slot in slots):
        yield f"P-32: {state.leaving} are counted as leaving"
    waiting = 0
    for lane in state.lanes.values():
        of_lane = [slot for slot in slots if slot.lane is lane]
        if (lane.open, lane.opening) != (sum(s.open for s in of_lane), sum(s.opening for s in of_lane)):
            yield f"P-32: {lane.open} open and {lane.opening} opening are counted"
        if len(lane.slots) != lane.open:
            yield f"P-32: {len(lane.slots)} are listed as open, and {lane.open} counted"
        waiting += lane.waiting - sum(entry[2].gone for entry in lane.sleeping)
        for slot in of_lane:
            yield from _of_slot(slot, now)
    if waiting != len(pool._queue):
        yield f"P-32: {len(pool._queue)} messages are counted as waiting, and {waiting} wait"
    if len(pool._queue) > pool._options.max_queue + len(pool._roster.in_flight()):
        fresh = [
            d
            for lane in state.lanes.values()
            for d in pool._queue.of(lane)
            if not d.attempts and d.place.name != "DOOR"
        ]
        if len(fresh) > pool._options.max_queue:
            yield f"P-21: {len(fresh)} messages were let into the queue, and max_queue is {pool._options.max_queue}"


def _of_slot(slot: Any, now: float) -> Iterator[str]:
    lane = slot.lane
    places = [name for name in ("idle", "hungry", "probing") if slot in getattr(lane, name)]
    if not slot.open or slot.leaving:
        if places:
            yield f"P-06: a connection that is not open is {places[0]}"
        return
    pipeline = slot.connection.pipeline
    probed = Phase.NOOP in pipeline._owed
    is_free = pipeline.is_free and not probed
    if ("idle" in places) != is_free:
        yield f"P-01: a connection that {'is free' if is_free else 'is at work'} is noted as {places}"
    if "probing" in places and not probed:
        yield "P-11: a connection waits for the answer to a NOOP that was answered"
