"""The tree of MIME parts, no deeper than the message needs (RFC 2046 §5.1, RFC 2387).

mixed ─┬─ alternative ─┬─ text/plain
       │               └─ related ─┬─ text/html
       │                           └─ inline images …
       └─ attachments …
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from .encoding import encoded_text
from .transfer import Base64Lines, Lines


@dataclass(slots=True)
class Leaf:
    """A part without parts: its header fields, each with its CRLF, and its body in its transfer encoding.

    A large body is a source that is read when the message is sent.
    """

    header: str
    body: bytes | Base64Lines | Lines
    encoding: str


@dataclass(slots=True)
class Multipart:
    """A part of parts. ``extra`` is what follows the boundary parameter."""

    subtype: str
    parts: list[Part]
    extra: str = ""


Part: TypeAlias = Leaf | Multipart

_HEADER: Final = {
    (subtype, encoding): (
        f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n"
    )
    for subtype in ("plain", "html")
    for encoding in ("7bit", "quoted-printable", "base64")
}


def text_leaf(subtype: str, text: str) -> Leaf:
    """The part that holds ``text``; ``subtype`` is ``plain`` or ``html``."""
    encoding, body = encoded_text(text)
    return Leaf(_HEADER[subtype, encoding], body, encoding)


def tree(text: str | None, html: str | None, inline: Sequence[Leaf], attached: Sequence[Leaf]) -> Part:
    """The smallest tree that holds all of a message; an empty message is empty text."""
    alternatives: list[Part] = []
    if text is not None or (html is None and not attached):
        alternatives.append(text_leaf("plain", text or ""))
    if html is not None:
        page: Part = text_leaf("html", html)
        alternatives.append(Multipart("related", [page, *inline], '; type="text/html"') if inline else page)
    parts: list[Part] = []
    if alternatives:
        parts.append(alternatives[0] if len(alternatives) == 1 else Multipart("alternative", alternatives))
    parts += attached
    return parts[0] if len(parts) == 1 else Multipart("mixed", parts)
