"""Signatures by the sender's domain: DomainKeys Identified Mail (RFC 6376, RFC 8301, RFC 8463)."""

from __future__ import annotations

from .choice import Signatures
from .private_keys import LoadedKey, dkim_record, load_key
from .signing import signed, takes_long

__all__ = ["LoadedKey", "Signatures", "dkim_record", "load_key", "signed", "takes_long"]
