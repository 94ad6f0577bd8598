"""Debian's packages, unpacked into the cache folder. Nothing in the system changes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .real_server import NotAvailable, cache_folder, once

PACKAGES = ("postfix", "libsasl2-modules", "libsasl2-modules-db", "sasl2-bin")


class Unpacked:
    """The files of some packages and of what they need beyond what the system has."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which programs of these packages find their libraries."""
        libraries = self.root / "usr" / "lib"
        multiarch = [path.parent for path in libraries.glob("*/libsasl2.so.2")]
        folders = [*multiarch, libraries / "postfix"]
        plugins = [folder / "sasl2" for folder in multiarch]
        return {
            "PATH": os.defpath,
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, folders)),
            "SASL_PATH": os.pathsep.join(map(str, plugins)),
        }

    def program(self, name: str) -> Path:
        """A program of the packages."""
        for folder in ("usr/sbin", "usr/bin", "usr/lib/postfix/sbin"):
            if (found := self.root / folder / name).exists():
                return found
        raise NotAvailable(f"Debian's packages hold no program {name}")


@once
def unpacked() -> Unpacked:
    """The packages, fetched if they are not in the cache. ``NotAvailable`` where that is not possible."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise NotAvailable(f"this system has no {tool}, so that Postfix cannot be fetched")
    folder = cache_folder("debian")
    with _alone(folder):
        root = folder / "root"
        if not root.exists():
            # Only a complete tree gets the name that is looked for.
            fresh = folder / "unpacking"
            shutil.rmtree(fresh, ignore_errors=True)
            for archive in _fetch(folder):
                _run("dpkg", "--extract", str(archive), str(fresh))
            fresh.rename(root)
    return Unpacked(root)


def _fetch(folder: Path) -> list[Path]:
    """Download the packages with what they need and the system lacks, into a folder of ours."""
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
    _run("apt-get", *private, "update")
    plan = ["--yes", "--no-install-recommends", "--reinstall", "--download-only", "install", *PACKAGES]
    _run("apt-get", *private, *plan)
    found = sorted(archives.glob("*.deb"))
    if not any(archive.name.startswith("postfix_") for archive in found):
        raise NotAvailable("apt-get fetched no package postfix")
    return found


def _run(*command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise NotAvailable(f"{command[0]} could not fetch Postfix: {' '.join(reason)}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other test runs out while the cache is filled."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
