"""Any state of a pool, and a plain bookkeeper that carries out what is decided.

First each decision is looked at until there is nothing more to do; then answers come, connections open and close, and in
the end every message must have gone or have been given up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpool.options import Rate
from mailpool.policy.assignment import (
    QUANTUM,
    Action,
    Assign,
    Close,
    Due,
    GiveUp,
    Open,
    Probe,
    Reserve,
    Wait,
    decide,
)
from mailpool.policy.rate import Limiter
from mailpool.policy.state import DOWN_AFTER, Lane, Slot, State

NOW = 1_000.0
PAST = st.sampled_from([NOW - 100, NOW - 5, NOW])
WHEN = st.sampled_from([0.0, 0.0, NOW - 5, NOW, NOW + 5])


@dataclass(eq=False)
class Message:
    lane: Lane
    priority: int
    weight: int
    waiting_since: float
    not_before: float = 0.0
    gone: bool = False


class Books:
    """The state, and what the pool and its connections know besides."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.now = NOW
        self.assigned: list[Message] = []
        self.given_up: list[Message] = []
        self.log: list[str] = []
        self.messages = [
            message
            for lane in state.lanes.values()
            for message in (*lane.line, *lane.alone, *(entry[2] for entry in lane.sleeping))
        ]

    @property
    def size(self) -> int:
        return len(self.messages) + 2 * self.state.total + self.state.max_connections

    def settle(self) -> float:
        """Carry out decisions until there is nothing more to do; returns until when."""
        for _ in range(4 * self.size + 20):
            action = decide(self.state, self.now)
            if isinstance(action, Wait):
                assert action.until > self.now
                return action.until
            self.do(action)
            assert self.state.total <= self.state.max_connections
        raise AssertionError(f"it goes on for ever: {self.log[-20:]}")

    def do(self, action: Action) -> None:
        state, now = self.state, self.now
        about = action.lane if isinstance(action, (Open, Due, GiveUp)) else action.slot.lane
        self.log.append(f"{now:g} {type(action).__name__} {about.key}")
        match action:
            case Assign(slot, message, alone):
                lane = slot.lane
                assert slot in lane.idle or (slot in lane.hungry and not alone)
                assert not slot.leaving
                assert slot.retire_at > now
                assert lane.reserved is not slot or slot in lane.idle
                if state.limiter is not None:
                    assert state.limiter.ready_at(now, message.weight) <= now
                    state.limiter.take(now, message.weight)
                taken = lane.alone.popleft() if alone else lane.line.pop()
                assert taken is message
                assert not message.gone
                self.assigned.append(message)
                lane.idle.pop(slot, None)
                lane.hungry.pop(slot, None)
                slot.idle_since, slot.checked, slot.alone = None, False, alone
                slot.begun += 1
                if lane.reserved is slot:
                    lane.reserved = None
                state.turn_over(lane)
            case Open(lane):
                assert state.total < state.max_connections
                assert lane.retry_at <= now
                assert lane.blocked_until <= now
                assert lane.failures < DOWN_AFTER or not lane.opening
                lane.opening += 1
                state.total += 1
            case Close(slot, why):
                assert why
                assert not slot.leaving
                assert slot in slot.lane.slots
                slot.leaving = True
                state.leaving += 1
                lane = slot.lane
                for where in (lane.idle, lane.hungry, lane.probing, lane.slots):
                    where.pop(slot, None)
                if lane.reserved is slot:
                    lane.reserved = None
                if slot.idle_since is not None:
                    self.end(slot)
            case Probe(slot):
                assert state.check_after is not None
                del slot.lane.idle[slot]
                slot.lane.probing[slot] = None
                slot.idle_since, slot.checked = None, True
            case Reserve(slot):
                assert slot.lane.reserved is None
                del slot.lane.hungry[slot]
                slot.lane.reserved = slot
            case Due(lane):
                message = lane.wake_first()
                assert message.not_before <= now
                message.waiting_since = now
                lane.alone.append(message)
            case GiveUp(lane, message):
                assert lane.open == 0
                assert now >= message.waiting_since + state.connection_wait
                if message in lane.alone:
                    lane.alone.remove(message)
                else:
                    lane.line.left(message)
                self.given_up.append(message)

    def end(self, slot: Slot) -> None:
        slot.open = False
        slot.lane.open -= 1
        slot.lane.ending.pop(slot, None)

    def idle(self, slot: Slot) -> None:
        """Its last reply has come."""
        lane = slot.lane
        for where in (lane.hungry, lane.probing):
            where.pop(slot, None)
        if lane.reserved is slot:
            lane.reserved = None
        slot.alone = False
        slot.idle_since = self.now
        if slot.leaving:
            self.end(slot)
        else:
            lane.idle[slot] = None


def messages(draw: st.DrawFn, lane: Lane, most: int) -> list[Message]:
    return [
        Message(lane, draw(st.integers(0, 2)), draw(st.integers(1, 4)), draw(PAST))
        for _ in range(draw(st.integers(0, most)))
    ]


