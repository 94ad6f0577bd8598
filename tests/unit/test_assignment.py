"""Which message gets which connection: one row for each rule, as state and the action that must follow."""

from __future__ import annotations

import math

import pytest
from pool_states import NOW, Message, add, lane_with, state_of

from mailpool.options import Rate
from mailpool.policy.assignment import Assign, Close, Due, Open, Probe, Reserve, Wait, decide
from mailpool.policy.rate import Limiter
from mailpool.policy.state import Lane


class TestAssign:
    def test_nothing_to_do(self) -> None:
        assert decide(state_of(), NOW) == Wait(math.inf)
        assert decide(state_of(Lane("a")), NOW) == Wait(math.inf)

    @pytest.mark.rule("P-22")
    def test_the_first_in_line_on_an_idle_connection(self) -> None:
        first, second = Message("1"), Message("2")
        lane = lane_with(first, second)
        slot = add(lane)
        assert decide(state_of(lane), NOW) == Assign(slot, first, False)

    def test_the_idle_one_used_last(self) -> None:
        """So that the others reach their idle time-out, and the pool shrinks to what it needs."""
        lane = lane_with(Message())
        add(lane, since=NOW - 5)
        last = add(lane, since=NOW - 1)
        action = decide(state_of(lane), NOW)
        assert isinstance(action, Assign)
        assert action.slot is last

    def test_idle_before_opening_before_hungry(self) -> None:
        """Nobody waits behind a message that is not yet answered while a free connection can be had."""
        message = Message()
        lane = lane_with(message)
        hungry = add(lane, "hungry")
        assert decide(state_of(lane, most=2), NOW) == Open(lane)
        assert decide(state_of(lane, most=1), NOW) == Assign(hungry, message, False)
        idle = add(lane)
        assert decide(state_of(lane, most=3), NOW) == Assign(idle, message, False)

    @pytest.mark.parametrize("why", ["retry_at", "blocked_until", "failures"])
    def test_hungry_when_none_can_be_had(self, why: str) -> None:
        message = Message()
        lane = lane_with(message)
        hungry = add(lane, "hungry")
        setattr(lane, why, 4 if why == "failures" else NOW + 1)
        assert decide(state_of(lane), NOW) == Assign(hungry, message, False)

    def test_never_on_one_that_is_busy(self) -> None:
        lane = lane_with(Message())
        add(lane, "busy")
        assert decide(state_of(lane, most=1), NOW) == Wait(math.inf)

    @pytest.mark.rule("P-01")
    def test_a_connection_opens_when_none_is_free(self) -> None:
        lane = lane_with(Message())
        add(lane, "busy")
        assert decide(state_of(lane, most=2), NOW) == Open(lane)

    @pytest.mark.rule("P-01")
    @pytest.mark.parametrize(
        ("messages", "opening", "opens"), [(1, 0, True), (1, 1, False), (2, 1, True), (3, 3, False)]
    )
    def test_one_for_each_message(self, messages: int, opening: int, opens: bool) -> None:
        lane = lane_with(*[Message() for _ in range(messages)])
        lane.opening = opening
        assert isinstance(decide(state_of(lane), NOW), Open) == opens

    @pytest.mark.rule("P-01")
    @pytest.mark.parametrize(("busy", "opening", "leaving"), [(3, 0, 0), (0, 3, 0), (1, 1, 1), (2, 0, 1)])
    def test_never_more_than_the_most_those_that_open_or_close_included(
        self, busy: int, opening: int, leaving: int
    ) -> None:
        lane = lane_with(*[Message() for _ in range(50)])
        for _ in range(busy):
            add(lane, "busy")
        lane.opening = opening
        assert decide(state_of(lane, most=3, leaving=leaving), NOW) == Wait(math.inf)
        assert decide(state_of(lane, most=4, leaving=leaving), NOW) == Open(lane)


