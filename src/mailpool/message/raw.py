"""A whole message that is already made, as octets."""

from __future__ import annotations

import re

from ..content import BytesContent
from ..errors import MessageError
from .encoding import lines_fit, with_crlf
from .folding import LONGEST_LINE

_search_message_id = re.compile(rb"^message-id[ \t]*:\s*(<[^<>\s]+>)", re.IGNORECASE | re.MULTILINE).search


def raw_content(raw: object, field: str) -> tuple[BytesContent, str]:
    """A whole message as it is, and its Message-ID (``""`` when it has none).

    Only line ends are touched: a bare CR or LF becomes CRLF, and the last line gets one (RFC 5321 §2.3.8). Text is
    sent in UTF-8. Raises ``MessageError`` for NUL, for a line over 998 octets, and when there is nothing at all.
    """
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "replace")
    if not isinstance(raw, (bytes, bytearray, memoryview)):
        raise MessageError(f"{field}: give bytes or text, not {type(raw).__name__}", field=field)
    octets = with_crlf(bytes(raw))
    if not octets:
        raise MessageError(f"{field}: the message is empty", field=field)
    if not octets.endswith(b"\r\n"):
        octets += b"\r\n"
    if b"\0" in octets:
        raise MessageError(f"{field}: the message holds NUL, which no mail may (RFC 5322 §2.1)", field=field)
    if not lines_fit(octets):
        raise MessageError(f"{field}: the message has a line over {LONGEST_LINE} octets", field=field)
    head = octets.partition(b"\r\n\r\n")[0]
    found = _search_message_id(head)
    content = BytesContent(
        octets, eight_bit=not octets.isascii(), utf8_headers=not head.isascii(), crlf_only=True
    )
    return content, found[1].decode("ascii", "replace") if found else ""
