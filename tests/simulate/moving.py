"""Whether a message went from one relay to another only when it was sure that the first does not deliver it."""

from __future__ import annotations

import math
import re
from typing import Any

from evidence import Evidence, Handed
from scenario import Scenario

from mailpool import DeadlineExceeded, Outcome, PoolClosed, RecipientResult, SendError, SendResult
from mailpool.errors import UnsupportedByServer

# What a relay says of itself, and not of a message or its recipient.
_OF_ITSELF = re.compile(r"^(421|454|521)|^\d{3} 4\.[34]\.|^452 (?!\d\.)|relay.*(denied|not permitted)")


def judge(scenario: Scenario, evidence: Evidence) -> None:
    """Complain of each message that moved on and should not have."""
    journeys: dict[int, list[Handed]] = {}
    for handed in evidence.handed:
        journeys.setdefault(handed.number, []).append(handed)
    for journey in journeys.values():
        _Journey(scenario, evidence, journey).judge()


class _Journey:
    def __init__(self, scenario: Scenario, evidence: Evidence, journey: list[Handed]) -> None:
        self._scenario = scenario
        self._evidence = evidence
        self._journey = journey
        self._taken: set[str] = set()  # recipients who have the message, or were refused for good
        self._doubts = 0  # how often it was not known what became of it

    def judge(self) -> None:
        before: Handed | None = None
        for handed in self._journey:
            if before is not None:
                self._moved(before, handed)
            self._ended(handed)
            before = handed

    def _moved(self, before: Handed, handed: Handed) -> None:
        number, complain, options = handed.number, self._evidence.complain, self._scenario.options
        if before.ended_at is None or handed.at < before.ended_at:
            complain(f"P-18: message {number} is with two relays at once")
        for recipient in handed.recipients:
            if recipient in self._taken:
                complain(
                    f"P-15: message {number} moves on for {recipient}, of whom relay {before.relay} has said all"
                )
        if self._doubts > (options["max_duplicates"] if options["on_uncertain"] == "requeue" else 0):
            complain(f"P-18: message {number} moves on, and relay {before.relay} may have delivered it")
        if self._doubts and options["max_requeues"] == 0:
            complain(f"P-18: message {number} may be there, and moves on though nothing may be sent again")

    def _ended(self, handed: Handed) -> None:
        outcome: Any = handed.outcome
        if isinstance(outcome, SendResult | SendError):
            for one in outcome.recipients:
                if one.accepted or not self._may_move(outcome, one):
                    self._taken.add(one.address)
            if any(one.outcome is Outcome.UNCERTAIN for one in outcome.recipients):
                self._doubts += 1
        if isinstance(outcome, SendError) and not outcome.may_have_been_delivered:
            self._is_nowhere(handed, outcome)

    def _may_move(self, outcome: SendResult | SendError, one: RecipientResult) -> bool:
        """Whether another relay may be asked for a recipient that this one did not take."""
        if isinstance(outcome, UnsupportedByServer | PoolClosed):
            return True
        if isinstance(outcome, DeadlineExceeded):
            return False
        says_itself = one.reply is not None and _OF_ITSELF.search(str(one.reply).lower()) is not None
        if one.outcome is Outcome.REJECTED:
            return says_itself
        if one.outcome is Outcome.DEFERRED:
            return says_itself or self._scenario.move_deferred
        return True

    def _is_nowhere(self, handed: Handed, error: SendError) -> None:
        """The relay said that it has not delivered it; its servers know."""
        # Where no time passes, a relay that was asked again may have taken it in the same moment: that is no lie.
        later = [other for other in self._journey if other is not handed and other.at >= handed.ended_at]
        again = min((other.at for other in later if other.relay == handed.relay), default=math.inf)
        for server, message in self._evidence.accepted:
            if self._scenario.relay_of(server) != handed.relay or handed.ended_at is None:
                continue
            if (
                handed.at <= message.time <= handed.ended_at
                and message.time < again
                and message.sender == f"from-{handed.number}@example.org"
            ):
                found = set(message.recipients) & set(handed.recipients)
                if found:
                    self._evidence.complain(
                        f"P-16: relay {handed.relay} has message {handed.number}: {error}"
                    )
