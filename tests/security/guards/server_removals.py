"""The guards against hostile and broken servers (SRV), and those of the pool (POL), and how they are taken away."""

from __future__ import annotations

from removals import removal

REPLIES = "smtp/replies.py"
PIPELINE = "smtp/pipeline.py"
OPENING = "net/opening.py"
ROSTER = "pool/roster.py"
POOL = "pool/pool.py"
SETTLEMENT = "pool/settlement.py"

removal("SRV-01", "a reply is bounded", (REPLIES, "if self._size > MAX_REPLY:", "if False:"))
removal("SRV-02", "one reply has one code", (REPLIES, "elif code != self._code:", "elif False:"))
removal(
    "SRV-03",
    "a reply to nothing answers nothing",
    (PIPELINE, "        if self._expected == 0:\n            self._unasked(reply)\n", ""),
)
removal(
    "SRV-06",
    "a time-out bounds the whole reply of the handshake",
    (
        OPENING,
        "async with asyncio.timeout(self._timeouts[phase]):",
        "async with asyncio.timeout(None):",
    ),
)
removal(
    "SRV-07",
    "attempts back off",
    (
        "pool/lanes.py",
        "        self.retry_at = now + full_jitter(",
        "        self.retry_at = 0.0 * full_jitter(",
    ),
)
removal(
    "SRV-09",
    "a login has so many challenges at most",
    ("smtp/sasl/exchange.py", "if self._challenges > MOST_CHALLENGES:", "if False:"),
)
removal(
    "SRV-12",
    "keywords are bounded",
    ("smtp/capabilities.py", "elif len(keywords) < _MOST_KEYWORDS:", "else:"),
)
removal(
    "SRV-13",
    "an end of data without its answer is uncertain",
    (
        PIPELINE,
        "t.end(Verdict.UNCERTAIN if t.end_written and not answered else Verdict.UNSENT, t.stage)",
        "t.end(Verdict.UNSENT, t.stage)",
    ),
)
removal(
    "SRV-15",
    "more replies than commands end the connection",
    (PIPELINE, "        if self._expected == 0:\n            self._unasked(reply)\n", ""),
)
removal(
    "SRV-18",
    "MAILMAX bounds a connection",
    (ROSTER, "connection.session.capabilities.limits.mail_max or math.inf,", "math.inf,"),
)
removal(
    "POL-01",
    "nothing is submitted after close",
    (
        POOL,
        "        if self._closing.begun:\n",
        "        if False:\n",
    ),
)
removal(
    "POL-04",
    "a window holds no more than its limit",
    (
        "policy/rate.py",
        "excess = self._units + min(units, self._limit) - self._limit",
        "excess = self._units - self._limit",
    ),
)
removal(
    "POL-04",
    "what is begun takes its token",
    (POOL, "            self._state.limiter.take(now, len(batch))\n", "            pass\n"),
)
removal(
    "POL-04",
    "what is learnt never goes in a pause",
    (
        "policy/adaptive.py",
        "        return max(self._next, self.paused_until)\n",
        "        return self._next\n",
    ),
)
removal(
    "POL-05",
    "a connection that died while idle is replaced for free",
    (SETTLEMENT, "        return Next.REPLACE\n", "        return Next.FAIL\n"),
)
removal(
    "POL-06",
    "on_uncertain decides",
    (SETTLEMENT, 'allowed = options.on_uncertain == "requeue" and ', "allowed = "),
)
removal(
    "POL-07",
    "requeues are bounded",
    (SETTLEMENT, "if options.max_requeues < 0 or delivery.requeues < options.max_requeues:", "if True:"),
)
removal(
    "POL-08",
    "what was given up on the wire ends its connection",
    (POOL, "        if not delivery.detached:\n", "        if False:\n"),
)
removal(
    "POL-09",
    "RSET puts a connection in order",
    (PIPELINE, "        if t.mail_accepted:\n            self._reset()\n", ""),
)
removal(
    "POL-12",
    "an idle connection is closed",
    ("policy/assignment.py", '                return Close(slot, "idle"), wake\n', "                pass\n"),
)
removal(
    "POL-13",
    "connections are kept apart by identity",
    ("pool/key.py", "            credentials,\n        )", "            None,\n        )"),
)
removal(
    "P-24",
    "a login that comes too soon is no wrong one",
    (ROSTER, "        if self._asks_for_less(slot, lane, error):\n", "        if False:\n"),
)
removal(
    "P-24",
    "what the server wants later is kept",
    ("pool/outcomes.py", "            if self._put_off(", "            if False and self._put_off("),
)
removal(
    "P-24",
    "connections fall to what was taken",
    (
        "policy/adaptive.py",
        "        self.most_connections = max(1, min(self.most_connections, others))\n",
        "        self.most_connections = 99\n",
    ),
)
removal(
    "P-24",
    "a rate falls",
    (
        "policy/adaptive.py",
        "            self._set(_LOWERED * rate if nearly_right",
        "            self._set(rate if nearly_right",
    ),
)
removal(
    "P-24",
    "patience ends",
    ("pool/throttling.py", " - delivery.throttled_at <= self._patience", " - delivery.throttled_at < 1e9"),
)
removal(
    "P-24",
    "what was learnt is remembered",
    (
        "pool/learning.py",
        "        return Adaptive(known) if known is not None else None\n",
        "        return None\n",
    ),
)
