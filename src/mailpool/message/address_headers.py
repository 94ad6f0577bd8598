"""Header fields of mailboxes: From, To and their kin (RFC 5322 §3.6.2, §3.6.3)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ..address import Addresses, Mailbox, display_pieces, named_pieces, parse_mailboxes, read_one
from .folding import LINE, fold_pieces

Mailboxes = tuple[Mailbox, ...]

_LONGEST_REMEMBERED: Final = 320


def address_header(name: str, field: str, value: Addresses, words: str) -> tuple[Mailboxes, str]:
    """The mailboxes of an address field, and its header with its CRLF (``""`` when there are none)."""
    if isinstance(value, str) and len(value) <= _LONGEST_REMEMBERED:
        return _remembered_header(name, field, value, words)
    return written_header(name, field, value, words)


def header_to_one(name: str, value: str) -> tuple[str, str] | None:
    """The address in a field that names one mailbox in the ordinary way, and its header; ``None`` for all else."""
    found = read_one(value)
    if found is None:
        return None
    display, address = found
    return address, _line(name, named_pieces(display, address))


def written_header(name: str, field: str, value: Addresses, words: str) -> tuple[Mailboxes, str]:
    mailboxes = parse_mailboxes(value, field)
    if not mailboxes:
        return (), ""
    if len(mailboxes) == 1:
        return mailboxes, _line(name, display_pieces(mailboxes[0], words))
    return mailboxes, fold_pieces(name, _list_pieces(mailboxes, words))


# A program sends from few addresses, and often the same message to each recipient at several of its attempts.
_remembered_header = lru_cache(maxsize=1024)(written_header)


def _line(name: str, pieces: list[str]) -> str:
    line = f"{name}: {' '.join(pieces)}\r\n"
    return line if len(line) <= LINE + 2 else fold_pieces(name, pieces)


def _list_pieces(mailboxes: Iterable[Mailbox], words: str) -> list[str]:
    pieces: list[str] = []
    for mailbox in mailboxes:
        pieces += display_pieces(mailbox, words)
        pieces[-1] += ","
    pieces[-1] = pieces[-1][:-1]
    return pieces
