"""From what callers give to mailboxes: text by RFC 5322 §3.4, tuples, mappings, and lists of those.

The parser is strict on purpose: where a text could be read in two ways it is refused, because a guess is a message
to the wrong person or a recipient lost. The lenient mode is another grammar beside this one, asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias

from ..errors import AddressError
from .grammar import read_address_list
from .lenient import read_leniently
from .mailbox import Mailbox
from .syntax import match_plain_address, show


class StdlibAddress(Protocol):
    """An ``email.headerregistry.Address``, known without importing that package."""

    @property
    def display_name(self) -> str: ...

    @property
    def addr_spec(self) -> str: ...


Addresses: TypeAlias = (
    str | Mailbox | StdlibAddress | tuple[str, str] | Mapping[str, str | None] | Iterable["Addresses"] | None
)

_DEEPEST = 20


class AddressList(tuple[Mailbox, ...]):
    """The mailboxes that ``parse_addresses`` read: a tuple, with what was repaired.

    ``repairs``  a sentence for each thing that was not as RFC 5322 §3.4 has it; empty where nothing was repaired
    """

    repairs: tuple[str, ...] = ()


def parse_addresses(value: Addresses, *, lenient: bool = False) -> AddressList:
    """The mailboxes in a text or a list, read as the address fields of a message are read.

    value    text with one or more addresses, with or without names, groups, comments and quoted strings (RFC 5322
             §3.4); a ``Mailbox``; a ``(name, address)`` tuple; a mapping with ``name`` and ``address``; or a list of
             those
    lenient  whether text may be as people write it: ``a@x; b@y``, a name with a comma but without quotes, and more.
             Nothing that may be a recipient is dropped, and ``repairs`` says what was changed

    Raises ``AddressError`` when anything in it is not exactly one readable address. Do not use it to ask whether an
    address exists: only its server knows that.
    """
    repairs: list[str] | None = [] if lenient else None
    found = AddressList(parse_mailboxes(value, "addresses", repairs))
    found.repairs = tuple(repairs or ())
    return found


def parse_mailboxes(value: Addresses, field: str, repairs: list[str] | None = None) -> tuple[Mailbox, ...]:
    """The mailboxes that ``value`` names, in order, repeated ones included.

    value    text with one or more mailboxes, groups, comments and quoted strings (RFC 5322 §3.4); a ``Mailbox``; a
             ``(name, address)`` tuple; a mapping with ``name`` and ``address``; an ``email.headerregistry.Address``;
             or an iterable of those, nested if you like. ``None`` is no mailbox.
    field    the name of the field, for errors
    repairs  where to note what was repaired; ``None``: text has to follow the standard, and nothing is repaired

    Raises ``AddressError`` when anything in it is not exactly one readable address.
    """
    try:
        if isinstance(value, str):
            return _read(value, repairs)
        found: list[Mailbox] = []
        _collect(value, found, repairs, 0)
    except AddressError as error:
        raise AddressError(f"{field}: {error}", field=field) from None
    return tuple(found)


def _read(text: str, repairs: list[str] | None) -> tuple[Mailbox, ...]:
    return read_address_list(text) if repairs is None else read_leniently(text, repairs)


def _collect(value: object, found: list[Mailbox], repairs: list[str] | None, depth: int) -> None:
    if isinstance(value, Mailbox):
        found.append(value)
    elif isinstance(value, str):
        found.extend(_read(value, repairs))
    elif value is None:
        return
    elif isinstance(value, Mapping):
        found.append(_from_mapping(value))
    elif isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value):
        found.append(_from_pair(*value))
    elif hasattr(value, "addr_spec"):  # email.headerregistry.Address, known without importing that package
        found.append(Mailbox(str(getattr(value, "display_name", "")), str(value.addr_spec)))
    elif isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview):
        if depth == _DEEPEST:
            raise AddressError(f"lists are nested more than {_DEEPEST} deep")
        for item in value:
            _collect(item, found, repairs, depth + 1)
    else:
        raise AddressError(
            f"{show(repr(value))} is a {type(value).__name__}; give text, a Mailbox, or a list of them"
        )


def _from_mapping(value: Mapping[str, object]) -> Mailbox:
    unknown = [str(key) for key in value if key not in ("name", "address")]
    if unknown or "address" not in value:
        raise AddressError(
            f"an address given as a mapping has the keys name and address, not {show(str(list(value)))}"
        )
    name, address = value.get("name"), value["address"]
    if not isinstance(address, str) or not (name is None or isinstance(name, str)):
        raise AddressError("the name and the address in a mapping must be text")
    return Mailbox(name or "", address)


def _from_pair(name: str, address: str) -> Mailbox:
    # ("a@x", "b@y") is far more often two recipients than a person who is called a@x.
    if match_plain_address(name) and name.lower() != address.lower():
        raise AddressError(
            f"({show(name)}, {show(address)}) reads as two addresses; give two addresses as a list"
        )
    return Mailbox(name, address)
