"""Message-IDs (RFC 5322 §3.6.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ..address import Envelope, Mailbox, ascii_domain
from ..errors import MessageError

LONGEST_TOKEN: Final = 48

_is_bare_id = re.compile(r"[!-;=?-~]{1,900}").fullmatch
_separators = re.compile(r"[ \t]+|(?<=>)(?=<)").split


def message_id(text: object, field: str) -> str:
    """One Message-ID with angle brackets, which may be left out in ``text``.

    Raises ``MessageError`` unless it is printable ASCII without spaces or further angle brackets.
    """
    bare = text.strip(" \t") if isinstance(text, str) else ""
    if bare[:1] == "<" and bare[-1:] == ">":
        bare = bare[1:-1]
    if not _is_bare_id(bare):
        raise MessageError(
            f"{field}: {text!r:.80} is not a Message-ID; write <left@right> in ASCII", field=field
        )
    return f"<{bare}>"


def message_ids(value: object, field: str) -> list[str]:
    """The Message-IDs in text, where white space separates them, or in a list of such texts."""
    texts = list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else [value]
    found: list[str] = []
    for text in texts:
        if not isinstance(text, str):
            raise MessageError(f"{field}: {text!r:.80} is not text", field=field)
        found += [message_id(one, field) for one in _separators(text.strip(" \t")) if one]
    return found


def new_message_id(token: str, sender: Mailbox | None, envelope: Envelope, hostname: str) -> str:
    """One made of ``token`` and the domain of the sender, or else of the reverse-path, or else ``hostname``."""
    domain = sender.domain if sender else envelope.sender.rpartition("@")[2]
    return f"<{token}@{ascii_domain(domain) if domain else hostname}>"


def checked_token(token: str) -> str:
    """What a source of random tokens gave. Raises ``ValueError`` if it cannot stand in a Message-ID or a boundary."""
    if not (token.isascii() and token.isalnum() and len(token) <= LONGEST_TOKEN):
        raise ValueError(
            f"token() must return at most {LONGEST_TOKEN} ASCII letters and digits, not {token!r:.60}"
        )
    return token
