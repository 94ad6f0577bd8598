"""What a parser read in a message, in a form in which two parsers can be compared."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from mailpool import AddressError, Mailbox

People = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Part:
    """An attachment or an inline part; ``content`` is its octets as they were before they were encoded."""

    filename: str
    content_type: str
    content: bytes
    cid: str = ""


@dataclass(frozen=True)
class Read:
    """Addresses are pairs of name and address; line ends of ``text`` and ``html`` are LF."""

    subject: str = ""
    senders: People = ()
    to: People = ()
    cc: People = ()
    reply_to: People = ()
    text: str | None = None
    html: str | None = None
    parts: tuple[Part, ...] = field(default=())

    def without(self, *names: str) -> Read:
        """The same without some fields, for what a parser is known to read wrong."""
        return replace(self, **{name: getattr(Read, name, ()) for name in names})


class Reader(abc.ABC):
    """One parser."""

    name: ClassVar[str]

    @abc.abstractmethod
    def read(self, messages: Sequence[bytes]) -> list[Read]:
        """What is in each message. ``NotAvailable`` if the parser cannot be had here."""


def from_json(found: dict[str, Any]) -> Read:
    """From what the programs in other languages print."""

    def people(name: str) -> People:
        return tuple((person[0] or "", mailbox(person[1] or "")) for person in found.get(name) or ())

    return Read(
        subject=found.get("subject") or "",
        senders=people("from"),
        to=people("to"),
        cc=people("cc"),
        reply_to=people("reply_to"),
        text=_lines(found.get("text")),
        html=_lines(found.get("html")),
        parts=tuple(
            Part(
                part.get("filename") or "",
                part["type"],
                bytes.fromhex(part["content"]),
                (part.get("cid") or "").strip("<>"),
            )
            for part in found.get("parts") or ()
        ),
    )


def mailbox(address: str) -> str:
    """One spelling for ``"a..b"@x`` and ``a..b@x``, which name the same mailbox."""
    try:
        return Mailbox("", address).address
    except AddressError:
        return address


def _lines(text: str | None) -> str | None:
    return None if text is None else text.replace("\r\n", "\n")
