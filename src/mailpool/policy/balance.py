"""Which relay gets the next message. Pure: who may be asked, and who has room, is told."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass


class Strategy(enum.StrEnum):
    """How messages are spread over relays."""

    FAILOVER = "failover"
    ROUND_ROBIN = "round-robin"
    LEAST_BUSY = "least-busy"


@dataclass(slots=True)
class Share:
    """What a relay is due. ``credit`` is what it has been passed over for, in units of weight."""

    weight: float = 1.0
    in_hand: int = 0
    credit: float = 0.0


def choose(
    strategy: Strategy, shares: Sequence[Share], admitted: Collection[int], with_room: Collection[int]
) -> int | None:
    """The index of the relay that the next message goes to, or None when it has to wait.

    In order, the first that is admitted gets everything: a message waits for its room, and does not spill over to the
    next because the first is busy. Otherwise whoever has no room is passed over.

    :param shares: one for each relay, in their order
    :param admitted: indices of the relays that may be asked
    :param with_room: indices of those that have room
    """
    if strategy is Strategy.FAILOVER:
        first = min(admitted, default=None)
        return first if first in with_room else None
    open_to = [index for index in range(len(shares)) if index in admitted and index in with_room]
    if not open_to:
        return None
    if strategy is Strategy.LEAST_BUSY:
        return min(open_to, key=lambda index: (shares[index].in_hand + 1) / shares[index].weight)
    return max(open_to, key=lambda index: shares[index].credit + shares[index].weight)


def take_turn(shares: Sequence[Share], open_to: Collection[int], chosen: int) -> None:
    """Note that ``chosen`` of ``open_to`` was given a message: smooth weighted round-robin, so that turns are spread."""
    total = 0.0
    for index in open_to:
        share = shares[index]
        share.credit += share.weight
        total += share.weight
    shares[chosen].credit -= total
