"""Well-known services: where they listen, and what they allow.

The facts are in ``services.json``. Each address there says whether it was read on the provider's pages (``official``) or
stands in lists that other programs bring (``listed``); each limit whether it comes from the provider (``official``), from
a text that quotes it (``quoted``) or from users (``reported``). All say when they were written down.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from ..errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Limit:
    """One thing that a provider allows: ``value`` in the unit of the option of that name, its ``source``, its ``date``."""

    value: Any
    source: str
    date: str


@dataclass(frozen=True, slots=True, eq=False)
class Preset:
    """A service that is known by name.

    :param name: what to give as ``service``; ``aliases`` and ``domains`` do as well
    :param description: what it is, for people
    :param starttls: the option to set, where it is not ``"auto"``
    :param oauth2: the provider whose access tokens it takes
    :param source: where host and port come from: ``"official"`` or ``"listed"``, written down at ``date``
    :param note: what else one should know
    :param limits: by the name of the option; also what is no option of ours, such as ``max_size`` in octets
    """

    name: str
    description: str
    host: str
    port: int
    secure: bool
    starttls: str | None
    oauth2: str | None
    aliases: tuple[str, ...]
    domains: tuple[str, ...]
    source: str
    date: str
    note: str | None
    limits: Mapping[str, Limit]

    @property
    def _text(self) -> str:
        """What a search looks at."""
        return " ".join(map(_key, (self.name, self.description, self.host, *self.aliases, *self.domains)))

    def fill(self, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
        """``given`` with everything added that the user left open; what is given wins.

        A limit lowers our default and never raises it: that a provider bears 5,000 messages on a connection is no
        reason to send them. ``defaults`` are those of the options.
        """
        filled = {**given, "service": self.name}
        said = {name: value for name, value in given.items() if value is not None}
        filled["host"] = said.get("host", self.host)
        # Port and TLS mode belong together: a user who changes one of them does not get the other.
        agree = said.get("port", self.port) == self.port and said.get("secure", self.secure) == self.secure
        if agree and not (self.secure and said.get("starttls", "auto") != "auto"):
            filled.update(port=self.port, secure=self.secure)
            if self.starttls is not None and "starttls" not in said:
                filled["starttls"] = self.starttls
        if self.oauth2 is not None and isinstance(said.get("auth"), Mapping):
            filled["auth"] = _with_provider(said["auth"], self.oauth2)
        for name in _OPTIONS:
            told = name in given or (name == "rate" and given.get("rate_limit") is not None)
            if name in self.limits and not told:
                filled[name] = _lower(self.limits[name].value, defaults.get(name))
        return filled


_OPTIONS = ("max_connections", "max_messages", "idle_timeout", "rate", "max_recipients", "disable")


def find(name: str) -> Preset:
    """The service of that name, alias, domain or e-mail address; case and punctuation do not matter.

    :param name: such as ``"gmail"``, ``"Outlook 365"``, ``"googlemail.com"``, ``"me@gmail.com"``
    :raises ConfigurationError: there is none; the message has near names
    """
    wanted = _key(name.rpartition("@")[2])
    known = _by_key()
    if wanted not in known:
        near = list(dict.fromkeys(known[key].name for key in difflib.get_close_matches(wanted, known, n=5)))[
            :3
        ]
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "give host and port"
        raise ConfigurationError(f"service: {name!r} is not known; {hint}", option="service")
    return known[wanted]


def services(search: str | None = None) -> tuple[Preset, ...]:
    """The services that are known by name, by that name.

    :param search: only those whose name, alias, domain, description or host holds it, case and punctuation aside; the
        one that ``service=search`` means comes first, also for an e-mail address
    """
    found = sorted(set(_by_key().values()), key=lambda preset: preset.name)
    if search is None:
        return tuple(found)
    meant = _by_key().get(_key(search.rpartition("@")[2]))
    part = _key(search)
    others = [preset for preset in found if preset is not meant and part and part in preset._text]
    return (*([meant] if meant is not None else ()), *others)


_OF_REQUESTS = frozenset({"client_id", "clientId", "refresh_token", "refreshToken"})
_OF_PLACES = frozenset({"provider", "token_url", "accessUrl", "service_account", "serviceClient"})


def _with_provider(auth: Mapping[Any, Any], provider: str) -> Mapping[Any, Any]:
    """``auth`` with the token server of the service, where tokens are asked for and nothing says where."""
    if _OF_REQUESTS & auth.keys() and not _OF_PLACES & auth.keys():
        return {**auth, "provider": provider}
    return auth


def _lower(limit: Any, default: Any) -> Any:
    return min(limit, default) if isinstance(default, (int, float)) else limit


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())


@functools.cache
def _by_key() -> dict[str, Preset]:
    text = resources.files(__package__).joinpath("services.json").read_text("utf-8")
    entries = json.loads(text)["services"]
    table: dict[str, Preset] = {}
    for name, entry in entries.items():
        like = entries[entry["like"]] if "like" in entry else entry
        preset = Preset(
            name,
            entry["description"],
            entry["host"],
            entry["port"],
            entry["secure"],
            entry.get("starttls"),
            entry.get("oauth2"),
            tuple(entry.get("aliases", ())),
            tuple(entry.get("domains", ())),
            entry["source"],
            entry["date"],
            entry.get("note"),
            MappingProxyType({limit: Limit(**fact) for limit, fact in like.get("limits", {}).items()}),
        )
        for key in (name, *preset.aliases, *preset.domains):
            table[_key(key)] = preset
    return table
