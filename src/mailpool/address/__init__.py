"""Addresses: mailboxes, their parsing, their normal form (IDNA), and the envelope.

Pure values. Nothing here knows of headers as a whole, of servers or of clocks.
"""

from __future__ import annotations

from .domain import ascii_domain
from .encoded_words import decode_words, encode_words
from .envelope import Envelope
from .grammar import read_one
from .mailbox import Mailbox
from .parsing import Addresses, AddressList, parse_addresses, parse_mailboxes
from .phrase import display, display_pieces, named_pieces
from .syntax import plain_address, without_lone_surrogates

__all__ = [
    "AddressList",
    "Addresses",
    "Envelope",
    "Mailbox",
    "ascii_domain",
    "decode_words",
    "display",
    "display_pieces",
    "encode_words",
    "named_pieces",
    "parse_addresses",
    "parse_mailboxes",
    "plain_address",
    "read_one",
    "without_lone_surrogates",
]
