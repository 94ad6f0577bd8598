"""One letter to many people: prepared once, filled in for each of them."""

from __future__ import annotations

from .letter import MailMerge, Merged
from .markup import Markup

__all__ = ["MailMerge", "Markup", "Merged"]
