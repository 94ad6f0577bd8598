"""The octets of a message from its fields (RFC 5322 §3.6)."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from ..address import Addresses, Envelope, Mailbox, ascii_domain, display_pieces, parse_mailboxes
from ..content import BytesContent
from ..errors import MessageError
from .attachments import attachment_leaves
from .custom_headers import split_headers
from .dates import date_text
from .envelopes import envelope_of
from .fields import Fields
from .folding import LINE, fold_pieces, fold_text
from .message_ids import message_id, message_ids
from .parts import Leaf, tree, written

_PRIORITY: Final = {
    "high": "X-Priority: 1\r\nImportance: high\r\n",
    "normal": "",
    "low": "X-Priority: 5\r\nImportance: low\r\n",
}
_PRIORITY_HEADERS: Final = frozenset(("x-priority", "importance"))
_LONGEST_REMEMBERED: Final = 320

Mailboxes = tuple[Mailbox, ...]


def composed(
    fields: Fields, now: datetime.datetime, token: Callable[[], str], hostname: str
) -> tuple[Envelope, BytesContent, str]:
    """The envelope, the content and the Message-ID of the message that ``fields`` describe."""
    custom: list[tuple[str, str]] = []
    if fields.get("headers"):
        fields, custom = split_headers(fields)
    get = fields.get

    authors, head = _address_header("From", "from", get("from"))
    sender = authors[0] if authors else None
    given_sender = get("sender")
    if given_sender is not None:
        senders, line = _address_header("Sender", "sender", given_sender)
        if len(senders) > 1:
            raise MessageError("sender: only one address may send; give the others in from", field="sender")
        if senders:
            sender = senders[0]
            head += line
    elif len(authors) > 1:
        # RFC 5322 §3.6.2 asks for a Sender where there are several authors.
        head += _address_header("Sender", "sender", authors[0])[1]
    recipients, line = _address_header("To", "to", get("to"))
    head += line
    more = get("cc")
    if more is not None:
        copied, line = _address_header("Cc", "cc", more)
        recipients += copied
        head += line
    more = get("bcc")
    if more is not None:
        recipients += parse_mailboxes(more, "bcc")
    more = get("reply_to")
    if more is not None:
        head += _address_header("Reply-To", "reply_to", more)[1]

    given_envelope = get("envelope")
    if given_envelope is None:
        if sender is None or not authors:
            raise MessageError("the message has no from; give it, or an envelope", field="from")
        envelope = Envelope.between(sender, recipients)
    else:
        envelope = envelope_of(given_envelope, sender, recipients)

    fresh = _checked_token(token())
    identity = get("message_id")
    if identity is not None:
        identity = message_id(identity, "message_id")
    else:
        identity = f"<{fresh}@{_id_domain(sender, envelope, hostname)}>"

    subject = get("subject")
    if subject:
        head += fold_text("Subject", _text(subject, "subject"), "subject")
    date = get("date")
    head += f"Message-ID: {identity}\r\nDate: {date_text(now if date is None else date, 'date')}\r\n"
    for name, key in (("In-Reply-To", "in_reply_to"), ("References", "references")):
        more = get(key)
        if more:
            ids = message_ids(more, key)
            if ids:
                head += fold_pieces(name, ids)
    priority = get("priority")
    if priority is not None:
        if priority not in _PRIORITY:
            raise MessageError(
                f"priority: {priority!r:.60} is not 'high', 'normal' or 'low'", field="priority"
            )
        head += _PRIORITY[priority]
        custom = [(name, value) for name, value in custom if name.lower() not in _PRIORITY_HEADERS]
    for name, value in custom:
        head += fold_text(name, value, f"headers[{name}]")

    inline: list[Leaf] = []
    attached: list[Leaf] = []
    text, html = get("text"), get("html")
    if text is not None:
        text = _text(text, "text")
    if html is not None:
        html = _text(html, "html")
    attachments = get("attachments")
    if attachments:
        inline, attached = attachment_leaves(attachments, has_html=html is not None)
    part_header, body, eight_bit = written(tree(text, html, inline, attached), fresh)

    utf8_headers = not head.isascii()
    octets = b"".join([f"{head}MIME-Version: 1.0\r\n{part_header}\r\n".encode(), *body])
    if octets[-2:] != b"\r\n":
        octets += b"\r\n"
    content = BytesContent(octets, eight_bit=eight_bit or utf8_headers, utf8_headers=utf8_headers)
    return envelope, content, identity


def _address_header(name: str, field: str, value: Addresses) -> tuple[Mailboxes, str]:
    """The mailboxes of an address field, and its header with its CRLF (``""`` when there are none)."""
    if isinstance(value, str) and len(value) <= _LONGEST_REMEMBERED:
        return _remembered_header(name, field, value)
    return _written_header(name, field, value)


def _written_header(name: str, field: str, value: Addresses) -> tuple[Mailboxes, str]:
    mailboxes = parse_mailboxes(value, field)
    if not mailboxes:
        return (), ""
    if len(mailboxes) == 1:
        pieces = display_pieces(mailboxes[0])
        line = f"{name}: {' '.join(pieces)}\r\n"
        return mailboxes, line if len(line) <= LINE + 2 else fold_pieces(name, pieces)
    return mailboxes, fold_pieces(name, _list_pieces(mailboxes))


# A program sends from few addresses, and often the same message to each recipient at several of its attempts.
_remembered_header = lru_cache(maxsize=1024)(_written_header)


def _list_pieces(mailboxes: Iterable[Mailbox]) -> list[str]:
    pieces: list[str] = []
    for mailbox in mailboxes:
        pieces += display_pieces(mailbox)
        pieces[-1] += ","
    pieces[-1] = pieces[-1][:-1]
    return pieces


def _id_domain(sender: Mailbox | None, envelope: Envelope, hostname: str) -> str:
    domain = sender.domain if sender else envelope.sender.rpartition("@")[2]
    return ascii_domain(domain) if domain else hostname


def _checked_token(token: str) -> str:
    if not (token.isascii() and token.isalnum() and len(token) <= 48):
        raise ValueError(f"token() must return at most 48 ASCII letters and digits, not {token!r:.60}")
    return token


def _text(value: Any, field: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise MessageError(f"{field}: the octets are not UTF-8; give text", field=field) from None
    raise MessageError(f"{field}: give text, not {type(value).__name__}", field=field)
