"""Health, choice and moving on, for any history."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpool.policy.balance import Share, Strategy, choose, take_turn
from mailpool.policy.breaker import CAP, LONGEST, STRIKES, TRANSITIONS, Breaker, Health, Sign, after
from mailpool.policy.moving import CASES, Harm, judge
from mailpool.results import Outcome, Reply

dice = st.floats(0, 1, exclude_max=True)
signs = st.sampled_from(Sign)
steps = st.lists(st.tuples(signs, dice, st.floats(0, 100), st.none() | st.floats(0, 1e9)), max_size=60)


def test_every_state_knows_every_sign() -> None:
    assert set(TRANSITIONS) == set(itertools.product(Health, Sign))


@given(steps)
def test_no_breaker_stays_open_for_ever(history: list[tuple[Sign, float, float, float | None]]) -> None:
    """Whatever has happened, there is a bounded time after which a message goes there again."""
    breaker, now = Breaker(), 0.0
    asked = 0.0
    for sign, roll, pause, retry_after in history:
        now += pause
        if sign is Sign.GIVEN and not breaker.admits(now):
            continue
        breaker = after(breaker, sign, now, roll, retry_after)
        asked = max(asked, min(retry_after or 0.0, LONGEST))
        if breaker.health is Health.PROBING:
            continue  # its message ends, and then it is up or down
        assert breaker.admits(now + max(CAP * 1.25, asked))
        assert breaker.opens_at(alone=True) <= breaker.opens_at(alone=False)
        assert (breaker.health is Health.UP) == (breaker.failures == 0)
        assert breaker.strikes < STRIKES


@given(steps)
def test_it_is_up_again_only_by_a_message_that_was_taken(
    history: list[tuple[Sign, float, float, float | None]],
) -> None:
    breaker, now = Breaker(), 0.0
    for sign, roll, pause, retry_after in history:
        now += pause
        then = after(breaker, sign, now, roll, retry_after)
        if breaker.health is not Health.UP and then.health is Health.UP:
            assert breaker.health is Health.PROBING
            assert sign is Sign.TAKEN
        if then.health is Health.PROBING:
            assert not then.admits(now), "one message at a time"
        breaker = then


def test_strikes_have_to_be_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(STRIKES - 1):
        breaker = after(breaker, Sign.STRIKE, 0, 0)
    breaker = after(breaker, Sign.TAKEN, 0, 0)
    for _ in range(STRIKES - 1):
        breaker = after(breaker, Sign.STRIKE, 0, 0)
    assert breaker.health is Health.UP
    assert after(breaker, Sign.STRIKE, 0, 0).health is Health.DOWN


def test_each_failed_try_doubles_the_time_up_to_the_cap() -> None:
    breaker, now, waits = Breaker(), 0.0, []
    breaker = after(breaker, Sign.FATAL, now, 0)
    for _ in range(8):
        waits.append(breaker.until - now)
        now = breaker.until
        breaker = after(after(breaker, Sign.GIVEN, now, 0), Sign.FATAL, now, 0)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


indices = st.sets(st.integers(0, 4))


@given(st.sampled_from(Strategy), st.lists(st.floats(0.1, 100), min_size=5, max_size=5), indices, indices)
def test_who_is_chosen_may_be_asked_and_has_room(
    strategy: Strategy, weights: list[float], admitted: set[int], with_room: set[int]
) -> None:
    shares = [Share(weight, in_hand=number) for number, weight in enumerate(weights)]
    chosen = choose(strategy, shares, admitted, with_room)
    if chosen is not None:
        assert chosen in admitted & with_room
    if strategy is Strategy.FAILOVER:
        # A relay that is only busy keeps its messages.
        assert chosen == (min(admitted) if admitted and min(admitted) in with_room else None)
    else:
        assert (chosen is None) == (not admitted & with_room)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_a_round_gives_each_its_weight(weights: list[int]) -> None:
    shares = [Share(float(weight)) for weight in weights]
    everybody = range(len(weights))
    counts = [0] * len(weights)
    for _ in range(sum(weights)):
        chosen = choose(Strategy.ROUND_ROBIN, shares, everybody, everybody)
        assert chosen is not None
        take_turn(shares, everybody, chosen)
        counts[chosen] += 1
    assert counts == weights


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.ACCEPTED])
@given(code=st.integers(400, 599), text=st.text("abc 45.0123", max_size=20), begun=st.booleans())
def test_every_outcome_has_a_case(outcome: Outcome, code: int, text: str, begun: bool) -> None:
    case = judge(outcome, Reply(code, (text.encode(),)), begun=begun, lacking=False)
    if outcome is Outcome.UNCERTAIN:
        assert not case.moves or code == 521
    if not case.moves:
        assert case.harm is Harm.NONE or outcome is Outcome.UNCERTAIN


@pytest.mark.rule("P-05")
@given(st.integers(500, 599).filter(lambda code: code != 521), st.text("abc 5.0123", max_size=20))
def test_what_is_refused_for_good_stays(code: int, text: str) -> None:
    case = judge(Outcome.REJECTED, Reply(code, (text.encode(),)), begun=True, lacking=False)
    assert not case.moves
    assert case.harm is Harm.NONE


@pytest.mark.parametrize(
    ("outcome", "reply", "moves", "harm"),
    [
        (Outcome.DEFERRED, "450 4.2.1 mailbox busy", False, Harm.NONE),
        (Outcome.DEFERRED, "452 4.2.2 mailbox full", False, Harm.NONE),
        (Outcome.DEFERRED, "451 4.7.1 greylisted, come back", False, Harm.NONE),
        (Outcome.DEFERRED, "450 greylisted", False, Harm.NONE),
        (Outcome.DEFERRED, "452 insufficient system storage", True, Harm.STRIKE),
        (Outcome.DEFERRED, "452 4.3.1 insufficient system storage", True, Harm.STRIKE),
        (Outcome.DEFERRED, "451 4.3.0 local error", True, Harm.STRIKE),
        (Outcome.DEFERRED, "451 4.4.1 no answer from host", True, Harm.STRIKE),
        (Outcome.DEFERRED, "454 4.7.0 temporary", True, Harm.STRIKE),
        (Outcome.THROTTLED, "421 4.7.0 too many connections", True, Harm.STRIKE),
        (Outcome.QUOTA, "550 5.4.5 daily quota", True, Harm.FATAL),
        (Outcome.AUTH_FAILED, "530 5.7.0 login first", True, Harm.FATAL),
        (Outcome.AUTH_FAILED, "535 5.7.8 wrong", True, Harm.FATAL),
        (Outcome.REJECTED, "521 takes no mail", True, Harm.FATAL),
        (Outcome.REJECTED, "554 5.7.1 <a@b.example>: Relay access denied", True, Harm.NONE),
        (Outcome.REJECTED, "550 5.1.1 no such user", False, Harm.NONE),
        (Outcome.REJECTED, "552 5.3.4 too big", False, Harm.NONE),
    ],
)
def test_what_moves_on(outcome: Outcome, reply: str, moves: bool, harm: Harm) -> None:
    case = judge(outcome, Reply.of(reply), begun=True, lacking=False)
    assert (case.moves, case.harm) == (moves, harm)


def test_no_case_is_told_twice() -> None:
    assert len({case.what for case in CASES}) == len(CASES)
