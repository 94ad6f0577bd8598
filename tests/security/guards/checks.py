"""The 94 checks for hostile and broken input, and which tests carry their IDs."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = TESTS.parent / "src" / "mailpool"
HOW_MANY: Final = {"INJ": 20, "HDR": 16, "ADR": 15, "DAT": 12, "DOS": 5, "FIL": 9, "LOG": 3, "TLS": 14}
ALL: Final = tuple(f"{group}-{n:02}" for group, count in HOW_MANY.items() for n in range(1, count + 1))
SERVERS_AND_POOL: Final = tuple(
    f"{group}-{n:02}" for group, count in {"SRV": 19, "POL": 14}.items() for n in range(1, count + 1)
)

_MARK = re.compile(r"mark\.rule\(([^)]*)\)")
_ID = re.compile(r"\"([A-Z]+-\d\d)\"")


def carriers() -> dict[str, list[Path]]:
    """For each ID the files whose tests carry it, read from the source text."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text("utf-8")
        for check in sorted({name for marks in _MARK.findall(text) for name in _ID.findall(marks)}):
            found[check].append(path)
    return found
