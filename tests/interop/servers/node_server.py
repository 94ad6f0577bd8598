"""npm's ``smtp-server``, by the authors of Nodemailer."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar, Literal

from .real_server import NotAvailable, cache_folder, once
from .reporting import ReportingServer

_VERSION = "^3.13"


class NodeSmtpServer(ReportingServer):
    """``tls`` may be ``"starttls"`` or ``"implicit"``."""

    name: ClassVar[str] = "smtp-server"

    def __init__(self, authority: Any, tls: Literal["starttls", "implicit"] = "starttls") -> None:
        super().__init__(authority)
        self.tls = tls

    def start(self) -> None:
        node = shutil.which("node")
        if node is None:
            raise NotAvailable("node is not installed, so that smtp-server cannot run")
        modules = _installed()
        script = Path(__file__).with_name("node_program.cjs")
        settings = {**self._settings(), "module": str(modules / "smtp-server")}
        self._run([node, script, json.dumps(settings)])


@once
def _installed() -> Path:
    """The folder of modules, filled if it is not in the cache."""
    folder = cache_folder("node")
    modules = folder / "node_modules"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (modules / "smtp-server" / "package.json").exists():
            npm = shutil.which("npm")
            if npm is None:
                raise NotAvailable("npm is not installed, so that smtp-server cannot be fetched")
            command = [
                npm,
                "install",
                "--no-audit",
                "--no-fund",
                "--no-save",
                "--ignore-scripts",
                "--prefix",
                folder,
            ]
            done = subprocess.run(
                [*command, f"smtp-server@{_VERSION}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            if done.returncode:
                reason = done.stderr.strip().splitlines()[:1]
                raise NotAvailable(f"npm could not fetch smtp-server: {' '.join(reason)}")
    return modules
