"""One seed, played and judged."""

from __future__ import annotations

import asyncio
import hashlib
import traceback
from dataclasses import dataclass, field
from typing import Any

from breadth import widened
from evidence import Evidence
from letters import BreaksOff
from oracle import judge
from run import run
from scenario import scenario

from mailpool import DeliveryUncertain, MessageError, SendError, SendResult


@dataclass(slots=True)
class Verdict:
    """What is wrong with a seed: nothing, as a rule. ``fingerprint`` stands for everything that happened."""

    seed: int
    complaints: list[str]
    fingerprint: str = ""
    messages: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    scenario: str = ""
    transcript: list[str] = field(default_factory=list)


def verdict(seed: int, *, transcript: bool = False) -> Verdict:
    """Play a seed and judge it."""
    chosen = widened(scenario(seed))
    try:
        evidence = run(chosen)
        complaints = judge(chosen, evidence)
    except (Exception, asyncio.CancelledError) as error:
        lines = traceback.format_exc().strip().splitlines()
        return Verdict(seed, [f"{type(error).__name__}: {error}", *(lines if transcript else ())])
    found = Verdict(seed, complaints, messages=len(evidence.submissions), counts=_counts(evidence))
    lines = [f"{at:12.4f}  {who}: {words}" for at, who, words in evidence.trace]
    found.fingerprint = hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()[:16]
    if transcript:
        found.scenario, found.transcript = str(chosen), lines
    return found


def _counts(evidence: Evidence) -> dict[str, int]:
    outcomes = [entry.outcome for entry in evidence.submissions.values()]
    results = [one for one in outcomes if isinstance(one, SendResult)]
    stats = evidence.stats
    return {
        "messages": len(outcomes),
        "transactions accepted by the servers": len(evidence.accepted),
        "connections": len(evidence.taps),
        "connections that broke": len(evidence.heard("connection_lost")),
        "attempts to connect that failed": len(evidence.heard("connection_failed")),
        "requeues": stats.requeued if stats else 0,
        "cancelled by their callers": sum(
            entry.cancelled_at is not None for entry in evidence.submissions.values()
        ),
        "uncertain, and said to be": sum(isinstance(one, DeliveryUncertain) for one in outcomes),
        "marked as possibly doubled": sum(one.maybe_duplicate for one in results),
        "moves from one relay to another": len(evidence.handed)
        - len({one.number for one in evidence.handed}),
        "that could not be made, or not be read to their end": sum(_is_unmade(one) for one in outcomes),
        "virtual seconds": int(evidence.trace[-1][0]) if evidence.trace else 0,
    }


def _is_unmade(outcome: Any) -> bool:
    unread = isinstance(outcome, SendError) and isinstance(outcome.__cause__, BreaksOff)
    return unread or isinstance(outcome, MessageError)
