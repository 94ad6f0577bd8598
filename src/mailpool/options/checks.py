"""The checks that every option passes.

A check takes the option's name and what was given, and returns what is kept or raises a `ConfigurationError` with that
name. Nothing here reads a clock, a file or the network.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import idna

from ..errors import ConfigurationError
from .mechanism_names import STRENGTH

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?")
_MECHANISM = re.compile(r"[A-Z0-9_-]{1,20}")  # RFC 4422 §3.1
_SNAKE = re.compile(r"(?<=[a-z])([A-Z])")

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
    if CONTROL.search(value):
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
