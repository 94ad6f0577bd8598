"""Nodemailer, pooled; the program is ``nodemailer.cjs``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..job import Job
from ..places import NotAvailable, node_modules
from . import Command

LABEL = "Nodemailer"


def command(job: Job) -> Command:
    modules = node_modules()
    node = shutil.which("node")
    if node is None:
        raise NotAvailable("node is not installed")
    return Command([node, Path(__file__).with_suffix(".cjs"), job.to_json()], {"NODE_PATH": str(modules)})


def version() -> str:
    """Which one was installed."""
    package = json.loads((node_modules() / "nodemailer" / "package.json").read_text())
    return str(package["version"])
