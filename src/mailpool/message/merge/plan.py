"""What all messages of a letter have in common, as octets with holes in them.

The letter is composed once, by the composer of every message, with marks in place of what differs. Where the marks come
out, the octets are cut. So nothing that the composer does is done here in another way, and when a mark does not come out
as it went in, there is no plan, and each message is composed by itself.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ...address import Addresses, Envelope
from ...content import BytesContent
from ...errors import MessageError
from ...options.access import Access
from ..address_headers import header_to_one, written_header
from ..composing import composed
from ..custom_headers import split_headers
from ..dates import date_text
from ..envelopes import envelope_of, keep_promises, refuse_many
from ..fields import Fields
from ..folding import fold_text
from ..list_headers import list_headers
from ..message_body import usual_body
from ..message_ids import checked_token, new_message_id
from ..participants import participants
from ..parts import BARE, Leaf, leaves
from .pattern import Pattern
from .text_part import TextPart, Values, encoding_line

_MARK: Final = "m41lp00lm4rk"  # what no text holds
_STEM: Final = "m41lp00lst3m"
_TO: Final = f"to@{_MARK}.example"
_NOW: Final = datetime.datetime(1971, 3, 5, 7, 11, 13, tzinfo=datetime.UTC)
# Fields whose octets depend on nothing but themselves, and which do not change how others are written.
_INDEPENDENT: Final = frozenset(
    (
        "from",
        "sender",
        "to",
        "cc",
        "bcc",
        "reply_to",
        "subject",
        "text",
        "html",
        "attachments",
        "headers",
        "date",
    )
) | {
    "in_reply_to",
    "references",
    "priority",
    "envelope",
    "list",
    "auto_submitted",
    "otp",
    "x_mailer",
    "dkim",
    "smime",
    "recipient_limit",
}


class NoPlan(Exception):
    """The messages of this letter have to be composed one by one."""


def sample(pattern: Pattern) -> str:
    """What stands for the text of a pattern when the plan is made."""
    if not pattern.names:
        return pattern.literals[0]
    if pattern.key == "list":
        # A URL or the like has to stay one.
        start = pattern.literals[0] or "https://"
        return f"{start}{_MARK}{''.join(pattern.literals[1:])}"
    return _MARK + pattern.key


class Plan:
    """The octets of a letter, cut where its messages differ.

    fields    those of the letter, with ``sample(…)`` where there is a pattern
    unusual   as for ``composed``
    patterns  those with placeholders, by their key: ``subject``, ``text``, ``html``
    headers   the same for custom headers: their names, and patterns with the keys ``header0``, ``header1``, …
    listing   the field ``list`` for given values, if that has placeholders
    access    what the letter may read

    Raises ``NoPlan``.
    """

    def __init__(
        self,
        fields: Fields,
        unusual: bool,
        patterns: Mapping[str, Pattern],
        headers: Sequence[tuple[str, Pattern]],
        listing: Callable[[Values], Any] | None,
        access: Access,
    ) -> None:
        fields = {name: value for name, value in fields.items() if value is not None} | {"to": _TO}
        if not fields.keys() <= _INDEPENDENT:
            raise NoPlan
        try:
            envelope, content, identity = composed(fields, unusual, _NOW, lambda: _STEM, _MARK, access)
        except MessageError:
            raise NoPlan from None  # the messages will say themselves what is wrong, if it is not the marks
        if content.utf8_headers or content.binary or envelope.utf8 or not isinstance(content, BytesContent):
            raise NoPlan
        units = {"to": f"To: {_TO}\r\n", "identity": f"Message-ID: {identity}\r\n"}
        self._dated = "date" in fields
        if not self._dated:
            units["identity"] += f"Date: {date_text(_NOW, 'date')}\r\n"
        if "subject" in patterns:
            units["subject"] = f"Subject: {sample(patterns['subject'])}\r\n"
        for name, pattern in headers:
            units[pattern.key] = f"{name}: {sample(pattern)}\r\n"
        if listing is not None:
            units["list"] = list_headers(fields["list"])
        parts = [field for field in ("text", "html") if field in patterns]
        for field in parts:
            units[field] = encoding_line("7bit") + sample(patterns[field])
        self._pieces, holes, self._stems = _cut(content.data, units)

        root = usual_body(fields, access)
        if isinstance(root, Leaf) and parts:
            self._pieces[-1] = b""  # the last line end, which the composer adds to a text without one
        # Where a boundary could occur by chance (HDR-15).
        bare = [leaf.body for leaf in leaves(root) if leaf.encoding in BARE]
        self._bare = b"\n".join([body for body in bare if isinstance(body, bytes)])
        self._eight_bit = content.eight_bit
        known = split_headers(fields)[0] if "headers" in fields else fields
        self._envelope: Any = known.get("envelope")
        _refuse_8bit(self._envelope)
        self._limit = known.get("recipient_limit")
        self._sender, self._others, _ = participants(
            {name: known.get(name) for name in ("from", "sender", "cc", "bcc")}, ""
        )
        self._to, self._identity = holes["to"], holes["identity"]
        self._lines = [(name, f"headers[{name}]", pattern, holes[pattern.key]) for name, pattern in headers]
        if "subject" in patterns:
            self._lines.insert(0, ("Subject", "subject", patterns["subject"], holes["subject"]))
        self._list = None if listing is None else (listing, holes["list"])
        self._texts = [(field == "html", TextPart(patterns[field]), holes[field]) for field in parts]

    def composed(
        self,
        to: Addresses,
        envelope: Any,
        text: Values,
        html: Values,
        now: datetime.datetime,
        token: str,
        hostname: str,
    ) -> tuple[Envelope, BytesContent, str]:
        """What ``composed`` returns for the letter with these values.

        to          for the header, and for the envelope if it names no recipients
        envelope    that of this message; ``None`` for what the letter says
        text, html  the values for what is text and for what is HTML

        Raises ``NoPlan`` where ``token`` occurs in the text, and ``MessageError`` as composing does.
        """
        pieces = self._pieces.copy()
        given = self._envelope if envelope is None else envelope
        single = header_to_one("To", to) if given is None and type(to) is str and not self._others else None
        if single is not None:
            line = single[1]
            path = Envelope.to_one(self._sender.address if self._sender else "", single[0])
        else:
            recipients, line = written_header("To", "to", to, "")
            recipients += self._others
            if given is None:
                path = Envelope.between(self._sender, recipients)
            else:
                _refuse_8bit(given)
                path = envelope_of(given, self._sender, recipients)
        pieces[self._to] = line.encode()
        if self._limit is not None:
            refuse_many(path, self._limit)
        identity = new_message_id(checked_token(token), self._sender, path, hostname)
        date = "" if self._dated else f"Date: {date_text(now, 'date')}\r\n"
        pieces[self._identity] = f"Message-ID: {identity}\r\n{date}".encode("ascii")
        for name, field, pattern, index in self._lines:
            pieces[index] = fold_text(name, pattern.filled(text.texts), field).encode("ascii")
        if self._list is not None:
            pieces[self._list[1]] = list_headers(self._list[0](text)).encode("ascii")
        stem = token.encode("ascii")
        for is_html, part, index in self._texts:
            bare, pieces[index] = part.encoded(html if is_html else text)
            if bare and self._stems and stem in pieces[index]:
                raise NoPlan
        if self._stems:
            if stem in self._bare:
                raise NoPlan
            for index in self._stems:
                pieces[index] = stem
        octets = b"".join(pieces)
        if octets[-2:] != b"\r\n":
            octets += b"\r\n"
        utf8_headers = not line.isascii()
        content = BytesContent(
            octets, eight_bit=self._eight_bit or utf8_headers, utf8_headers=utf8_headers, crlf_only=True
        )
        if given is not None:
            keep_promises(given, content)
        return path, content, identity


def _refuse_8bit(envelope: Any) -> None:
    """Raise ``NoPlan`` where the envelope has a say in how text is encoded."""
    if isinstance(envelope, Mapping) and envelope.get("use_8bitmime"):
        raise NoPlan


def _cut(octets: bytes, units: Mapping[str, str]) -> tuple[list[bytes], dict[str, int], list[int]]:
    """The octets in pieces, with each unit a piece of its own; where the units are; and where the boundaries' stems are.

    Raises ``NoPlan`` unless each unit is there once, and nothing of a mark is anywhere else.
    """
    keys = {unit.encode("ascii"): key for key, unit in units.items()}
    borders = b"|".join([*map(re.escape, keys), rb"(?<==_\d\.)" + _STEM.encode("ascii")])
    pieces = re.split(b"(" + borders + b")", octets)
    holes: dict[str, int] = {}
    stems: list[int] = []
    for index in range(1, len(pieces), 2):
        key = keys.get(pieces[index])
        if key is None:
            stems.append(index)
        elif key in holes:
            raise NoPlan
        else:
            holes[key] = index
    marked = re.compile(f"{_MARK}|{_STEM}".encode("ascii")).search
    if len(holes) < len(units) or any(map(marked, pieces[::2])):
        raise NoPlan
    return pieces, holes, stems
