"""Sealing: a message becomes an envelope and octets that no later step changes."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ..address import Envelope
from ..content import Content, with_head
from ..errors import MessageError
from ..extensions import Extensions
from ..options.access import Access
from .asking import NAMES, asked_for
from .composing import composed
from .envelopes import envelope_of, keep_promises, refuse_many
from .fields import Message, message_fields
from .folding import field_name, fold_text
from .raw import raw_content
from .repairing import repaired_fields

if TYPE_CHECKING:
    import email.message

ANY_FILE = Access()


_BESIDE_RAW: Final = ("raw", "envelope", "recipient_limit", "smime", "dkim", *NAMES)


@dataclass(slots=True)
class Sealed:
    """A message that is ready to be sent, as often as it takes: every attempt sends the same octets.

    ``envelope``    who it is from and to, as the server is told
    ``content``     header and body
    ``message_id``  with angle brackets; ``""`` for a raw message that has none
    ``repairs``     what the lenient grammar of addresses changed, a sentence each; empty unless it was asked for
    ``extensions``  what it asks of the server besides: notifications, TLS on the whole way, and more; ``None``: nothing
    """

    envelope: Envelope
    content: Content
    message_id: str
    repairs: tuple[str, ...] = ()
    extensions: Extensions | None = None

    def __bytes__(self) -> bytes:
        """The whole content. A large one may be larger than memory: see ``content.size``."""
        return b"".join(self.content.blocks())

    def with_header(self, name: str, value: str) -> Sealed:
        """The same message with one more header field before the others; the rest is not read.

        Raises ``MessageError`` when the name is none or Bcc, or the value is no text or holds a line break.
        """
        field = field_name(name, "header")
        if field.lower() in ("bcc", "resent-bcc"):
            raise MessageError(
                f"{field}: everybody would read it; hidden recipients stand in the envelope only", field=field
            )
        if not isinstance(value, str):
            raise MessageError(f"{field}: give text, not {type(value).__name__}", field=field)
        return replace(self, content=with_head(fold_text(field, value, field).encode("ascii"), self.content))

    def with_content(self, octets: bytes) -> Sealed:
        """The same envelope with another message, header and body; line ends become CRLF.

        Raises ``MessageError`` for NUL, for a line over 998 octets, and when there is nothing at all.
        """
        content, message_id = raw_content(octets, "content")
        return replace(self, content=content, message_id=message_id)


def seal(
    message: Mapping[str, Any] | Message | email.message.Message[Any, Any],
    *,
    now: datetime.datetime,
    token: Callable[[], str],
    hostname: str = "localhost",
    defaults: Mapping[str, Any] | None = None,
    access: Access = ANY_FILE,
    lenient: bool = False,
) -> Sealed:
    """Check a message, fix its Message-ID and Date, and write it as octets (RFC 5322, RFC 2045).

    message   a mapping or a ``Message`` (see there for the fields), or a message of the standard library's ``email``
              package, which brings its own headers
    now       the time for the Date header, aware
    token     returns a fresh random string of ASCII letters and digits, at most 48, such as 32 hex digits: for the
              Message-ID and the MIME boundaries
    hostname  the right side of the Message-ID when the sender has no domain
    defaults  fields for whatever ``message`` does not own; ``headers`` are merged one by one. Not used for raw
              messages and those of the standard library, but for ``recipient_limit`` and what asks something of the
              server, which are for all
    access    what the message may read; by default any file, and no URL
    lenient   whether addresses may be as people write them (see ``parse_addresses``). Not used for messages of the
              standard library, whose own parser has read them

    What is composed is 7-bit, but for SMTPUTF8 addresses, embedded 8-bit messages, and text that is to be 8bit.
    Raises ``MessageError``, or its kind ``AddressError``, that names the field; nothing is half done then.
    """
    if type(message) is not dict and not isinstance(message, (Mapping, Message)):
        return _for_all(Sealed(*_from_stdlib(message, now, token)), {}, defaults)
    raw = message.raw if isinstance(message, Message) else message.get("raw")
    if raw is not None:
        own = message_fields(message, None)[0]
        sealed = _sealed_raw(*(repaired_fields(own) if lenient else (own, ())), raw, access)
        return _for_all(sealed, own, defaults)
    fields, unusual = message_fields(message, defaults)
    if lenient:
        fields, repairs = repaired_fields(fields)
        sealed = Sealed(*composed(fields, unusual, now, token, hostname, access), repairs)
    else:
        sealed = Sealed(*composed(fields, unusual, now, token, hostname, access))
    if unusual and not NAMES.isdisjoint(fields):
        sealed.extensions = asked_for(fields, sealed.envelope)
    return sealed


def sealed_octets(message: dict[str, Any]) -> Sealed | None:
    """What ``seal`` makes of finished octets and an envelope; ``None`` when there is anything else to look at.

    Octets are sent again and again, and the way of all messages would cost more than they do.
    """
    raw, envelope = message.get("raw"), message.get("envelope")
    if type(raw) is not bytes or type(envelope) is not dict or len(message) != 2 or "from" not in envelope:
        return None
    content, identity = raw_content(raw, "raw")
    sealed = Sealed(envelope_of(envelope, None, ()), content, identity)
    if len(envelope) > 2:
        keep_promises(envelope, content)
    return sealed


def _sealed_raw(fields: Mapping[str, Any], repairs: tuple[str, ...], raw: object, access: Access) -> Sealed:
    if fields.get("envelope") is None:
        raise MessageError("a raw message needs an envelope, with from and to", field="envelope")
    others = [name for name, value in fields.items() if value is not None and name not in _BESIDE_RAW]
    if others:
        raise MessageError(f"raw is the whole message: {others[0]} cannot be given with it", field=others[0])
    envelope = fields["envelope"]
    if isinstance(envelope, Mapping) and "from" not in envelope:
        raise MessageError(
            'envelope: a raw message needs "from" in it; "" is the null reverse-path', field="envelope"
        )
    content, identity = raw_content(raw, "raw", access)
    sealed = Sealed(envelope_of(envelope, None, ()), content, identity, repairs)
    keep_promises(envelope, content)
    return _within_limit(sealed, fields)


def _for_all(sealed: Sealed, own: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> Sealed:
    """What defaults say of messages that bring their own header, and these of themselves."""
    wishes = {name: value for name, value in {**(defaults or {}), **own}.items() if name in NAMES}
    if wishes:
        sealed.extensions = asked_for(wishes, sealed.envelope)
    return _within_limit(sealed, defaults)


def _within_limit(sealed: Sealed, fields: Mapping[str, Any] | None) -> Sealed:
    if fields:
        refuse_many(sealed.envelope, fields.get("recipient_limit"))
    return sealed


def _from_stdlib(message: Any, *rest: Any) -> tuple[Envelope, Content, str]:
    import email.message  # seldom needed, and slow to import

    if not isinstance(message, email.message.Message):
        raise MessageError(
            f"a message is a mapping, a Message or an EmailMessage, not {type(message).__name__}"
        )
    from .stdlib import stdlib_sealed

    return stdlib_sealed(message, *rest)
