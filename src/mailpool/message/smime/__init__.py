"""Messages that are signed by a person and encrypted for others: S/MIME (RFC 8551)."""

from __future__ import annotations

from .choice import Protection
from .credentials import LoadedSmime, load_smime
from .wrapping import protected

__all__ = ["LoadedSmime", "Protection", "load_smime", "protected"]
