"""States of a pool, built by hand: messages, lanes with lines of them, and connections that are idle, hungry or busy."""

from __future__ import annotations

from dataclasses import dataclass

from mailpool.policy.state import Lane, Slot, State

NOW = 1_000.0


@dataclass(eq=False)
class Message:
    name: str = "m"
    priority: int = 0
    weight: int = 1
    waiting_since: float = NOW
    not_before: float = 0.0
    gone: bool = False


def add(lane: Lane, where: str = "idle", *, since: float = NOW, **about: object) -> Slot:
    """An open connection of ``lane``: idle, hungry or busy."""
    slot = Slot(lane, open=True, **about)
    lane.open += 1
    lane.slots[slot] = None
    if where == "idle":
        slot.idle_since = since
        lane.idle[slot] = None
    elif where == "hungry":
        lane.hungry[slot] = None
    return slot


def state_of(*lanes: Lane, most: int = 5, leaving: int = 0, **options: object) -> State:
    state = State(max_connections=most, **options)
    state.lanes = {lane.key: lane for lane in lanes}
    state.total = sum(lane.connections for lane in lanes) + leaving
    state.leaving = leaving
    return state


def lane_with(*messages: Message, key: str = "a", alone: tuple[Message, ...] = ()) -> Lane:
    lane = Lane(key)
    for message in messages:
        lane.line.append(message)
    lane.alone.extend(alone)
    return lane
