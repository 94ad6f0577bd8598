"""Which waiting message gets which connection, which connection opens, and which closes.

``decide`` is one pure function of the state and the time: it changes nothing and names the one thing to do next. The pool
does it, notes it in the state, and asks again until the answer is ``Wait``. All the bookkeeping of the pool is plain data,
in ``policy.state``, so that every rule can be tested without a socket.

Each decision looks at heads and counters only: its cost does not grow with the queue, nor with the connections.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .state import DOWN_AFTER, Lane, Slot, State

# A connection serves so many messages of its own key, if there are, before it may have to make room for another key:
# with more keys than connections there would otherwise be a login for each message.
QUANTUM = 20


class Assign(NamedTuple):
    """Write ``message`` on ``slot`` now; its token is granted with it."""

    slot: Slot
    message: Any
    alone: bool


class Open(NamedTuple):
    lane: Lane


class Close(NamedTuple):
    """Close an idle connection, or let a busy one go once it is idle."""

    slot: Slot
    why: str


class Probe(NamedTuple):
    """Ask with NOOP whether the server is still there."""

    slot: Slot


class Reserve(NamedTuple):
    """Let the slot run dry, for a message that travels alone."""

    slot: Slot


class Due(NamedTuple):
    """The back-off of the lane's first sleeping message is over."""

    lane: Lane


class GiveUp(NamedTuple):
    """``message`` has waited ``connection_wait`` for a relay that is down, or ``throttle_wait`` for one that takes nothing."""

    lane: Lane
    message: Any
    throttled: bool = False  # for the second reason


class Wait(NamedTuple):
    """Nothing to do until something happens, or until this time."""

    until: float


Action = Assign | Open | Close | Probe | Reserve | Due | GiveUp | Wait


_NOTHING = Wait(math.inf)


def decide(state: State, now: float) -> Action:
    """The one thing to do next.

    :param state: as it is; not changed
    :param now: seconds on the clock that all times of the state are on
    """
    return usual_decision(state, now) or full_decision(state, now)


def usual_decision(state: State, now: float) -> Assign | Wait | None:
    """Nearly every decision under load: one identity, and all connections open and at work. None: look at everything.

    It says what `full_decision` would say, which took a third of the pool's time, in a few look-ups.
    """
    if len(state.lanes) > 1 or state.total < state.max_connections:
        return None
    for lane in state.lanes.values():
        if not lane.open or lane.idle or lane.alone or lane.sleeping or lane.opening or lane.probing:
            return None
        if not lane.hungry or not lane.line:
            return _NOTHING
        slot = next(iter(lane.hungry))
        if state.limiter is None and lane.adaptive is None and slot.retire_at > now:
            return Assign(slot, lane.line.peek(), False)
    return None


def takes_next(state: State, slot: Slot, now: float) -> bool:
    """Whether ``slot``, on which a message has just ended, takes the head of its line now.

    The case of nearly every message under load, where `decide` would answer with ``Assign`` once the slot were noted as
    idle or hungry; without the notes it takes a third of the time. False: note it, and ask `decide`.
    """
    lane = slot.lane
    return (
        state.total >= state.max_connections
        and len(state.lanes) == 1
        and state.limiter is None
        and lane.adaptive is None
        and not (lane.idle or lane.hungry or lane.alone or lane.sleeping or lane.opening or lane.probing)
        and len(lane.line) > 0
        and slot.open
        and not (slot.alone or slot.leaving)
        and slot.remaining > 0
        and lane.reserved is None
        and slot.retire_at > now
    )


def full_decision(state: State, now: float) -> Action:
    """The one thing to do next, with everything looked at."""
    wake = math.inf
    starved = _starved(state, now) if len(state.lanes) > 1 else None
    if starved is not None:
        if state.total < state.max_connections:
            return Open(starved)
        victim = _victim(state, starved) if not state.leaving else None
        if victim is not None:
            return Close(victim, "another identity needs a connection")
    for lane in state.lanes.values():
        if lane.sleeping:
            at = lane.sleeping[0][0]
            if at <= now:
                return Due(lane)
            wake = min(wake, at)
        if lane.adaptive is not None and lane.total - lane.leaving > lane.adaptive.most_connections:
            surplus = _surplus(lane)
            if surplus is not None:
                return Close(surplus, "the server wants fewer connections")
        if lane.line or lane.alone:
            step, at = _serve(state, lane, now, starved)
            if step is not None:
                return step
            wake = min(wake, at)
    for lane in state.lanes.values():
        step, at = _tend(state, lane, now, starved)
        if step is not None:
            return step
        wake = min(wake, at)
    return Wait(wake)


def _surplus(lane: Lane) -> Slot | None:
    """The connection that goes when there are too many: an idle one if there is one."""
    return next(iter(lane.idle), None) or next((slot for slot in lane.slots if not slot.leaving), None)


def _starved(state: State, now: float) -> Lane | None:
    """A key that has a message to send now and not one connection, while others have some (P-04)."""
    for lane in state.lanes.values():
        may_open = not lane.connections and lane.may_grow and max(lane.retry_at, lane.blocked_until) <= now
        if may_open and (lane.line or lane.alone) and _candidate(state, lane, now)[2] <= now:
            return lane
    return None


def _victim(state: State, starved: Lane) -> Slot | None:
    """Who makes room: the longest idle, else a busy one of the key that has the most, which goes once it is idle."""
    slot = _idle_victim(state, starved)
    if slot is not None:
        return slot
    others = (lane for lane in state.lanes.values() if lane is not starved)
    lane = max(others, key=lambda lane: len(lane.slots))
    return next((slot for slot in lane.slots if slot.begun >= QUANTUM), None)


