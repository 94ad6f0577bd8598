"""How a mailbox is written in a header field (RFC 5322 §3.4), so that every parser reads the same list."""

from __future__ import annotations

import re

from .encoded_words import encode_words
from .mailbox import Mailbox
from .syntax import quote

_is_atoms = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~\-]+)*").fullmatch
# Longer names become encoded words, which can be folded anywhere; a quoted string is never folded.
_LONGEST_QUOTED = 66
# Leaves room for the name of the field on the same line.
_LONGEST_WORD = 64


def display(mailbox: Mailbox) -> str:
    """The mailbox as a header field shows it: ``a@b``, ``Name <a@b>``, ``"Name, X" <a@b>`` or with encoded words.

    What is returned parses back to the same mailbox, and to the same address in any RFC 5322 parser (HDR-10).
    """
    return " ".join(display_pieces(mailbox))


def display_pieces(mailbox: Mailbox, encoding: str = "") -> list[str]:
    """What ``display`` returns, as pieces between which a header field may be folded.

    ``encoding`` is ``"Q"`` or ``"B"`` for encoded words, or ``""`` for whichever is shorter.
    """
    return named_pieces(mailbox.name, mailbox.address, encoding)


def named_pieces(name: str, address: str, encoding: str = "") -> list[str]:
    """The same for the name and the address of a mailbox."""
    if not name:
        return [address]
    path = f"<{address}>"
    # "=?" in a quoted string is text by RFC 2047 §5, but many readers decode it there all the same.
    if len(name) <= _LONGEST_QUOTED and "=?" not in name and name.isascii() and name.isprintable():
        return [name if _is_atoms(name) else quote(name), path]
    return [*encode_words(name, first=_LONGEST_WORD, longest=_LONGEST_WORD, encoding=encoding), path]
