"""Well-known services: where they listen, and what they allow.

The facts are in ``services.json``; each limit there says whether it comes from the provider (``official``), from a text
that quotes it (``quoted``) or from users (``reported``), and when it was written down.
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

from .errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Limit:
    """One thing that a provider allows: ``value`` in the unit of the option of that name, its ``source``, its ``date``."""

    value: Any
    source: str
    date: str


@dataclass(frozen=True, slots=True, eq=False)
class Preset:
    """A service. ``limits`` may also hold what is no option of ours, such as ``max_size`` in octets."""

    name: str
    host: str
    port: int
    secure: bool
    aliases: tuple[str, ...]
    domains: tuple[str, ...]
    limits: Mapping[str, Limit]

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


def every() -> tuple[Preset, ...]:
    """All services, in the order of the file."""
    return tuple(dict.fromkeys(_by_key().values()))


def _lower(limit: Any, default: Any) -> Any:
    return min(limit, default) if isinstance(default, (int, float)) else limit


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())


@functools.cache
def _by_key() -> dict[str, Preset]:
    text = resources.files("mailpool").joinpath("services.json").read_text("utf-8")
    table: dict[str, Preset] = {}
    for name, entry in json.loads(text)["services"].items():
        preset = Preset(
            name,
            entry["host"],
            entry["port"],
            entry["secure"],
            tuple(entry.get("aliases", ())),
            tuple(entry.get("domains", ())),
            MappingProxyType({limit: Limit(**fact) for limit, fact in entry.get("limits", {}).items()}),
        )
        for key in (name, *preset.aliases, *preset.domains):
            table[_key(key)] = preset
    return table
