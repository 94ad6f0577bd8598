"""The files of Debian's Postfix and of what it needs, and how its programs find their libraries."""

from __future__ import annotations

import os
from pathlib import Path

from .packages import unpack
from .real_server import NotAvailable, once

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
    return Unpacked(unpack("debian", PACKAGES, with_needs=True))
