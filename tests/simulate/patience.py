"""Whether nobody was given up too soon or too late (P-19), and whether connections were replaced ahead of time (P-08)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from evidence import Evidence, Submission, Wiretap
from scenario import Scenario

from mailpool import DeadlineExceeded, Outcome, PoolClosed, SendError
from mailpool.policy.meaning import classify

_CLOCK_ERROR = 1e-6
# An heir is begun when so many messages are left, or a quarter of a short life.
_AHEAD = 6


def judge(scenario: Scenario, evidence: Evidence) -> None:
    """Complain of what was given up at the wrong time, and of connections without an heir."""
    if len(scenario.identities) < 2 and not scenario.relays:
        _connection_wait(scenario, evidence)
    elif scenario.relays:
        _relays_wait(scenario, evidence)
    if scenario.calm and scenario.options["pool"] and scenario.options["max_age"] is None:
        _heirs(scenario, evidence)


# -- connection_wait ---------------------------------------------------------------------------------------------------


class _Silence(NamedTuple):
    """A time without a new connection: from the first attempt that failed to the next that did not."""

    first_failure: float
    down_since: float  # the first one that failed when there was not even an old connection
    end: float


def _silences(evidence: Evidence) -> Iterator[_Silence]:
    open_now = 0
    first_failure, down_since = math.inf, math.inf
    opened: set[int] = set()
    for at, name, details in evidence.events:
        if name == "connection_opened":
            yield _Silence(first_failure, down_since, at)
            first_failure = down_since = math.inf
            open_now += 1
            opened.add(id(details[0]))
        elif name == "connection_closed" and id(details[0]) in opened:
            open_now -= 1
            down_since = math.inf
        elif name == "connection_failed" and _says_that_it_is_down(details[0]):
            first_failure = min(first_failure, at)
            if not open_now:
                down_since = min(down_since, at)
    yield _Silence(first_failure, down_since, math.inf)


def _says_that_it_is_down(error: SendError) -> bool:
    """A relay that asks for less is there, and what time does not mend is told at once."""
    if error.reply is not None:
        meaning = classify(error.reply, error.phase)
        if meaning.less is not None or meaning.outcome is Outcome.QUOTA:
            return False
    return error.temporary


def _was_given_up(error: Any) -> bool:
    return (
        isinstance(error, SendError)
        and not isinstance(error, PoolClosed | DeadlineExceeded)
        and error.outcome is Outcome.CONNECTION_FAILED
        and error.temporary
        and not error.attempts
    )


def _connection_wait(scenario: Scenario, evidence: Evidence) -> None:
    """Messages wait so long for a connection, from the first attempt that failed; neither less nor much more (P-19)."""
    wait = scenario.options["connection_wait"]
    silences = list(_silences(evidence))
    begun = {mail.number for tap in evidence.taps for mail in tap.mails}
    for entry in _sent(evidence):
        assert entry.ended_at is not None
        if _was_given_up(entry.outcome):
            soonest = min((max(entry.at, s.first_failure) + wait for s in silences), default=math.inf)
            if entry.ended_at < soonest - _CLOCK_ERROR:
                evidence.complain(
                    f"P-19: message {entry.letter.number} was given up at {entry.ended_at:g} s, before {soonest:g} s"
                )
        if entry.letter.number in begun or scenario.prepares or scenario.options["max_queue"] < 1_000:
            continue
        for silence in silences:
            latest = max(entry.at, silence.down_since) + wait + evidence.blocked + 0.1
            if latest < min(entry.ended_at, silence.end, evidence.closing_at or math.inf):
                evidence.complain(
                    f"P-19: message {entry.letter.number} still waited for a connection after {latest:g} s"
                )


def _relays_wait(scenario: Scenario, evidence: Evidence) -> None:
    """With several relays nobody is given up sooner than that either."""
    wait = scenario.options["connection_wait"]
    for entry in _sent(evidence):
        assert entry.ended_at is not None
        if _was_given_up(entry.outcome) and entry.ended_at < entry.at + wait - _CLOCK_ERROR:
            evidence.complain(
                f"P-19: message {entry.letter.number} was given up after {entry.ended_at - entry.at:g} s: {entry.outcome}"
            )


def _sent(evidence: Evidence) -> list[Submission]:
    return [one for one in evidence.submissions.values() if one.how == "send" and one.ended_at is not None]


# -- make before break -------------------------------------------------------------------------------------------------


def _heirs(scenario: Scenario, evidence: Evidence) -> None:
    """A connection that has served its time has an heir, if there was a place for one (P-08)."""
    most = scenario.options["max_connections"]
    for tap in evidence.taps:
        if len(tap.mails) < 2 or len(scenario.identities) > 1 or tap.quit_at is None:
            continue
        # One that ends because its messages are counted ends with its last reply; an idle one does so later.
        if tap.quit_at - tap.read_before_quit > _CLOCK_ERROR or tap.quit_at >= (evidence.closing_at or 0.0):
            continue
        ahead = min(_AHEAD, len(tap.mails) // 4)
        due = tap.mails[-1 - ahead].at
        others = [other for other in evidence.taps if other is not tap and other.relay == tap.relay]
        if any(_lives(other, due) for other in others):
            continue
        if max(_counts(others, due, tap.quit_at), default=0) + 1 < most:
            evidence.complain(
                f"P-08: connection {tap.index} ended at {tap.quit_at:g} s, and nobody was there to take over"
            )


def _lives(tap: Wiretap, at: float) -> bool:
    """Whether it is there, or being made, and not on its way out."""
    return tap.dialled_at <= at + _CLOCK_ERROR and (tap.quit_at or math.inf) > at


def _counts(taps: list[Wiretap], start: float, end: float) -> Iterator[int]:
    """How many there were at each moment at which that changed."""
    moments = [start, *(tap.dialled_at for tap in taps if start < tap.dialled_at < end)]
    for moment in moments:
        yield sum(tap.dialled_at <= moment <= (tap.closed_at or math.inf) for tap in taps)
