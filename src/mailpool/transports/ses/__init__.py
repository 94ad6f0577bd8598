"""Amazon SES by its API, version 2: raw messages, the account's own quota and rate."""

from __future__ import annotations

from .carrier import SESCarrier

__all__ = ["SESCarrier"]
