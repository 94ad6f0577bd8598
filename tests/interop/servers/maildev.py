"""npm's ``maildev``: a server for developers, which takes everything and shows it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from .npm import installed
from .real_server import NotAvailable, free_port, once
from .reporting import ReportingServer

_VERSION = "^2.2"


class Maildev(ReportingServer):
    """maildev: TLS from the first octet and AUTH, which it requires. It has no limit, and refuses nothing."""

    name: ClassVar[str] = "maildev"
    tls = "implicit"
    refused_content: ClassVar[Mapping[str, str] | None] = None

    def start(self) -> None:
        node = shutil.which("node")
        if node is None:
            raise NotAvailable("node is not installed, so that maildev cannot run")
        module = _modules() / "maildev"
        self.port = self.port or free_port()
        folder = self.home / "messages"
        folder.mkdir(exist_ok=True)
        script = Path(__file__).with_name("maildev_program.cjs")
        settings = {**self._settings(), "module": str(module), "folder": str(folder), "port": self.port}
        self._run([node, script, json.dumps(settings)])

    def _wait_for_greeting(self, timeout: float = 20.0) -> None:
        """It listens when it says so, and a connection that ends before TLS has begun would end it."""


@once
def _modules() -> Path:
    return installed("maildev", "maildev", _VERSION)
