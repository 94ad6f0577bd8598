"""A MIME part that the caller wrote, header and body (RFC 2046 §5.1)."""

from __future__ import annotations

import re

from ..errors import MessageError
from ..options.access import Access
from .contents import octets_of
from .encoding import lines_fit, with_crlf
from .folding import LONGEST_LINE
from .parts import RawLeaf

_is_header_line = re.compile(rb"[!-9;-~]+:[\t -~]*|[ \t]+[!-~][\t -~]*").fullmatch
_says_binary = re.compile(rb"^content-transfer-encoding:[ \t]*binary", re.IGNORECASE | re.MULTILINE).search


def raw_leaf(raw: object, field: str, access: Access) -> RawLeaf:
    """The part ``raw`` in any form of a content. Only line ends are touched: a bare CR or LF becomes CRLF.

    Raises ``MessageError`` for NUL, a line over 998 octets, the encoding ``binary``, and a header that is none.
    """
    octets = with_crlf(octets_of(raw, field, access))
    if b"\0" in octets or not lines_fit(octets):
        raise MessageError(f"{field}: the part holds NUL or a line over {LONGEST_LINE} octets", field=field)
    if octets.startswith(b"\r\n"):
        return RawLeaf("", octets[2:], _encoding(octets))
    head, blank, body = octets.partition(b"\r\n\r\n")
    if not blank:
        raise MessageError(f"{field}: the part has no empty line after its header", field=field)
    lines = head.split(b"\r\n")
    for line in lines:
        if not _is_header_line(line) or lines[0][:1] in b" \t":
            raise MessageError(f"{field}: {line!r:.80} is not a line of a header in ASCII", field=field)
    if _says_binary(head):
        raise MessageError(f"{field}: the encoding 'binary' cannot be sent; use base64", field=field)
    return RawLeaf(f"{head.decode('ascii')}\r\n", body, _encoding(body))


def _encoding(body: bytes) -> str:
    return "7bit" if body.isascii() else "8bit"
