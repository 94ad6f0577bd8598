"""DKIM-Signature header fields for a content that is complete (RFC 6376 §5). Nothing may change it afterwards."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Final

from ...content import BytesContent, Content, StreamedContent
from ...errors import MessageError
from ...options.dkim_key import DkimKey
from .canonical import BodyHash, header_fields, relaxed_field
from .private_keys import LoadedKey

# RFC 6376 §5.4.1. These are signed once more than they occur even where they do not: whoever adds one breaks the
# signature, so that no other subject, author or kind of body can be shown under it.
_ALWAYS: Final = (
    "from",
    "to",
    "cc",
    "subject",
    "reply-to",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
)
# These are signed, and once more than they occur, only where they occur: relays add the first two to what lacks them,
# mailing lists the others.
_IF_THERE: Final = (
    "date",
    "message-id",
    "sender",
    "resent-date",
    "resent-from",
    "resent-sender",
    "resent-to",
    "resent-cc",
    "resent-message-id",
    "content-id",
    "content-description",
    "content-disposition",
    "auto-submitted",
    "feedback-id",
    "list-id",
    "list-help",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-subscribe",
    "list-post",
    "list-owner",
    "list-archive",
)
_LINE: Final = 76
_LARGE: Final = 131_072  # octets
_LARGE_KEY: Final = 2_048  # bits

Fields = dict[bytes, list[bytes]]


def takes_long(size: int, keys: Sequence[LoadedKey]) -> bool:
    """Whether to sign so many octets with ``keys`` would hold up an event loop for about a millisecond or more.

    Measured on one core: Ed25519 takes 0.02 ms, RSA 0.2 ms with 2048 bits, 0.6 with 3072, 1.4 with 4096, and a body of
    128 KiB 0.3 ms in base64, 2 ms in HTML that is indented. To hand something to another thread and back takes 0.1 ms
    and gains nothing for small mail: with RSA of 2048 bits two threads signed a third more messages than the loop itself.
    """
    return size > _LARGE or any(key.bits > _LARGE_KEY for key in keys)


def signed(content: Content, keys: Sequence[LoadedKey], now: int) -> Content:
    """``content`` with one DKIM-Signature in front of it for each key, in their order.

    It is read once, block by block, in the form in which it is written later; SMTP's dot-stuffing and BDAT's lengths
    are no part of it (RFC 6376 §5.3). Signatures that it has already stay, and are not signed.

    :param now: the time for ``t=`` and ``x=``, in seconds since 1970
    :raises MessageError: the message is binary, has no From, a key failed, or the content cannot be read; it is not
        sent unsigned
    """
    if content.binary:
        # A relay whose next server lacks BINARYMIME recodes it, and every signature is void (RFC 3030 §3).
        raise MessageError(
            "dkim: a message with parts in the transfer encoding 'binary' cannot be signed; use base64 for them, or "
            "say dkim=False",
            field="dkim",
        )
    forms = {key.key.canonicalization.partition("/")[2] for key in keys}
    hashes = {form: BodyHash(relaxed=form == "relaxed") for form in forms}
    try:
        fields = _read(content, hashes.values())
    except (OSError, ValueError) as error:
        if isinstance(error, MessageError):
            raise
        raise MessageError(
            f"dkim: the content could not be read to be signed: {error}", field="dkim"
        ) from error
    if b"from" not in fields:
        raise MessageError(
            "the message has no From header field, which a DKIM signature must cover", field="from"
        )
    digests = {form: base64.b64encode(body.digest()).decode("ascii") for form, body in hashes.items()}
    signatures = b"".join(
        _signature(key, fields, digests[key.key.canonicalization.partition("/")[2]], now) for key in keys
    )
    if isinstance(content, BytesContent):
        return BytesContent(
            signatures + content.data,
            eight_bit=content.eight_bit,
            utf8_headers=content.utf8_headers,
            crlf_only=content.crlf_only,
        )
    return StreamedContent(
        [signatures, content], eight_bit=content.eight_bit, utf8_headers=content.utf8_headers
    )


def octets_to_sign(names: Iterable[str], fields: Fields, signature: bytes, *, relaxed: bool) -> bytes:
    """What the signature is over: the header fields of ``names``, and itself with an empty ``b=`` (RFC 6376 §3.7).

    Fields of one name are taken from the last to the first, and a name without a field left stands for nothing (§5.4.2).
    ``signature`` is the field of the signature up to ``b=``.
    """
    pieces: list[bytes] = []
    taken: dict[bytes, int] = {}
    for text in names:
        name = text.encode("ascii")
        number = taken[name] = taken.get(name, 0) + 1
        there = fields.get(name, ())
        if number <= len(there):
            field = there[-number]
            pieces += (relaxed_field(name, field) if relaxed else field, b"\r\n")
    pieces.append(relaxed_field(b"dkim-signature", signature) if relaxed else signature)
    return b"".join(pieces)


def _read(content: Content, hashes: Collection[BodyHash]) -> Fields:
    """The header fields of ``content`` by name, once its body went into ``hashes``."""
    head, in_body = b"", False
    for block in content.blocks():
        text = block
        if not in_body:
            # The empty line after the header may begin in one block and end in the next.
            head += block
            if b"\r\n\r\n" not in head:
                continue
            head, _, text = head.partition(b"\r\n\r\n")
            in_body = True
        for body_hash in hashes:
            body_hash.update(text)
    if head.startswith(b"\r\n"):
        head = b""  # no header at all: what looks like fields is body
    fields: Fields = {}
    for name, field in header_fields(head):
        fields.setdefault(name, []).append(field)
    return fields


def _signature(loaded: LoadedKey, fields: Fields, body_hash: str, now: int) -> bytes:
    key = loaded.key
    names, names_text = _signed_names(key, tuple((name, len(there)) for name, there in fields.items()))
    # A domain and a selector may be longer than a line should be.
    tags = f" d={key.domain};" + ("\r\n" if len(key.domain + key.selector) > _LINE - 40 else "")
    tags += f" s={key.selector}; t={now};"
    if key.expires_after is not None:
        tags += f" x={now + int(key.expires_after)};"
    if key.identity is not None:
        tags += f"\r\n i={key.identity};"
    text = (
        f"DKIM-Signature: v=1; a={loaded.algorithm}; c={key.canonicalization};\r\n"
        f"{tags}\r\n h={names_text};\r\n bh={body_hash};\r\n b="
    ).encode("ascii")
    octets = octets_to_sign(names, fields, text, relaxed=key.canonicalization.startswith("relaxed"))
    try:
        value = base64.b64encode(loaded.sign(octets))
    except Exception as error:  # whatever a key does, even one in a hardware module
        raise MessageError(
            f"dkim: the key {key.selector}._domainkey.{key.domain} could not sign ({type(error).__name__})",
            field="dkim",
        ) from error
    lines = [value[start : start + _LINE - 4] for start in range(0, len(value), _LINE - 4)]
    return text + b"\r\n ".join(lines) + b"\r\n"


@lru_cache(maxsize=256)
def _signed_names(key: DkimKey, counts: tuple[tuple[bytes, int], ...]) -> tuple[tuple[str, ...], str]:
    """Which fields are signed, and that as the value of ``h=``.

    Each name is there as often as it occurs, and once more where that is asked for. It is remembered because the
    messages of one program have the same header fields, nearly always.
    """
    names: list[str] = []
    occurring = {name.decode("ascii", "replace"): count for name, count in counts}
    usual = [name for name in _ALWAYS + _IF_THERE if name not in key.skip_fields]
    for name in usual if key.headers is None else key.headers:
        count = occurring.get(name, 0)
        if key.oversign and (count or key.headers is not None or name in _ALWAYS):
            count += 1
        names += [name] * count
    return tuple(names), _folded(names)


def _folded(names: Sequence[str]) -> str:
    """Names with colons between, in lines; white space may stand after a colon (RFC 6376 §3.5)."""
    lines, line = [], "h="
    for name in names:
        if len(line) + len(name) > _LINE - 3:
            lines.append(line)
            line = ""
        line += name + ":"
    return "\r\n  ".join([*lines, line])[2:-1]
