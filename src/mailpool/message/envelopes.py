"""The envelope that the caller gives, completed from the header (RFC 5321 §2.3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..address import Envelope, Mailbox, parse_mailboxes
from ..errors import AddressError, MessageError
from .fields import refuse_unknown

_KEYS: Final = frozenset(("from", "to", "cc", "bcc"))


def envelope_of(given: Any, sender: Mailbox | None, recipients: Iterable[Mailbox]) -> Envelope:
    """The envelope that ``given`` describes.

    given       an ``Envelope``, or a mapping with ``from``, ``to``, ``cc`` and ``bcc``. ``"from"`` may be ``""``,
                ``"<>"`` or ``None``: the null reverse-path
    sender      who it is from if ``given`` does not say; ``None`` is the null reverse-path
    recipients  who it is to if ``given`` has none of ``to``, ``cc`` and ``bcc``

    Raises ``AddressError`` when an address is malformed or there is no recipient.
    """
    if isinstance(given, Envelope):
        return given
    if not isinstance(given, Mapping):
        raise MessageError("envelope: give an Envelope or a mapping with from and to", field="envelope")
    refuse_unknown(given, _KEYS, "envelope")
    if "from" in given:
        origin = given["from"]
        senders = () if origin in ("", "<>", None) else parse_mailboxes(origin, "envelope.from")
        if len(senders) > 1:
            raise AddressError("envelope.from: a message has one sender", field="envelope.from")
        sender = senders[0] if senders else None
    if not _KEYS.isdisjoint(given.keys() - {"from"}):
        recipients = [
            mailbox
            for key in ("to", "cc", "bcc")
            for mailbox in parse_mailboxes(given.get(key), f"envelope.{key}")
        ]
    return Envelope.between(sender, recipients)
