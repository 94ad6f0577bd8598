"""The statistics of several relays as one (P-32)."""

from __future__ import annotations

import dataclasses

from ..pool.queue import Queue
from ..pool.statistics import Counts, Histogram, PoolStats, RelayStats

_ADDED = (
    "connections", "opening", "busy", "idle", "closing", "in_flight", "max_connections", "detached", "handshakes",
    "reconnects", "connection_failures", "tls_resumed", "throttled", "bytes_sent", "bytes_received",
)  # fmt: skip


def sum_of(
    relays: tuple[RelayStats, ...], queue: Queue, counts: Counts, *, waited: Histogram, took: Histogram
) -> PoolStats:
    """Connections and octets are those of all relays together; messages are counted once, however many were asked."""
    pools = [relay.pool for relay in relays]
    added = {name: sum(getattr(pool, name) for pool in pools) for name in _ADDED}
    own = dataclasses.asdict(counts)
    return PoolStats(
        **added,
        queued=len(queue) + sum(pool.queued for pool in pools),
        held_back=queue.held_back + sum(pool.held_back for pool in pools),
        sent=own["sent"],
        failed=own["failed"],
        requeued=own["requeued"] + sum(pool.requeued for pool in pools),
        uncertain=sum(pool.uncertain for pool in pools),
        rates=tuple(rate for pool in pools for rate in pool.rates),
        disabled=frozenset(name for pool in pools for name in pool.disabled),
        relay_is_down=all(relay.health != "up" for relay in relays),
        waited=waited.copy(),
        took=took.copy(),
        learnt=tuple(one for pool in pools for one in pool.learnt),
        relays=relays,
    )
