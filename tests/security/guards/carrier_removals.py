"""The guards beside those of checks.py and how they are taken away: other ways out (CMD, POL), what is asked of servers (TLS, SRV)."""

from __future__ import annotations

from removals import removal

SENDMAIL = "transports/sendmail.py"
CARRIAGE = "transports/carriage.py"
CLOSING = "pool/closing.py"

removal(
    "CMD-01",
    "an address that begins like an option",
    (SENDMAIL, """if address.startswith(("-", '"-')):""", "if False:"),
)
removal(
    "CMD-01",
    "two hyphens before the recipients",
    (SENDMAIL, '*self._args, "--", *envelope.recipients', "*self._args, *envelope.recipients"),
)
removal(
    "CMD-02",
    "which exit codes are temporary",
    (SENDMAIL, "_TEMPORARY = frozenset({71, 74, 75})", "_TEMPORARY = frozenset(_EXITS)"),
)
removal(
    "CMD-02",
    "no more than the beginning of stderr",
    (SENDMAIL, "kept = (kept + block)[:_MOST_STDERR]", "kept = kept + block"),
)
removal(
    "CMD-02",
    "stderr is escaped",
    (
        SENDMAIL,
        'return str(Reply(0, tuple(map(str.encode, lines)))).removeprefix("0 ") if lines else ""',
        'return " / ".join(lines)',
    ),
)
removal(
    "CMD-02",
    "the program is killed with what it has started",
    (SENDMAIL, "os.killpg(self._process.pid, signal.SIGKILL)", "self._process.kill()"),
)
removal(
    "CMD-02",
    "the program is killed at all",
    (SENDMAIL, "os.killpg(self._process.pid, signal.SIGKILL)", "return"),
)
removal(
    "CMD-02",
    "success is believed only of one that has read everything",
    (SENDMAIL, "if code == 0 and run.whole:", "if code == 0:"),
)
removal(
    "CMD-02",
    "one that has everything is not killed for its caller",
    (SENDMAIL, "            if not run.whole:\n                raise\n", "            raise\n"),
)
removal(
    "POL-01",
    "nothing is taken after close",
    (CARRIAGE, "if self._closing.begun:", "if False:"),
)
removal(
    "POL-02",
    "foreign exceptions are outcomes",
    ("transports/handover.py", "if isinstance(error, MailpoolError):", "if True:"),
)
removal(
    "POL-02",
    "a carrier that does not stop is left behind",
    ("transports/finishing.py", "asyncio.wait(pending, timeout=GRACE)", "asyncio.wait(pending)"),
)
removal(
    "POL-03",
    "whoever waits is told of the end",
    (CLOSING, "if delivery not in under_way:", "if False:"),
)
removal(
    "POL-04",
    "the rate holds",
    (CARRIAGE, "self._pacing.take(now, len(batch))", "None"),
)
removal(
    "POL-14",
    "draining ends in time",
    (CLOSING, "async with asyncio.timeout(timeout):", "async with asyncio.timeout(None):"),
)
removal(
    "TLS-11",
    "an offer of REQUIRETLS counts over TLS only",
    ("smtp/handshake.py", "if not (encrypted and options.verifies_tls):", "if False:"),
)
removal(
    "TLS-11",
    "what is required and not offered",
    ("smtp/requests.py", 'if "REQUIRETLS" not in capabilities:', "if False:"),
)
removal(
    "SRV-16",
    "every recipient of LMTP is owed a reply",
    ("smtp/transaction.py", "        return len(self.unanswered)\n", "        return 1\n"),
)
removal(
    "SRV-16",
    "who has an outcome keeps it when the connection is lost",
    (
        "pool/settlement.py",
        "        if position in own:",
        "        if position in own and verdict is Verdict.ACCEPTED:",
    ),
)
removal(
    "SRV-16",
    "with LMTP nothing is begun while replies are owed",
    ("smtp/pipeline.py", "self._overlapping = pipelining and not lmtp", "self._overlapping = pipelining"),
)
removal(
    "SRV-16",
    "content that nobody is to have is not begun",
    (
        "smtp/pipeline.py",
        "            if self._lmtp:\n                # …",
        "            if False:\n                # …",
    ),
)
removal(
    "SRV-18",
    "RCPTMAX",
    ("pool/pool.py", "(limits.rcpt_max, delivery.most_recipients)", "(delivery.most_recipients,)"),
)
removal(
    "SRV-18",
    "RCPTDOMAINMAX",
    ("pool/pool.py", "most_domains=limits.rcpt_domain_max", "most_domains=None"),
)
removal(
    "SRV-18",
    "MAILMAX",
    ("pool/roster.py", "connection.session.capabilities.limits.mail_max or math.inf", "math.inf"),
)
