"""Ways to break the pool: text of the source, and what stands there instead. A seed of the simulation has to notice each."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple


class Mutation(NamedTuple):
    """``old``, which is in ``file`` once, becomes ``new``."""

    name: str
    file: str
    old: str
    new: str

    def apply(self, package: Path) -> None:
        """Change the package in this folder; ``ValueError`` when the text is not there once."""
        path = package / self.file
        text = path.read_text("utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} holds {self.old!r} {text.count(self.old)} times, not once")
        path.write_text(text.replace(self.old, self.new), "utf-8")


_POOL, _ROSTER, _QUEUE = "pool/pool.py", "pool/roster.py", "pool/queue.py"
_SETTLEMENT, _LEDGER = "pool/settlement.py", "pool/ledger.py"
_ALARM, _ROOM, _CLOSING = "pool/alarm.py", "pool/room.py", "pool/closing.py"
_OUTCOMES = "pool/outcomes.py"
_PIPELINE, _ASSIGNMENT, _RATE = "smtp/pipeline.py", "policy/assignment.py", "policy/rate.py"
_CONNECTION, _PREPARING = "net/connection.py", "preparing/under_way.py"
_FAILOVER, _TRAVELLING, _TOKENS = "transports/failover.py", "transports/travelling.py", "auth/tokens.py"
_LINE = "policy/line.py"

MUTATIONS: Final = (
    # Waiting and waking.
    Mutation(
        "lost wake-up: a message is queued and nobody looks",
        _POOL,
        "        self._alarm.soon()\n        return delivery.future\n\n    def is_idle",
        "        return delivery.future\n\n    def is_idle",
    ),
    Mutation(
        "lost wake-up: the timer is set once and never again",
        _ALARM,
        "        self._timer = None\n        self._at = math.inf\n        self._look()",
        "        self._timer = None\n        self._look()",
    ),
    Mutation(
        "lost wake-up: a connection is gone, and nobody opens another",
        _ROSTER,
        "            self._forget(slot)\n            self._desk.schedule()\n\n    def _take_finished",
        "            self._forget(slot)\n\n    def _take_finished",
    ),
    Mutation(
        "lost wake-up: a message that could not be begun counts as begun",
        _POOL,
        "        return begun\n",
        "        return True\n",
    ),
    Mutation(
        "a back-off that ends wakes nobody",
        _ASSIGNMENT,
        "            wake = min(wake, at)\n        if lane.adaptive is not None and lane.total",
        "        if lane.adaptive is not None and lane.total",
    ),
    Mutation(
        "what was begun is not written",
        _POOL,
        "            for connection in touched:\n                connection.flush()",
        "            for connection in touched[:1]:\n                connection.flush()",
    ),
    Mutation(
        "the event idle is not emitted",
        _ROOM,
        "        self._waiters.wake()\n        self._on_room()",
        "        self._waiters.wake()",
    ),
    Mutation(
        "who waits for room is not woken",
        _ROOM,
        "        self._waiters.wake()\n        self._on_room()",
        "        self._on_room()",
    ),
    Mutation(
        "the door of a full queue never opens",
        _QUEUE,
        "        admitted = False\n        while self._overflow and self._waiting < self._most:",
        "        admitted = False\n        while self._overflow and self._waiting < 0:",
    ),
    Mutation(
        "one too few is let in through the door",
        _QUEUE,
        "while self._overflow and self._waiting < self._most:",
        "while self._overflow and self._waiting < self._most - 1:",
    ),
    Mutation(
        "max_queue is ignored",
        _QUEUE,
        "        if self._waiting < self._most:\n            delivery.lane.line",
        "        if self._waiting >= 0:\n            delivery.lane.line",
    ),
    Mutation(
        "who leaves the queue is still counted",
        _QUEUE,
        "                lane.line.left(delivery)\n        self._waiting -= 1",
        "                lane.line.left(delivery)",
    ),
    # Connections.
    Mutation(
        "slot leak: a connection that is gone still counts", _ROSTER, "        self._state.total -= 1\n", ""
    ),
    Mutation(
        "slot leak: a connection that is leaving counts for ever as leaving",
        _ROSTER,
        "        self._state.leaving -= slot.leaving\n",
        "",
    ),
    Mutation(
        "one connection too many",
        _ASSIGNMENT,
        "    if state.total < state.max_connections:\n        return Open(lane), wake",
        "    if state.total <= state.max_connections:\n        return Open(lane), wake",
    ),
    Mutation(
        "max_messages is off by one",
        _ROSTER,
        "            return most\n        share",
        "            return most + 1\n        share",
    ),
    Mutation(
        "MAILMAX of the server is ignored",
        _ROSTER,
        "            connection.session.capabilities.limits.mail_max or math.inf,\n",
        "",
    ),
    Mutation(
        "RCPTMAX of the server is ignored",
        _POOL,
        "for cap in (limits.rcpt_max, delivery.most_recipients)",
        "for cap in (delivery.most_recipients,)",
    ),
    Mutation(
        "idle connections stay open for ever",
        _ASSIGNMENT,
        "        if lane.open > lane.min_connections:",
        "        if lane.open > state.max_connections:",
    ),
    Mutation(
        "a connection that answers NOOP stays out of use",
        _ROSTER,
        "            lane.probing.pop(slot, None)\n            lane.hungry.pop(slot, None)\n            slot.alone",
        "            lane.hungry.pop(slot, None)\n            slot.alone",
    ),
    Mutation(
        "logins of different people share connections",
        "pool/key.py",
        "            credentials,\n",
        "            options.auth,\n",
    ),
    Mutation(
        "the gate of logins is never left",
        _ROSTER,
        "            if held:\n                lane.gate.leave()",
        "            if held and not lane.gate:\n                lane.gate.leave()",
    ),
    Mutation(
        "a wrong password is tried again at once",
        _ROSTER,
        "self.options.auth_retry_after if wrong_login else _LASTING",
        "_LASTING",
    ),
    Mutation(
        "no back-off between attempts to connect",
        "pool/lanes.py",
        "        self.retry_at = now + full_jitter(",
        "        self.retry_at = now + 0 * full_jitter(",
    ),
    Mutation(
        "a connection that may be dead is given a whole message",
        _POOL,
        "delivery.stale = transaction.cautious = stale",
        "delivery.stale = stale",
    ),
    # Rates.
    Mutation(
        "a connection is given without a token",
        _POOL,
        "            self._state.limiter.take(now, len(batch))\n",
        "            pass\n",
    ),
    Mutation(
        "the token is taken when the message was queued, and not when it goes",
        _POOL,
        "self._state.limiter.take(now, len(batch))",
        "self._state.limiter.take(delivery.queued_at, len(batch))",
    ),
    Mutation("recipients are counted as one", _POOL, "limiter.take(now, len(batch))", "limiter.take(now, 1)"),
    Mutation(
        "a window holds one too many",
        _RATE,
        "min(units, self._limit) - self._limit",
        "min(units, self._limit) - self._limit - 1",
    ),
    Mutation(
        "a window forgets too early",
        _RATE,
        "while events and events[0][0] + self._per <= now:",
        "while events and events[0][0] + self._per * 0.9 <= now:",
    ),
    Mutation(
        "burst is ignored",
        _RATE,
        "if rate.burst is not None and rate.burst < rate.limit:",
        "if rate.burst is not None and rate.burst > rate.limit:",
    ),
    # Outcomes.
    Mutation(
        "forgotten requeue",
        _OUTCOMES,
        "        self._queue.put_first(delivery, alone=delivery.requeues > 1)",
        "        self._counts.requeued += 0",
    ),
    Mutation(
        "what was answered before the connection was lost is forgotten",
        _ROSTER,
        "        self._take_finished(connection, slot)\n        # A reply",
        "        connection.pipeline.finished.clear()\n        # A reply",
    ),
    Mutation(
        "a reply is given to the youngest message and not to the oldest",
        _PIPELINE,
        "        self._expected -= 1\n        head = self._owed[0]\n",
        "        self._expected -= 1\n        head = self._owed[-1]\n",
    ),
    Mutation(
        "the reply to the end of data is given to the next message",
        _PIPELINE,
        "            self._ends -= 1\n        self._owed.popleft()\n        if self._writing is not None:\n            self._go_on",
        "            self._ends -= 1\n        self._owed.popleft()\n        following = self.in_flight\n        if following:\n"
        "            t.token, following[0].token = following[0].token, t.token\n"
        "        if self._writing is not None:\n            self._go_on",
    ),
    Mutation(
        "a refused message counts as accepted",
        _PIPELINE,
        "Verdict.ACCEPTED if reply.code < 300 else Verdict.REFUSED",
        "Verdict.ACCEPTED if reply.code < 500 else Verdict.REFUSED",
    ),
    Mutation(
        "refused recipients are told to be accepted",
        _SETTLEMENT,
        "        or transaction.refused\n        or transaction.replies",
        "        or transaction.replies",
    ),
    Mutation(
        "what is uncertain is taken for not delivered",
        _PIPELINE,
        "Verdict.UNCERTAIN if t.end_written and not answered else Verdict.UNSENT",
        "Verdict.UNSENT",
    ),
    Mutation(
        "what was not sent is taken for uncertain",
        _PIPELINE,
        "Verdict.UNCERTAIN if t.end_written and not answered else Verdict.UNSENT",
        "Verdict.UNSENT if answered else Verdict.UNCERTAIN",
    ),
    Mutation("duplicates are not marked", _OUTCOMES, "                delivery.maybe_duplicate = True\n", ""),
    Mutation("duplicates are not counted", _OUTCOMES, "                delivery.duplicates += 1\n", ""),
    Mutation(
        "on_uncertain='fail' is ignored",
        _SETTLEMENT,
        'allowed = options.on_uncertain == "requeue" and delivery.duplicates',
        "allowed = delivery.duplicates",
    ),
    Mutation(
        "max_requeues is ignored",
        _SETTLEMENT,
        "    if options.max_requeues < 0 or delivery.requeues < options.max_requeues:",
        "    if delivery.requeues >= 0:",
    ),
    Mutation(
        "the recipients of a part are sent to once more with the next",
        _SETTLEMENT,
        "    delivery.pending = [*left, *rest] if left else rest",
        "    delivery.pending = [*left, *rest] if left else [*batch[:1], *rest]",
    ),
    Mutation(
        "421 in place of a reply is the refusal of the message",
        _CONNECTION,
        "                if code == 421 or code == 221:",
        "                if code == 221:",
    ),
    Mutation(
        "421 counts as no answer: the end of data stays uncertain",
        _CONNECTION,
        "closing = reply if code == 421 else None",
        "closing = None",
    ),
    Mutation(
        "RSET is left out after a refusal",
        _PIPELINE,
        "        if t.mail_accepted:\n            self._reset()\n        self._finish_refused(t)",
        "        self._finish_refused(t)",
    ),
    Mutation(
        "RSET is left out between two BDAT",
        _PIPELINE,
        "            if isinstance(last, Transaction) and last.chunked:\n                self._reset()",
        "            if isinstance(last, Transaction) and last.chunked:\n                pass",
    ),
    Mutation(
        "dots are not doubled",
        "smtp/data.py",
        '        data = data.replace(b"\\r\\n.", b"\\r\\n..")\n',
        "        pass\n",
    ),
    # Callers that give up, deadlines.
    Mutation(
        "a cancelled message stays in the queue",
        _POOL,
        "        if found is None:\n            self._queue.leave(delivery)\n",
        "        if found is None:\n",
    ),
    Mutation(
        "a cancelled message that slept wakes up",
        _QUEUE,
        "        if delivery.gone:\n            return\n        delivery.place = Place.ALONE",
        "        delivery.place = Place.ALONE",
    ),
    Mutation("a message given up is sent again", _POOL, "        delivery.given_up = True\n", ""),
    Mutation(
        "the outcome of a detached message is not told",
        _LEDGER,
        "            self._on_detached(delivery.message_id, outcome)\n",
        "            pass\n",
    ),
    Mutation(
        "a deadline is not cleared",
        _LEDGER,
        "            delivery.deadline.cancel()\n",
        "            pass\n",
    ),
    Mutation(
        "a deadline comes late",
        _LEDGER,
        "self._loop.call_later(deadline, self._deadline_passed",
        "self._loop.call_later(2 * deadline, self._deadline_passed",
    ),
    Mutation(
        "no time-out for replies",
        "net/deadline.py",
        "        self._at = self._loop.time() + seconds\n",
        "        self._at = self._loop.time() + seconds * 10_000\n",
    ),
    Mutation(
        "a caller that gives up cuts the connection of others",
        _POOL,
        "    return transaction.end_written or len(slot.connection.pipeline.in_flight) > 1",
        "    return transaction.end_written",
    ),
    # The end.
    Mutation(
        "close forgets who waits in the queue",
        _CLOSING,
        "            if delivery not in under_way:\n                self._ledger.settle(delivery, pool_closed(delivery))",
        "            if delivery in under_way:\n                pass",
    ),
    Mutation(
        "close waits for ever for what is in flight",
        _POOL,
        '            self._roster.cut(f"the transporter was closed, and the message had not ended {timeout:g} s later")\n',
        "            pass\n",
    ),
    Mutation(
        "close leaves alone what is being opened",
        _ROSTER,
        "        for task in tuple(self._opening):\n            task.cancel()\n",
        "",
    ),
    Mutation(
        "close returns what was sent",
        _CLOSING,
        "return [delivery.unsent for delivery in last if delivery.was_not_sent]",
        "return [delivery.unsent for delivery in last]",
    ),
    # Whose turn it is, and who is replaced.
    Mutation(
        "the lower priority goes first",
        _LINE,
        "self._order = sorted([*self._classes, priority], reverse=True)",
        "self._order = sorted([*self._classes, priority])",
    ),
    Mutation(
        "bulk mail starves",
        _LINE,
        "            if self._passes[priority] < FAIR_SHARE:",
        "            if self._passes[priority] < 1_000:",
    ),
    Mutation(
        "what went while nobody above waited is not counted",
        _LINE,
        "        if len(self._passes) > 1:\n            for",
        "        if len(self._order) > 1:\n            for",
    ),
    Mutation(
        "no connection has an heir",
        _ASSIGNMENT,
        "    wanted = bool(lane.ending) and _replacement_missing(lane)",
        "    wanted = False",
    ),
    Mutation(
        "the heir comes with the last message only",
        _ROSTER,
        "min(_AHEAD, slot.remaining // 4) if slot.remaining > 1 else -1",
        "0 if slot.remaining > 1 else -1",
    ),
    # Patience.
    Mutation(
        "connection_wait is half as long",
        _ASSIGNMENT,
        "lane.first_failure_at) + state.connection_wait",
        "lane.first_failure_at) + state.connection_wait / 2",
    ),
    Mutation(
        "connection_wait is twice as long",
        _ASSIGNMENT,
        "lane.first_failure_at) + state.connection_wait",
        "lane.first_failure_at) + state.connection_wait * 2",
    ),
    Mutation(
        "who is refused untried hears of another trouble",
        _POOL,
        "fail(delivery, lane.blocked_by",
        "fail(delivery, lane.last_error",
    ),
    # STARTTLS, tokens.
    Mutation(
        "where STARTTLS is refused it goes on in clear text",
        "smtp/handshake.py",
        '    if mode == "opportunistic":\n        return False\n    raise TLSFailed',
        "    if reply.code != 421:\n        return False\n    raise TLSFailed",
    ),
    Mutation(
        "a refused token is shown again",
        _TOKENS,
        "            if self._token is not None and self._token != refused and loop.time() < self._good_until:",
        "            if self._token is not None and loop.time() < self._good_until:",
    ),
    Mutation(
        "a token is shown after its end",
        _TOKENS,
        "return lifetime - min(MARGIN, lifetime / 2)",
        "return lifetime * 2",
    ),
    Mutation(
        "each connection asks for a token of its own",
        _TOKENS,
        "        identity = self._identities.get(key)\n",
        "        identity = None\n",
    ),
    # LMTP.
    Mutation(
        "LMTP: a reply is given to another recipient",
        _PIPELINE,
        "t.replies[t.unanswered.popleft()] = reply",
        "t.replies[t.unanswered.pop()] = reply",
    ),
    Mutation(
        "LMTP: what was answered before the connection was lost is forgotten",
        _SETTLEMENT,
        "        if position in own:",
        "        if position in own and verdict is Verdict.ACCEPTED:",
    ),
    # Contents that come slowly or break off, and hooks.
    Mutation(
        "a content that breaks off is ended as if it were whole",
        "content.py",
        "                for block in piece.blocks():\n                    left -= len(block)",
        "                blocks = piece.blocks()\n                while left > 0:\n"
        "                    try:\n                        block = next(blocks)\n"
        "                    except Exception:\n                        block = b'x' * (left - 2) + b'\\r\\n'\n"
        "                    left -= len(block)",
    ),
    Mutation(
        "a content that breaks off is tried again",
        _SETTLEMENT,
        "    if delivery.given_up or transaction.failure is not None:",
        "    if delivery.given_up:",
    ),
    Mutation(
        "a content that breaks off is the fault of the connection",
        _PIPELINE,
        "            self._writing.failure = failure",
        "            pass",
    ),
    Mutation(
        "what comes of a message that was prepared is not told",
        _PREPARING,
        "        inner.add_done_callback(lambda _: _copy(inner, future))",
        "        pass",
    ),
    Mutation(
        "the time for preparing does not count",
        _PREPARING,
        "max(until - self._loop.time(), 1e-6)",
        "10.0",
    ),
    Mutation(
        "close leaves alone what is being prepared",
        _PREPARING,
        "            task.cancel()\n        self._waiters.wake()",
        "            pass\n        self._waiters.wake()",
    ),
    Mutation(
        "a hook that raises is passed over",
        "preparing/hooks.py",
        '                raise MessageError(\n                    f"the {stage} hook {name} failed: {type(error).__name__}: {error}"\n'
        "                ) from error",
        "                continue",
    ),
    # Several relays.
    Mutation(
        "a refused message is given to the next relay",
        "policy/moving.py",
        '    Case("any other 5xx: the message or the recipient is refused for good",\n         False,',
        '    Case("any other 5xx: the message or the recipient is refused for good",\n         True,',
    ),
    Mutation(
        "a deferred message is given to the next relay",
        "policy/moving.py",
        'server that asks new senders to come back",\n         False,',
        'server that asks new senders to come back",\n         True,',
    ),
    Mutation(
        "who has the message is sent to by the next relay",
        _FAILOVER,
        "                traveller.unsent, priority",
        "                traveller.sealed, priority",
    ),
    Mutation(
        "several relays: duplicates are not marked",
        _TRAVELLING,
        "        traveller.maybe_duplicate = True\n",
        "",
    ),
    Mutation(
        "several relays: on_uncertain='fail' is ignored",
        _TRAVELLING,
        'options.on_uncertain == "requeue" and traveller.duplicates',
        "traveller.duplicates",
    ),
    Mutation(
        "several relays: max_duplicates is ignored", _TRAVELLING, "        traveller.duplicates += 1\n", ""
    ),
    Mutation(
        "several relays: close returns what may have been delivered",
        _FAILOVER,
        "result(traveller, now) if uncertain else pool_closed(traveller)",
        "pool_closed(traveller)",
    ),
    Mutation(
        "several relays: nobody looks when one has room",
        _FAILOVER,
        '        if event == "idle":\n            self._alarm.soon()\n            return',
        '        if event == "idle":\n            return',
    ),
    Mutation(
        "several relays: nobody looks who is next when those before were given up",
        _FAILOVER,
        "                    self._queue.admit()\n                    self._alarm.soon()",
        "                    pass",
    ),
    Mutation(
        "several relays: what one does not take is forgotten",
        _FAILOVER,
        "        self._queue.put_to_sleep(traveller, now + wait)",
        "        pass",
    ),
    Mutation(
        "several relays: one that is down is never tried again",
        "policy/breaker.py",
        "return self.health is Health.UP or (self.health is Health.DOWN and self.opens_at(alone=alone) <= now)",
        "return self.health is Health.UP",
    ),
    Mutation(
        "several relays: nobody waits for one to come back",
        _FAILOVER,
        "            until = since + self._options.connection_wait",
        "            until = since",
    ),
    Mutation(
        "several relays: a message that is cancelled goes on at its relay",
        _FAILOVER,
        "            traveller.relay.hand[traveller].future.cancel()",
        "            pass",
    ),
)
