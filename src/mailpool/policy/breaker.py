"""The health of one relay: when it gets messages, when one to try with, and when none.

A table of states and signs, and one pure function over it: the clock and the dice are arguments. A breaker never stays
open for ever: after a while that has a bound, the next message goes there to see.

    up ──(five strikes in a row, or one that is fatal)──► down ──(its time is over: one message)──► probing
    ▲                                                      ▲                                         │
    └──────────────────────── taken ───────────────────────┼─────────────────────────────────────────┤
                                                           └──────────── strike, fatal ──────────────┘
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

# So many messages in a row have to fail, where one of them says little.
STRIKES = 5
# How long a relay gets nothing, in seconds: doubled each time that the message to try with fails as well, with jitter.
BASE = 1.0
CAP = 30.0
# The most while no relay is up: then there is nobody else, and messages wait for the first that comes back.
EAGER = 5.0
# The relay may say itself how long; nobody waits longer for its word.
LONGEST = 86_400.0


class Health(enum.StrEnum):
    """What a relay is thought to be."""

    UP = "up"
    DOWN = "down"
    PROBING = "probing"


class Sign(enum.Enum):
    """What a relay has just shown."""

    TAKEN = "it took a message, or refused one for what the message is"
    STRIKE = "it failed with a message in a way that may be the message's fault, or an accident"
    FATAL = "it cannot be used: no connection, no login, no answer, a quota that is used up"
    GIVEN = "a message goes there to see"
    NOTHING = "that message ended and told nothing, such as by being cancelled"


# A strike counts; what it leads to here is what the last of them does.
TRANSITIONS: dict[tuple[Health, Sign], Health] = {
    (Health.UP, Sign.TAKEN): Health.UP,
    (Health.UP, Sign.STRIKE): Health.DOWN,
    (Health.UP, Sign.FATAL): Health.DOWN,
    (Health.UP, Sign.GIVEN): Health.UP,
    (Health.UP, Sign.NOTHING): Health.UP,
    # What was under way when it went down proves nothing: only the message that goes there to see does.
    (Health.DOWN, Sign.TAKEN): Health.DOWN,
    (Health.DOWN, Sign.STRIKE): Health.DOWN,
    (Health.DOWN, Sign.FATAL): Health.DOWN,
    (Health.DOWN, Sign.GIVEN): Health.PROBING,
    (Health.DOWN, Sign.NOTHING): Health.DOWN,
    (Health.PROBING, Sign.TAKEN): Health.UP,
    (Health.PROBING, Sign.STRIKE): Health.DOWN,
    (Health.PROBING, Sign.FATAL): Health.DOWN,
    (Health.PROBING, Sign.GIVEN): Health.PROBING,
    (Health.PROBING, Sign.NOTHING): Health.DOWN,
}


@dataclass(frozen=True, slots=True)
class Breaker:
    """``strikes`` in a row while it is up; ``failures``: how often in a row it was found down.

    ``until`` when it gets no message, and ``until_alone`` while no other relay is up.
    """

    health: Health = Health.UP
    strikes: int = 0
    failures: int = 0
    until: float = -math.inf
    until_alone: float = -math.inf

    def admits(self, now: float, *, alone: bool = False) -> bool:
        """Whether a message may go there. ``alone``: no relay is up."""
        return self.health is Health.UP or (self.health is Health.DOWN and self.opens_at(alone=alone) <= now)

    def opens_at(self, *, alone: bool) -> float:
        return self.until_alone if alone else self.until


def after(breaker: Breaker, sign: Sign, now: float, dice: float, retry_after: float | None = None) -> Breaker:
    """What the breaker is after a sign.

    :param now: the time in seconds
    :param dice: a random number in [0, 1)
    :param retry_after: seconds that the relay asked for, or None
    """
    health = breaker.health
    if health is Health.UP and sign is Sign.STRIKE and breaker.strikes + 1 < STRIKES:
        return replace(breaker, strikes=breaker.strikes + 1)
    then = TRANSITIONS[health, sign]
    if then is health:
        if health is Health.UP and sign is Sign.TAKEN and breaker.strikes:
            return replace(breaker, strikes=0)
        if health is Health.DOWN and sign is Sign.FATAL and retry_after is not None:
            until = max(breaker.until, now + min(retry_after, LONGEST))
            return replace(breaker, until=until, until_alone=until)
        return breaker
    if then is Health.UP:
        return Breaker()
    if then is Health.PROBING:
        return replace(breaker, health=then)
    if sign is Sign.NOTHING:
        return replace(breaker, health=then, until=now, until_alone=now)
    failures = breaker.failures + 1
    wait = min(CAP, BASE * 2.0 ** min(failures - 1, 60)) * (1 + dice / 4)
    wait_alone = min(wait, EAGER)
    if retry_after is not None:
        wait = wait_alone = max(wait, min(retry_after, LONGEST))
    return Breaker(then, 0, failures, now + wait, now + wait_alone)
