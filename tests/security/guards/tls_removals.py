"""The guards of TLS and of proxies, and how they are taken away."""

from __future__ import annotations

from removals import removal

HANDSHAKE = "smtp/handshake.py"
CONNECTION = "net/connection.py"
OPENING = "net/opening.py"
TLS = "net/tls.py"
CONNECT = "net/connect.py"
TUNNEL = "net/tunnel.py"
PROXY = "options/proxy.py"
KEY = "pool/key.py"

removal(
    "INJ-17",
    "control characters in the login of a proxy",
    (PROXY, "            if _CONTROL.search(value):", "            if False:"),
)
removal(
    "INJ-17",
    "control characters in the URL of a proxy",
    (PROXY, 'if _CONTROL.search(url) or " " in url:', "if False:"),
    (PROXY, "            if _CONTROL.search(value):", "            if False:"),
)
removal(
    "INJ-17",
    "a colon in the user of Basic",
    (PROXY, 'if not self.is_socks and self.user is not None and ":" in self.user:', "if False:"),
)
removal(
    "INJ-19",
    "what SOCKS has room for",
    (PROXY, "if self.is_socks and len(value) > _MOST_OF_SOCKS:", "if False:"),
)
removal(
    "INJ-19",
    "SOCKS 4 is given no IPv6 address",
    (PROXY, 'if ":" in host and self.scheme.startswith("socks4"):', "if False:"),
)
removal(
    "LOG-03",
    "an answer that points elsewhere is a refusal",
    (TUNNEL, "if 200 <= event.status_code < 300:", "if 200 <= event.status_code < 400:"),
)
removal(
    "TLS-01",
    "STARTTLS that is required and not offered",
    (HANDSHAKE, "        if required:", "        if False:"),
)
removal(
    "TLS-02",
    "STARTTLS that is offered and refused",
    (HANDSHAKE, '    if mode == "opportunistic":', "    if True:"),
)
removal(
    "TLS-03",
    "to go on in clear text is for those who said so",
    (HANDSHAKE, '    if mode == "opportunistic":', "    if True:"),
)
removal(
    "TLS-04",
    "what was said before TLS",
    (OPENING, "self._refuse_leftovers(Phase.STARTTLS)", "self._inbox.clear()"),
    (OPENING, "if len(self._inbox) > 1:", "if False:"),
)
removal(
    "TLS-04", "what came with the answer of a proxy", (TUNNEL, "        if tunnel.rest:", "        if False:")
)
removal(
    "TLS-05",
    "EHLO again after STARTTLS",
    (
        HANDSHAKE,
        "            capabilities = yield from _hello(options, name)\n    mechanism",
        "            pass\n    mechanism",
    ),
)
removal("TLS-06", "certificates are verified", (TLS, "    if not tls.verify:", "    if True:"))
removal(
    "TLS-06",
    "the names of certificates are checked",
    (TLS, "    if not tls.verify:", "    context.check_hostname = False\n    if not tls.verify:"),
)
removal(
    "TLS-06",
    "a name in the subject proves nothing",
    (TLS, "context.hostname_checks_common_name = False", "context.hostname_checks_common_name = True"),
)
removal(
    "TLS-06",
    "HTTPS proxies are verified too",
    (
        TUNNEL,
        "ssl=proxy_context(proxy) if secure else None",
        "ssl=ssl._create_unverified_context() if secure else None",
    ),
)
removal(
    "TLS-07",
    "the handshake ends within connection_timeout",
    ("net/dial.py", "asyncio.timeout_at(self._ends)", "asyncio.timeout_at(None)"),
    (
        CONNECT,
        "ssl_handshake_timeout=patience.seconds + 1 if context",
        "ssl_handshake_timeout=600 if context",
    ),
)
removal(
    "TLS-08",
    "TLS on a socket that was handed in",
    (
        CONNECT,
        "                ssl=context,\n",
        "                ssl=None if options.sock or options.dial else context,\n",
    ),
)
removal(
    "TLS-09",
    "a way of its own leads to nobody's loopback",
    (
        "options/options.py",
        "if self.sock is not None or self.dial is not None or self.proxy is not None:",
        "if False:",
    ),
)
removal(
    "TLS-09",
    "a login needs TLS",
    (HANDSHAKE, "clear_is_fine = options.is_loopback or", "clear_is_fine = True or"),
)
removal("TLS-10", "min_mechanism", ("smtp/sasl/choice.py", "        and meets(name, least)\n", "\n"))
removal("TLS-12", "connections through another proxy", (KEY, "                options.proxy,\n", ""))
removal("TLS-12", "connections with other TLS", (KEY, "options.effective_servername, options.tls)", ")"))
removal(
    "TLS-13",
    "the least version of TLS",
    (TLS, 'ssl.TLSVersion[tls.min_version.replace(".", "_")]', "ssl.TLSVersion.TLSv1"),
)
removal(
    "TLS-14",
    "an end in mid-reply is an end",
    (
        CONNECTION,
        "        if not self._leaving:\n            self._over(",
        "        if False:\n            self._over(",
    ),
    (CONNECTION, "if not self._leaving and self.error is None:", "if False:"),
)
