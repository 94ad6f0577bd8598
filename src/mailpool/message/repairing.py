"""Address fields read by the lenient grammar, for callers who asked for that (the option ``addresses``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..address import parse_mailboxes
from .fields import Fields, header_pairs

_FIELDS: Final = ("from", "sender", "to", "cc", "bcc", "reply_to")
_IN_ENVELOPE: Final = ("from", "to", "cc", "bcc")
_HEADERS: Final = {"from", "sender", "to", "cc", "bcc", "reply-to"}
# The forms of the null reverse-path, which no grammar of addresses knows.
_NOBODY: Final = ("", "<>", None)


def repaired_fields(fields: Fields) -> tuple[Fields, tuple[str, ...]]:
    """``fields`` with mailboxes in place of all text that names people, and a sentence for each thing repaired.

    Raises ``AddressError`` for text that stays unclear.
    """
    repairs: list[str] = []
    repaired: dict[str, Any] = dict(fields)
    for name in _FIELDS:
        if repaired.get(name) is not None:
            repaired[name] = _read(repaired[name], name, repairs)
    envelope = repaired.get("envelope")
    if isinstance(envelope, Mapping):
        repaired["envelope"] = {
            name: _read(value, f"envelope.{name}", repairs)
            if name in _IN_ENVELOPE and not (name == "from" and value in _NOBODY)
            else value
            for name, value in envelope.items()
        }
    if repaired.get("headers"):
        _move_headers(repaired, repairs)
    return repaired, tuple(repairs)


def _move_headers(fields: dict[str, Any], repairs: list[str]) -> None:
    """Make fields of the custom headers that name people, as the composer would, so that they are read alike."""
    others = []
    found: dict[str, list[Any]] = {}
    for name, value in header_pairs(fields["headers"], "headers"):
        lower = str(name).strip(" \t").lower()
        if lower not in _HEADERS:
            others.append((name, value))
        elif value is not None:
            found.setdefault(lower.replace("-", "_"), []).append(value)
    for name, values in found.items():
        if fields.get(name) is None:
            fields[name] = _read(values, f"headers[{name}]", repairs)
    fields["headers"] = others


def _read(value: Any, field: str, repairs: list[str]) -> Any:
    noted: list[str] = []
    mailboxes = parse_mailboxes(value, field, noted)
    repairs += [f"{field}: {repair}" for repair in noted]
    return mailboxes