@pytest.mark.rule("P-23")
class TestTokens:
    def limiter(self, *takes: tuple[float, int], limit: int = 2, unit: str = "messages") -> Limiter:
        limiter = Limiter([Rate(limit, 10.0, unit=unit)])
        for at, units in takes:
            limiter.take(at, units)
        return limiter

    @pytest.mark.parametrize("where", ["idle", "hungry", "none"])
    def test_without_a_token_nothing_is_assigned_and_nothing_opened(self, where: str) -> None:
        lane = lane_with(Message())
        if where != "none":
            add(lane, where)
        state = state_of(lane, limiter=self.limiter((NOW - 4, 1), (NOW - 3, 1)))
        assert decide(state, NOW) == Wait(NOW + 6)
        assert isinstance(decide(state, NOW + 6), (Assign, Open))

    def test_a_decision_takes_no_token(self) -> None:
        lane = lane_with(Message())
        add(lane)
        state = state_of(lane, limiter=self.limiter((NOW, 1)))
        assert decide(state, NOW) == decide(state, NOW)

    def test_recipients_weigh(self) -> None:
        lane = lane_with(Message(weight=3), Message(weight=1))
        add(lane)
        state = state_of(lane, limiter=self.limiter((NOW - 1, 3), limit=5, unit="recipients"))
        # The second could go, and does not pass the first.
        assert decide(state, NOW) == Wait(NOW + 9)

    def test_another_key_is_not_closed_for_a_message_that_has_no_token(self) -> None:
        other, lane = Lane("other"), lane_with(Message())
        add(other)
        state = state_of(other, lane, most=1, limiter=self.limiter((NOW, 1), (NOW, 1)))
        assert decide(state, NOW) == Wait(NOW + 10)
        add(other, "hungry")
        assert decide(state_of(other, lane, most=2, limiter=state.limiter), NOW) == Wait(NOW + 10)


@pytest.mark.rule("P-22")
@pytest.mark.rule("P-23")
def test_keys_share_the_tokens() -> None:
    lanes = [lane_with(*[Message(key) for _ in range(40)], key=key) for key in "ab"]
    for lane in lanes:
        add(lane)
    state = state_of(*lanes, limiter=Limiter([Rate(1, 1.0)]))
    assert state.limiter is not None
    served, now = [], 0.0
    while len(served) < 20:
        action = decide(state, now)
        if isinstance(action, Wait):
            now = action.until
            continue
        assert isinstance(action, Assign)
        state.limiter.take(now, 1)
        served.append(action.slot.lane.line.pop().name)
        state.turn_over(action.slot.lane)
    assert served.count("a") == served.count("b") == 10


@pytest.mark.rule("P-18")
class TestAlone:
    def test_on_an_idle_connection_before_all_others(self) -> None:
        message = Message("deadly")
        lane = lane_with(Message("harmless"), alone=(message,))
        slot = add(lane)
        assert decide(state_of(lane), NOW) == Assign(slot, message, True)

    def test_one_runs_dry_for_it(self) -> None:
        lane = lane_with(Message(), alone=(Message(),))
        slot = add(lane, "hungry")
        add(lane, "hungry")
        assert decide(state_of(lane), NOW) == Reserve(slot)

    def test_the_others_go_on_meanwhile(self) -> None:
        harmless = Message()
        lane = lane_with(harmless, alone=(Message(),))
        lane.reserved = add(lane, "busy")
        hungry = add(lane, "hungry")
        assert decide(state_of(lane, most=2), NOW) == Assign(hungry, harmless, False)

    def test_it_never_joins_a_connection_that_is_at_work(self) -> None:
        lane = lane_with(alone=(Message(), Message()))
        lane.reserved = add(lane, "busy")
        add(lane, "hungry")
        assert decide(state_of(lane, most=2), NOW) == Wait(math.inf)

    def test_it_may_have_a_new_connection(self) -> None:
        lane = lane_with(alone=(Message(),))
        add(lane, "busy")
        assert decide(state_of(lane), NOW) == Open(lane)

    def test_it_blocks_nobody_while_it_sleeps(self) -> None:
        message, sleeper = Message(), Message(not_before=NOW + 7)
        lane = lane_with(message)
        lane.put_to_sleep(sleeper, 0)
        slot = add(lane)
        state = state_of(lane)
        assert decide(state, NOW) == Assign(slot, message, False)
        lane.line.pop()
        assert decide(state, NOW) == Wait(NOW + 7)
        assert decide(state, NOW + 7) == Due(lane)
        assert lane.wake_first() is sleeper

    @pytest.mark.rule("P-23")
    def test_it_blocks_nobody_while_it_waits_for_its_token(self) -> None:
        """Else a connection opens for the one in line, and then lies idle for the one that travels alone."""
        light = Message("light", weight=1)
        lane = lane_with(light, alone=(Message("heavy", weight=2),))
        limiter = Limiter([Rate(5, 10.0, unit="recipients")])
        limiter.take(NOW - 1, 4)
        state = state_of(lane, limiter=limiter)
        assert decide(state, NOW) == Open(lane)
        slot = add(lane)
        assert decide(state, NOW) == Assign(slot, light, False)

    def test_who_wakes_first_is_due_first_and_ties_keep_their_order(self) -> None:
        lane = Lane("a")
        sleepers = [Message(not_before=NOW + wait) for wait in (9, 3, 3, 5)]
        for order, sleeper in enumerate(sleepers):
            lane.put_to_sleep(sleeper, order)
        assert [lane.wake_first() for _ in sleepers] == [sleepers[i] for i in (1, 2, 3, 0)]


