"""Which connection opens and which closes: room for other keys, replacements, idleness, a relay that is down."""

from __future__ import annotations

import math

import pytest
from pool_states import NOW, Message, add, lane_with, state_of

from mailpool.options import Rate
from mailpool.policy.assignment import QUANTUM, Assign, Close, GiveUp, Open, Wait, decide
from mailpool.policy.rate import Limiter
from mailpool.policy.state import DOWN_AFTER, Lane, Slot


@pytest.mark.rule("P-04")
class TestRoomForAnotherKey:
    def test_the_longest_idle_of_another_key_goes(self) -> None:
        lane, b, c = lane_with(Message()), Lane("b"), Lane("c")
        add(b, since=NOW - 5)
        oldest = add(c, since=NOW - 9)
        add(c, since=NOW - 1)
        action = decide(state_of(lane, b, c, most=3), NOW)
        assert isinstance(action, Close)
        assert action.slot is oldest

    def test_below_the_bound_nobody_goes(self) -> None:
        lane, b = lane_with(Message()), Lane("b")
        add(b)
        assert decide(state_of(lane, b, most=2), NOW) == Open(lane)

    def test_one_at_a_time(self) -> None:
        """While one closes its place is waited for."""
        lane, b = lane_with(Message()), Lane("b")
        add(b)
        assert decide(state_of(lane, b, most=2, leaving=1), NOW) == Wait(math.inf)

    def test_a_key_that_has_connections_does_not_take_busy_ones(self) -> None:
        lane, b = lane_with(Message()), Lane("b")
        add(lane, "busy")
        add(b, "hungry")
        assert decide(state_of(lane, b, most=2), NOW) == Wait(math.inf)

    @pytest.mark.parametrize("where", ["busy", "hungry"])
    def test_a_key_without_any_is_given_a_busy_one_once_it_is_idle(self, where: str) -> None:
        lane, b = lane_with(Message()), lane_with(*[Message() for _ in range(50)], key="b")
        slots = [add(b, where, begun=QUANTUM) for _ in range(3)]
        action = decide(state_of(b, lane, most=3), NOW)
        assert isinstance(action, Close)
        assert action.slot in slots

    @pytest.mark.parametrize("where", ["busy", "hungry", "idle"])
    def test_but_a_connection_is_first_worth_its_handshake(self, where: str) -> None:
        lane, b = lane_with(Message()), lane_with(*[Message() for _ in range(50)], key="b")
        slot = add(b, where, begun=QUANTUM - 1)
        assert not isinstance(decide(state_of(b, lane, most=1), NOW), Close)
        slot.begun = QUANTUM
        assert decide(state_of(b, lane, most=1), NOW)[0] is slot
        assert isinstance(decide(state_of(b, lane, most=1), NOW), Close)

    @pytest.mark.rule("P-23")
    def test_two_keys_that_wait_for_tokens_do_not_chase_each_other(self) -> None:
        """At one moment of time there is an end to opening and closing."""
        limiter = Limiter([Rate(5, 1.0, unit="recipients")])
        limiter.take(NOW, 4)
        lanes = [lane_with(Message(weight=1), key=key) for key in "ab"]
        for lane in lanes:
            lane.alone.append(Message(weight=2))
        state = state_of(*lanes, most=1, limiter=limiter)
        for opened in range(10):
            action = decide(state, NOW)
            if isinstance(action, Open):
                assert opened < 3
                add(action.lane)
                state.total += 1
            elif isinstance(action, Close):
                lane = action.slot.lane
                del lane.idle[action.slot], lane.slots[action.slot]
                lane.open -= 1
                state.total -= 1
            else:
                break
        assert isinstance(action, Assign)
        assert action.message.weight == 1

    def test_nor_does_it_stay_for_nothing(self) -> None:
        lane, b = lane_with(Message()), Lane("b")
        slot = add(b, begun=0)
        action = decide(state_of(b, lane, most=1), NOW)
        assert isinstance(action, Close)
        assert action.slot is slot

    @pytest.mark.parametrize("why", ["retry_at", "blocked_until"])
    @pytest.mark.parametrize("where", ["idle", "hungry", "busy"])
    def test_but_not_while_it_could_not_connect_anyway(self, why: str, where: str) -> None:
        lane, b = lane_with(Message()), Lane("b")
        setattr(lane, why, NOW + 20)
        add(b, where)
        assert decide(state_of(lane, b, most=1), NOW) == Wait(NOW + 20)

    @pytest.mark.parametrize(("keys", "most"), [(2, 1), (3, 1), (3, 2), (5, 2)])
    def test_more_keys_than_connections_are_all_served(self, keys: int, most: int) -> None:
        """And each connection is worth its handshake: it carries something before it goes."""
        lanes = [lane_with(*[Message() for _ in range(60)], key=str(n)) for n in range(keys)]
        state = state_of(*lanes, most=most)
        closed_unused = handshakes = 0
        carried: dict[Slot, int] = {}
        busy: list[Slot] = []
        for _ in range(5_000):
            action = decide(state, NOW)
            if isinstance(action, Open):
                handshakes += 1
                carried[add(action.lane)] = 0
                state.total += 1
            elif isinstance(action, Assign):
                slot = action.slot
                slot.lane.line.pop()
                carried[slot] += 1
                slot.begun += 1
                slot.lane.idle.pop(slot, None)
                slot.lane.hungry.pop(slot, None)
                slot.idle_since = None
                busy.append(slot)
                state.turn_over(slot.lane)
            elif isinstance(action, Close):
                slot = action.slot
                slot.leaving = True
                state.leaving += 1
                for where in (slot.lane.idle, slot.lane.hungry, slot.lane.slots):
                    where.pop(slot, None)
                if slot not in busy:
                    closed_unused += not carried[slot]
                    slot.lane.open -= 1
                    state.total -= 1
                    state.leaving -= 1
            else:
                assert isinstance(action, Wait)
                if not busy:
                    break
                # The connection that was given its message first gets its answer.
                slot = busy.pop(0)
                if slot.leaving:
                    slot.lane.open -= 1
                    state.total -= 1
                    state.leaving -= 1
                else:
                    slot.idle_since = NOW
                    slot.lane.idle[slot] = None
            assert state.total <= most
        assert [len(lane.line) for lane in lanes] == [0] * keys
        assert closed_unused == 0
        # With 60 messages a key: it changes hands after each quantum, and at the end of a key.
        assert handshakes <= keys * (60 // QUANTUM + 1)


@pytest.mark.rule("P-08")
class TestReplacement:
    def test_a_busy_connection_near_its_end_has_a_successor(self) -> None:
        lane = Lane("a")
        slot = add(lane, "hungry", remaining=2)
        lane.ending[slot] = None
        assert decide(state_of(lane, most=2), NOW) == Open(lane)

    @pytest.mark.parametrize("successor", ["opening", "idle"])
    def test_and_only_one(self, successor: str) -> None:
        lane = Lane("a")
        lane.ending[add(lane, "busy")] = None
        if successor == "opening":
            lane.opening = 1
        else:
            add(lane)
        assert decide(state_of(lane), NOW) == Wait(math.inf)

    def test_two_have_two(self) -> None:
        lane = Lane("a")
        for _ in range(2):
            lane.ending[add(lane, "busy")] = None
        lane.opening = 1
        assert decide(state_of(lane), NOW) == Open(lane)

    def test_one_that_ends_itself_is_no_successor(self) -> None:
        lane = Lane("a")
        lane.ending[add(lane, "busy")] = None
        lane.ending[add(lane)] = None
        assert decide(state_of(lane), NOW) == Open(lane)

    def test_one_that_is_idle_needs_none(self) -> None:
        lane = Lane("a")
        lane.ending[add(lane)] = None
        assert decide(state_of(lane), NOW) == Wait(math.inf)

    @pytest.mark.rule("P-01")
    def test_nothing_beyond_the_cap(self) -> None:
        lane, other = Lane("a"), Lane("b")
        lane.ending[add(lane, "busy")] = None
        add(other, "busy")
        assert decide(state_of(lane, other, most=2), NOW) == Wait(math.inf)

    def test_no_idle_connection_of_another_key_goes_for_it(self) -> None:
        lane, other = Lane("a"), Lane("b")
        lane.ending[add(lane, "busy")] = None
        add(other)
        assert decide(state_of(lane, other, most=2), NOW) == Wait(math.inf)


@pytest.mark.rule("P-09")
class TestIdle:
    def test_the_longest_idle_closes_first(self) -> None:
        lane = Lane("a")
        oldest = add(lane, since=NOW - 60)
        add(lane, since=NOW - 60)
        state = state_of(lane, idle_timeout=60.0)
        assert decide(state, NOW - 1) == Wait(NOW)
        assert decide(state, NOW) == Close(oldest, "idle")

    def test_not_while_a_message_wants_it(self) -> None:
        message = Message()
        lane = lane_with(message)
        slot = add(lane, since=NOW - 60)
        assert decide(state_of(lane, idle_timeout=60.0), NOW) == Assign(slot, message, False)

    def test_the_minimum_is_exempt(self) -> None:
        lane = Lane("a", min_connections=2)
        for _ in range(3):
            add(lane, since=NOW - 999)
        state = state_of(lane, idle_timeout=60.0)
        assert isinstance(decide(state, NOW), Close)
        slot = lane.idle.popitem()[0]
        del lane.slots[slot]
        lane.open -= 1
        assert decide(state, NOW) == Wait(math.inf)

    def test_the_minimum_is_restored(self) -> None:
        lane = Lane("a", min_connections=2)
        add(lane)
        assert decide(state_of(lane), NOW) == Open(lane)
        lane.opening = 1
        assert decide(state_of(lane), NOW) == Wait(math.inf)

    def test_with_back_off(self) -> None:
        lane = Lane("a", min_connections=1, retry_at=NOW + 3)
        assert decide(state_of(lane), NOW) == Wait(NOW + 3)

    @pytest.mark.rule("P-01")
    def test_but_never_beyond_the_cap(self) -> None:
        lane, other = Lane("a", min_connections=2), Lane("b")
        add(lane)
        add(other, "busy")
        assert decide(state_of(lane, other, most=2), NOW) == Wait(math.inf)


@pytest.mark.rule("P-19")
class TestDown:
    def failing(self, failures: int, *messages: Message, **about: object) -> Lane:
        lane = lane_with(*messages)
        lane.failures = failures
        lane.first_failure_at = NOW - 10
        for name, value in about.items():
            setattr(lane, name, value)
        return lane

    @pytest.mark.parametrize("why", ["retry_at", "blocked_until"])
    def test_attempts_back_off(self, why: str) -> None:
        lane = self.failing(1, Message(), **{why: NOW + 0.25})
        state = state_of(lane)
        assert decide(state, NOW) == Wait(NOW + 0.25)
        assert decide(state, NOW + 0.25) == Open(lane)

    @pytest.mark.parametrize(("failures", "opens"), [(DOWN_AFTER - 1, True), (DOWN_AFTER, False)])
    def test_one_at_a_time_once_it_is_down(self, failures: int, opens: bool) -> None:
        lane = self.failing(failures, *[Message() for _ in range(9)], opening=1)
        assert isinstance(decide(state_of(lane), NOW), Open) == opens
        lane.opening = 0
        assert decide(state_of(lane), NOW) == Open(lane)

    @pytest.mark.parametrize(
        ("failures", "open_", "down"),
        [(0, 0, False), (2, 0, False), (3, 0, True), (9, 0, True), (9, 1, False)],
    )
    def test_what_counts_as_down(self, failures: int, open_: int, down: bool) -> None:
        lane = self.failing(failures)
        for _ in range(open_):
            add(lane)
        assert lane.is_down == down

    @pytest.mark.parametrize(
        ("since", "gives_up_at"),
        [(NOW - 500, NOW + 20), (NOW - 10, NOW + 20), (NOW - 3, NOW + 27)],
        ids=["from the first failure", "together with it", "who came later waits as long"],
    )
    def test_messages_wait_so_long_for_a_connection(self, since: float, gives_up_at: float) -> None:
        message = Message(waiting_since=since)
        lane = self.failing(4, message, retry_at=NOW + 900)
        state = state_of(lane, connection_wait=30.0)
        assert decide(state, NOW) == Wait(gives_up_at)
        assert decide(state, gives_up_at - 0.001) == Wait(gives_up_at)
        assert decide(state, gives_up_at) == GiveUp(lane, message)

    def test_and_so_does_one_that_travels_alone(self) -> None:
        message = Message(waiting_since=NOW - 100)
        lane = self.failing(4, retry_at=NOW + 900)
        lane.alone.append(message)
        assert decide(state_of(lane, connection_wait=10.0), NOW) == GiveUp(lane, message)

    def test_each_priority_gives_up_in_its_own_time(self) -> None:
        patient, urgent = Message(waiting_since=NOW - 100), Message(priority=9, waiting_since=NOW)
        lane = self.failing(4, patient, urgent, retry_at=NOW + 900)
        assert decide(state_of(lane, connection_wait=10.0), NOW) == GiveUp(lane, patient)

    def test_not_while_a_connection_is_open(self) -> None:
        lane = self.failing(4, Message(waiting_since=NOW - 900), retry_at=NOW + 900)
        add(lane, "busy")
        assert decide(state_of(lane, connection_wait=10.0), NOW) == Wait(NOW + 900)

    def test_not_before_anything_failed(self) -> None:
        lane = lane_with(Message(waiting_since=NOW - 900))
        lane.opening = 1
        assert decide(state_of(lane, connection_wait=10.0), NOW) == Wait(math.inf)

    def test_no_wait_at_all(self) -> None:
        message = Message(waiting_since=NOW)
        lane = self.failing(1, message, retry_at=NOW + 1)
        assert decide(state_of(lane, connection_wait=0.0), NOW) == GiveUp(lane, message)
