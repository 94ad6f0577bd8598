"""Header fields that the caller names: checked, and never at odds with what the message says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..errors import MessageError
from .fields import Fields, Headers, header_pairs
from .folding import field_name

# A custom header of this name is the message's field by another way, and gets the same checks. So a Bcc given as
# a header reaches its recipients and still no reader (HDR-13, HDR-14).
_FIELD_OF: Final = {
    "from": "from",
    "sender": "sender",
    "reply-to": "reply_to",
    "to": "to",
    "cc": "cc",
    "bcc": "bcc",
    "subject": "subject",
    "date": "date",
    "message-id": "message_id",
    "in-reply-to": "in_reply_to",
    "references": "references",
}
_ADDRESSES: Final = frozenset(("reply_to", "to", "cc", "bcc", "from", "sender"))
_LISTS: Final = _ADDRESSES | {"in_reply_to", "references"}
# What the composer alone can know, and what would tell of hidden recipients.
_NEVER: Final = frozenset(
    (
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "content-disposition",
        "resent-bcc",
        "apparently-to",
    )
)


def checked_headers(headers: Headers, field: str) -> list[tuple[str, str]]:
    """``headers`` as pairs of a checked name and text; one whose value is ``None`` is left out.

    Raises ``MessageError`` for a name that is none, or a value that is no text.
    """
    checked: list[tuple[str, str]] = []
    for key, value in header_pairs(headers, field):
        name = field_name(key, field)
        checked += [(name, text) for text in _texts(value, f"{field}[{name}]")]
    return checked


def split_headers(fields: Fields) -> tuple[Fields, list[tuple[str, str]]]:
    """``fields`` completed by the custom headers that are fields of the message, and the other custom headers.

    A field that is given directly wins over a header of its name; what only the composer knows (Content-Type,
    MIME-Version, …) is left out.
    """
    custom: list[tuple[str, str]] = []
    found: dict[str, list[Any]] = {}
    for name, value in checked_headers(fields["headers"], "headers"):
        lower = name.lower()
        target = _FIELD_OF.get(lower)
        if target is not None:
            found.setdefault(target, []).append(value)
        elif lower not in _NEVER:
            custom.append((name, value))
    if not found:
        return fields, custom
    completed = dict(fields)
    for target, values in found.items():
        if completed.get(target) is not None:
            continue
        if len(values) > 1 and target not in _LISTS:
            raise MessageError(f"headers: {target} is given {len(values)} times", field="headers")
        completed[target] = values if target in _LISTS else values[0]
    return completed, custom


def _texts(value: object, field: str) -> list[str]:
    if value is None:
        return []
    items = value if isinstance(value, Iterable) and not isinstance(value, str | bytes) else (value,)
    texts: list[str] = []
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise MessageError(f"{field}: {item!r:.80} is not text", field=field)
        texts.append(str(item))
    return texts
