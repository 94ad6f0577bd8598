"""One of several relays: its transport, what it has in hand, and what is thought of its health."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import ConnectionFailed, SendError, TimedOut
from ..options import Options
from ..policy.balance import Share
from ..policy.breaker import Breaker, Health, Sign, after
from ..pool.delivery import Delivery
from ..pool.pending import Pending
from ..pool.statistics import RelayStats
from ..results import Phase
from .carrier import Carrier
from .port import Transport

log = logging.getLogger("mailpool")

Notify = Callable[..., None]
# So many attempts to connect in a row have to fail, where no connection is open.
FAILED_CONNECTIONS = 3
# A relay that has messages on the wire and gives no sign of life for so long gets no more of them, in seconds. No reply
# is given up for that: what is on the wire there has the time that RFC 5321 §4.5.3.2 gives it.
SILENCE = 30.0


class Recallable(Transport, Protocol):
    """A transport that gives back what waits in it."""

    def recall(self, error: SendError) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayPlan:
    """What a relay is to be: its options, and its carrier where it does not speak SMTP."""

    name: str
    options: Options
    carrier: Carrier | None = None
    weight: float = 1.0


@dataclass(slots=True)
class InHand:
    """A message that a relay was given."""

    future: Pending
    probes: bool


class Relay:
    """:param make: makes the transport of a plan
    :param listener: told of room, and of every change of health; see `mailpool.transports.failover.Failover`
    """

    def __init__(
        self,
        plan: RelayPlan,
        *,
        make: Callable[[RelayPlan, Notify], Recallable],
        on_event: Callable[[Relay, str, tuple[Any, ...]], None],
        on_health: Callable[[Relay, SendError | None], None],
        dice: Callable[[], float],
    ) -> None:
        self.name = plan.name
        self.takes_logins = plan.carrier is None
        self.share = Share(plan.weight)
        self.breaker = Breaker()
        self.hand: dict[Delivery, InHand] = {}
        self.last_error: SendError | None = None
        self.given = self.sent = self.moved_on = self.went_down = 0
        self._loop = asyncio.get_running_loop()
        self._dice = dice
        self._on_event = on_event
        self._on_health = on_health
        self._failed_connections = 0
        self.down_since: float | None = None  # it was up the last time then
        self.alive_at = 0.0  # when it last gave a sign of life
        self.transport = make(plan, self._heard)

    def gave(self, delivery: Delivery, future: Pending, now: float) -> None:
        """It was given a message."""
        probes = self.breaker.health is Health.DOWN
        if probes:
            self.breaker = after(self.breaker, Sign.GIVEN, now, 0.0)
            log.info("%s is tried again", self.name)
        if not self.hand:
            self.alive_at = now
        self.hand[delivery] = InHand(future, probes)
        self.share.in_hand += 1
        self.given += 1

    def ended(self, delivery: Delivery) -> InHand:
        self.share.in_hand -= 1
        self.alive_at = self._loop.time()
        return self.hand.pop(delivery)

    def showed(
        self, sign: Sign, error: SendError | None, *, probed: bool, retry_after: float | None = None
    ) -> None:
        """Draw the conclusion for its health.

        :param probed: whether the message to try with showed it; what was under way before says nothing against it
        """
        before = self.breaker
        if before.health is Health.UP and sign is Sign.TAKEN and not before.strikes:
            return  # nearly always
        if error is not None and sign in (Sign.STRIKE, Sign.FATAL):
            self.last_error = error
        if before.health is Health.PROBING and sign is not Sign.TAKEN and not probed:
            return
        self.breaker = after(before, sign, self._loop.time(), self._dice(), retry_after)
        if before.health is not Health.DOWN and self.breaker.health is Health.DOWN:
            self._went_down(before, error)
        elif before.health is Health.PROBING and self.breaker.health is Health.UP:
            log.warning("%s is up again", self.name)
            self._failed_connections = 0
            self.down_since = None
            self._on_health(self, None)

    def _went_down(self, before: Breaker, error: SendError | None) -> None:
        self._failed_connections = 0
        if before.health is Health.UP:
            self.went_down += 1
            self.down_since = self._loop.time()
            log.warning("%s is down: %s", self.name, error)
            self._on_health(self, error)
        # What waits there was not tried, and can go elsewhere at once.
        self.transport.recall(self.is_down(error))

    def is_down(self, error: SendError | None) -> ConnectionFailed:
        """What a message is told that was not tried here because of ``error``."""
        told = ConnectionFailed(
            f"{self.name} is down: {error}",
            phase=Phase.QUEUE if error is None else error.phase,
            reply=None if error is None else error.reply,
            temporary=True,
        )
        told.__cause__ = error
        return told

    def look(self, now: float) -> float:
        """See whether it is silent. Returns when to look again."""
        if not self.hand or self.breaker.health is Health.DOWN:
            return now + SILENCE
        if now >= self.alive_at + SILENCE:
            stats = self.transport.stats()
            if stats.in_flight + stats.opening:
                error = TimedOut(
                    f"{self.name} has messages and gave no sign of life for {SILENCE:g} s",
                    phase=Phase.QUEUE,
                    temporary=True,
                )
                self.alive_at = now
                self.showed(Sign.FATAL, error, probed=True)
                return now + SILENCE
            self.alive_at = now  # they wait for a rate, or for their back-off
        return self.alive_at + SILENCE

    def _heard(self, event: str, *details: Any) -> None:
        """An event of its transport."""
        if event == "connection_opened":
            self._failed_connections = 0
            self.alive_at = self._loop.time()
        self._on_event(self, event, details)
        if event == "connection_failed":
            self._connection_failed(details[0])

    def _connection_failed(self, error: SendError) -> None:
        self.last_error = error
        stats = self.transport.stats()
        if stats.busy + stats.idle:
            return  # it takes no more connections than it has
        self._failed_connections += 1
        probing = self.breaker.health is Health.PROBING
        if probing or self._failed_connections >= FAILED_CONNECTIONS:
            # Not now: its transport is about to draw its own conclusions.
            self._loop.call_soon(lambda: self.showed(Sign.FATAL, error, probed=True))

    def stats(self, now: float) -> RelayStats:
        down = self.breaker.health is Health.DOWN
        return RelayStats(
            name=self.name,
            health=str(self.breaker.health),
            retry_in=max(0.0, self.breaker.until - now) if down else 0.0,
            in_hand=len(self.hand),
            given=self.given,
            sent=self.sent,
            moved_on=self.moved_on,
            went_down=self.went_down,
            last_error=None if self.last_error is None else str(self.last_error),
            pool=self.transport.stats(),
        )