@pytest.mark.rule("P-11")
class TestProbe:
    @pytest.mark.parametrize(
        ("check_after", "idle_for", "checked", "probes"),
        [
            (None, 1e6, False, False),
            (5.0, 4.999, False, False),
            (5.0, 5.0, False, True),
            (5.0, 900.0, False, True),
            (0.0, 0.0, False, True),
            (0.0, 0.0, True, False),
            # The answer to NOOP makes the connection newly idle; after that it may go stale again.
            (5.0, 0.0, True, False),
            (5.0, 900.0, True, True),
        ],
    )
    def test_after_so_many_idle_seconds(
        self, check_after: float | None, idle_for: float, checked: bool, probes: bool
    ) -> None:
        lane = lane_with(Message())
        slot = add(lane, since=NOW - idle_for, checked=checked)
        action = decide(state_of(lane, check_after=check_after), NOW)
        assert isinstance(action, Probe if probes else Assign)
        assert action.slot is slot

    def test_also_when_the_clock_began_with_it(self) -> None:
        lane = lane_with(Message())
        slot = add(lane, since=0.0)
        assert decide(state_of(lane, check_after=5.0), 10.0) == Probe(slot)

    def test_never_without_a_message(self) -> None:
        lane = Lane("a")
        add(lane, since=NOW - 900)
        assert decide(state_of(lane, check_after=5.0), NOW) == Wait(math.inf)

    def test_nor_one_that_is_at_work(self) -> None:
        lane = lane_with(Message())
        add(lane, "hungry")
        assert isinstance(decide(state_of(lane, most=1, check_after=0.0), NOW), Assign)


@pytest.mark.rule("P-10")
class TestAge:
    @pytest.mark.parametrize("where", ["idle", "hungry"])
    @pytest.mark.parametrize("messages", [0, 1])
    def test_past_its_age_a_connection_takes_nothing_more(self, where: str, messages: int) -> None:
        lane = lane_with(*[Message() for _ in range(messages)])
        slot = add(lane, where, retire_at=NOW)
        action = decide(state_of(lane, most=1, ageing=True), NOW)
        if where == "hungry" and not messages:
            assert not isinstance(action, Assign)  # it leaves when it is idle
        else:
            assert action == Close(slot, "its age")

    def test_until_then_it_serves(self) -> None:
        message = Message()
        lane = lane_with(message)
        slot = add(lane, retire_at=NOW + 0.001)
        assert decide(state_of(lane, ageing=True), NOW) == Assign(slot, message, False)

    def test_it_is_watched_while_it_is_idle(self) -> None:
        lane = Lane("a")
        add(lane, retire_at=NOW + 9)
        add(lane, retire_at=NOW + 4)
        assert decide(state_of(lane, ageing=True), NOW) == Wait(NOW + 4)
        assert decide(state_of(lane), NOW) == Wait(math.inf)
