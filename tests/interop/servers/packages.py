"""Single packages of Debian, unpacked into a cache folder of their own. Nothing in the system changes."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .real_server import NotAvailable, cache_folder


def unpack(name: str, packages: Sequence[str]) -> Path:
    """The folder with the files of ``packages``, without what they depend on; fetched if it is not in the cache.

    :param name: of the cache folder
    :raises NotAvailable: they cannot be had here
    """
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise NotAvailable(f"this system has no {tool}, so that {packages[0]} cannot be fetched")
    folder = cache_folder(name)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other test runs stay out while the cache is filled
        root = folder / "root"
        if not root.exists():
            # Only a complete tree gets the name that is looked for.
            fresh = folder / "unpacking"
            shutil.rmtree(fresh, ignore_errors=True)
            for archive in _fetch(folder, packages):
                run(folder, "dpkg", "--extract", str(archive), str(fresh))
            fresh.rename(root)
    return root


def _fetch(folder: Path, packages: Sequence[str]) -> list[Path]:
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    # No lock, list or cache of the system is touched.
    private = [
        option
        for setting in ("Debug::NoLocking=1", f"Dir::State::lists={folder / 'lists'}", f"Dir::Cache={folder}",
                        "APT::Sandbox::User=", "Acquire::Retries=2")
        for option in ("-o", setting)
    ]  # fmt: skip
    run(folder, "apt-get", *private, "update")
    run(folder, "apt-get", *private, "download", *packages)
    found = sorted(folder.glob("*.deb"))
    if len(found) < len(packages):
        raise NotAvailable(
            f"apt-get fetched no more than {[archive.name for archive in found]} of {tuple(packages)}"
        )
    return found


def run(folder: Path, *command: str, environment: dict[str, str] | None = None) -> None:
    """Run a program to its end. ``NotAvailable`` with its last words if it fails."""
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
        raise NotAvailable(f"{command[0]} failed: {' '.join(reason)}")
