"""The guards of several relays, of LMTP, of proxies and of access tokens, and how they are taken away."""

from __future__ import annotations

from removals import removal

TRAVELLING = "transports/travelling.py"
MOVING = "policy/moving.py"
FAILOVER = "transports/failover.py"
BREAKER = "policy/breaker.py"
SETTLEMENT = "pool/settlement.py"
TUNNEL = "net/tunnel.py"
TOKENS = "auth/tokens.py"
OAUTH2 = "auth/oauth2.py"
POST = "auth/post.py"
CREDENTIALS = "options/credentials.py"

removal(
    "P-05",
    "what a relay says of the message sends it to no other",
    (
        MOVING,
        'Case("any other 5xx: the message or the recipient is refused for good",\n         False,',
        'Case("any other 5xx: the message or the recipient is refused for good",\n         True,',
    ),
)
removal(
    "P-12",
    "who has the message does not get it from the next relay",
    (
        TRAVELLING,
        "    traveller.pending = left\n",
        "    traveller.pending = traveller.pending if left else left\n",
    ),
)
removal(
    "P-14",
    "what is the relay's own fault loses no message",
    (
        MOVING,
        'turned away at the greeting",\n         True,',
        'turned away at the greeting",\n         False,',
    ),
)
removal(
    "P-18",
    "copies are bounded over all relays together",
    (TRAVELLING, "if not allowed or options.max_requeues == 0:", "if options.max_requeues == 0:"),
)
removal(
    "P-18",
    "a message that moves on and may be there already is marked",
    (TRAVELLING, "        traveller.maybe_duplicate = True\n", "        pass\n"),
)
removal(
    "P-18",
    "requeues are bounded over all relays together",
    (
        TRAVELLING,
        "elif Outcome.CONNECTION_FAILED in outcomes and begun and 0 <= options.max_requeues <= traveller.requeues:",
        "elif False:",
    ),
)
removal(
    "P-19",
    "one message goes to a relay that was down, and not all",
    (BREAKER, "(Health.DOWN, Sign.GIVEN): Health.PROBING", "(Health.DOWN, Sign.GIVEN): Health.UP"),
)
removal(
    "P-19",
    "a breaker never stays open for ever",
    (BREAKER, "wait = min(CAP, BASE * 2.0 ** min(failures - 1, 60)) * (1 + dice / 4)", "wait = 1e9"),
    (BREAKER, "wait_alone = min(wait, EAGER)", "wait_alone = wait"),
)
removal(
    "P-19",
    "nobody waits for longer than connection_wait while no relay is up",
    (FAILOVER, "            if until > now:\n", "            if True:\n"),
)
removal(
    "SRV-16",
    "each recipient of LMTP has the outcome of its own reply",
    (
        SETTLEMENT,
        "outcome = classify(own[position], Phase.END_OF_DATA).outcome",
        "outcome = Outcome.ACCEPTED",
    ),
)
removal(
    "SRV-01",
    "the answer of a proxy is bounded",
    (TUNNEL, "max_incomplete_event_size=MOST", "max_incomplete_event_size=10**9"),
)
removal(
    "TLS-06",
    "token servers are verified",
    (
        POST,
        "context = ssl.create_default_context(cafile=ca_file)",
        "context = ssl._create_unverified_context()",
    ),
)
removal(
    "LOG-03",
    "the proxy carries what is for the token server, and does not read it",
    (POST, "secure=True, proxy=proxy)", "secure=True)"),
)
removal(
    "INJ-12",
    "what a token server gives may stand in a login",
    (OAUTH2, r'if not re.fullmatch(r"[\x21-\x7e]+", token):', "if False:"),
)
removal(
    "INJ-12",
    "what a function gives may stand in a login",
    (TOKENS, "    if _NO_TOKEN.search(given):\n", "    if False:\n"),
    (CREDENTIALS, 'if what == "access token" and CONTROL.search(value):', "if False:"),
    (CREDENTIALS, 'if "\\0" in value or "\\x01" in value:', "if False:"),
)
removal(
    "P-04",
    "one request for all that want the same token",
    (TOKENS, "        async with self._lock:\n", "        async with asyncio.Lock():\n"),
)
removal(
    "P-04",
    "a token is for its own user",
    (TOKENS, "key = (credentials.user, source)", 'key = ("", "")'),
)
removal(
    "P-19",
    "a token that was refused is not given again",
    (
        TOKENS,
        "if self._token is not None and self._token != refused and loop.time() < self._good_until:",
        "if self._token is not None and loop.time() < self._good_until:",
    ),
)
removal(
    "P-19",
    "a login with a fresh token is repeated once",
    ("smtp/handshake.py", "for again in (False, True):", "for again in (False, *(True,) * 9):"),
)
