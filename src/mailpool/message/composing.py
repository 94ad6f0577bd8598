"""The octets of a message from its fields (RFC 5322 §3.6)."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Final

from ..address import Envelope
from ..content import Content
from ..errors import MessageError
from ..options.access import Access
from .about import Custom, about, more_about
from .custom_headers import renamed, split_headers
from .envelopes import envelope_of, keep_promises, refuse_many
from .fields import Fields
from .letter import letter
from .message_body import body, usual_body
from .message_ids import LONGEST_TOKEN, checked_token, message_id, new_message_id
from .participants import participants
from .texts import USUAL_STYLE, TextStyle
from .writing import assembled, written

_MIME_VERSION: Final = "MIME-Version: 1.0\r\n"


def composed(
    fields: Fields,
    unusual: bool,
    now: datetime.datetime,
    token: Callable[[], str],
    hostname: str,
    access: Access,
) -> tuple[Envelope, Content, str]:
    """The envelope, the content and the Message-ID of the message that ``fields`` describe.

    ``unusual`` is whether any of them is more than nearly all messages have: the others do not pay for those.
    """
    if not unusual:
        found = letter(fields, now, token)
        if found is not None:
            return found
    fresh = checked_token(token())
    custom: Custom = []
    if fields.get("headers"):
        fields, custom = split_headers(fields)
    given = fields.get("envelope")
    if given is not None and not unusual:
        unusual = isinstance(given, Mapping) and given.get("use_8bitmime") is True
    style = TextStyle.of(fields) if unusual else USUAL_STYLE
    sender, recipients, head = participants(fields, style.words)
    if given is None:
        if sender is None or not head.startswith("From"):
            raise MessageError("the message has no from; give it, or an envelope", field="from")
        envelope = Envelope.between(sender, recipients)
    else:
        envelope = envelope_of(given, sender, recipients)

    identity = fields.get("message_id")
    if identity is not None:
        identity = message_id(identity, "message_id")
    else:
        identity = new_message_id(fresh, sender, envelope, hostname)
    mime_version = _MIME_VERSION
    if unusual:
        refuse_many(envelope, fields.get("recipient_limit"))
        more, custom = more_about(fields, custom, style.words)
        head += about(fields, custom, identity, now, style.words) + more
        part = body(fields, style, access)
        stem = _boundary_token(fields, fresh)
        part_header, octets, domain = written(part, stem, chosen=stem is not fresh)
        normalize = fields.get("normalize_header_key")
        if normalize is not None:
            head, part_header = renamed(head, normalize), renamed(part_header, normalize)
            mime_version = renamed(mime_version, normalize)
    else:
        head += about(fields, custom, identity, now, "")
        part_header, octets, domain = written(usual_body(fields, access), fresh)

    utf8_headers = not head.isascii()
    content = assembled(
        [f"{head}{mime_version}{part_header}\r\n".encode(), *octets], domain, utf8_headers=utf8_headers
    )
    if given is not None:
        keep_promises(given, content)
    return envelope, content, identity


def _boundary_token(fields: Fields, fresh: str) -> str:
    given = fields.get("base_boundary")
    if given is None:
        return fresh
    if not (isinstance(given, str) and given.isascii() and given.isalnum() and len(given) <= LONGEST_TOKEN):
        raise MessageError(
            f"base_boundary: {given!r:.60} must be 1 to {LONGEST_TOKEN} ASCII letters and digits",
            field="base_boundary",
        )
    return given
