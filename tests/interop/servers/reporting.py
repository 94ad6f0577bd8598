"""Servers that tell on their standard output, one JSON object a line, on which port they are and what they took."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from .real_server import Delivery, RealServer


class ReportingServer(RealServer):
    """The first line is ``{"port": …}``, each later one ``{"message_id": …, "recipients": […]}``."""

    def __init__(self, authority: Any) -> None:
        super().__init__(authority)
        self._deliveries: list[Delivery] = []
        self._errors = self.home / "stderr"
        self._reader: threading.Thread | None = None

    def deliveries(self) -> list[Delivery]:
        return list(self._deliveries)

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
        if self._reader is not None:
            # What it said before its end counts.
            self._reader.join(200)
            self._reader = None
        super()._end()

    def log(self) -> str:
        return self._errors.read_text(errors="replace")[-4000:] if self._errors.exists() else ""

    def restart(self) -> None:
        self._end()
        self.start()

    def _run(self, command: Sequence[str | os.PathLike[str]]) -> None:
        """Start the program and learn its port."""
        with self._errors.open("ab") as errors:
            self._spawn(command, stdout=subprocess.PIPE, stderr=errors)
        ports: queue.Queue[int] = queue.Queue()
        self._reader = threading.Thread(
            target=self._read, args=(ports,), name=f"reports of {self.name}", daemon=True
        )
        self._reader.start()
        try:
            self.port = ports.get(timeout=200)
        except queue.Empty:
            raise RuntimeError(f"{self.name} did not start\n{self.log()}") from None
        self._wait_for_greeting()

    def _read(self, ports: queue.Queue[int]) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            report = json.loads(line)
            if "port" in report:
                ports.put(report["port"])
            else:
                self._deliveries += [
                    Delivery(report["message_id"], recipient) for recipient in report["recipients"]
                ]

    def _settings(self) -> dict[str, Any]:
        """What the program is told, as one JSON argument."""
        certificate, key = self._authority.write_certificate(self.home, "127.0.0.1", "localhost")
        return {
            "host": self.host,
            # Any, and after a restart the same.
            "port": self.port,
            "tls": self.tls or "",
            "certificate": str(certificate),
            "key": str(key),
            "username": self.username,
            "password": self.password,
        }
