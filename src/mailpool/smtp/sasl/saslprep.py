"""SASLprep: one form for each user name and password, however it was typed (RFC 4013, a profile of RFC 3454)."""

from __future__ import annotations

import stringprep
import unicodedata

# RFC 4013 §2.3. Code points that Unicode 3.2 does not know are left as they are, as in a query (RFC 3454 §7).
_PROHIBITED = (
    stringprep.in_table_c12,  # spaces, as far as they were not mapped
    stringprep.in_table_c21_c22,  # control characters
    stringprep.in_table_c3,  # private use
    stringprep.in_table_c4,  # no characters
    stringprep.in_table_c5,  # surrogates
    stringprep.in_table_c6,  # not for plain text
    stringprep.in_table_c7,  # not for canonical forms
    stringprep.in_table_c8,  # changing what is displayed
    stringprep.in_table_c9,  # tags
)


def saslprep(text: str) -> str:
    """The prepared form of ``text``.

    :raises ValueError: it has none: a character is prohibited, left-to-right and right-to-left are mixed, or nothing is
        left
    """
    if text.isascii() and text.isprintable() and text:
        return text
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not prepared:
        raise ValueError("is empty")
    for character in prepared:
        if any(prohibited(character) for prohibited in _PROHIBITED):
            raise ValueError(f"holds U+{ord(character):04X}")
    right_to_left = [stringprep.in_table_d1(c) for c in prepared]
    if any(right_to_left):
        mixed = any(stringprep.in_table_d2(c) for c in prepared)
        if mixed or not (right_to_left[0] and right_to_left[-1]):
            raise ValueError("mixes writing from right to left with other writing (RFC 3454 §6)")
    return prepared