@st.composite
def states(draw: st.DrawFn) -> State:
    state = State(
        max_connections=1,
        idle_timeout=draw(st.sampled_from([60.0, 5.0, math.inf])),
        connection_wait=draw(st.sampled_from([0.0, 30.0])),
        check_after=draw(st.sampled_from([None, None, 0.0, 4.0])),
        ageing=draw(st.booleans()),
    )
    rates = draw(st.sampled_from([[], [], ["2/s"], ["1/s", "3/5s"], ["5 recipients/s"]]))
    if rates:
        state.limiter = Limiter([Rate.parse(rate) for rate in rates])
        for _ in range(draw(st.integers(0, 4))):
            state.limiter.take(NOW - 0.5, 1)
    fresh = draw(st.booleans())  # not one connection yet, and few allowed
    for key in range(draw(st.integers(1, 4))):
        lane = state.lanes[key] = Lane(key)
        most_open = 0 if fresh else 3
        for where in draw(st.lists(st.sampled_from(["idle", "hungry", "busy"]), max_size=most_open)):
            slot = Slot(lane, open=True, begun=draw(st.sampled_from([0, 1, QUANTUM])))
            lane.slots[slot] = None
            lane.open += 1
            if state.ageing:
                slot.retire_at = draw(st.sampled_from([NOW - 1, NOW, NOW + 5, NOW + 500]))
            if where == "idle":
                slot.idle_since = draw(PAST)
                slot.checked = draw(st.booleans())
                lane.idle[slot] = None
            elif where == "hungry":
                lane.hungry[slot] = None
            if draw(st.booleans()):
                lane.ending[slot] = None
        lane.idle = dict.fromkeys(sorted(lane.idle, key=lambda s: s.idle_since or 0.0))
        lane.opening = 0 if fresh else draw(st.integers(0, 2))
        lane.min_connections = draw(st.sampled_from([0, 0, 1, 2])) if key == 0 else 0
        if not lane.open and draw(st.booleans()):
            lane.failures = draw(st.integers(1, 5))
            lane.first_failure_at = draw(PAST)
            lane.retry_at = draw(WHEN)
            lane.blocked_until = draw(WHEN)
        for message in messages(draw, lane, 5):
            lane.line.append(message)
        lane.alone.extend(messages(draw, lane, 2))
        for order, message in enumerate(messages(draw, lane, 2)):
            message.not_before = draw(WHEN)
            lane.put_to_sleep(message, order)
        state.total += lane.connections
    state.max_connections = max(1, state.total + draw(st.integers(0, 2)))
    return state


def has_token(state: State, now: float, message: Any) -> bool:
    return state.limiter is None or state.limiter.ready_at(now, message.weight) <= now


@pytest.mark.rule("P-01")
@pytest.mark.rule("P-18")
@pytest.mark.rule("P-22")
@pytest.mark.rule("P-23")
@settings(deadline=None, max_examples=400)
@given(states())
def test_what_is_left_undone_could_not_be_done(state: State) -> None:
    books = Books(state)
    books.settle()
    now = books.now
    for lane in state.lanes.values():
        if lane.sleeping:
            assert lane.sleeping[0][0] > now
        if lane.due:
            # A message that travels alone goes first where it can go, and else the others do.
            alone = bool(lane.alone) and (bool(lane.idle) or not lane.line)
            token = has_token(state, now, lane.alone[0] if alone else lane.line.peek())
            heads = [*([lane.alone[0]] if lane.alone else []), *([lane.line.peek()] if lane.line else [])]
            if lane.idle:
                assert not any(has_token(state, now, head) for head in heads), (
                    "a message waits beside an idle connection and a token"
                )
            may_open = state.total < state.max_connections and max(lane.retry_at, lane.blocked_until) <= now
            coming = lane.due <= lane.opening + len(lane.probing)
            if lane.hungry and not alone and not may_open and not coming:
                assert not token, "a message waits beside a connection that could begin it"
            if may_open:
                down = lane.failures >= DOWN_AFTER and lane.opening
                assert down or coming or not token, "a connection may open and does not"
        for slot in lane.idle:
            assert slot.idle_since is not None
            assert slot.retire_at > now or not state.ageing
            if lane.open > lane.min_connections:
                assert slot.idle_since + state.idle_timeout > now


@pytest.mark.rule("P-04")
@pytest.mark.rule("P-14")
@settings(deadline=None, max_examples=300)
@given(states(), st.randoms(use_true_random=False))
def test_in_the_end_every_message_has_gone(state: State, dice: Any) -> None:
    """With a relay that answers everything, sooner or later."""
    books = Books(state)
    opened = 0
    for _ in range(10 * books.size + 100):
        until = books.settle()
        if not any(lane.waiting for lane in state.lanes.values()):
            break
        # One thing happens, and then it is decided again.
        happenings: list[tuple[str, Any]] = [("open", lane) for lane in state.lanes.values() if lane.opening]
        slots = [slot for lane in state.lanes.values() for slot in lane.slots]
        happenings += [("reply", slot) for slot in slots if slot.idle_since is None]
        if state.leaving:
            happenings.append(("gone", None))
        if not happenings:
            assert until < math.inf, "a message waits, and nothing will wake it"
            books.now = until
            books.log.append("time")
            continue
        what, about = dice.choice(happenings)
        books.log.append(what)
        if what == "open":
            about.opening -= 1
            about.open += 1
            about.failures, about.first_failure_at = 0, None
            slot = Slot(about, open=True)
            about.slots[slot] = None
            books.idle(slot)
            opened += 1
        elif what == "reply":
            books.idle(about)
        else:
            state.leaving -= 1
            state.total -= 1
    else:
        raise AssertionError(f"messages are left, and it goes on for ever: {books.log[-20:]}")
    done = [*books.assigned, *books.given_up]
    assert len(done) == len(set(map(id, done))) == len(books.messages)
    assert set(map(id, done)) == set(map(id, books.messages))
    assert opened <= len(books.messages) + state.max_connections + sum(
        lane.min_connections for lane in state.lanes.values()
    ), "handshakes that carried nothing"
