"""The pool as it is at one moment (P-32)."""

from __future__ import annotations

import dataclasses

from ..policy.assignment import State
from .queue import Queue
from .roster import Roster
from .statistics import Counts, Histogram, PoolStats


def snapshot(
    state: State, queue: Queue, roster: Roster, counts: Counts, *, waited: Histogram, took: Histogram
) -> PoolStats:
    """Read everything once; it costs as much as there are connections, and nothing for what waits."""
    lanes = state.lanes.values()
    opening = sum(lane.opening for lane in lanes)
    idle = sum(len(lane.idle) for lane in lanes)
    open_now = sum(lane.open for lane in lanes)
    connections = [slot.connection for slot in roster]
    # Those that are gone have been added up already.
    grown = dataclasses.asdict(counts)
    grown["bytes_sent"] += sum(connection.bytes_sent for connection in connections)
    grown["bytes_received"] += sum(connection.bytes_received for connection in connections)
    return PoolStats(
        connections=state.total,
        opening=opening,
        busy=open_now - idle,
        idle=idle,
        closing=state.total - opening - open_now,
        queued=len(queue),
        held_back=queue.held_back,
        in_flight=len(roster.in_flight()),
        max_connections=state.max_connections,
        rates=roster.options.rate,
        disabled=roster.options.disable,
        relay_is_down=any(lane.is_down for lane in lanes),
        waited=waited.copy(),
        took=took.copy(),
        **grown,
    )
