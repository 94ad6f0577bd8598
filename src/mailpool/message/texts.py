"""Text in its forms: as callers give it, and as the MIME part that it becomes (RFC 2045 §6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import MessageError
from ..options.access import Access
from .contents import CONTENT_KEYS, text_of
from .encoding import encoded_text, encoded_text_as
from .fields import Fields, refuse_unknown
from .flowed import flowed
from .parts import Leaf
from .raw_parts import raw_leaf

_ENCODINGS: Final = ("7bit", "8bit", "binary", "quoted-printable", "base64")
_PREFERENCES: Final = {"q": "Q", "quoted-printable": "Q", "b": "B", "base64": "B"}


@dataclass(slots=True, frozen=True)
class TextStyle:
    """How the text of one message is encoded: what its fields ``encoding``, ``text_encoding`` … say.

    encoding   the transfer encoding of text, ``""`` for the one that suits it
    words      ``"Q"`` or ``"B"`` for what is not ASCII, ``""`` for whichever is shorter
    eight_bit  whether text that is not ASCII goes as it is, where its lines are short enough
    """

    encoding: str = ""
    words: str = ""
    eight_bit: bool = False

    @classmethod
    def of(cls, fields: Fields) -> TextStyle:
        encoding, words, envelope = (
            fields.get("encoding"),
            fields.get("text_encoding"),
            fields.get("envelope"),
        )
        if encoding is not None and encoding not in _ENCODINGS:
            raise MessageError(
                f"encoding: {encoding!r:.60} is none of {', '.join(_ENCODINGS)}", field="encoding"
            )
        preferred = _PREFERENCES.get(words.lower()) if isinstance(words, str) else None
        if words is not None and preferred is None:
            raise MessageError(f"text_encoding: {words!r:.60} is neither 'Q' nor 'B'", field="text_encoding")
        eight_bit = isinstance(envelope, Mapping) and envelope.get("use_8bitmime") is True
        return cls(encoding or "", preferred or "", eight_bit)

    def leaf(self, subtype: str, text: str, field: str, parameters: str = "") -> Leaf:
        """The part ``text/subtype``; ``parameters`` follow the charset."""
        encoding, body = self._encoded(text, field)
        header = (
            f"Content-Type: text/{subtype}; charset=utf-8{parameters}\r\n"
            f"Content-Transfer-Encoding: {encoding}\r\n"
        )
        return Leaf(header, body, encoding)

    def leaf_of(self, subtype: str, given: Any, field: str, access: Access) -> Leaf:
        """As ``leaf``, from any form of text, of which one is a whole part."""
        if isinstance(given, Mapping) and given.get("raw") is not None:
            return whole_part(given, field, access)
        return self.leaf(subtype, given_text(given, field, access), field)

    def _encoded(self, text: str, field: str) -> tuple[str, bytes]:
        if self.encoding:
            return encoded_text_as(text, self.encoding, field)
        found = encoded_text(text)
        if found[0] == "7bit":
            return found
        if self.eight_bit:
            try:
                return encoded_text_as(text, "8bit", field)
            except MessageError:
                return found
        if self.words:
            return encoded_text_as(text, "base64" if self.words == "B" else "quoted-printable", field)
        return found


USUAL_STYLE: Final = TextStyle()


def given_text(given: Any, field: str, access: Access) -> str:
    """The text that a field of the message holds in any form. Raises ``MessageError`` for unknown keys, too."""
    if isinstance(given, Mapping):
        refuse_unknown(given, CONTENT_KEYS, field)
    return text_of(given, field, access)


def whole_part(given: Mapping[str, Any], field: str, access: Access) -> Leaf:
    """The part that a mapping holds under ``raw``, and nothing else."""
    if given.keys() != {"raw"}:
        raise MessageError(f"{field}: raw is the whole part; give nothing with it", field=field)
    return raw_leaf(given["raw"], f"{field}.raw", access)


def flowed_leaf(style: TextStyle, text: str) -> Leaf:
    """The part ``text/plain; format=flowed`` (RFC 3676 §4)."""
    return style.leaf("plain", flowed(text), "text", "; format=flowed")
