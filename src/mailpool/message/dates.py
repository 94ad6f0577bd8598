"""Dates of header fields (RFC 5322 §3.3)."""

from __future__ import annotations

import datetime
from typing import Final

from ..errors import MessageError

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


# The messages of one second are given the same ``datetime``, whose text is made once; a datetime does not change.
_latest: tuple[datetime.datetime | None, str] = (None, "")


def date_text(moment: object, field: str) -> str:
    """``moment`` as RFC 5322 writes it, with its offset from UTC: ``Mon, 05 Jan 2026 09:30:00 +0100``.

    moment  an aware ``datetime``, or text by RFC 5322 or ISO 8601 with an offset
    field   the name for errors

    Raises ``MessageError`` for text that is neither, and for a time without an offset.
    """
    global _latest
    known, text = _latest
    if moment is known and known is not None:
        return text
    if isinstance(moment, str):
        moment = _read(moment, field)
    if not isinstance(moment, datetime.datetime) or (offset := moment.utcoffset()) is None:
        raise MessageError(
            f"{field}: {moment!r:.80} has no offset from UTC; give an aware datetime", field=field
        )
    minutes = offset.days * 1440 + offset.seconds // 60
    sign = "-" if minutes < 0 else "+"
    hours, minutes = divmod(abs(minutes), 60)
    text = (
        f"{_DAYS[moment.weekday()]}, {moment.day:02d} {_MONTHS[moment.month - 1]} {moment.year:04d} "
        f"{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d} {sign}{hours:02d}{minutes:02d}"
    )
    _latest = moment, text
    return text


def _read(text: str, field: str) -> datetime.datetime:
    from email.utils import parsedate_to_datetime  # seldom needed, and slow to import

    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        raise MessageError(
            f"{field}: {text!r:.80} is not a date by RFC 5322 or ISO 8601", field=field
        ) from None
