"""The message that nearly all programs send: from, to, subject, text and HTML, each as plain text.

What is written is to the octet what the way of all messages, in ``composing``, would write; without a tree of parts and
without asking for thirty fields it takes two thirds of the time. Whatever is out of the ordinary goes that way.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Final

from ..address import Envelope, Mailbox, ascii_domain
from ..content import BytesContent
from .address_headers import address_header, header_to_one, written_header
from .dates import date_text
from .encoding import encoded_text
from .fields import Fields
from .folding import fold_text
from .message_ids import checked_token
from .parts import TEXT_HEADER

FIELDS: Final = frozenset(("from", "to", "subject", "text", "html"))


def letter(
    fields: Fields, now: datetime.datetime, token: Callable[[], str]
) -> tuple[Envelope, BytesContent, str] | None:
    """The envelope, the content and the Message-ID of an ordinary message; ``None`` for any other.

    token  gives the random part of the Message-ID and of the boundary

    Raises ``MessageError`` as ``composed`` does.
    """
    if len(fields) != 5 or not fields.keys() <= FIELDS:
        return None
    author, to, subject, text, html = (
        fields["from"],
        fields["to"],
        fields["subject"],
        fields["text"],
        fields["html"],
    )
    if not (type(author) is type(to) is type(subject) is type(text) is type(html) is str):
        return None
    authors, from_line = address_header("From", "from", author, "")
    if len(authors) != 1:
        return None
    fresh = checked_token(token())
    sender: Mailbox = authors[0]
    single = header_to_one("To", to)
    if single is not None:
        recipient, to_line = single
        envelope = Envelope.to_one(sender.address, recipient)
    else:
        recipients, to_line = written_header("To", "to", to, "")
        envelope = Envelope.between(sender, recipients)
    identity = f"<{fresh}@{ascii_domain(sender.domain)}>"
    plain_encoding, plain = encoded_text(text)
    page_encoding, page = encoded_text(html)
    mark = fresh.encode()
    # Quoted-printable and base64 hold no boundary (HDR-15).
    if (plain_encoding == "7bit" and mark in plain) or (page_encoding == "7bit" and mark in page):
        return None
    head = (
        f"{from_line}{to_line}{fold_text('Subject', subject, 'subject')}"
        f"Message-ID: {identity}\r\nDate: {date_text(now, 'date')}\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/alternative;\r\n boundary="=_0.{fresh}"\r\n\r\n'
        f"--=_0.{fresh}\r\n{TEXT_HEADER['plain', plain_encoding]}\r\n"
    )
    between = f"\r\n--=_0.{fresh}\r\n{TEXT_HEADER['html', page_encoding]}\r\n"
    octets = b"".join(
        (head.encode(), plain, between.encode(), page, b"\r\n--=_0.", mark, b"--\r\n"),
    )
    utf8_headers = not head.isascii()
    content = BytesContent(octets, eight_bit=utf8_headers, utf8_headers=utf8_headers, crlf_only=True)
    return envelope, content, identity
