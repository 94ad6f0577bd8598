"""The normal form of a domain: lower case, IDNA by UTS #46 non-transitional, or an address literal."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

import idna

from ..errors import AddressError
from .syntax import match_plain_domain, show


def normal_domain(domain: str, *, unicode: bool) -> str:
    """The form of ``domain`` that goes on the wire.

    ``unicode`` asks for U-labels, as SMTPUTF8 addresses have them (RFC 6531 §3.2); otherwise A-labels (RFC 5891).
    Address literals (RFC 5321 §4.1.3) may be IPv4 or IPv6.

    Raises ``AddressError`` when the domain is malformed or not valid under IDNA 2008.
    """
    if match_plain_domain(domain):
        return domain.lower()
    if domain.startswith("["):
        return _literal(domain)
    a_labels, u_labels = _idna(domain)
    return u_labels if unicode else a_labels


def ascii_domain(domain: str) -> str:
    """``domain``, already in normal form, with A-labels: for Message-IDs and look-ups."""
    return domain if domain.isascii() else _idna(domain)[0]


@lru_cache(maxsize=1024)
def _idna(domain: str) -> tuple[str, str]:
    try:
        a_labels = idna.encode(domain, uts46=True).decode("ascii")
        u_labels = idna.decode(a_labels)
    except (idna.IDNAError, UnicodeError) as error:
        raise AddressError(f"{show(domain)} is not a valid domain: {error}") from None
    if a_labels.endswith("."):
        raise AddressError(f"the domain {show(domain)} must not end in a dot")
    return a_labels, u_labels


def _literal(domain: str) -> str:
    inside = domain[1:-1]
    try:
        if not domain.endswith("]"):
            raise ValueError
        if inside[:5].lower() == "ipv6:" and "%" not in inside:
            return f"[IPv6:{ipaddress.IPv6Address(inside[5:])}]"
        return f"[{ipaddress.IPv4Address(inside)}]"
    except ValueError:
        raise AddressError(
            f"{show(domain)} is not an address literal; write [192.0.2.1] or [IPv6:2001:db8::1]"
        ) from None
