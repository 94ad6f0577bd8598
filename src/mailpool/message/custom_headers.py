"""Header fields that the caller names: checked, and never at odds with what the message says of itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from ..errors import MessageError
from .fields import Fields, Headers, header_pairs
from .folding import LONGEST_LINE, field_name, fold_text

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

_line_ends = re.compile(r"\r\n|\r|\n").split
_is_plain = re.compile(r"[\t -~]*").fullmatch


class Prepared(str):
    """The value of a header field that the caller has folded and encoded: it is sent as it is."""

    __slots__ = ()


def is_field(name: str) -> bool:
    """Whether a custom header of this name is a field of the message by another way."""
    return name.lower() in _FIELD_OF


def checked_headers(headers: Headers, field: str) -> list[tuple[str, str]]:
    """``headers`` as pairs of a checked name and text; one whose value is ``None`` is left out.

    Raises ``MessageError`` for a name that is none, or a value that is no text.
    """
    checked: list[tuple[str, str]] = []
    for key, value in header_pairs(headers, field):
        name = field_name(key, field)
        checked += [(name, text) for text in _texts(name, value, f"{field}[{name}]")]
    return checked


def header_line(name: str, value: str, field: str, words: str = "") -> str:
    """One of ``checked_headers`` as a header field with its CRLF; ``words`` as for ``fold_text``."""
    if isinstance(value, Prepared):
        return f"{name}: {value}\r\n"
    return fold_text(name, value, f"{field}[{name}]", words)


def part_headers(headers: Headers | None, field: str, own: Collection[str]) -> str:
    """The header fields that the caller gives to a MIME part, but for those that the part has of its ``own``."""
    if not headers:
        return ""
    return "".join(
        header_line(name, value, field)
        for name, value in checked_headers(headers, field)
        if name.lower() not in own
    )


def renamed(head: str, normalize: Callable[[str], Any]) -> str:
    """``head`` with the names of its fields as the caller's function ``normalize`` spells them.

    Only the case of letters may change: a function that makes Bcc of X-Bcc would tell of hidden recipients (HDR-08).
    Raises ``MessageError`` when it returns anything else.
    """
    field = "normalize_header_key"
    if not callable(normalize):
        raise MessageError(f"{field}: give a function of the name of a header field", field=field)
    known: dict[str, str] = {}
    lines = head.split("\r\n")
    for number, line in enumerate(lines):
        if line[:1] in ("", " ", "\t"):
            continue
        name, colon, rest = line.partition(":")
        spelt = known.get(name)
        if spelt is None:
            try:
                spelt = normalize(name)
            except Exception as error:
                raise MessageError(f"{field}: it failed for {name!r}: {error!r:.200}", field=field) from error
            if not isinstance(spelt, str) or not spelt.isascii() or spelt.lower() != name.lower():
                raise MessageError(
                    f"{field}: it made {spelt!r:.80} of {name!r}; only the case of letters may change",
                    field=field,
                )
            known[name] = spelt
        lines[number] = spelt + colon + rest
    return "\r\n".join(lines)


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
            if isinstance(value, Prepared):
                raise MessageError(
                    f"headers[{name}]: cannot be prepared, since its value is checked; give the field {target}",
                    field="headers",
                )
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


def _texts(name: str, value: object, field: str) -> list[str]:
    if value is None:
        return []
    single = isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)
    items: Iterable[object] = (value,) if single else value  # type: ignore[assignment]  # mypy forgets the "not"
    texts: list[str] = []
    for item in items:
        if isinstance(item, Mapping):
            texts.append(_prepared(name, item, field))
        elif isinstance(item, bool) or not isinstance(item, str | int):
            raise MessageError(f"{field}: {item!r:.80} is not text", field=field)
        else:
            texts.append(str(item))
    return texts


def _prepared(name: str, given: Mapping[Any, Any], field: str) -> Prepared:
    value = given.get("prepared")
    if given.keys() != {"prepared"} or not isinstance(value, str):
        raise MessageError(f'{field}: a mapping is {{"prepared": "the folded value"}}', field=field)
    lines = _line_ends(value)
    room = LONGEST_LINE - len(name) - 2
    for line in lines:
        if not _is_plain(line):
            raise MessageError(
                f"{field}: {line!r:.80} is not printable ASCII; encode it (RFC 2047)", field=field
            )
        if len(line) > room:
            raise MessageError(f"{field}: the header has a line over {LONGEST_LINE} octets", field=field)
        if not line.strip(" \t"):
            raise MessageError(f"{field}: a line of a prepared value is empty", field=field)
        room = LONGEST_LINE
    for line in lines[1:]:
        if line[0] not in " \t":
            raise MessageError(
                f"{field}: {line!r:.80} would start a new header; begin the lines after the first with a space",
                field=field,
            )
    return Prepared("\r\n".join(lines))
