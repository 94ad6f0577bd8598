"""The values that options are made of, and the checks that every option passes.

A check takes the option's name and what was given, and returns what is kept or raises a `ConfigurationError` with that
name. Nothing here reads a clock, a file or the network.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import idna

from .errors import ConfigurationError
from .mechanism_names import FOR_PASSWORD, FOR_TOKEN, STRENGTH, WITHOUT_SECRET
from .option_oauth2 import FROM_ELSEWHERE, OAUTH2_FIELDS, OAuth2, oauth2_of

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?")
_MECHANISM = re.compile(r"[A-Z0-9_-]{1,20}")  # RFC 4422 §3.1
_SNAKE = re.compile(r"(?<=[a-z])([A-Z])")
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3_600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
}
_RATE = re.compile(
    r"(?P<limit>\d{1,12}) ?(?P<what>messages?|recipients?)? ?/ ?(?P<times>\d{1,6}(?:\.\d{1,6})?)? ?(?P<unit>[a-z]+)"
)

# ---------------------------------------------------------------------------------------------------------------------
# Checks: each takes the option's name and what was given, and returns what is kept.

Check = Callable[[str, Any], Any]


def wrong(name: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"{name}: {problem}", option=name)


def unknown(prefix: str, key: object, names: Iterable[str]) -> ConfigurationError:
    """The error for a name that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(_SNAKE.sub(r"_\1", str(key)).lower(), list(names), n=1)
    hint = f"; did you mean {prefix + near[0]!r}?" if near else ""
    return ConfigurationError(f"unknown option {prefix + str(key)!r}{hint}", option=prefix + str(key))


def flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong(name, f"must be True or False, not {value!r}")
    return value


def count(least: int, *, or_minus_one: bool = False) -> Check:
    def check(name: str, value: object) -> int:
        # bool is an int to Python, and never a number that somebody meant.
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(name, f"must be a whole number, not {value!r}")
        if value < least and not (or_minus_one and value == -1):
            raise wrong(
                name, f"must be at least {least}{', or -1 for no bound' if or_minus_one else ''}, not {value}"
            )
        return value

    return check


