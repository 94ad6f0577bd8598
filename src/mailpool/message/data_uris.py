"""Content that is written in its own address: ``data:image/png;base64,iVBOR…`` (RFC 2397)."""

from __future__ import annotations

import binascii
from urllib.parse import unquote_to_bytes

from ..errors import MessageError


def is_data_uri(text: str) -> bool:
    return text[:5].lower() == "data:"


def data_uri(uri: str, field: str, most: int) -> tuple[bytes, str]:
    """The octets and the media type of a data URI; each character is looked at a fixed number of times (DOS-01).

    most  octets that it may hold

    Raises ``MessageError`` when it has no comma, holds more than ``most``, or its base64 is none.
    """
    comma = uri.find(",")
    if comma < 0:
        raise MessageError(f"{field}: the data URI has no comma between its type and its data", field=field)
    head = uri[5:comma].strip()
    kind, _, last = head.rpartition(";")
    is_base64 = last.strip().lower() == "base64"
    if not is_base64:
        kind = head
    # Each octet is one character at least of base64, or of what is percent-encoded.
    characters = len(uri) - comma - 1
    if (characters // 4 * 3 if is_base64 else characters // 3) > most:
        raise _too_large(field, most)
    octets = unquote_to_bytes(uri[comma + 1 :])
    if is_base64:
        octets = octets.translate(None, b" \t\r\n").rstrip(b"=")
        try:
            octets = binascii.a2b_base64(octets + b"=" * (-len(octets) % 4), strict_mode=True)
        except binascii.Error as error:
            raise MessageError(
                f"{field}: the base64 of the data URI is broken: {error}", field=field
            ) from None
    if len(octets) > most:
        raise _too_large(field, most)
    # RFC 2397 §2: ";charset=…" alone means text/plain.
    return octets, f"text/plain{kind}" if kind.startswith(";") else kind or "text/plain;charset=US-ASCII"


def _too_large(field: str, most: int) -> MessageError:
    return MessageError(f"{field}: the data URI holds more than {most} octets (access.max_size)", field=field)
