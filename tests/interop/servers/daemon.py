"""A program of a test: in a session of its own with what it starts, and with a home of its own. At the end both are gone."""

from __future__ import annotations

import abc
import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from . import sessions


class Daemon(abc.ABC):
    """Is started by ``with``. ``home`` is a folder that everybody can read, for some give up their privileges."""

    def __init__(self, name: str) -> None:
        self._home = tempfile.TemporaryDirectory(prefix=f"mailpool-{name}-")
        self.home = Path(self._home.name)
        self.home.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None

    @abc.abstractmethod
    def start(self) -> None:
        """Start it and wait until it answers. ``NotAvailable`` if it cannot be had."""

    def stop(self) -> None:
        """End it and all that it started. What it wrote stays until the end of ``with``."""
        if self._process is not None:
            sessions.kill(self._process.pid)
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """What it wrote about itself."""
        paths = (self.home / "output", self.home / "log")
        return "\n".join(path.read_text(errors="replace") for path in paths if path.exists())

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._home.cleanup()

    def _run(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        answers_at: tuple[str, int] | Path,
    ) -> None:
        """Start a program, and wait until it listens on a port or a Unix socket."""
        with (self.home / "output").open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env={"PATH": os.defpath, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        family, address = socket.AF_INET, answers_at
        if isinstance(answers_at, Path):
            family, address = socket.AF_UNIX, str(answers_at)
        deadline = time.monotonic() + 200
        while True:
            with socket.socket(family) as connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                connection.connect(address)
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"{type(self).__name__} did not start\n{self.log()}")
            time.sleep(0.05)
