"""Every guard that can be taken away: each module ``*_removals`` beside this one adds its own to the list."""

from __future__ import annotations

import importlib
from pathlib import Path

from removals import REMOVALS, Removal

for _module in sorted(Path(__file__).parent.glob("*_removals.py")):
    importlib.import_module(_module.stem)

__all__ = ["REMOVALS", "Removal"]
