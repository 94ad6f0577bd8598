"""Debian's packages, unpacked into the cache folder. Nothing in the system changes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
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
    """Postfix with all it needs, fetched if it is not in the cache. ``NotAvailable`` where that is not possible."""
    return Unpacked(_tree("debian", PACKAGES, _download_with_needs))


def downloaded(name: str, packages: Sequence[str]) -> Path:
    """The files of just these packages, below a folder of that name in the cache; ``NotAvailable`` where it fails."""
    return _tree(name, packages, _download)


def _tree(name: str, packages: Sequence[str], fetch: Callable[[Path, Sequence[str]], list[Path]]) -> Path:
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise NotAvailable(f"this system has no {tool}, so that {packages[0]} cannot be fetched")
    folder = cache_folder(name)
    with _alone(folder):
        root = folder / "root"
        if not root.exists():
            # Only a complete tree gets the name that is looked for.
            fresh = folder / "unpacking"
            shutil.rmtree(fresh, ignore_errors=True)
            for archive in fetch(folder, packages):
                _run(folder, "dpkg", "--extract", str(archive), str(fresh))
            fresh.rename(root)
    return root


def _download(folder: Path, packages: Sequence[str]) -> list[Path]:
    _apt(folder, "download", *packages)
    found = sorted(folder.glob("*.deb"))
    if len(found) < len(packages):
        raise NotAvailable(
            f"apt-get fetched no more than {[archive.name for archive in found]} of {packages}"
        )
    return found


def _download_with_needs(folder: Path, packages: Sequence[str]) -> list[Path]:
    """Also what the packages need and the system lacks."""
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
    _run(folder, "apt-get", *private, "update")
    _run(folder, "apt-get", *private, *command)


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise NotAvailable(f"{command[0]} could not fill {folder}: {' '.join(reason)}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other test runs out while the cache is filled."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
