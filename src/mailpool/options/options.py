"""Every option of a transporter, checked once and frozen.

Nothing here reads a clock, a file of the user's or the network; whatever is wrong is a `ConfigurationError` that names the
option.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import pickle
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from . import checks as check
from .access import Access
from .checks import wrong
from .credentials import Credentials
from .dkim_key import DkimKey, dkim_keys
from .mechanism_names import FOR_TOKEN, meets
from .proxy import Proxy
from .rate import Rate, rates
from .smime_identity import Smime
from .tls import TLSOptions

_ACCESS = Access()
_PACKAGE = __name__.partition(".")[0]
_RATE_DELTA = 1_000  # milliseconds, as people know it from elsewhere


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Options:
    """What a transporter was told. Use `parse_options` to make one: it also knows URLs and services.

    Durations are seconds, and a ``…_timeout`` above 3,600 is refused; ``None`` means "not bounded" or "not set".

    *Where*

    :param host: name or IP address of the server
    :param port: ``None``: 465 if ``secure``, 24 with ``lmtp``, otherwise 587
    :param secure: TLS from the first byte (RFC 8314 §3.3); ``None``: true when the port is 465
    :param lmtp: speak LMTP, as to a server that puts mail into mailboxes (RFC 2033): each recipient has its own outcome
    :param unix_socket: path of a Unix socket to use in place of host and port
    :param sock: a connected socket to use; ``secure`` still says whether TLS is to be done on it
    :param local_address: IP address of this machine to connect from
    :param proxy: a `Proxy`, a mapping of its fields, or its URL: what stands between us and the server
    :param dial: ``async def dial(host, port, timeout)`` returns a connected socket, in place of our own connecting; TLS is
        then done on it as on any other
    :param name: what EHLO says; ``None``: this machine's name
    :param service: canonical name of the preset that was merged in; by itself it merges nothing here

    *Trust and identity*

    :param starttls: ``"auto"``: whenever offered, and required when ``auth`` is set, loopback excepted; ``"required"``;
        ``"opportunistic"``: go on in clear text when refused; ``"never"`` (RFC 3207)
    :param tls: `TLSOptions` or an ``ssl.SSLContext``
    :param servername: name to find in the certificate and to send as SNI; ``None``: the host
    :param auth: `Credentials`
    :param auth_method: SASL mechanism to use in place of the strongest that suits; ``auth`` may name one itself
    :param min_mechanism: SASL mechanism below which none is used, whatever the server offers
    :param allow_cleartext_auth: log in without TLS, readable by anybody on the way

    *The pool* (P-01 to P-12)

    :param pool: keep connections and reuse them
    :param max_connections: the most open at once, those being opened included
    :param min_connections: kept open when idle
    :param max_messages: on one connection, then it is replaced; -1 without bound
    :param max_requeues: how often a message goes back when its connection closes mid-send; -1 without bound
    :param idle_timeout: seconds after which an idle connection is closed
    :param max_age: seconds after which a connection is replaced
    :param check_after: seconds of idleness after which NOOP asks whether the server is still there
    :param max_queue: messages that may wait
    :param pipeline_depth: messages on a connection whose end of data is unanswered
    :param max_recipients: of one transaction; the rest follows in further ones

    *Rate* (P-23, P-24)

    :param rate: a `Rate`, a text such as ``"14/s"``, or several; kept as a tuple
    :param rate_limit: deprecated, and moved into ``rate``: messages in any window of ``rate_delta``
    :param rate_delta: deprecated: **milliseconds**
    :param max_throttle_wait: the most seconds for which a message is kept that the server wants later; 0: it fails at once

    *Time* (P-19, P-26)

    :param dns_timeout: for the name look-up
    :param connection_timeout: until connected, TLS included
    :param greeting_timeout: from connected to the greeting
    :param socket_timeout: the most that any one reply may take, whatever its phase
    :param command_timeout: of any one reply; ``None``: RFC 5321 §4.5.3.2 holds
    :param deadline: of a message, from its call to its outcome
    :param connection_wait: how long messages wait for a relay that is down
    :param auth_retry_after: before a refused login is tried again

    *The rest*

    :param on_uncertain: ``"requeue"`` or ``"fail"`` when the answer to the end of data is lost (P-18)
    :param max_duplicates: how often such a message is sent again
    :param disable: SMTP extensions not to use although offered, such as ``{"PIPELINING"}``
    :param defaults: message fields for messages that do not have their own
    :param access: what messages may read: an `Access`, a mapping of its fields, or ``"none"``
    :param addresses: ``"strict"``: as RFC 5322 has them; ``"lenient"``: also as people write them, with the event
        ``repaired`` for each thing that was changed
    :param smime: an `Smime` or a mapping of its fields: it signs every message, or encrypts it, or both
    :param dkim: a `DkimKey`, a mapping of its fields, or several: each signs every message; kept as a tuple
    :raises ConfigurationError: a value has the wrong type or range, or contradicts another; ``option`` names it
    """

    host: str = "localhost"
    port: int | None = None
    secure: bool | None = None
    lmtp: bool = False
    unix_socket: str | None = None
    sock: Any = None
    local_address: str | None = None
    proxy: Proxy | None = None
    dial: Any = None
    name: str | None = None
    service: str | None = None

    starttls: Literal["auto", "required", "opportunistic", "never"] = "auto"
    tls: TLSOptions | Any = None
    servername: str | None = None
    auth: Credentials | None = None
    auth_method: str | None = None
    min_mechanism: str | None = None
    allow_cleartext_auth: bool = False

    pool: bool = False
    max_connections: int = 5
    min_connections: int = 0
    max_messages: int = 100
    max_requeues: int = -1
    idle_timeout: float = 60.0
    max_age: float | None = None
    check_after: float | None = None
    max_queue: int = 10_000
    pipeline_depth: int = 1
    max_recipients: int | None = None

    rate: tuple[Rate, ...] = ()
    rate_limit: int | None = None
    rate_delta: int = _RATE_DELTA
    max_throttle_wait: float = 300.0

    dns_timeout: float = 30.0
    connection_timeout: float = 120.0
    greeting_timeout: float = 30.0
    socket_timeout: float = 600.0
    command_timeout: float | None = None
    deadline: float | None = None
    connection_wait: float = 30.0
    auth_retry_after: float = 60.0

    on_uncertain: Literal["requeue", "fail"] = "requeue"
    max_duplicates: int = 1
    disable: frozenset[str] = frozenset()
    # A mapping has no hash; equality still looks at it.
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    access: Access = _ACCESS
    addresses: Literal["strict", "lenient"] = "strict"
    smime: Smime | None = None
    dkim: tuple[DkimKey, ...] | None = None

    def __post_init__(self) -> None:
        for name, rule in _RULES.items():
            object.__setattr__(self, name, rule(name, getattr(self, name)))
        self._convert_rate_limit()
        self._refuse_contradictions()

    def _convert_rate_limit(self) -> None:
        if self.rate_limit is None and self.rate_delta == _RATE_DELTA:
            return
        instead = Rate(self.rate_limit, self.rate_delta / 1_000) if self.rate_limit else None
        if instead and self.rate:
            raise wrong("rate_limit", "is the old form of rate, which is given too; keep rate")
        warnings.warn(
            f"rate_limit and rate_delta are deprecated; write rate={str(instead)!r}"
            if instead
            else "rate_limit and rate_delta are deprecated; without a limit leave both away",
            DeprecationWarning,
            stacklevel=_level_of_caller(),
        )
        if instead:
            object.__setattr__(self, "rate", (instead,))
        # Forgotten once converted, so that dataclasses.replace() finds no contradiction.
        object.__setattr__(self, "rate_limit", None)
        object.__setattr__(self, "rate_delta", _RATE_DELTA)

    def _refuse_contradictions(self) -> None:
        if self.effective_secure and self.starttls != "auto":
            raise wrong(
                "starttls",
                f"is {self.starttls!r}, but the connection is TLS from the first byte (secure=True or port 465); "
                "keep one of the two",
            )
        if self.lmtp and self.port == 25:
            raise wrong(
                "lmtp", "is never spoken on port 25, which belongs to SMTP (RFC 2033 §5); often it is 24"
            )
        if self.sock is not None and self.unix_socket is not None:
            raise wrong("sock", "is given together with unix_socket; keep one")
        if self.local_address is not None and (self.sock is not None or self.unix_socket is not None):
            raise wrong("local_address", "has no meaning with sock or unix_socket")
        self._refuse_two_ways()
        if self.sock is not None and self.pool:
            raise wrong("sock", "is one connection, and a pool needs to open its own")
        if self.min_connections > self.max_connections:
            raise wrong(
                "min_connections",
                f"{self.min_connections} is more than max_connections={self.max_connections}",
            )
        for name in ("smime", "dkim"):
            if name in self.defaults:
                raise wrong("defaults", f"{name} is an option of its own: create_transport({name}=…)")
        if self.auth and self.auth.method and self.auth_method not in (None, self.auth.method):
            raise wrong("auth_method", f"is {self.auth_method!r}, but auth says {self.auth.method!r}")
        if self.min_mechanism is not None:
            self._refuse_what_is_too_weak(self.min_mechanism)

    def _refuse_two_ways(self) -> None:
        for name in ("proxy", "dial"):
            for other in ("sock", "unix_socket", "dial" if name == "proxy" else "local_address"):
                if getattr(self, name) is not None and getattr(self, other) is not None:
                    raise wrong(name, f"is given together with {other}; keep one")
        if self.proxy is not None:
            self.proxy.refuse_server(self.host)

    def _refuse_what_is_too_weak(self, least: str) -> None:
        """What no server could mend is said at once."""
        method = self.auth_method or (self.auth.method if self.auth else None)
        if isinstance(method, str) and not meets(method, least):
            raise wrong("min_mechanism", f"is {least!r}, and {method!r} is asked for; keep one")
        by_token = self.auth is not None and self.auth.access_token is not None
        if by_token and not any(meets(name, least) for name in FOR_TOKEN):
            raise wrong("min_mechanism", f"is {least!r}, which no access token can meet")

    @property
    def effective_secure(self) -> bool:
        """Whether TLS starts with the first byte."""
        return self.port == 465 if self.secure is None else self.secure

    @property
    def effective_port(self) -> int:
        return self.port or (465 if self.secure else 24 if self.lmtp else 587)

    @property
    def effective_servername(self) -> str:
        """The name that the certificate must hold: the host without the dot that ends an absolute name."""
        return (self.servername or self.host).removesuffix(".")

    @property
    def verifies_tls(self) -> bool:
        """Whether TLS, where there is any, proves who the server is."""
        if isinstance(self.tls, TLSOptions):
            return self.tls.verify
        return bool(self.tls.verify_mode) and bool(self.tls.check_hostname)

    @property
    def is_loopback(self) -> bool:
        """Whether the bytes stay on this machine, so that ``auth`` needs no TLS."""
        if self.unix_socket is not None:
            return True
        if self.sock is not None or self.dial is not None or self.proxy is not None:
            return False  # nobody knows where it leads, and a proxy has a localhost of its own
        if check.is_ip(self.host):
            address = ipaddress.ip_address(self.host)
            mapped = getattr(address, "ipv4_mapped", None)
            return (mapped or address).is_loopback
        return self.host.lower().removesuffix(".") == "localhost"

    def redacted_url(self) -> str:
        """Where this leads, for logs: ``"smtps://me%40example.org:***@mail.example.org:465"``."""
        user = f"{quote(self.auth.user, safe='')}:***@" if self.auth else ""
        if self.unix_socket is not None:
            return f"{'lmtp' if self.lmtp else 'smtp+unix'}://{user}{quote(self.unix_socket)}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "lmtp" if self.lmtp else "smtps" if self.effective_secure else "smtp"
        return f"{scheme}://{user}{host}:{self.effective_port}"

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickles, as when a process is given work. One holds the secrets: keep it as you keep them.

        :raises ConfigurationError: an option holds what belongs to this process, such as a socket; ``option`` names it
        """
        given = {}
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if value == getattr(_DEFAULTS, option.name):
                continue
            given[option.name] = dict(value) if option.name == "defaults" else value
            try:
                pickle.dumps(given[option.name])
            except Exception as error:
                # What it says may show what the option holds.
                raise wrong(
                    option.name,
                    f"holds something that no other process can be given ({type(error).__name__}); "
                    "make these options where they are used",
                ) from None
        return _revived, (given,)

    # Nothing of them changes, and what cannot be pickled can be shared.
    def __copy__(self) -> Options:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Options:
        return self

    def __repr__(self) -> str:
        # Only what differs from the defaults, and never what a message or a key holds.
        shown = []
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if value != getattr(_DEFAULTS, option.name):
                shown.append(f"{option.name}={'…' if option.name == 'defaults' else repr(value)}")
        return f"Options({', '.join(shown)})"


