"""The lexical rules that all of ``address`` shares (RFC 5322 §3.2, RFC 5321 §4.1.2, RFC 6531 §3.3)."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# RFC 5321 §4.5.3.1.3: a path has 256 octets, angle brackets included.
MAX_ADDRESS: Final = 254

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
# Without "?" no encoded word can hide in a local part; with it, the slow path looks (ADR-09).
_PLAIN_ATEXT = _ATEXT.replace("?", "")
# Underscores are no host name, but such domains are in the DNS and take mail. "xn--" labels are left to IDNA.
_LABEL = r"(?![xX][nN]--)[A-Za-z0-9_](?:[A-Za-z0-9_\-]{0,61}[A-Za-z0-9_])?"

PLAIN_ADDRESS: Final = rf"([{_PLAIN_ATEXT}]++(?:\.[{_PLAIN_ATEXT}]++)*+)@({_LABEL}(?:\.{_LABEL})*)"

match_plain_address: Final = re.compile(PLAIN_ADDRESS).fullmatch
match_plain_domain: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*").fullmatch
match_dot_atom: Final = re.compile(
    rf"[{_ATEXT}\u0080-\U0010ffff]++(?:\.[{_ATEXT}\u0080-\U0010ffff]++)*+"
).fullmatch
# Dots at the ends or in a row: no dot-atom, yet in use (some Japanese carriers); the quoted form is legal.
match_loose_dots: Final = re.compile(rf"[{_ATEXT}.\u0080-\U0010ffff]++").fullmatch
match_quoted: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"').fullmatch
search_control: Final = re.compile(r"[\x00-\x1f\x7f]").search
search_control_but_tab: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
search_encoded_word: Final = re.compile(r"=\?[^?\s]++\?[bBqQ]\?[^?\s]*+\?=").search

_SHOWN = 60
_JOINERS = "\u200c\u200d"


def plain_address(text: str) -> str | None:
    """The address that ``text`` is, in the form that goes on the wire; ``None`` for all but the most common ones."""
    plain = match_plain_address(text)
    if plain is None or len(text) > MAX_ADDRESS:
        return None
    return text if text.islower() else f"{plain[1]}@{plain[2].lower()}"


def show(text: str) -> str:
    """The offending text for an error message: quoted, escaped and shortened."""
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def invisible(text: str) -> str:
    """The first character of ``text`` that cannot be seen or is no character, or ``""``.

    Zero-width joiners belong to the spelling of some scripts and pass.
    """
    if text.isascii():
        return ""
    for char in text:
        if not char.isascii() and unicodedata.category(char)[0] in "CZ" and char not in _JOINERS:
            return char
    return ""


def unquote(quoted: str) -> str:
    """The content of a quoted-string given without its quotes (RFC 5322 §3.2.4)."""
    return re.sub(r"\\(.)", r"\1", quoted) if "\\" in quoted else quoted


def quote(text: str) -> str:
    """``text`` as a quoted-string (RFC 5322 §3.2.4)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def without_lone_surrogates(text: str) -> str:
    """``text`` with each lone surrogate replaced by U+FFFD and each pair joined to its character (HDR-07)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
