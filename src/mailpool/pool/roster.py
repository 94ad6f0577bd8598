"""The connections of a pool: opening, lending, retiring and forgetting them, and the notes that decisions rest on.

It never decides: the pool, its ``Desk``, says what to open and what to retire, as ``policy.assignment`` found. It tells the
desk when something may have become possible, and ``outcomes`` what happened to messages.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from ..auth.tokens import Tokens
from ..errors import (
    AuthenticationFailed,
    ConnectionFailed,
    ProxyFailed,
    QuotaExceeded,
    SendError,
    TimedOut,
)
from ..net.connect import Connector
from ..net.connection import Connection
from ..options import Options
from ..policy.assignment import takes_next
from ..policy.meaning import classify
from ..policy.state import Lane, Slot, State
from ..results import Outcome, Phase
from ..smtp.habits import Habits
from ..smtp.transaction import Transaction
from .lanes import PoolLane
from .outcomes import Outcomes
from .statistics import Counts
from .throttling import Throttling, throttled

log = logging.getLogger("mailpool")

Notify = Callable[..., None]

# What is wrong with a certificate or a name stays wrong for a moment: messages that come meanwhile fail untried.
_LASTING = 1.0
# P-10: connections that were opened together end apart; the share of their age that chance may take away.
_AGE_JITTER = 0.25
# A replacement is begun when a connection has so few messages left: about what a handshake takes, counted in messages
# of one round trip each (P-08).
_AHEAD = 6
# The same for a connection whose age ends, in seconds.
_AHEAD_SECONDS = 5.0


class Desk(Protocol):
    """Who carries out decisions."""

    def hand_over(self, slot: Slot, now: float) -> bool:
        """Begin the head of the line on ``slot``. Whether that was all there was to do."""

    def run(self) -> None:
        """Something may be possible now."""

    def schedule(self) -> None:
        """Something may be possible soon."""


class Roster:
    """All connections of one pool, by the slot that stands for each in the state; the owner that they report to."""

    def __init__(
        self,
        options: Options,
        state: State,
        counts: Counts,
        desk: Desk,
        outcomes: Outcomes,
        *,
        throttling: Throttling,
        notify: Notify,
        connector: Connector,
        dice: Callable[[], float],
    ) -> None:
        self.options = options  # less the extensions that this relay has got wrong
        self._state = state
        self._counts = counts
        self._desk = desk
        self._outcomes = outcomes
        self._throttling = throttling
        self._notify = notify
        self._connector = connector
        self._dice = dice
        self._loop = asyncio.get_running_loop()
        most = options.max_messages
        self._max_messages = math.inf if most < 0 else most
        # A login to a proxy is one as any other: wrong ones may lock an account.
        self._has_proxy_login = options.proxy is not None and options.proxy.user is not None
        self._slots: dict[Connection, Slot] = {}
        self._opening: dict[asyncio.Task[None], None] = {}  # in order: what closing does can be repeated
        self._suspicions: Counter[str] = (
            Counter()
        )  # connections that failed in a way that speaks against an extension
        self._habits = Habits()
        self._shut: asyncio.Future[None] | None = None  # done when the last connection has gone

    def __iter__(self) -> Iterator[Slot]:
        return iter(tuple(self._slots.values()))

    def slot_of(self, token: object) -> tuple[Slot, Transaction] | None:
        """The slot and the transaction under way whose token this is."""
        for slot in self._slots.values():
            pipeline = slot.connection.pipeline
            if pipeline is not None:
                for transaction in pipeline.in_flight:
                    if transaction.token is token:
                        return slot, transaction
        return None

    def in_flight(self) -> list[Transaction]:
        pipelines = (slot.connection.pipeline for slot in self._slots.values())
        return [
            transaction
            for pipeline in pipelines
            if pipeline is not None
            for transaction in pipeline.in_flight
        ]

    # -- opening ---------------------------------------------------------------------------------------------------

    def open(self, lane: Lane) -> None:
        assert isinstance(lane, PoolLane)
        slot = Slot(lane)
        slot.connection = Connection(self.options, self, connector=self._connector, habits=self._habits)
        self._slots[slot.connection] = slot
        lane.opening += 1
        lane.total += 1
        self._state.total += 1
        self._throttling.opening(lane)
        if lane.blocked_until <= self._loop.time():
            lane.gate.reopen()
        task = self._loop.create_task(self._open(slot, lane), name="mailpool: open a connection")
        self._opening[task] = None
        task.add_done_callback(lambda task: self._open_ended(task, slot, lane))

    async def _open(self, slot: Slot, lane: PoolLane) -> None:
        connection: Connection = slot.connection
        held = False
        token: str | None = None

        async def login(again: bool) -> str | None:
            nonlocal held, token
            assert lane.credentials is not None
            if not (again or held):
                held = await lane.gate.enter()
            # After a refusal: another one than was tried, which another connection may have got meanwhile.
            token = await Tokens.here().token(
                lane.credentials,
                self._notify,
                refused=token if again else None,
                proxy=self.options.proxy,
            )
            return token

        try:
            if self._has_proxy_login:
                held = await lane.gate.enter()
            await connection.open(lane.credentials, lane.context, login)
        except SendError as error:
            self._not_opened(slot, lane, error)
        except Exception as error:
            # A bug of ours, and no reason for messages to wait for ever.
            failed = ConnectionFailed(f"{type(error).__name__}: {error}", phase=Phase.CONNECT, temporary=True)
            failed.__cause__ = error
            self._not_opened(slot, lane, failed)
        else:
            self._opened(slot, lane)
        finally:
            if held:
                lane.gate.leave()

    def _open_ended(self, task: asyncio.Task[None], slot: Slot, lane: PoolLane) -> None:
        self._opening.pop(task, None)
        if slot.opening:  # cancelled, perhaps before its first step
            self._not_opened(slot, lane, None)

    def _opened(self, slot: Slot, lane: PoolLane) -> None:
        connection: Connection = slot.connection
        assert connection.session is not None
        slot.opening = False
        lane.opening -= 1
        lane.open += 1
        lane.first_failure_at = None
        lane.blocked_until = 0.0
        lane.gate.succeeded()
        lane.slots[slot] = None
        slot.open = True
        slot.opened_at = self._loop.time()
        slot.remaining = min(
            self._lifetime(lane),
            connection.session.capabilities.limits.mail_max or math.inf,
            self._throttling.opened(lane),
        )
        # A connection for one message needs no heir: the next message opens its own.
        slot.ahead = min(_AHEAD, slot.remaining // 4) if slot.remaining > 1 else -1
        if self.options.max_age is not None:
            slot.retire_at = self._loop.time() + self.options.max_age * (1 - _AGE_JITTER * self._dice())
        lane.opened += 1
        self._counts.handshakes += 1
        self._counts.reconnects += lane.opened > self.options.max_connections
        ssl_object = connection.transport_info("ssl_object")
        self._counts.tls_resumed += ssl_object is not None and bool(ssl_object.session_reused)
        log.debug("connection opened", extra={"connection": repr(connection)})
        self._notify("connection_opened", connection)
        self.update(slot)
        # It has just answered: a message that waits is not kept waiting by another question.
        slot.checked = True
        self._desk.run()
        if slot in lane.idle:
            slot.checked = False

    def _lifetime(self, lane: PoolLane) -> float:
        """How many messages a connection may carry.

        The first ones get less, each another share, so that their ends are spread over the time of one life and no two
        connections are away at once (P-08).
        """
        most = self._max_messages
        if most == math.inf or lane.opened >= self.options.max_connections:
            return most
        share = (lane.opened + self._dice()) / self.options.max_connections / 2
        return max(1, most - int(most * share))

    def _not_opened(self, slot: Slot, lane: PoolLane, error: SendError | None) -> None:
        slot.opening = False
        lane.opening -= 1
        connection: Connection = slot.connection
        if connection.has_transport:
            self._mark_leaving(slot)
        else:
            self._forget(slot)
        # One that waited at the gate only heard what another connection was told.
        if error is None or error is lane.gate.refused or self._shut is not None:
            self._desk.schedule()
            return
        lane.last_error = error
        self._counts.connection_failures += 1
        log.warning("connection failed: %s", error, extra={"phase": str(error.phase)})
        self._notify("connection_failed", error)
        if self._asks_for_less(slot, lane, error):
            self._desk.run()
            return
        wrong_login = isinstance(error, AuthenticationFailed) or (
            isinstance(error, ProxyFailed) and not error.temporary and self._has_proxy_login
        )
        if wrong_login:
            lane.gate.failed(error)
        now = self._loop.time()
        lane.count_failure(self._loop.time(), self._dice())
        if error.temporary:
            lane.note_outage(now, self.options.connection_wait)
        else:
            lane.blocked_until = now + (self.options.auth_retry_after if wrong_login else _LASTING)
            lane.blocked_by = error
            # With another connection of the same identity still open, messages go on over that.
            if lane.open == 0:
                self._outcomes.unreachable(lane, error)
        self._desk.run()

    def _asks_for_less(self, slot: Slot, lane: PoolLane, error: SendError) -> bool:
        """Whether the server did not let us in only for now: neither the password nor the relay is at fault."""
        meaning = None if error.reply is None else classify(error.reply, error.phase)
        if meaning is None or error.reply is None:
            return False
        if meaning.less is None and meaning.outcome is not Outcome.QUOTA:
            return False
        if error.phase is Phase.AUTH:
            lane.gate.failed(error)  # whoever waits there need not ask as well
        if meaning.outcome is Outcome.QUOTA:
            quota = throttled(error.reply, error.phase, meaning)
            assert isinstance(quota, QuotaExceeded)
            lane.count_failure(self._loop.time(), self._dice())
            self._outcomes.quota_exceeded(lane, quota)
        else:
            self._throttling.turned_away(lane, slot, error, meaning)
        return True

    # -- what connections report -----------------------------------------------------------------------------------

    def progress(self, connection: Connection) -> None:
        assert connection.pipeline is not None
        slot = self._slots[connection]
        if slot.lane.failures and connection.pipeline.has_taken_mail:
            assert isinstance(slot.lane, PoolLane)
            slot.lane.was_reached(slot.opened_at)
        self._take_finished(connection, slot)
        now = self._loop.time()
        done = False
        while takes_next(self._state, slot, now) and connection.pipeline.can_begin:
            done = self._desk.hand_over(slot, now)
            if not done:
                break
        self.update(slot)
        if not done:
            self._desk.run()

    def lost(self, connection: Connection, error: SendError, abandoned: list[Transaction]) -> None:
        slot = self._slots[connection]
        lane = slot.lane
        assert isinstance(lane, PoolLane)
        self._no_longer_open(slot)
        self._mark_leaving(slot)
        if connection.served == 0:
            lane.count_unused(self._loop.time(), self._dice())
        elif connection.pipeline is not None and not connection.pipeline.has_taken_mail:
            # It let us in and took nothing: for the back-off that is no better than a closed door.
            lane.count_failure(self._loop.time(), self._dice())
        self._take_finished(connection, slot)
        # A reply that does not come may be a slow server's; twice is not.
        if connection.suspect is not None:
            self._distrust(connection.suspect, error)
        if self._shut is None:
            self._throttling.lost(lane, slot, error, abandoned)
            if error.reply is not None and (meaning := classify(error.reply, error.phase)).less is not None:
                self._throttling.heard(lane, slot, error.reply, error.phase, meaning)
        # They go to the front of the queue, and so the last one first.
        for transaction in reversed(abandoned):
            self._outcomes.ended(transaction, error, slot)
        log.debug(
            "connection lost: %s", error, extra={"phase": str(error.phase), "connection": repr(connection)}
        )
        self._notify("connection_lost", error)
        self._desk.schedule()

    def _distrust(self, extension: str, error: SendError) -> None:
        """Some servers offer what they cannot do. Slower is better than wrong."""
        self._suspicions[extension] += 1
        # A reply that does not come may be a slow server's; twice is not.
        if self._suspicions[extension] < 1 + isinstance(error, TimedOut) or extension in self.options.disable:
            return
        self.options = dataclasses.replace(self.options, disable=self.options.disable | {extension})
        log.warning("%s is not used with this relay any more: %s", extension, error)
        self._notify("extension_disabled", extension, error)

    def closed(self, connection: Connection) -> None:
        slot = self._slots.get(connection)
        # One that is still being opened is forgotten by the task that opens it.
        if slot is not None and slot.leaving:
            self._forget(slot)
            self._desk.schedule()

    def _take_finished(self, connection: Connection, slot: Slot) -> None:
        assert connection.pipeline is not None
        finished = connection.pipeline.finished
        if finished:
            for transaction in finished:
                if self._outcomes.ended(transaction, None, slot):
                    self.retire(slot, "the server wants it so")
            finished.clear()

    # -- the notes -------------------------------------------------------------------------------------------------

    def begun(self, slot: Slot, *, alone: bool) -> None:
        """A message has been put on the slot."""
        lane = slot.lane
        slot.begun += 1
        slot.remaining -= 1
        slot.checked = False
        slot.idle_since = None
        slot.alone = alone
        assert isinstance(lane, PoolLane)
        lane.unused = 0
        lane.idle.pop(slot, None)
        lane.hungry.pop(slot, None)
        if lane.reserved is slot:
            lane.reserved = None
        runs_out = slot.remaining <= slot.ahead
        max_age = self.options.max_age
        if runs_out or (max_age and slot.retire_at - self._loop.time() <= min(_AHEAD_SECONDS, max_age / 4)):
            lane.ending[slot] = None

    def update(self, slot: Slot) -> None:
        """Put the slot where it belongs after something happened on its connection."""
        if not slot.open:
            return
        lane = slot.lane
        pipeline = slot.connection.pipeline
        if pipeline.is_free:
            lane.probing.pop(slot, None)
            lane.hungry.pop(slot, None)
            slot.alone = False
            if lane.reserved is slot:
                lane.reserved = None
            if slot.exhausted:
                self.retire(slot, "it has served its time")
            elif slot not in lane.idle:
                slot.idle_since = self._loop.time()
                lane.idle[slot] = None
        elif pipeline.can_begin and not slot.exhausted and not slot.alone and lane.reserved is not slot:
            lane.hungry[slot] = None
        else:
            lane.hungry.pop(slot, None)

    def reserve(self, slot: Slot) -> None:
        slot.lane.reserved = slot
        slot.lane.hungry.pop(slot, None)

    def probe(self, slot: Slot) -> None:
        slot.checked = True
        slot.idle_since = None
        slot.lane.idle.pop(slot, None)
        slot.lane.probing[slot] = None
        slot.connection.probe()

    # -- closing ---------------------------------------------------------------------------------------------------

    def retire(self, slot: Slot, why: str) -> None:
        """Take no more messages on this connection; say goodbye once it is idle."""
        if not slot.open:
            return
        self._mark_leaving(slot)
        if slot.connection.pipeline.is_idle:
            self._no_longer_open(slot)
            log.debug("closing a connection: %s", why, extra={"connection": repr(slot.connection)})
            slot.connection.quit()

    def _no_longer_open(self, slot: Slot) -> None:
        slot.open = False
        lane = slot.lane
        lane.open -= 1
        del lane.slots[slot]
        lane.ending.pop(slot, None)
        lane.probing.pop(slot, None)
        if not lane.open:
            assert isinstance(lane, PoolLane)
            lane.gate.doubt()
            lane.first_failure_at = None  # what failed meanwhile does not tell since when the relay is down

    def _mark_leaving(self, slot: Slot) -> None:
        if not slot.leaving:
            slot.leaving = True
            self._state.leaving += 1
            slot.lane.leaving += 1
        lane = slot.lane
        lane.idle.pop(slot, None)
        lane.hungry.pop(slot, None)
        if lane.reserved is slot:
            lane.reserved = None

    def _forget(self, slot: Slot) -> None:
        """Nothing of the connection is left."""
        connection: Connection = slot.connection
        del self._slots[connection]
        self._state.total -= 1
        self._state.leaving -= slot.leaving
        slot.lane.total -= 1
        slot.lane.leaving -= slot.leaving
        self._counts.bytes_sent += connection.bytes_sent
        self._counts.bytes_received += connection.bytes_received
        self._notify("connection_closed", connection)
        if self._slots:
            return
        if self._shut is None:
            self._notify("clear")
        elif not self._shut.done():
            self._shut.set_result(None)

    def shut(self) -> asyncio.Future[None]:
        """Retire everything, and give up what is being opened. Done when no connection is left."""
        self._shut = self._loop.create_future()
        for task in tuple(self._opening):
            task.cancel()
        for slot in self:
            self.retire(slot, "the pool closes")
        if not self._slots:
            self._shut.set_result(None)
        return self._shut

    def cut(self, why: str) -> None:
        """Close everything now; what was under way is lost."""
        for slot in self:
            if slot.open:
                slot.connection.destroy(ConnectionFailed(why, phase=Phase.QUEUE, temporary=True))
            slot.connection.abort()

    async def tasks_ended(self) -> None:
        await asyncio.gather(*self._opening, return_exceptions=True)
