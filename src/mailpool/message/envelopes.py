"""The envelope that the caller gives, completed from the header (RFC 5321 §2.3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from ..address import Envelope, Mailbox, parse_mailboxes, plain_address
from ..content import Content
from ..errors import AddressError, MessageError
from .fields import refuse_unknown

_PATHS_IN_ORDER: Final = ("to", "cc", "bcc")
_PATHS: Final = frozenset(_PATHS_IN_ORDER)
_KEYS: Final = _PATHS | {"from", "size", "use_8bitmime"}


def envelope_of(given: Any, sender: Mailbox | None, recipients: Iterable[Mailbox]) -> Envelope:
    """The envelope that ``given`` describes.

    given       an ``Envelope``, or a mapping with ``from``, ``to``, ``cc`` and ``bcc``. ``"from"`` may be ``""``,
                ``"<>"`` or ``None``: the null reverse-path. What else it says is for ``keep_promises``
    sender      who it is from if ``given`` does not say; ``None`` is the null reverse-path
    recipients  who it is to if ``given`` has none of ``to``, ``cc`` and ``bcc``

    Raises ``AddressError`` when an address is malformed or there is no recipient.
    """
    if isinstance(given, Envelope):
        return given
    if type(given) is dict and len(given) == 2:
        found = _to_one(given.get("from"), given.get("to"))
        if found is not None:
            return found
    if not isinstance(given, Mapping):
        raise MessageError("envelope: give an Envelope or a mapping with from and to", field="envelope")
    if not given.keys() <= _KEYS:
        refuse_unknown(given, _KEYS, "envelope")
    if "from" in given:
        origin = given["from"]
        if isinstance(origin, str):
            senders = _senders(origin)
        else:
            senders = () if origin is None else parse_mailboxes(origin, "envelope.from")
        if len(senders) > 1:
            raise AddressError("envelope.from: a message has one sender", field="envelope.from")
        sender = senders[0] if senders else None
    if not _PATHS.isdisjoint(given):
        recipients = ()
        for key in _PATHS_IN_ORDER:
            people = given.get(key)
            if people is not None:
                recipients += parse_mailboxes(people, f"envelope.{key}")
    return Envelope.between(sender, recipients)


def _to_one(origin: object, recipient: object) -> Envelope | None:
    """What most envelopes are: from one address to another, both as text. ``None``: it is something else."""
    if type(origin) is not str or type(recipient) is not str:
        return None
    address = plain_address(recipient)
    senders = _senders(origin) if address is not None else ()
    if address is None or len(senders) > 1:
        return None
    return Envelope.to_one(senders[0].address if senders else "", address)


@lru_cache(maxsize=256)  # a program sends from few addresses
def _senders(origin: str) -> tuple[Mailbox, ...]:
    return () if origin in ("", "<>") else parse_mailboxes(origin, "envelope.from")


def keep_promises(given: Any, content: Content) -> None:
    """See that ``content`` is what the envelope ``given`` by the caller says of it.

    ``size`` is the most octets it may have, and ``use_8bitmime: False`` says that none is above 127. What the server is
    told (RFC 1870, RFC 6152) comes from the content alone. Raises ``MessageError`` (INJ-07).
    """
    if isinstance(given, Envelope):
        return
    size, eight_bit = given.get("size"), given.get("use_8bitmime")
    if size is not None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise MessageError(
                f"envelope.size: {size!r:.60} is not a number of octets", field="envelope.size"
            )
        if content.size > size:
            raise MessageError(
                f"envelope.size: the message has {content.size} octets, and {size} are promised",
                field="envelope.size",
            )
    if not (eight_bit is None or isinstance(eight_bit, bool)):
        raise MessageError("envelope.use_8bitmime: give True or False", field="envelope.use_8bitmime")
    if eight_bit is False and content.eight_bit:
        raise MessageError(
            "envelope.use_8bitmime: is False, and the message has octets above 127, or is binary",
            field="envelope.use_8bitmime",
        )


def refuse_many(envelope: Envelope, limit: object) -> None:
    """Raise ``MessageError`` when ``envelope`` has more recipients than the field ``recipient_limit`` says."""
    if limit is None:
        return
    field = "recipient_limit"
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise MessageError(f"{field}: {limit!r:.60} is not a number of recipients", field=field)
    if len(envelope.recipients) > limit:
        raise MessageError(
            f"{field}: the message has {len(envelope.recipients)} recipients, and {limit} are allowed",
            field=field,
        )
