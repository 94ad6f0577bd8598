"""Whom a message is between: From, Sender, To, Cc, Bcc and Reply-To (RFC 5322 §3.6.2, §3.6.3)."""

from __future__ import annotations

from ..address import Mailbox, parse_mailboxes
from ..errors import MessageError
from .address_headers import Mailboxes, address_header, written_header
from .fields import Fields


def participants(fields: Fields, words: str) -> tuple[Mailbox | None, Mailboxes, str]:
    """Who sends it, to whom it goes, and the header fields that say so; From is the first if there is one."""
    get = fields.get
    authors, head = address_header("From", "from", get("from"), words)
    sender = authors[0] if authors else None
    given = get("sender")
    if given is not None:
        senders, line = address_header("Sender", "sender", given, words)
        if len(senders) > 1:
            raise MessageError("sender: only one address may send; give the others in from", field="sender")
        if senders:
            sender = senders[0]
            head += line
    elif len(authors) > 1:
        # RFC 5322 §3.6.2 asks for a Sender where there are several authors.
        head += address_header("Sender", "sender", authors[0], words)[1]
    # Not remembered: it is another one each time, and a cache of what never comes again costs as much as the work.
    recipients, line = written_header("To", "to", get("to"), words)
    head += line
    given = get("cc")
    if given is not None:
        copied, line = address_header("Cc", "cc", given, words)
        recipients += copied
        head += line
    given = get("bcc")
    if given is not None:
        recipients += parse_mailboxes(given, "bcc")
    given = get("reply_to")
    if given is not None:
        head += address_header("Reply-To", "reply_to", given, words)[1]
    return sender, recipients, head