def seconds(*, zero: bool = False) -> Check:
    def check(name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong(name, f"must be a number of seconds, not {value!r}")
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
            raise wrong(
                name, f"must be a finite number of seconds {'from' if zero else 'above'} 0, not {value}"
            )
        if name.endswith("_timeout") and value > 3_600:
            raise wrong(
                name,
                f"{value} seconds is over an hour; were milliseconds meant? Then write {value / 1_000:g}",
            )
        return float(value)

    return check


def text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise wrong(name, f"must be a text that is not empty, not {value!r}")
    if _CONTROL.search(value):
        raise wrong(name, "must not contain control characters")
    return value


def one_of(*choices: str) -> Check:
    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise wrong(name, f"must be one of {', '.join(map(repr, choices))}, not {value!r}")
        return value

    return check


def or_none(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def port(name: str, value: object) -> int:
    number: int = count(1)(name, value)
    if number > 65_535:
        raise wrong(name, f"must be at most 65535, not {number}")
    return number


def host_name(name: str, value: object) -> str:
    """An IP address, or a host name in the form that goes to the resolver: A-labels (RFC 5890 §2.3.2.1)."""
    host = text(name, value)
    address = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if is_ip(address):
        return address
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise wrong(name, f"{value!r} is no valid host name: {error}") from None
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(len(label) <= 63 and _LABEL.fullmatch(label) for label in labels):
        raise wrong(name, f"{value!r} is neither a host name nor an IP address")
    return host


def ehlo_name(name: str, value: object) -> str:
    """What may follow EHLO: a domain or an address literal (RFC 5321 §4.1.1.1), in ASCII."""
    given = text(name, value)
    address = given[1:-1] if given.startswith("[") and given.endswith("]") else given
    if address[:5].lower() == "ipv6:":
        address = address[5:]
    if is_ip(address) and "%" not in address:  # a zone means something on this machine only
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    if not given.isascii():
        raise wrong(name, f"{value!r} is not ASCII; give the name's A-label form (xn--…)")
    if given.startswith("_") or is_ip(address):
        raise wrong(name, f"{value!r} is no domain and no address literal (RFC 5321 §4.1.2)")
    return host_name(name, given)


def ip(name: str, value: object) -> str:
    address = text(name, value)
    if not is_ip(address):
        raise wrong(name, f"must be an IP address of this machine, not {value!r}")
    return address


def mechanism(name: str, value: object) -> str:
    if not isinstance(value, str) or not _MECHANISM.fullmatch(value.upper()):
        raise wrong(name, f"must be the name of a SASL mechanism such as 'PLAIN', not {value!r}")
    return value.upper()


def least_mechanism(name: str, value: object) -> str:
    least = mechanism(name, value)
    if least not in STRENGTH:
        raise wrong(name, f"{least} is not among {', '.join(STRENGTH)}")
    return least


def extensions(name: str, value: object) -> frozenset[str]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, Iterable):
        raise wrong(name, f"must be a set of extension names such as {{'PIPELINING'}}, not {value!r}")
    found = {item.strip().upper() if isinstance(item, str) else "" for item in names}
    if not all(re.fullmatch(r"[A-Z0-9][A-Z0-9-]{0,63}", item) for item in found):
        raise wrong(name, f"must hold names of SMTP extensions such as 'PIPELINING', not {value!r}")
    return frozenset(found)


def mapping(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise wrong(name, f"must be a mapping of message fields, not {type(value).__name__}")
    return MappingProxyType(dict(value))


def socket(name: str, value: object) -> Any:
    # Told by what is used of it: layer 0 does not import `socket`.
    if not (hasattr(value, "fileno") and hasattr(value, "recv")):
        raise wrong(name, f"must be a connected socket, not {type(value).__name__}")
    return value


def function(name: str, value: object) -> Any:
    if not callable(value):
        raise wrong(name, f"must be a function, not {type(value).__name__}")
    return value


# ---------------------------------------------------------------------------------------------------------------------
# Values that options are made of.


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``limit`` in any window of ``per`` seconds (P-23).

    :param limit: how many, at least 1
    :param per: the window in seconds
    :param burst: the most that may go back to back; ``None``: as many as ``limit``
    :param unit: what is counted: ``"messages"``, or ``"recipients"`` as some providers do
    :raises ConfigurationError: a number is out of range or of another type
    """

    limit: int
    per: float = 1.0
    burst: int | None = None
    unit: Literal["messages", "recipients"] = "messages"

    def __post_init__(self) -> None:
        count(1)("rate", self.limit)
        object.__setattr__(self, "per", seconds()("rate", self.per))
        if self.burst is not None and count(1)("rate", self.burst) > self.limit:
            raise wrong("rate", f"burst={self.burst} is more than limit={self.limit}")
        one_of("messages", "recipients")("rate", self.unit)

    @classmethod
    def parse(cls, text: str) -> Rate:
        """A rate from a short text: ``"14/s"``, ``"30/min"``, ``"10000/day"``, ``"5/10s"``, ``"10000 recipients/day"``.

        :raises ConfigurationError: the text is none of these
        """
        match = _RATE.fullmatch(text.strip().lower())
        if match is None or match["unit"] not in _UNITS:
            raise wrong("rate", f"{text!r} is no rate; write it as '14/s', '30/min' or '10000/day'")
        per = float(match["times"] or 1) * _UNITS[match["unit"]]
        return cls(
            int(match["limit"]), per, unit="recipients" if (match["what"] or "")[:1] == "r" else "messages"
        )

    def __str__(self) -> str:
        what = " recipients" if self.unit == "recipients" else ""
        name = {1.0: "s", 60.0: "min", 3_600.0: "h", 86_400.0: "day"}.get(
            self.per, f"{self.per:.6f}".rstrip("0").rstrip(".") + "s"
        )
        return f"{self.limit}{what}/{name}"


# A token, or a token and the seconds that it lives.
GivenToken = str | tuple[str, float]


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Who logs in, and with what: a password, an OAuth2 access token, or what ``method`` knows. The secret is in no ``repr``.

    :param user: the identity, usually an e-mail address; may be left away for EXTERNAL and GSSAPI
    :param password: the password, or the key of an API
    :param access_token: an OAuth2 bearer token (RFC 6750), or where one comes from: `OAuth2`, or a function that
        returns one, ``(token, expires_in)`` with the seconds that it lives, or an awaitable of these
    :param method: the SASL mechanism to use; ``None``: the strongest that suits. Or one of your own: called with these
        credentials and a `LoginContext`, it gives a `Mechanism`
    :raises ConfigurationError: a part is missing or empty, both secrets are given, the method cannot use what is given,
        or something holds a character that ends a field on the wire: NUL (RFC 4616 §2), or ``\\x01`` as in XOAUTH2
    """

    user: str = ""
    password: str | None = None
    access_token: str | OAuth2 | Callable[[], GivenToken | Awaitable[GivenToken]] | None = None
    method: str | Callable[[Credentials, Any], Any] | None = None

    def __post_init__(self) -> None:
        if self.method is not None and not callable(self.method):
            object.__setattr__(self, "method", mechanism("auth", self.method))
        self._check_secrets()
        for what, value in (
            ("user", self.user),
            ("password", self.password),
            ("access token", self.access_token),
        ):
            if (value is None and what != "user") or (what == "access token" and self.renews):
                continue
            if what == "user" and value == "" and self._may_be_nobody():
                continue
            if not isinstance(value, str) or not value:
                raise wrong("auth", f"the {what} must be a text that is not empty")
            if "\0" in value or "\x01" in value:
                raise wrong("auth", f"the {what} contains a control character that would end it early")
            if what == "access token" and _CONTROL.search(value):
                raise wrong("auth", "the access token contains a control character")
            if any("\ud800" <= c <= "\udfff" for c in value):
                raise wrong("auth", f"the {what} contains half of a surrogate pair and has no UTF-8 form")

        source: Any = self.access_token
        if type(source).__hash__ is None:
            # Tokens are kept by where they come from; a method has a hash also where its object has none.
            object.__setattr__(self, "access_token", source.__call__)

    def _check_secrets(self) -> None:
        if self.password is not None and self.access_token is not None:
            raise wrong("auth", "give a password or an access token for the user, not both")
        if callable(self.method):
            return
        secret = "a password" if self.password is not None else "an access token"
        given = self.password is not None or self.access_token is not None
        if not given and self.method not in WITHOUT_SECRET:
            raise wrong("auth", "give a password or an access token for the user: neither is there")
        suiting = FOR_PASSWORD if self.password is not None else FOR_TOKEN if given else WITHOUT_SECRET
        if self.method in STRENGTH and self.method not in suiting:
            raise wrong("auth", f"method {self.method!r} has no use for {secret}")

    def _may_be_nobody(self) -> bool:
        """Whether the mechanism tells the server who logs in."""
        return callable(self.method) or (self.password is None and self.method in WITHOUT_SECRET)

    @property
    def renews(self) -> bool:
        """Whether a new access token can be had when the server refuses one."""
        return isinstance(self.access_token, OAuth2) or callable(self.access_token)

    @classmethod
    def of(cls, value: object) -> Credentials:
        """From credentials, ``(user, password)``, or a mapping with ``user`` and ``password`` or ``access_token``.

        A mapping may say ``pass`` for ``password``, and ``type`` (``"login"`` or ``"oauth2"``) beside it. With the
        fields of `OAuth2` in it, tokens are asked for.

        :raises ConfigurationError: it is something else
        """
        if isinstance(value, Credentials):
            return value
        if isinstance(value, (tuple, list)) and len(value) == 2:
            return cls(*value)
        if not isinstance(value, Mapping):
            # The value itself may be a secret: it is not shown.
            raise wrong(
                "auth", "must be Credentials, a (user, password) pair or a mapping with 'user' and 'password'"
            )
        given: dict[Any, Any] = {_AUTH_NAMES.get(key, key): item for key, item in value.items()}
        if len(given) != len(value):
            raise wrong("auth", "says the same thing twice under two names")
        kind = given.pop("type", None)
        about_tokens = {
            key: given.pop(key) for key in tuple(given) if key in _OF_TOKENS and key != "access_token"
        }
        for key in given:
            if key not in ("user", "password", "access_token", "method"):
                raise wrong(
                    "auth",
                    f"{key!r} is unknown; there are user, password, access_token, method and those of OAuth2",
                )
        if about_tokens:
            if given.get("access_token") is not None:
                about_tokens["access_token"] = given["access_token"]
            given["access_token"] = oauth2_of(about_tokens)
        if str(kind or "login").lower() not in ("login", "oauth2"):
            raise wrong("auth", f"type must be 'login' or 'oauth2', not {kind!r}")
        if (str(kind).lower() == "oauth2") and given.get("access_token") is None:
            raise wrong(
                "auth", "type 'oauth2' needs an access_token, or what one is asked for with: see OAuth2"
            )
        return cls(**given)

    def __repr__(self) -> str:
        secret = "password" if self.password is not None else "access_token"
        shown = f", {secret}=***" if self.password is not None or self.access_token is not None else ""
        name = getattr(self.method, "__qualname__", self.method)
        return f"Credentials(user={self.user!r}{shown}{f', method={name!r}' if self.method else ''})"


_AUTH_NAMES = {"pass": "password", "username": "user", "accessToken": "access_token"}
_OF_TOKENS = OAUTH2_FIELDS | {*FROM_ELSEWHERE, "serviceClient", "privateKey"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSOptions:
    """How the server proves who it is, and how we do (RFC 8314 §5).

    :param verify: check the certificate and its name; ``False`` trusts anybody on the way
    :param ca_file: PEM file of the authorities to trust in place of the system's
    :param ca_data: the same as text (PEM) or bytes (DER)
    :param cert_file: PEM file of our own certificate; with ``key_file`` where the key is apart
    :param key_file: PEM file of its key
    :param key_password: of the key; in no ``repr``
    :param min_version: ``"TLSv1.2"`` or ``"TLSv1.3"``; older is refused (RFC 8996)
    :raises ConfigurationError: wrong type or combination
    """

    verify: bool = True
    ca_file: str | None = None
    ca_data: str | bytes | None = field(default=None, repr=False)
    cert_file: str | None = None
    key_file: str | None = None
    key_password: str | None = field(default=None, repr=False)
    min_version: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"

    def __post_init__(self) -> None:
        flag("tls.verify", self.verify)
        one_of("TLSv1.2", "TLSv1.3")("tls.min_version", self.min_version)
        for name in ("ca_file", "cert_file", "key_file"):
            given = getattr(self, name)
            path = given.__fspath__() if hasattr(given, "__fspath__") else given
            object.__setattr__(self, name, or_none(text)(f"tls.{name}", path))
        secret: object = self.key_password
        if not isinstance(secret, (str, type(None))):
            raise wrong("tls.key_password", "must be a text")
        data: object = self.ca_data
        if not isinstance(data, (str, bytes, type(None))):
            raise wrong("tls.ca_data", "must be PEM text or DER bytes")
        if self.key_file is not None and self.cert_file is None:
            raise wrong("tls.key_file", "is the key to which certificate? Give cert_file too")
        if not self.verify and (self.ca_file or self.ca_data):
            raise wrong("tls.verify", "is False: the authorities given would not be looked at")

    @classmethod
    def of(cls, value: object) -> Any:
        """From `TLSOptions`, a mapping of its names, ``None`` for the defaults, or an ``ssl.SSLContext`` left as it is."""
        if value is None:
            return cls()
        # Told by what is used of it: layer 0 does not import `ssl`.
        if isinstance(value, TLSOptions) or hasattr(value, "wrap_bio"):
            return value
        if not isinstance(value, Mapping):
            raise wrong(
                "tls", f"must be TLSOptions, a mapping or an ssl.SSLContext, not {type(value).__name__}"
            )
        names = [f.name for f in dataclasses.fields(cls)]
        for key in value:
            if key not in names:
                raise unknown("tls.", key, names)
        return cls(**value)