def _revived(given: dict[str, Any]) -> Options:
    return Options(**given)


_RULES: dict[str, check.Check] = {
    "host": check.host_name,
    "port": check.or_none(check.port),
    "secure": check.or_none(check.flag),
    "lmtp": check.flag,
    "unix_socket": check.or_none(check.text),
    "sock": check.or_none(check.socket),
    "local_address": check.or_none(check.ip),
    "proxy": check.or_none(lambda name, value: Proxy.of(value)),
    "dial": check.or_none(check.function),
    "name": check.or_none(check.ehlo_name),
    "service": check.or_none(check.text),
    "starttls": check.one_of("auto", "required", "opportunistic", "never"),
    "tls": lambda name, value: TLSOptions.of(value),
    "servername": check.or_none(check.host_name),
    "auth": check.or_none(lambda name, value: Credentials.of(value)),
    "auth_method": check.or_none(check.mechanism),
    "min_mechanism": check.or_none(check.least_mechanism),
    "allow_cleartext_auth": check.flag,
    "pool": check.flag,
    "max_connections": check.count(1),
    "min_connections": check.count(0),
    "max_messages": check.count(1, or_minus_one=True),
    "max_requeues": check.count(0, or_minus_one=True),
    "idle_timeout": check.seconds(),
    "max_age": check.or_none(check.seconds()),
    "check_after": check.or_none(check.seconds(zero=True)),
    "max_queue": check.count(1),
    "pipeline_depth": check.count(1),
    "max_recipients": check.or_none(check.count(1)),
    "rate": rates,
    "rate_limit": check.or_none(check.count(0)),
    "rate_delta": check.count(1),
    "max_throttle_wait": check.seconds(zero=True),
    "dns_timeout": check.seconds(),
    "connection_timeout": check.seconds(),
    "greeting_timeout": check.seconds(),
    "socket_timeout": check.seconds(),
    "command_timeout": check.or_none(check.seconds()),
    "deadline": check.or_none(check.seconds()),
    "connection_wait": check.seconds(zero=True),
    "auth_retry_after": check.seconds(zero=True),
    "on_uncertain": check.one_of("requeue", "fail"),
    "max_duplicates": check.count(0),
    "disable": check.extensions,
    "defaults": check.mapping,
    "access": lambda name, value: Access.of(value),
    "addresses": check.one_of("strict", "lenient"),
    "smime": check.or_none(lambda name, value: Smime.of(value)),
    "dkim": check.or_none(dkim_keys),
}


def _level_of_caller() -> int:
    """Which ``stacklevel`` is the first frame outside this package: the line that a warning should name."""
    frame, level = sys._getframe(1), 0
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == _PACKAGE:
        frame, level = frame.f_back, level + 1
    return level + 1


_DEFAULTS = Options()
