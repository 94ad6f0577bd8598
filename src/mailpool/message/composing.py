"""The octets of a message from its fields (RFC 5322 §3.6)."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from ..access import Access
from ..address import Addresses, Envelope, Mailbox, ascii_domain, display_pieces, parse_mailboxes
from ..content import Content
from ..errors import MessageError
from .attachments import attachment_leaves
from .contents import text_of
from .custom_headers import split_headers
from .dates import date_text
from .envelopes import envelope_of
from .fields import Fields
from .folding import LINE, fold_pieces, fold_text
from .message_ids import message_id, message_ids
from .parts import Part, tree
from .writing import assembled, written

_PRIORITY: Final = {
    "high": "X-Priority: 1\r\nImportance: high\r\n",
    "normal": "",
    "low": "X-Priority: 5\r\nImportance: low\r\n",
}
_PRIORITY_HEADERS: Final = frozenset(("x-priority", "importance"))
_LONGEST_REMEMBERED: Final = 320

Mailboxes = tuple[Mailbox, ...]


def composed(
    fields: Fields, now: datetime.datetime, token: Callable[[], str], hostname: str, access: Access
) -> tuple[Envelope, Content, str]:
    """The envelope, the content and the Message-ID of the message that ``fields`` describe."""
    custom: list[tuple[str, str]] = []
    if fields.get("headers"):
        fields, custom = split_headers(fields)
    sender, recipients, head = _participants(fields)
    given = fields.get("envelope")
    if given is None:
        if sender is None or not head.startswith("From"):
            raise MessageError("the message has no from; give it, or an envelope", field="from")
        envelope = Envelope.between(sender, recipients)
    else:
        envelope = envelope_of(given, sender, recipients)

    fresh = _checked_token(token())
    identity = fields.get("message_id")
    if identity is not None:
        identity = message_id(identity, "message_id")
    else:
        identity = f"<{fresh}@{_id_domain(sender, envelope, hostname)}>"
    head += _about(fields, custom, identity, now)
    part_header, body, eight_bit = written(_parts(fields, access), fresh)

    utf8_headers = not head.isascii()
    content = assembled(
        [f"{head}MIME-Version: 1.0\r\n{part_header}\r\n".encode(), *body],
        eight_bit=eight_bit or utf8_headers,
        utf8_headers=utf8_headers,
    )
    return envelope, content, identity


def _participants(fields: Fields) -> tuple[Mailbox | None, Mailboxes, str]:
    """Who sends it, to whom it goes, and the header fields that say so; From is the first if there is one."""
    get = fields.get
    authors, head = _address_header("From", "from", get("from"))
    sender = authors[0] if authors else None
    given = get("sender")
    if given is not None:
        senders, line = _address_header("Sender", "sender", given)
        if len(senders) > 1:
            raise MessageError("sender: only one address may send; give the others in from", field="sender")
        if senders:
            sender = senders[0]
            head += line
    elif len(authors) > 1:
        # RFC 5322 §3.6.2 asks for a Sender where there are several authors.
        head += _address_header("Sender", "sender", authors[0])[1]
    # Not remembered: it is another one each time, and a cache of what never comes again costs as much as the work.
    recipients, line = _written_header("To", "to", get("to"))
    head += line
    given = get("cc")
    if given is not None:
        copied, line = _address_header("Cc", "cc", given)
        recipients += copied
        head += line
    given = get("bcc")
    if given is not None:
        recipients += parse_mailboxes(given, "bcc")
    given = get("reply_to")
    if given is not None:
        head += _address_header("Reply-To", "reply_to", given)[1]
    return sender, recipients, head


def _about(fields: Fields, custom: list[tuple[str, str]], identity: str, now: datetime.datetime) -> str:
    """The header fields that do not name people."""
    get = fields.get
    subject, date, priority = get("subject"), get("date"), get("priority")
    head = fold_text("Subject", _text(subject, "subject"), "subject") if subject else ""
    head += f"Message-ID: {identity}\r\nDate: {date_text(now if date is None else date, 'date')}\r\n"
    for name, key in (("In-Reply-To", "in_reply_to"), ("References", "references")):
        given = get(key)
        if given:
            ids = message_ids(given, key)
            head += fold_pieces(name, ids) if ids else ""
    if priority is not None:
        if priority not in _PRIORITY:
            raise MessageError(
                f"priority: {priority!r:.60} is not 'high', 'normal' or 'low'", field="priority"
            )
        head += _PRIORITY[priority]
        custom = [(name, value) for name, value in custom if name.lower() not in _PRIORITY_HEADERS]
    for name, value in custom:
        head += fold_text(name, value, f"headers[{name}]")
    return head


def _parts(fields: Fields, access: Access) -> Part:
    text, html, attachments = fields.get("text"), fields.get("html"), fields.get("attachments")
    if text is not None:
        text = text_of(text, "text", access)
    if html is not None:
        html = text_of(html, "html", access)
    if not attachments:
        return tree(text, html, (), ())
    inline, attached = attachment_leaves(attachments, has_html=html is not None, access=access)
    return tree(text, html, inline, attached)


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
