"""A proxy between us and the server: its URL, taken apart and checked before anybody is connected to."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from ..errors import ConfigurationError
from .checks import host_name, is_ip, port, text, wrong
from .tls import TLSOptions

# The port where a URL says none.
PROXY_SCHEMES: Final = {
    "http": 80,
    "https": 443,
    "socks4": 1080,
    "socks4a": 1080,
    "socks5": 1080,
    "socks5h": 1080,
}
# Who looks up the server's name: with these the proxy does.
_REMOTE_DNS: Final = frozenset({"http", "https", "socks4a", "socks5h"})
_URL = re.compile(
    r"([a-z0-9]+)://(?:([^@/?#\\]*)@)?(\[[^\[\]@/?#]*\]|[^:\[\]@/?#\\]+)(?::(\d{1,5}))?/?", re.I
)
_NOT_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# RFC 1929 §2 counts the octets of a name with one octet; SOCKS4 servers keep no more either.
_MOST_OF_SOCKS: Final = 255


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    """What stands between us and the server. A URL as text is enough where ``tls`` is not needed.

    :param url: ``"http://host:port"`` (CONNECT, RFC 9110 §9.3.6), ``"https://…"`` (the same over TLS), ``"socks4://…"``,
        ``"socks4a://…"``, ``"socks5://…"`` (RFC 1928) or ``"socks5h://…"``; ``user:password@`` before the host,
        percent-encoded. With ``socks4`` and ``socks5`` we look up the server's name, with the others the proxy does
    :param user: who logs in to the proxy, where it is not in the URL
    :param password: in no ``repr``
    :param tls: how an ``https`` proxy proves who it is: `TLSOptions`, a mapping of its fields or an ``ssl.SSLContext``;
        ``None``: verified by the system's authorities. The option ``tls`` of a transporter is about the server alone
    :raises ConfigurationError: a part is missing, malformed, or holds what this kind of proxy cannot be told
    """

    url: str
    user: str | None = None
    password: str | None = None
    tls: TLSOptions | Any = None
    scheme: str = field(init=False, compare=False)
    host: str = field(init=False, compare=False)
    port: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        user, password = self._take_apart()
        for name, given, in_url in (("user", self.user, user), ("password", self.password, password)):
            if given is not None and in_url is not None:
                raise wrong("proxy", f"the {name} is given twice: in the URL and apart from it")
            object.__setattr__(self, name, in_url if given is None else given)
        self._check_login()
        if self.scheme == "https":
            object.__setattr__(self, "tls", TLSOptions.of(self.tls))
        elif self.tls is not None:
            raise wrong("proxy", f"tls is for proxies with https://, and this one is {self.scheme}://")

    def _take_apart(self) -> tuple[str | None, str | None]:
        # No part of the URL is shown: what breaks it is usually a password that was not percent-encoded.
        url: object = self.url
        if not isinstance(url, str) or not url:
            raise wrong("proxy", "must be a URL such as 'socks5h://user:password@host:1080'")
        if _CONTROL.search(url) or " " in url:
            raise wrong("proxy", "must not contain spaces or control characters")
        found = _URL.fullmatch(url)
        if found is None:
            raise wrong(
                "proxy",
                "must have the form scheme://user:password@host:port, with : / ? # % @ in user and password "
                "percent-encoded, and an IPv6 address in brackets",
            )
        scheme, login, host, number = found.groups()
        scheme = scheme.lower()
        if scheme not in PROXY_SCHEMES:
            raise wrong(
                "proxy", f"must begin with one of {', '.join(f'{name}://' for name in PROXY_SCHEMES)}"
            )
        if host.startswith("[") and ":" not in host:
            raise wrong("proxy", "has brackets around something that is no IPv6 address")
        object.__setattr__(self, "scheme", scheme)
        object.__setattr__(self, "host", host_name("proxy", host))
        object.__setattr__(
            self, "port", PROXY_SCHEMES[scheme] if number is None else port("proxy", int(number))
        )
        # From here on the URL can be shown.
        object.__setattr__(self, "url", f"{scheme}://{self.place}")
        if login is None:
            return None, None
        user, colon, password = login.partition(":")
        if ":" in password:
            raise wrong("proxy", "has a : in the user or the password that is not percent-encoded; write %3A")
        return _decoded(user), _decoded(password) if colon else None

    def _check_login(self) -> None:
        for name, value in (("user", self.user), ("password", self.password)):
            if value is None:
                continue
            given: object = value
            if not isinstance(given, str) or not given:
                raise wrong("proxy", f"the {name} must be a text that is not empty")
            if _CONTROL.search(value):
                raise wrong("proxy", f"the {name} contains a control character")
            if self.is_socks and not value.isascii():
                raise wrong("proxy", f"the {name} is not ASCII, and SOCKS names no character set")
            if self.is_socks and len(value) > _MOST_OF_SOCKS:
                raise wrong(
                    "proxy", f"the {name} is longer than the {_MOST_OF_SOCKS} octets that SOCKS can carry"
                )
        if self.password is not None and self.user is None:
            raise wrong("proxy", "has a password and no user")
        if self.scheme.startswith("socks4") and self.password is not None:
            raise wrong("proxy", "SOCKS4 knows a user and no password; use socks5://")
        if self.scheme.startswith("socks5") and self.user is not None and self.password is None:
            raise wrong(
                "proxy", "SOCKS5 logs in with a user and a password (RFC 1929); the password is missing"
            )
        if not self.is_socks and self.user is not None and ":" in self.user:
            raise wrong("proxy", "the user contains a colon, which ends it there (RFC 7617 §2)")

    @classmethod
    def of(cls, value: object) -> Proxy:
        """From a URL, a mapping of the fields, or a `Proxy`.

        :raises ConfigurationError: it is something else
        """
        if isinstance(value, Proxy):
            return value
        if isinstance(value, str):
            return cls(text("proxy", value))
        # The value itself may hold a password: it is not shown.
        if not isinstance(value, Mapping):
            raise wrong("proxy", "must be a URL, a Proxy or a mapping of its fields")
        names = [one.name for one in dataclasses.fields(cls) if one.init]
        if "url" not in value or not set(value) <= set(names):
            raise wrong("proxy", f"as a mapping must have 'url', and may have {', '.join(names[1:])}")
        return cls(**value)

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")

    @property
    def resolves(self) -> bool:
        """Whether the proxy looks up the server's name, rather than we."""
        return self.scheme in _REMOTE_DNS

    @property
    def place(self) -> str:
        """Its host and port, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def refuse_server(self, host: str) -> None:
        """See whether this kind of proxy can be told to connect to ``host``, an IP address or a checked host name.

        :raises ConfigurationError: it cannot
        """
        if not is_ip(host):
            return
        if "%" in host:
            raise wrong(
                "proxy", f"cannot be told the zone in {host}: it means something on this machine only"
            )
        if ":" in host and self.scheme.startswith("socks4"):
            raise wrong("proxy", f"SOCKS4 knows no IPv6 address such as {host}; use socks5://")

    def __repr__(self) -> str:
        login = f", user={self.user!r}" if self.user is not None else ""
        secret = ", password=***" if self.password is not None else ""
        tls = f", tls={self.tls!r}" if self.scheme == "https" and self.tls != TLSOptions() else ""
        return f"Proxy({self.url!r}{login}{secret}{tls})"


def _decoded(part: str) -> str:
    if _NOT_ENCODED.search(part):
        raise wrong("proxy", "holds a % that is not followed by two hexadecimal digits; write %25")
    try:
        return unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(
            "proxy: holds percent-encoded octets that are not UTF-8", option="proxy"
        ) from None
