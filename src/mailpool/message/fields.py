"""The fields of a message, as callers give them."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import os
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, Literal, TypeAlias

from ..address import Addresses, Envelope
from ..errors import MessageError
from ..options.dkim_key import DkimKey
from ..options.smime_identity import Smime

HeaderValue: TypeAlias = str | int | Mapping[str, str] | Iterable[str | int | Mapping[str, str]] | None
# Pieces that are read once are octets, or text that is sent in UTF-8.
GivenContent: TypeAlias = (
    bytes
    | bytearray
    | memoryview
    | str
    | IO[bytes]
    | IO[str]
    | Iterable[bytes]
    | Iterable[str]
    | AsyncIterable[bytes]
    | AsyncIterable[str]
)
# Octets are UTF-8; a mapping has one of ``content``, ``path``, ``href`` and ``raw``.
Text: TypeAlias = GivenContent | Mapping[str, Any]
Headers: TypeAlias = Mapping[str, HeaderValue] | Iterable[tuple[str, HeaderValue]]


@dataclass(slots=True, kw_only=True)
class Attachment:
    """A file that travels with a message, or an image that its HTML shows (RFC 2183, RFC 2392).

    Give one of ``content``, ``path``, ``href`` and ``raw``.

    content            octets; text; a file object or an iterator of pieces, read once; also async ones
    path               a file, or a ``data:`` URI
    href               an ``http:``, ``https:`` or ``data:`` URL, where the transporter's ``access`` allows URLs
    raw                a whole MIME part, with its own header and empty line; it may also be a mapping with ``path``
                       or ``href``. Nothing else can be given with it
    http_headers       header fields for ``href``; they are not sent on when it leads to another origin
    encoding           how text in ``content`` stands for octets: ``"base64"``, ``"hex"`` or a charset; else UTF-8
    filename           the name to show; by default the last part of ``path`` or ``href``; ``False`` or ``""`` for none
    content_type       the media type, with parameters if needed; by default told from the file name
    transfer_encoding  ``"base64"``, ``"quoted-printable"``, ``"7bit"``, ``"8bit"`` or ``"binary"`` (RFC 2045 §6); by
                       default base64, and none for ``message/…``. The three in the middle are for text: its line ends
                       become CRLF. The last sends the octets as they are, and needs a server with BINARYMIME (RFC 3030)
    cid                the Content-ID, with or without angle brackets: ``src="cid:…"`` in ``html`` shows this part
    disposition        ``"attachment"`` or ``"inline"``; by default inline where ``cid`` is given, else attachment
    headers            more header fields of this part
    """

    content: GivenContent | None = None
    path: str | os.PathLike[str] | None = None
    href: str | None = dataclasses.field(default=None, repr=False)  # often with a token in it
    raw: GivenContent | Mapping[str, Any] | None = None
    http_headers: Mapping[str, str] | None = dataclasses.field(default=None, repr=False)
    encoding: str | None = None
    filename: str | Literal[False] | None = None
    content_type: str | None = None
    transfer_encoding: Literal["base64", "quoted-printable", "7bit", "8bit", "binary"] | None = None
    cid: str | None = None
    disposition: str | None = None
    headers: Headers | None = None


@dataclass(slots=True, kw_only=True)
class Message:
    """A message as fields; all are optional here, and ``seal`` says what is missing.

    from_, sender         the authors, and the one who sends for them if that is another (RFC 5322 §3.6.2). The
                          envelope's sender is ``sender``, or the first of ``from_``. A mapping says ``"from"``
    to, cc, bcc           recipients; ``bcc`` is in the envelope only
    reply_to              where answers go
    subject               any text
    text, html            the body, as alternatives of each other. Each is text, octets in UTF-8, or a mapping: see docs
    watch_html, amp       more alternatives, for watches and for AMP readers
    calendar              an iCalendar event: text, octets, or a mapping with ``content`` and ``method``
    alternatives          more alternatives: mappings with ``content_type``, ``content``, ``headers``, or ``raw``
    attachments           ``Attachment`` objects or mappings with the same keys
    headers               more header fields: a mapping of names to a value or a list of values, or pairs
    date                  aware ``datetime``, or text by RFC 5322 or ISO 8601; by default the time of sealing
    message_id            with or without angle brackets; by default a new one
    in_reply_to           one Message-ID or several
    references            Message-IDs, as text or as a list
    priority              ``"high"``, ``"normal"`` or ``"low"``
    list_                 List-* fields (RFC 2369, RFC 2919, RFC 8058). A mapping says ``"list"``
    otp                   a one-time code and the origin it is for: ``{"code": …, "origin": …}``
    x_mailer              which program wrote the message
    auto_submitted        that no person wrote it: ``"auto-generated"``, ``"auto-replied"`` … (RFC 3834)
    normalize_header_key  a function from the name of a header field to the same name in other letter case
    envelope              an ``Envelope``, or a mapping with ``from``, ``to``, ``cc``, ``bcc``, in place of the addresses
                          in the header; ``"from": ""`` is the null reverse-path
    recipient_limit       the most recipients that the message may have; with more it is an error
    encoding              the transfer encoding of text parts (RFC 2045 §6); by default the one that suits each
    text_encoding         ``"Q"`` or ``"B"``, for text and header fields that cannot stay as they are
    text_format           ``"flowed"`` for ``text`` whose paragraphs readers may wrap anew (RFC 3676)
    text_from_html        whether to make ``text`` from ``html`` where there is none; needs ``mailpool[html]``
    attach_data_urls      whether images that are ``data:`` URLs in ``html`` become inline attachments
    base_boundary         what MIME boundaries are made of; by default something new
    raw                   a whole message, sent as it is but for its line ends; needs ``envelope``. Octets, text, a file
                          object, an iterator of pieces, or a mapping with ``path``
    smime                 an ``Smime`` or a mapping, none of it a path, in place of the transporter's; ``False``: neither
                          signed by a person nor encrypted
    dkim                  keys to sign with in place of the transporter's, none of them a path; ``False``: no signature
    dsn                   notifications of the delivery (RFC 3461): a mapping with ``notify``, ``return``, ``envid``,
                          ``orcpt`` and ``recipients``, which has the first and the fourth by address
    require_tls           whether every relay on the way has to use verified TLS (RFC 8689)
    mt_priority           from -9 to 9: which place the message has in the queues of relays (RFC 6710)
    deliver_by            seconds within which it is to be delivered (RFC 2852), or a mapping with ``seconds``,
                          ``otherwise`` (``"return"`` or ``"notify"``) and ``trace``
    hold_for              seconds that the server is to keep it before it sends it on (RFC 4865)
    hold_until            the same as an aware ``datetime``, or text by ISO 8601
    optional_extensions   keywords of those that the message can do without, such as ``{"DSN"}``. A server that lacks any
                          other is not given the message
    """

    from_: Addresses = None
    sender: Addresses = None
    to: Addresses = None
    cc: Addresses = None
    bcc: Addresses = None
    reply_to: Addresses = None
    subject: str | None = None
    text: Text | None = None
    html: Text | None = None
    watch_html: Text | None = None
    amp: Text | None = None
    calendar: Text | None = None
    alternatives: Iterable[Attachment | Mapping[str, Any]] | None = None
    attachments: Iterable[Attachment | Mapping[str, Any]] | None = None
    headers: Headers | None = None
    date: datetime.datetime | str | None = None
    message_id: str | None = None
    in_reply_to: str | Iterable[str] | None = None
    references: str | Iterable[str] | None = None
    priority: Literal["high", "normal", "low"] | None = None
    list_: Mapping[str, Any] | None = None
    otp: Mapping[str, str] | None = dataclasses.field(default=None, repr=False)
    x_mailer: str | None = None
    auto_submitted: Literal["no", "auto-generated", "auto-replied", "auto-notified"] | None = None
    normalize_header_key: Callable[[str], str] | None = None
    envelope: Envelope | Mapping[str, Any] | None = None
    recipient_limit: int | None = None
    encoding: Literal["7bit", "8bit", "binary", "quoted-printable", "base64"] | None = None
    text_encoding: Literal["Q", "B"] | None = None
    text_format: Literal["flowed"] | None = None
    text_from_html: bool | None = None
    attach_data_urls: bool | None = None
    base_boundary: str | None = None
    raw: GivenContent | Mapping[str, Any] | None = None
    smime: Smime | Mapping[str, Any] | Literal[False] | None = None
    dkim: DkimKey | Mapping[str, Any] | Sequence[DkimKey | Mapping[str, Any]] | Literal[False] | None = None
    dsn: Mapping[str, Any] | Literal[False] | None = None
    require_tls: bool | None = None
    mt_priority: int | None = None
    deliver_by: int | Mapping[str, Any] | None = None
    hold_for: int | None = None
    hold_until: datetime.datetime | str | None = None
    optional_extensions: str | Iterable[str] | None = None


Fields: TypeAlias = Mapping[str, Any]

_ATTRIBUTES: Final = tuple(field.name for field in dataclasses.fields(Message))
FIELD_NAMES: Final = frozenset(name.rstrip("_") for name in _ATTRIBUTES)
# What nearly all messages are made of; every other field is looked for only where there is one.
_USUAL: Final = FIELD_NAMES & {
    "from", "sender", "to", "cc", "bcc", "reply_to", "subject", "text", "html", "attachments", "headers", "date",
    "message_id", "in_reply_to", "references", "priority", "envelope", "raw",
}  # fmt: skip
ATTACHMENT_KEYS: Final = frozenset(field.name for field in dataclasses.fields(Attachment))
_NAMES_OF_OTHERS: Final = {
    "alternative": "alternatives",
    "body": "text",
    "boundary": "base_boundary",
    "content_transfer_encoding": "encoding",
    "from_email": "from",
    "id": "envid",
    "icalendar": "calendar",
    "ical_event": "calendar",
    "list_unsubscribe": "list",
    "max_recipients": "recipient_limit",
    "plain": "text",
    "recipients": "to",
    "require_t_l_s_extension_enabled": "require_tls",
    "ret": "return",
    "transfer_encoding": "encoding",
}


def message_fields(
    message: Mapping[str, Any] | Message, defaults: Mapping[str, Any] | None
) -> tuple[Fields, bool]:
    """The fields of ``message`` by name, completed from ``defaults``, and whether any is an unusual one.

    Unknown names raise ``MessageError``.
    """
    given: Mapping[str, Any]
    if isinstance(message, Message):
        given = {
            name.rstrip("_"): value for name in _ATTRIBUTES if (value := getattr(message, name)) is not None
        }
    else:
        given = message
    usual = given.keys() <= _USUAL
    if not usual:
        refuse_unknown(given, FIELD_NAMES, "message")
    if not defaults:
        return given, not usual
    if not defaults.keys() <= _USUAL:
        refuse_unknown(defaults, FIELD_NAMES, "defaults")
        usual = False
    for name, value in defaults.items():
        if hasattr(value, "__next__") or hasattr(value, "__anext__"):
            raise MessageError(
                f"defaults: {name} can be read only once, and is for every message; give a list, or the content itself",
                field=name,
            )
    merged = {**defaults, **given}
    if defaults.get("headers") and given.get("headers"):
        merged["headers"] = _merged_headers(defaults["headers"], given["headers"])
    return merged, not usual


def refuse_unknown(given: Iterable[object], known: frozenset[str], where: str) -> None:
    """Raise ``MessageError`` for the first name in ``given`` that is not in ``known``, with the nearest that is."""
    for name in given:
        if name in known:
            continue
        text = str(name)
        snake = (
            "".join(f"_{char.lower()}" if char.isupper() else char for char in text)
            .replace("-", "_")
            .strip("_")
        )
        near = [_NAMES_OF_OTHERS.get(snake, snake)]
        if near[0] not in known:
            near = difflib.get_close_matches(snake, sorted(known), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
        raise MessageError(f"{where}: unknown field {text!r:.80}; {hint}", field=text)


def header_pairs(headers: object, field: str) -> list[tuple[str, HeaderValue]]:
    """``headers`` in either of its forms as pairs."""
    if isinstance(headers, Mapping):
        return list(headers.items())
    if isinstance(headers, str | bytes) or not isinstance(headers, Iterable):
        raise MessageError(f"{field}: give a mapping or a list of pairs", field=field)
    pairs = list(headers)
    for pair in pairs:
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise MessageError(f"{field}: {pair!r:.80} is not a pair of a name and a value", field=field)
    return pairs


def _merged_headers(defaults: Headers, own: Headers) -> list[tuple[str, HeaderValue]]:
    mine = header_pairs(own, "headers")
    names = {str(name).strip().lower() for name, _ in mine}
    kept = [pair for pair in header_pairs(defaults, "headers") if str(pair[0]).strip().lower() not in names]
    return kept + mine
