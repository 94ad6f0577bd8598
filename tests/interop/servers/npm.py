"""Packages of npm, each with a folder of its own in the cache."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .real_server import NotAvailable, alone, cache_folder


def installed(name: str, package: str, version: str, *options: str) -> Path:
    """The folder of modules that holds ``package``, filled if it is not in the cache.

    ``name`` is that of the folder in the cache: what npm puts into one, it takes out for the next package. ``options`` are
    further ones of npm.
    ``NotAvailable`` where it cannot be had.
    """
    folder = cache_folder(name)
    modules = folder / "node_modules"
    with alone(folder):
        if not (modules / package / "package.json").exists():
            npm = shutil.which("npm")
            if npm is None:
                raise NotAvailable(f"npm is not installed, so that {package} cannot be fetched")
            how = ["--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", str(folder)]
            done = subprocess.run(
                [npm, "install", *how, *options, f"{package}@{version}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            if done.returncode:
                reason = done.stderr.strip().splitlines()[:1]
                raise NotAvailable(f"npm could not fetch {package}: {' '.join(reason)}")
    return modules
