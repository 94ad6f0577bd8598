"""From what callers give to sealed messages: defaults, hooks, contents that have to be awaited."""

from __future__ import annotations

from .hooks import Hook
from .preparation import AnyMessage, Preparation
from .under_way import Preparing

__all__ = ["AnyMessage", "Hook", "Preparation", "Preparing"]
