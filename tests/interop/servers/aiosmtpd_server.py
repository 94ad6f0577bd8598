"""aiosmtpd, the server of the Python world, in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

from .real_server import NotAvailable
from .reporting import ReportingServer


class Aiosmtpd(ReportingServer):
    """``tls`` may be ``"starttls"`` or ``"implicit"``. PIPELINING is announced by a hook: aiosmtpd itself does not."""

    name: ClassVar[str] = "aiosmtpd"

    def __init__(self, authority: Any, tls: Literal["starttls", "implicit"] = "implicit") -> None:
        super().__init__(authority)
        self.tls = tls

    def start(self) -> None:
        if importlib.util.find_spec("aiosmtpd") is None:
            raise NotAvailable("the package aiosmtpd is not installed")
        script = Path(__file__).with_name("aiosmtpd_program.py")
        self._run([sys.executable, script, json.dumps(self._settings())])
