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

from ..address import Envelope, Mailbox, ascii_domain, display, parse_mailboxes
from ..content import Content
from ..errors import AddressError, MessageError
from .dates import date_text
from .raw import raw_content

# A line end is only a fold when white space and then text follows; everything else could start a header or the body.
_search_break = re.compile(r"(?:\r\n|\r|\n)(?![ \t]+[^ \t\r\n])|\x00").search
_unfold = re.compile(r"\r\n|\r|\n").sub
_HIDDEN: Final = ("Bcc", "Resent-Bcc")
_SHOWN: Final = ("From", "Sender", "To", "Cc", "Reply-To")


def stdlib_sealed(
    message: email.message.Message[Any, Any],
    now: datetime.datetime,
    token: Callable[[], str],
) -> tuple[Envelope, Content, str]:
    """The envelope, the content and the Message-ID of a message of the standard library, which is left unchanged.

    The envelope is from Sender, or the first of From, and to To, Cc and Bcc. Message-ID and Date are added where
    they are missing. Raises ``MessageError`` for a header that holds a line break which is no fold.
    """
    for part in message.walk():
        for name, value in part.raw_items():
            bad = _search_break(str(value)) or _search_break(name)
            if bad:
                raise MessageError(f"{name!r:.80}: the header holds a line break that is no fold", field=name)
    wide = _policy(message, utf8=True)
    people = {name: _mailboxes(message, name, wide) for name in (*_SHOWN, "Bcc")}
    authors = people["From"]
    if not authors:
        raise MessageError("the message has no From", field="from")
    sender = (people["Sender"] or authors)[0]
    envelope = Envelope.between(sender, people["To"] + people["Cc"] + people["Bcc"])

    visible = copy.copy(message)  # headers are replaced, never changed in place: the original keeps its own
    for name in _HIDDEN:
        del visible[name]
    policy = wide
    if not any(mailbox.utf8 for name in _SHOWN for mailbox in people[name]):
        policy = _policy(message, utf8=False)
        for name in _SHOWN:
            _write_as_read(visible, name, policy, people[name])
    added = ""
    if "Message-ID" not in message:
        added += f"Message-ID: <{token()}@{ascii_domain(sender.domain)}>\r\n"
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


def _write_as_read(
    message: email.message.Message[Any, Any],
    name: str,
    policy: email.policy.Policy[Any],
    mailboxes: tuple[Mailbox, ...],
) -> None:
    """Make sure that the header of this name is written with the addresses of ``mailboxes``.

    The serializer encodes an international domain as if it were a name, and some versions of it let an encoded comma
    part one address into two (CVE-2025-1795).
    """
    if _is_written_as(message, name, policy, mailboxes):
        return
    del message[name]
    message[name] = ", ".join(map(display, mailboxes))
    if not _is_written_as(message, name, policy, mailboxes):
        raise MessageError(
            f"{name}: the email package would not write the header as given", field=name.lower()
        )


def _is_written_as(
    message: email.message.Message[Any, Any],
    name: str,
    policy: email.policy.Policy[Any],
    mailboxes: tuple[Mailbox, ...],
) -> bool:
    try:
        written = _mailboxes(message, name, policy)
    except AddressError:
        return False
    return [mailbox.address for mailbox in written] == [mailbox.address for mailbox in mailboxes]
