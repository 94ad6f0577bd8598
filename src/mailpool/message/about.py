"""The header fields that do not name people: what a message is about, and of what kind it is."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import MessageError
from .custom_headers import header_line
from .dates import date_text
from .fields import Fields, refuse_unknown
from .folding import fold_pieces, fold_text
from .list_headers import list_headers
from .message_ids import message_ids

_PRIORITY: Final = {
    "high": "X-Priority: 1\r\nImportance: high\r\n",
    "normal": "",
    "low": "X-Priority: 5\r\nImportance: low\r\n",
}
_PRIORITY_HEADERS: Final = frozenset(("x-priority", "importance"))
_AUTO_SUBMITTED: Final = ("no", "auto-generated", "auto-replied", "auto-notified")
_OTP_KEYS: Final = frozenset(("code", "origin"))
_is_code = re.compile(r"[A-Za-z0-9._~+/-]{1,64}").fullmatch
_is_origin = re.compile(
    r"https://[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?"
    r"|http://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?"
).fullmatch

Custom = list[tuple[str, str]]


def about(fields: Fields, custom: Custom, identity: str, now: datetime.datetime, words: str) -> str:
    """The usual ones, and then the ``custom`` ones, with CRLFs; ``words`` as for ``fold_text``."""
    get = fields.get
    subject, date, priority = get("subject"), get("date"), get("priority")
    head = fold_text("Subject", _text(subject, "subject"), "subject", words) if subject else ""
    head += f"Message-ID: {identity}\r\nDate: {date_text(now if date is None else date, 'date')}\r\n"
    for name, key in (("In-Reply-To", "in_reply_to"), ("References", "references")):
        given = get(key)
        if given:
            ids = message_ids(given, key)
            head += fold_pieces(name, ids) if ids else ""
    if priority is not None:
        if not isinstance(priority, str) or priority not in _PRIORITY:
            raise MessageError(
                f"priority: {priority!r:.60} is not 'high', 'normal' or 'low'", field="priority"
            )
        head += _PRIORITY[priority]
        custom = [(name, value) for name, value in custom if name.lower() not in _PRIORITY_HEADERS]
    for name, value in custom:
        head += header_line(name, value, "headers", words)
    return head


def more_about(fields: Fields, custom: Custom, words: str) -> tuple[str, Custom]:
    """The unusual ones, and what of ``custom`` they do not say already."""
    get = fields.get
    head = ""
    given = get("list")
    if given is not None:
        head += list_headers(given, words)
    given = get("auto_submitted")
    if given is not None:
        if given not in _AUTO_SUBMITTED:
            raise MessageError(
                f"auto_submitted: {given!r:.60} is none of {', '.join(_AUTO_SUBMITTED)} (RFC 3834 §5)",
                field="auto_submitted",
            )
        head += f"Auto-Submitted: {given}\r\n"
    given = get("otp")
    if given is not None:
        head += _otp(given)
    given = get("x_mailer")
    if given is not None:
        head += fold_text("X-Mailer", _text(given, "x_mailer"), "x_mailer", words)
    said = {line.partition(":")[0].lower() for line in head.split("\r\n") if line[:1] != " "}
    return head, [(name, value) for name, value in custom if name.lower() not in said]


def _otp(given: object) -> str:
    """A one-time code bound to the origin that asks for it, for programs that fill it in (draft-goto-otp-token)."""
    if not isinstance(given, Mapping):
        raise MessageError("otp: give a mapping with code and origin", field="otp")
    refuse_unknown(given, _OTP_KEYS, "otp")
    code, origin = given.get("code"), given.get("origin")
    if not isinstance(code, str) or not _is_code(code):
        # The code is a secret, and an error goes into logs.
        raise MessageError("otp.code: give text of at most 64 letters, digits and ._~+/-", field="otp.code")
    if not isinstance(origin, str) or not _is_origin(origin):
        raise MessageError(
            f"otp.origin: {origin!r:.80} is no origin; write https://host in lower case, without a path",
            field="otp.origin",
        )
    return fold_pieces("OTP-Token", [f'"{code}";', f'origin="{origin}"'])


def _text(value: Any, field: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise MessageError(f"{field}: the octets are not UTF-8; give text", field=field) from None
    raise MessageError(f"{field}: give text, not {type(value).__name__}", field=field)
