"""How long to wait before trying again."""

from __future__ import annotations

_BASE = 1.0
_CAP = 60.0


def full_jitter(attempt: int, dice: float, *, base: float, cap: float) -> float:
    """Seconds to wait before the next try: anything up to ``base`` doubled for each attempt, and never above ``cap``.

    :param attempt: how many tries have failed, from 1
    :param dice: a random number in [0, 1); the whole range is used, so that clients that fell together rise apart
    """
    return dice * min(cap, base * 2.0 ** min(attempt - 1, 60))


def message_backoff(attempt: int, dice: float) -> float:
    """Seconds until a message is tried again that was lost, or came too fast, without a word about when (P-18)."""
    return half_jitter(attempt, dice, base=_BASE, cap=_CAP)


def half_jitter(attempt: int, dice: float, *, base: float, cap: float) -> float:
    """The same with a floor of half: for a message of which it is known that its last try did harm."""
    bound = min(cap, base * 2.0 ** min(attempt - 1, 60))
    return bound * (0.5 + dice / 2)
