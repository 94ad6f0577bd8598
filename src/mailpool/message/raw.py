"""A whole message that is already made, as octets."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ..content import BytesContent, Content, StreamedContent
from ..errors import MessageError
from ..options.access import Access
from .contents import content_of
from .encoding import lines_fit, with_crlf
from .folding import LONGEST_LINE
from .transfer import Lines

_NOTHING = Access.of("none")
_search_message_id = re.compile(rb"^message-id[ \t]*:\s*(<[^<>\s]+>)", re.IGNORECASE | re.MULTILINE).search


def raw_content(raw: object, field: str, access: Access = _NOTHING) -> tuple[Content, str]:
    """A whole message as it is, and its Message-ID (``""`` when it has none).

    raw     in any form that `content_of` takes
    access  what may be read: what is ready names nothing that could be

    Only line ends are touched: a bare CR or LF becomes CRLF, and the last line gets one (RFC 5321 §2.3.8). Text is
    sent in UTF-8. Raises ``MessageError`` for NUL, for a line over 998 octets, and when there is nothing at all.
    """
    if type(raw) is bytes and len(raw) <= _LONGEST_REMEMBERED:
        return _remembered(raw, field)
    given = content_of(raw, field, access)
    if not isinstance(given, bytes):
        return _streamed(Lines(given, field))
    return _whole(given, field)


def _whole(given: bytes, field: str) -> tuple[Content, str]:
    octets = with_crlf(given)
    if not octets:
        raise MessageError(f"{field}: the message is empty", field=field)
    if not octets.endswith(b"\r\n"):
        octets += b"\r\n"
    if b"\0" in octets:
        raise MessageError(f"{field}: the message holds NUL, which no mail may (RFC 5322 §2.1)", field=field)
    if not lines_fit(octets):
        raise MessageError(f"{field}: the message has a line over {LONGEST_LINE} octets", field=field)
    head = octets.partition(b"\r\n\r\n")[0]
    content = BytesContent(
        octets, eight_bit=not octets.isascii(), utf8_headers=not head.isascii(), crlf_only=True
    )
    return content, _message_id(head)


# The same octets often go to one recipient after another; to look through them costs a third of sending them.
_LONGEST_REMEMBERED: Final = 65_536
_remembered = lru_cache(maxsize=8)(_whole)


def _streamed(lines: Lines) -> tuple[Content, str]:
    head = lines.head()
    content = StreamedContent(
        [lines] if lines.ends_line else [lines, b"\r\n"],
        eight_bit=not lines.is_ascii,
        utf8_headers=not head.isascii(),
    )
    return content, _message_id(head)


def _message_id(head: bytes) -> str:
    found = _search_message_id(head)
    return found[1].decode("ascii", "replace") if found else ""
