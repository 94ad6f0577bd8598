"""Debian's packages, unpacked into folders of their own in the cache. Nothing in the system changes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .real_server import NotAvailable, alone, cache_folder


def unpack(name: str, packages: Sequence[str], *, with_needs: bool = False) -> Path:
    """The folder with the files of ``packages``; fetched if it is not in the cache.

    :param name: of the cache folder
    :param with_needs: also what they depend on and the system lacks
    :raises NotAvailable: they cannot be had here
    """
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise NotAvailable(f"this system has no {tool}, so that {packages[0]} cannot be fetched")
    folder = cache_folder(name)
    with alone(folder):
        root = folder / "root"
        if not root.exists():
            # Only a complete tree gets the name that is looked for.
            fresh = folder / "unpacking"
            shutil.rmtree(fresh, ignore_errors=True)
            for archive in _fetch_with_needs(folder, packages) if with_needs else _fetch(folder, packages):
                run(folder, "dpkg", "--extract", str(archive), str(fresh))
            fresh.rename(root)
    return root


def _fetch(folder: Path, packages: Sequence[str]) -> list[Path]:
    _apt(folder, "download", *packages)
    found = sorted(folder.glob("*.deb"))
    if len(found) < len(packages):
        raise NotAvailable(
            f"apt-get fetched no more than {[archive.name for archive in found]} of {tuple(packages)}"
        )
    return found


def _fetch_with_needs(folder: Path, packages: Sequence[str]) -> list[Path]:
    plan = ["--yes", "--no-install-recommends", "--reinstall", "--download-only", "install", *packages]
    _apt(folder, *plan)
    found = sorted((folder / "archives").glob("*.deb"))
    if not any(archive.name.startswith(f"{packages[0]}_") for archive in found):
        raise NotAvailable(f"apt-get fetched no package {packages[0]}")
    return found


def _apt(folder: Path, *command: str) -> None:
    archives = folder / "archives"
    for needed in (archives / "partial", folder / "lists" / "partial"):
        needed.mkdir(parents=True, exist_ok=True)
    private = [
        option
        for setting in (
            # No lock, list, cache or state of the system is touched, so that any user can do this.
            "Debug::NoLocking=1",
            f"Dir::State::lists={folder / 'lists'}",
            f"Dir::Cache={folder}",
            f"Dir::Cache::archives={archives}",
            "APT::Sandbox::User=",
            "Acquire::Retries=2",
        )
        for option in ("-o", setting)
    ]
    run(folder, "apt-get", *private, "update")
    run(folder, "apt-get", *private, *command)


def run(folder: Path, *command: str, environment: dict[str, str] | None = None) -> None:
    """Run a program to its end in a folder of the cache. ``NotAvailable`` with its last words if it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise NotAvailable(f"{command[0]} could not fill {folder}: {' '.join(reason)}")
