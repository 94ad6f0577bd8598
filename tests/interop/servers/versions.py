"""Which version of each server is in the cache."""

from __future__ import annotations

import importlib.metadata
import json
from urllib.parse import unquote

from .real_server import cache_folder

# The folder in the cache and the package, by the server's name.
_DEBIAN = {
    "Postfix": ("debian", "postfix"),
    "smtp-sink": ("debian", "postfix"),
    "Exim": ("exim", "exim4-daemon-light"),
    "OpenSMTPD": ("opensmtpd", "opensmtpd"),
    "Sendmail": ("sendmail", "sendmail-bin"),
}
_NPM = {
    "smtp-server": ("node", "smtp-server"),
    "Haraka": ("haraka", "Haraka"),
    "maildev": ("maildev", "maildev"),
}


def version_of(name: str) -> str:
    """The version of a server that has been started."""
    if name in _DEBIAN:
        folder, package = _DEBIAN[name]
        archive = next(cache_folder(folder).rglob(f"{package}_*.deb"))
        return unquote(archive.name.split("_")[1])
    if name in _NPM:
        folder, package = _NPM[name]
        described = (cache_folder(folder) / "node_modules" / package / "package.json").read_text()
        return str(json.loads(described)["version"])
    return importlib.metadata.version(name)