def _idle_victim(state: State, wanting: Lane) -> Slot | None:
    """The longest idle connection of another key that has nothing to send, or has had its share (P-04)."""
    others = (lane for lane in state.lanes.values() if lane is not wanting)
    idle = (slot for lane in others for slot in lane.idle if not lane.due or slot.begun >= QUANTUM)
    return min(idle, key=lambda slot: slot.idle_since or 0.0, default=None)


def _serve(state: State, lane: Lane, now: float, starved: Lane | None) -> tuple[Action | None, float]:
    """Something for the messages of ``lane`` that are due, or when to look again."""
    wake = math.inf
    if lane.first_failure_at is not None and lane.open == 0:
        for head in lane.heads():
            at = max(head.waiting_since, lane.first_failure_at) + state.connection_wait
            if at <= now:
                return GiveUp(lane, head), wake
            wake = min(wake, at)
    if lane.adaptive is not None and lane.adaptive.held_since is not None:
        for head in lane.heads():
            at = max(head.waiting_since, lane.adaptive.held_since) + state.throttle_wait
            if at > now:
                wake = min(wake, at)
            elif lane.adaptive.holds_back(now, lane.connections):  # afterwards somebody has to try
                return GiveUp(lane, head, throttled=True), wake

    # A message that travels alone needs an idle connection; until there is one, the others go on.
    if lane.alone and not lane.idle and lane.hungry and lane.reserved is None:
        return Reserve(next(iter(lane.hungry))), wake
    message, alone, at = _candidate(state, lane, now)
    if at > now:
        # Neither a connection is held nor one opened for a message that has no token (P-23).
        return None, min(wake, at)
    if lane.idle:
        # The one used last: the others may reach their idle time-out, and the pool shrinks to what it needs.
        slot = next(reversed(lane.idle))
        if slot.retire_at <= now:
            return Close(slot, "its age"), wake
        if state.check_after is not None and _is_unchecked(slot, now, state.check_after):
            return Probe(slot), wake
        return Assign(slot, message, alone), wake
    # Below the cap, or while enough are being opened, nobody waits behind a message that is not yet answered (P-01).
    covered = lane.due <= lane.opening + len(lane.probing)
    if lane.hungry and not alone and not covered and not (starved is None and _may_open(state, lane, now)):
        slot = next(iter(lane.hungry))
        if slot.retire_at <= now:
            return Close(slot, "its age"), wake
        return Assign(slot, message, False), wake
    if not covered and starved is None:
        return _open(state, lane, now, wake)
    return None, wake


def _candidate(state: State, lane: Lane, now: float) -> tuple[Any, bool, float]:
    """The message of ``lane`` that is next, whether it travels alone, and when there is a token for it."""
    later = math.inf
    if lane.alone and (lane.idle or not lane.line):
        message = lane.alone[0]
        at = _ready_at(state, lane, now, message)
        if at <= now or not lane.line:
            return message, True, at
        later = at
    head: Any = lane.line.peek()
    return head, False, min(_ready_at(state, lane, now, head), later)


def _ready_at(state: State, lane: Lane, now: float, message: Any) -> float:
    """When there is a token for ``message``, and the relay bears it."""
    at = now if state.limiter is None else state.limiter.ready_at(now, message.weight)
    return at if lane.adaptive is None else max(at, lane.adaptive.ready_at(now, message.weight))


def _may_open(state: State, lane: Lane, now: float) -> bool:
    """Whether another connection can be had now."""
    return (
        state.total < state.max_connections
        and lane.may_grow
        and lane.failures < DOWN_AFTER
        and max(lane.retry_at, lane.blocked_until) <= now
    )


def _is_unchecked(slot: Slot, now: float, check_after: float) -> bool:
    """Whether a NOOP is due before the slot is used. The answer to one makes the slot newly idle."""
    if check_after == 0.0:
        return not slot.checked
    return slot.idle_since is not None and now - slot.idle_since >= check_after


def _open(state: State, lane: Lane, now: float, wake: float) -> tuple[Action | None, float]:
    if lane.failures >= DOWN_AFTER and lane.opening:
        return None, wake
    if not lane.may_grow:
        return None, wake
    not_before = max(lane.retry_at, lane.blocked_until)
    if not_before > now:
        return None, min(wake, not_before)
    if state.total < state.max_connections:
        return Open(lane), wake
    if not state.leaving:
        slot = _idle_victim(state, lane)
        if slot is not None:
            return Close(slot, "another identity needs a connection"), wake
    return None, wake


def _tend(state: State, lane: Lane, now: float, starved: Lane | None) -> tuple[Action | None, float]:
    """What keeps the connections of ``lane`` in order: age, idleness, replacements, the minimum."""
    wake = math.inf
    if lane.idle:
        slot = next(iter(lane.idle))
        at = (now if slot.idle_since is None else slot.idle_since) + state.idle_timeout
        if lane.open > lane.min_connections:
            if at <= now:
                return Close(slot, "idle"), wake
            wake = min(wake, at)
        if state.ageing:
            for slot in lane.idle:
                if slot.retire_at <= now:
                    return Close(slot, "its age"), wake
                wake = min(wake, slot.retire_at)
    wanted = bool(lane.ending) and _replacement_missing(lane)
    if lane.connections < lane.min_connections and not wanted:
        wanted = lane.refill_at <= now
        if not wanted:
            wake = min(wake, lane.refill_at)
    if wanted and starved is None and state.total < state.max_connections:
        return _open(state, lane, now, wake)
    return None, wake


def _replacement_missing(lane: Lane) -> bool:
    """Make before break (P-08): a busy connection near its end has nobody yet to take over."""
    ending = sum(1 for slot in lane.ending if slot.idle_since is None)
    return ending > lane.opening + sum(1 for slot in lane.idle if slot not in lane.ending)
