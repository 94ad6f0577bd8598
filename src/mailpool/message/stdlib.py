"""Messages of the standard library's ``email`` package. Its own serializer writes them; only what it leaves open is
settled here: the envelope, Bcc, Message-ID, Date, and the line ends."""

from __future__ import annotations

import copy
import datetime
import email.message
import email.policy
import re
from collections.abc import Callable
from typing import Any, Final

from ..address import Envelope, Mailbox, ascii_domain, parse_mailboxes
from ..content import BytesContent
from ..errors import MessageError
from .dates import date_text
from .raw import raw_content

# A line end is only a fold when white space and then text follows; everything else could start a header or the body.
_search_break = re.compile(r"(?:\r\n|\r|\n)(?![ \t]+[^ \t\r\n])|\x00").search
_unfold = re.compile(r"\r\n|\r|\n").sub
_HIDDEN: Final = ("Bcc", "Resent-Bcc")


def stdlib_sealed(
    message: email.message.Message[Any, Any],
    now: datetime.datetime,
    token: Callable[[], str],
) -> tuple[Envelope, BytesContent, str]:
    """The envelope, the content and the Message-ID of a message of the standard library, which is left unchanged.

    The envelope is from Sender, or the first of From, and to To, Cc and Bcc. Message-ID and Date are added where
    they are missing. Raises ``MessageError`` for a header that holds a line break which is no fold.
    """
    for part in message.walk():
        for name, value in part.raw_items():
            bad = _search_break(str(value)) or _search_break(name)
            if bad:
                raise MessageError(f"{name!r:.80}: the header holds a line break that is no fold", field=name)
    policy = _policy(message, utf8=True)
    authors = _mailboxes(message, "From", policy)
    senders = _mailboxes(message, "Sender", policy) or authors
    if not authors:
        raise MessageError("the message has no From", field="from")
    recipients = [mailbox for name in ("To", "Cc", "Bcc") for mailbox in _mailboxes(message, name, policy)]
    envelope = Envelope.between(senders[0], recipients)
    if not envelope.utf8:
        policy = _policy(message, utf8=False)
        # Some versions of the serializer let an encoded comma part one address into two (CVE-2025-1795).
        for name in ("From", "Sender", "To", "Cc"):
            if _addresses(message, name, policy) != _addresses(message, name, _policy(message, utf8=True)):
                raise MessageError(
                    f"{name}: the header would not be written as it was given", field=name.lower()
                )

    visible = copy.copy(message)  # headers are replaced, never changed in place: the original keeps its Bcc
    for name in _HIDDEN:
        del visible[name]
    added = ""
    if "Message-ID" not in message:
        added += f"Message-ID: <{token()}@{ascii_domain(senders[0].domain)}>\r\n"
    if "Date" not in message:
        added += f"Date: {date_text(now, 'date')}\r\n"
    octets = visible.as_bytes(policy=policy)
    content, identity = raw_content(added.encode("ascii") + octets, "message")
    return envelope, content, identity


def _policy(message: email.message.Message[Any, Any], *, utf8: bool) -> email.policy.Policy[Any]:
    # 7bit makes the serializer encode what would need 8BITMIME.
    policy = message.policy.clone(linesep="\r\n", cte_type="7bit")
    return policy.clone(utf8=utf8) if isinstance(policy, email.policy.EmailPolicy) else policy


def _mailboxes(
    message: email.message.Message[Any, Any], name: str, policy: email.policy.Policy[Any]
) -> tuple[Mailbox, ...]:
    """The mailboxes of all headers of this name, as they are written and read by our own parser.

    The standard library's parser forgives too much: of ``a@x b@y`` it would drop the second without a word.
    """
    values: list[str] = []
    for key, value in message.raw_items():
        if key.lower() == name.lower():
            written = policy.fold(key, value)
            values.append(_unfold("", written.partition(":")[2]))
    return parse_mailboxes(values, name.lower())


def _addresses(
    message: email.message.Message[Any, Any], name: str, policy: email.policy.Policy[Any]
) -> list[str]:
    return [mailbox.address for mailbox in _mailboxes(message, name, policy)]
