"""The clients, one file each: how it is started, and, where it is Python, what it then does."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..job import Job

# What the clients import counts in their memory, so they import little.
_ROOT = Path(__file__).parents[2]


class Command(NamedTuple):
    """How to start a client."""

    words: list[str | Path]
    environment: Mapping[str, str] = {}


def python(module: str, job: Job, *folders: Path) -> Command:
    """A client that is a module of this package."""
    path = ":".join(map(str, [_ROOT, *folders]))
    return Command(
        [sys.executable, "-m", f"benchmarks.peers.{module}", job.to_json()],
        {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
    )
