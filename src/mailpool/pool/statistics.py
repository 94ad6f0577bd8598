"""What the pool did, in numbers that are cheap to keep and cheap to read (P-32)."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from ..options import Rate
from ..policy.adaptive import Learnt

# Upper bounds in seconds, four to a decade: fine enough to see a change, few enough to print.
BOUNDS = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
    200.0,
    500.0,
)


class Histogram:
    """Durations in seconds, counted in fixed classes."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        return sum(self._counts)

    @property
    def counts(self) -> tuple[tuple[float, int], ...]:
        """For each upper bound in seconds, how many were at or below it and above the one before; the last is infinite."""
        return tuple(zip((*BOUNDS, float("inf")), self._counts, strict=True))

    def quantile(self, share: float) -> float:
        """The upper bound of the class that holds this share: ``quantile(0.95)``. 0 when nothing was counted."""
        wanted = share * self.count
        seen = 0
        for bound, count in self.counts:
            seen += count
            if seen >= wanted and seen:
                return bound
        return 0.0

    def copy(self) -> Histogram:
        copy = Histogram()
        copy._counts = self._counts.copy()
        copy.total = self.total
        return copy

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}, median ≤ {self.quantile(0.5):g} s, 95 % ≤ {self.quantile(0.95):g} s>"


@dataclass(slots=True)
class Counts:
    """What only grows."""

    sent: int = 0
    failed: int = 0
    requeued: int = 0
    throttled: int = 0
    uncertain: int = 0
    detached: int = 0
    handshakes: int = 0
    reconnects: int = 0
    connection_failures: int = 0
    tls_resumed: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """A snapshot. ``connections`` = opening + busy + idle + closing, never above ``max_connections``.

    ``queued`` messages wait for a connection, a token or a back-off, never more than ``max_queue``; ``held_back`` ones wait
    for their turn to be queued; those ``in_flight`` are on the wire. The rest counts what was, since the beginning.
    ``relays`` has one for each when there are several; then the rest is their sum.
    """

    connections: int
    opening: int
    busy: int
    idle: int
    closing: int
    queued: int
    held_back: int
    in_flight: int
    sent: int
    failed: int
    requeued: int
    throttled: int
    uncertain: int
    detached: int
    handshakes: int
    reconnects: int
    connection_failures: int
    tls_resumed: int
    bytes_sent: int
    bytes_received: int
    max_connections: int
    rates: tuple[Rate, ...]
    disabled: frozenset[str]
    relay_is_down: bool
    waited: Histogram
    took: Histogram
    learnt: tuple[Learnt, ...] = ()
    relays: tuple[RelayStats, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStats:
    """One of several relays, at one moment.

    ``name``        where it leads, without a secret
    ``health``      ``"up"``, ``"down"`` or ``"probing"``: one message is there to see
    ``retry_in``    seconds until a message goes there to see; 0 unless it is down
    ``in_hand``     messages that it was given and that have no outcome there
    ``given``       messages so far, those that it was given again counted again
    ``sent``        of these, those that it took
    ``moved_on``    of these, those that it did not take and that went back to be given to another, or to it again
    ``went_down``   how often it went down
    ``last_error``  why it, or a message there, failed last; None when nothing did
    ``pool``        its own statistics
    """

    name: str
    health: str
    retry_in: float
    in_hand: int
    given: int
    sent: int
    moved_on: int
    went_down: int
    last_error: str | None
    pool: PoolStats
