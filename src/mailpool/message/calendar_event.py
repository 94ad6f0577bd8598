"""An iCalendar event: an alternative for calendars, and an attachment for everything else (RFC 6047 §2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import MessageError
from ..options.access import Access
from .attachments import OWNED
from .contents import CONTENT_KEYS, text_of
from .custom_headers import part_headers
from .encoding import base64_lines, with_crlf
from .fields import refuse_unknown
from .parameters import with_parameters
from .parts import Leaf
from .texts import TextStyle

_KEYS: Final = CONTENT_KEYS | {"method", "filename", "headers"}
_is_method = re.compile(r"[A-Za-z0-9-]{1,40}").fullmatch
_search_method = re.compile(r"^METHOD:([A-Za-z0-9-]{1,40})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE).search


def calendar_leaves(given: Any, style: TextStyle, access: Access) -> tuple[Leaf, Leaf]:
    """The event as ``text/calendar``, an alternative, and as ``application/ics``, an attachment.

    given  text, octets, or a mapping with ``content`` or ``path``, ``method``, ``filename`` (``invite.ics``) and
           ``headers``, which both parts get
    style  how text is encoded
    access what may be read

    ``method`` is by default the one in the content, or ``PUBLISH``. Raises ``MessageError`` when it contradicts the
    content: RFC 6047 §2.4 wants them to be the same, and readers ignore an event where they are not.
    """
    event: dict[str, Any] = {}
    if isinstance(given, Mapping):
        refuse_unknown(given, _KEYS, "calendar")
        event = dict(given)
    method, filename = event.pop("method", None), event.pop("filename", "invite.ics")
    # Once: what is a generator cannot be read twice, and neither part may get what only the other one has.
    more = part_headers(event.pop("headers", None), "calendar.headers", OWNED)
    text = text_of(event if isinstance(given, Mapping) else given, "calendar", access)
    method = _method(text, method)
    if filename is not None and not isinstance(filename, str):
        raise MessageError("calendar.filename: must be text", field="calendar.filename")

    alternative = style.leaf("calendar", text, "calendar", f"; method={method}")
    alternative.header += more
    names = {"filename": filename} if filename else {}
    types = {"name": filename} if filename else {}
    header = (
        with_parameters("Content-Type", "application/ics", types, "calendar.filename")
        + with_parameters("Content-Disposition", "attachment", names, "calendar.filename")
        + f"Content-Transfer-Encoding: base64\r\n{more}"
    )
    octets = with_crlf(text.encode("utf-8", "replace"))
    return alternative, Leaf(header, base64_lines(octets), "base64")


def _method(text: str, given: object) -> str:
    found = _search_method(text)
    own = found[1].upper() if found else None
    if given is None:
        return own or "PUBLISH"
    if not isinstance(given, str) or not _is_method(given):
        raise MessageError(
            f"calendar.method: {given!r:.60} is no method of iCalendar, such as REQUEST",
            field="calendar.method",
        )
    if own is not None and own != given.upper():
        raise MessageError(
            f"calendar.method: is {given.upper()}, and METHOD in the content is {own}",
            field="calendar.method",
        )
    return given.upper()
