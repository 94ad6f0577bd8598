"""npm's ``smtp-server``, by the authors of Nodemailer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar, Literal

from .npm import installed
from .real_server import NotAvailable, once
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
        modules = _modules()
        script = Path(__file__).with_name("node_program.cjs")
        settings = {**self._settings(), "module": str(modules / "smtp-server")}
        self._run([node, script, json.dumps(settings)])


@once
def _modules() -> Path:
    return installed("node", "smtp-server", _VERSION)
