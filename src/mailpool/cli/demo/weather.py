"""When the demo's server closes a connection: a bad day at a provider, the same for the same seed."""

from __future__ import annotations

import enum
import random


class Place(enum.StrEnum):
    """Where in a message the connection ends. None of them is rare in the field."""

    BEFORE_MAIL = "in place of the reply to MAIL"
    AFTER_MAIL = "after the reply to MAIL"
    BEFORE_RCPT = "in place of the reply to RCPT"
    AFTER_RCPT = "after the reply to RCPT"
    BEFORE_DATA = "in place of the reply to DATA"
    AFTER_DATA = "after the reply to DATA"
    IN_CONTENT = "in mid-content"
    NOT_STORED = "after the end of data, not stored, no reply"
    STORED = "after the end of data, stored, no reply"


class Manner(enum.StrEnum):
    """How it ends."""

    CLOSE = "close"
    RESET = "reset"
    SAY_421 = "421"


class Weather:
    """Throws the dice of one connection. Which message meets which fault depends on timing; the faults do not.

    :param seed: of the run
    :param connection: its number
    :param rate: the share of messages whose connection is closed, from 0 to 1
    """

    def __init__(self, seed: int, connection: int, rate: float) -> None:
        # Seeded on purpose: a run can be repeated.
        self._dice = random.Random(f"{seed}/{connection}")  # noqa: S311 - the weather is no secret
        self._rate = rate

    def next_message(self) -> tuple[Place, Manner] | None:
        """Where and how the connection ends in the next message, or None: it goes well."""
        chance, place, manner = (
            self._dice.random(),
            self._dice.choice(list(Place)),
            self._dice.choice(list(Manner)),
        )
        return (place, manner) if chance < self._rate else None
