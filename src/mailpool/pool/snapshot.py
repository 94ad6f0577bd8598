"""The pool as it is at one moment (P-32)."""

from __future__ import annotations

import dataclasses
import math

from ..policy.adaptive import Learnt
from ..policy.state import Lane, State
from .lanes import PoolLane
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
    learnt = tuple(one for one in map(_learnt, lanes) if one is not None)
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
        max_connections=_most_connections(state),
        rates=(*roster.options.rate, *(rate for one in learnt if (rate := one.as_rate()) is not None)),
        disabled=roster.options.disable,
        relay_is_down=any(lane.is_down for lane in lanes),
        waited=waited.copy(),
        took=took.copy(),
        learnt=learnt,
        **grown,
    )


def _learnt(lane: Lane) -> Learnt | None:
    assert isinstance(lane, PoolLane)
    return lane.adaptive.learnt(lane.learning.user) if lane.adaptive is not None else None


def _most_connections(state: State) -> int:
    """All lanes together; one that holds nothing needs nothing."""
    wanted = [lane for lane in state.lanes.values() if lane.total or lane.waiting] or state.lanes.values()
    bounds = [lane.adaptive.most_connections if lane.adaptive is not None else math.inf for lane in wanted]
    return int(min(state.max_connections, sum(bounds)))
