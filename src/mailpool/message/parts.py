"""The tree of MIME parts, no deeper than the message needs (RFC 2046 §5.1, RFC 2387).

mixed ─┬─ alternative ─┬─ text/plain
       │               ├─ text/watch-html, text/x-amp-html
       │               ├─ related ─┬─ text/html
       │               │           └─ inline images …
       │               └─ text/calendar, others …
       └─ attachments …
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..content import Source
from .encoding import encoded_text


@dataclass(slots=True)
class Leaf:
    """A part without parts: its header fields, each with its CRLF, and its body in its transfer encoding.

    A large body is a source that is read when the message is sent.
    """

    header: str
    body: bytes | Source
    encoding: str


class RawLeaf(Leaf):
    """A part that the caller wrote, whatever is in it. Its header may be of any kind: it is never that of a message."""

    __slots__ = ()


class BinaryLeaf(Leaf):
    """An attachment whose octets go out as they are. It is never the message, which always ends in a line end."""

    __slots__ = ()


@dataclass(slots=True)
class Multipart:
    """A part of parts. ``extra`` is what follows the boundary parameter."""

    subtype: str
    parts: list[Part]
    extra: str = ""


Part: TypeAlias = Leaf | Multipart
# Transfer encodings that encode nothing: what is in such a part is on the wire as it is.
BARE: Final = ("7bit", "8bit", "binary")

TEXT_HEADER: Final = {
    (subtype, encoding): (
        f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n"
    )
    for subtype in ("plain", "html")
    for encoding in ("7bit", "quoted-printable", "base64")
}


def text_leaf(subtype: str, text: str) -> Leaf:
    """The part that holds ``text``; ``subtype`` is ``plain`` or ``html``."""
    encoding, body = encoded_text(text)
    return Leaf(TEXT_HEADER[subtype, encoding], body, encoding)


def page(html: Leaf, inline: Sequence[Leaf]) -> Part:
    """The HTML with the images that it shows."""
    return Multipart("related", [html, *inline], '; type="text/html"') if inline else html


def tree(alternatives: list[Part], attached: Sequence[Leaf]) -> Part:
    """The smallest tree that holds all of a message; an empty message is empty text."""
    parts: list[Part] = []
    if alternatives:
        parts.append(alternatives[0] if len(alternatives) == 1 else Multipart("alternative", alternatives))
    parts += attached
    if len(parts) == 1 and not isinstance(parts[0], (RawLeaf, BinaryLeaf)):
        return parts[0]
    return Multipart("mixed", parts) if parts else text_leaf("plain", "")


def leaves(part: Part) -> list[Leaf]:
    """The parts without parts that ``part`` consists of, in their order."""
    if isinstance(part, Leaf):
        return [part]
    return [leaf for child in part.parts for leaf in leaves(child)]
