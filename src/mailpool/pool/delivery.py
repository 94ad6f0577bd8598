"""One message on its way through the pool: what is decided about it so far, and who waits for the rest."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ..address import Envelope
from ..errors import PoolClosed
from ..message import Sealed
from ..policy.state import Lane
from ..results import Outcome, Phase, RecipientResult
from .pending import Pending


class Place(enum.Enum):
    """Where in the queue a message waits."""

    LINE = "in its line"
    DOOR = "for its turn to be queued"
    ALONE = "for a connection of its own"
    ASLEEP = "for its back-off to end"


# What most waiting messages have alike is made once.
_NO_OUTCOMES: Final[Mapping[int, RecipientResult]] = MappingProxyType({})
_ONE: Final = range(1)


class Delivery:
    """A message in the pool.

    ``pending`` holds the indices of the recipients that have no outcome; ``outcomes`` what became of the others.
    """

    __slots__ = (
        "attempts",
        "batch",
        "content",
        "continues",
        "deadline",
        "detached",
        "duplicates",
        "envelope",
        "error",
        "first_begun_at",
        "future",
        "given_up",
        "gone",
        "lane",
        "maybe_duplicate",
        "message_id",
        "most_recipients",
        "not_before",
        "outcomes",
        "pending",
        "place",
        "priority",
        "queued_at",
        "replaced",
        "requeues",
        "reused",
        "sealed",
        "settled",
        "stale",
        "throttled_at",
        "throttles",
        "waiting_since",
    )

    def __init__(
        self,
        sealed: Sealed,
        *,
        lane: Lane,
        future: Pending,
        now: float,
        priority: int = 0,
    ) -> None:
        self.envelope = sealed.envelope
        self.content = sealed.content
        self.message_id = sealed.message_id
        self.lane = lane
        self.future = future
        self.priority = priority
        self.sealed = sealed
        count = len(sealed.envelope.recipients)
        self.pending: Sequence[int] = _ONE if count == 1 else range(count)
        self.outcomes: Mapping[int, RecipientResult] = _NO_OUTCOMES  # to read; `note` makes one to write to
        self.batch: Sequence[int] = ()  # of the transaction under way
        self.most_recipients: int | None = None  # in one transaction; less once the server took less
        self.attempts = 0
        self.requeues = 0
        self.duplicates = 0
        self.maybe_duplicate = False
        self.replaced = False  # has had its one free replacement of a connection that was in use (P-11)
        self.reused = False  # the connection under way had been used before
        self.stale = False  # … and idle for a while before this message
        self.gone = False  # left the queue from the middle
        self.place = Place.LINE
        self.settled = False
        self.given_up = False  # nobody waits for it any more
        self.detached = False  # and yet its transaction goes on
        self.queued_at = now
        self.waiting_since = now
        self.not_before = 0.0
        self.throttles = 0  # how often the server wanted it later
        self.throttled_at: float | None = None  # the first time
        self.continues = False  # the rest of its recipients is next; the attempt is the same
        self.error: BaseException | None = (
            None  # what decides so far, where it goes out in parts or by several ways
        )
        self.first_begun_at: float | None = None
        self.deadline: asyncio.TimerHandle | None = None

    def note(self, index: int, result: RecipientResult) -> None:
        """What became of one recipient."""
        outcomes = self.outcomes
        if not isinstance(outcomes, dict):
            self.outcomes = outcomes = {}
        outcomes[index] = result

    def take_back(self, indices: Container[int]) -> None:
        """What had become of these recipients is no outcome after all."""
        if self.outcomes:
            self.outcomes = {index: result for index, result in self.outcomes.items() if index not in indices}

    @property
    def weight(self) -> int:
        """Recipients of the next transaction, as a rate by recipients counts them."""
        count = len(self.pending)
        return count if self.most_recipients is None else min(count, self.most_recipients)

    @property
    def may_have_been_delivered(self) -> bool:
        """Whether somebody may have it whatever comes now."""
        return self.maybe_duplicate or any(
            result.outcome in (Outcome.ACCEPTED, Outcome.UNCERTAIN) for result in self.outcomes.values()
        )

    @property
    def was_not_sent(self) -> bool:
        """Whether closing has ended it."""
        future = self.future
        return future.done() and not future.cancelled() and isinstance(future.exception(), PoolClosed)

    @property
    def unsent(self) -> Sealed:
        """What is left of the message: to the recipients that have no outcome."""
        if not self.outcomes:
            return self.sealed
        left = [self.envelope.recipients[index] for index in self.pending]
        return dataclasses.replace(self.sealed, envelope=Envelope(self.envelope.sender, left))

    def recipients(self, others: Outcome, phase: Phase) -> tuple[RecipientResult, ...]:
        """What became of each recipient; ``others`` is what became of those that the server said nothing final about.

        Empty as long as the envelope was never on the wire.
        """
        if not self.attempts:
            return ()
        addresses = self.envelope.recipients
        if len(self.outcomes) == len(addresses) == 1:
            return (self.outcomes[0],)
        return tuple(
            self.outcomes.get(index) or RecipientResult(address, others, phase)
            for index, address in enumerate(addresses)
        )

    def __repr__(self) -> str:
        return f"<Delivery {self.message_id}, {len(self.pending)} pending, attempt {self.attempts}>"
