"""A mailbox: a display name and an address that is safe to put on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import AddressError
from .domain import normal_domain
from .syntax import (
    MAX_ADDRESS,
    invisible,
    match_dot_atom,
    match_loose_dots,
    match_quoted,
    plain_address,
    quote,
    search_control,
    search_control_but_tab,
    search_encoded_word,
    show,
    unquote,
    without_lone_surrogates,
)

_set = object.__setattr__


@dataclass(frozen=True, slots=True, init=False)
class Mailbox:
    """A name and an address that cannot be wrong once built (RFC 5322 §3.4, RFC 5321 §4.1.2).

    ``name``     the display name as people read it, without quotes or encoding; ``""`` for none
    ``address``  the address in the form that goes on the wire. The local part is kept, its case too, and quoted only
                 where it must be. The domain is lower case; internationalised ones have A-labels when the local part
                 is ASCII, and U-labels when it is not, because SMTPUTF8 is needed then anyway.

    A local part may be longer than the 64 octets of RFC 5321 §4.5.3.1.1, as reply addresses in use are; the whole
    address may not pass 254 octets. Two addresses that differ in the case of the local part are two addresses.

    Raises ``AddressError`` when either part is malformed or holds a control character. Do not use it for text that
    may hold more than one address: that is what ``parse_mailboxes`` is for.
    """

    name: str
    address: str

    def __init__(self, name: str, address: str) -> None:
        _set(self, "name", _checked_name(name) if name else "")
        _set(self, "address", normal_address(address))

    @classmethod
    def _checked(cls, name: str, address: str) -> Mailbox:
        """For the parser, which has matched both against the grammar already."""
        self = object.__new__(cls)
        _set(self, "name", name)
        _set(self, "address", address)
        return self

    @property
    def local(self) -> str:
        """The local part as on the wire, quoted if it must be."""
        return self.address.rpartition("@")[0]

    @property
    def domain(self) -> str:
        """The domain as on the wire."""
        return self.address.rpartition("@")[2]

    @property
    def utf8(self) -> bool:
        """Whether the address can only be sent to a server that offers SMTPUTF8 (RFC 6531)."""
        return not self.address.isascii()


def normal_address(address: str) -> str:
    """The form of an addr-spec that goes on the wire; see ``Mailbox``.

    Raises ``AddressError`` when it is malformed.
    """
    return plain_address(address) or _uncommon_address(address)


def _uncommon_address(address: str) -> str:
    if search_control(address):
        raise AddressError(f"{show(address)} holds a control character")
    local, at, domain = address.rpartition("@")
    if not at:
        raise AddressError(f"{show(address)} has no @; write local-part@domain")
    if not local or not domain:
        raise AddressError(f"{show(address)} lacks the part {'after' if local else 'before'} the @")
    hidden = invisible(address)
    if hidden and hidden in local:
        raise AddressError(f"{show(address)} holds the invisible character {hidden!a}")
    local = _normal_local(local, address)
    normal = f"{local}@{normal_domain(domain, unicode=not local.isascii())}"
    if len(normal.encode()) > MAX_ADDRESS:
        raise AddressError(f"{show(address)} is longer than {MAX_ADDRESS} octets")
    return normal


def _normal_local(local: str, address: str) -> str:
    if search_encoded_word(local):
        raise AddressError(f"{show(address)} holds an encoded word; only display names may be encoded")
    if match_dot_atom(local):
        return local
    if match_loose_dots(local):
        return quote(local)
    quoted = match_quoted(local)
    if quoted is None:
        raise AddressError(
            f"{show(address)} is not an address: its part before the last @ is neither plain nor one quoted string"
        )
    content = unquote(quoted[1])
    # A server that looks for the first ">" would take the rest for parameters (INJ-04). No real mailbox needs them.
    if not content or "<" in content or ">" in content:
        raise AddressError(f"{show(address)} is refused: its quoted part is empty or holds < or >")
    if search_encoded_word(content):
        raise AddressError(f"{show(address)} holds an encoded word; only display names may be encoded")
    return content if match_dot_atom(content) else quote(content)


def _checked_name(name: str) -> str:
    if search_control_but_tab(name):
        raise AddressError(f"the name {show(name)} holds a control character")
    return without_lone_surrogates(name).replace("\t", " ").strip(" ")
