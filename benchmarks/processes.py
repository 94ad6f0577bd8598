"""Child processes: pinned to cores, watched, and ended whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .job import peak_kib

_LOOK = 0.01  # seconds between two looks at a client; it sleeps meanwhile


class BenchmarkError(Exception):
    """A run that gives no figure; the text says why."""


class Server:
    """A child that says its port in its first line, serves until its standard input ends, and then says what it counted."""

    def __init__(self, command: list[str | Path], cores: set[int]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(5)
            raise BenchmarkError(f"{command[0]} did not start")
        self.port: int = json.loads(line)["port"]

    def stop(self) -> dict[str, Any]:
        """End it; returns what it counted."""
        if self.process.returncode is not None:
            return {}
        try:
            output, _ = self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, _ = self.process.communicate()
        lines = output.decode().splitlines()
        return json.loads(lines[-1]) if lines else {}

    def cpu(self) -> float:
        return cpu_of(self.process.pid)


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a living process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Client:
    """A child that does a job and ends; its last line of output is a report as JSON."""

    def __init__(self, command: list[str | Path], environment: Mapping[str, str], cores: set[int]) -> None:
        self._name = " ".join(map(str, command[:3]))
        # Read when the client has ended, so no block holds them.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self.peak_kib = 0
        self.seconds = 0.0
        self.cpu = 0.0
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            env={**os.environ, **environment},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )

    @property
    def running(self) -> bool:
        """Whether it still works; also notes its memory, and its CPU and time at the end."""
        if self._process.returncode is not None:
            return False
        pid = self._process.pid
        self.peak_kib = max(self.peak_kib, peak_kib(pid))
        ended, status, used = os.wait4(pid, os.WNOHANG)
        if ended == 0:
            return True
        self.seconds = time.perf_counter() - self._started
        self.cpu = used.ru_utime + used.ru_stime
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return False

    def kill(self) -> None:
        if self.running:
            self._process.kill()
            self._process.wait()

    def report(self) -> dict[str, Any]:
        """What it printed last; nothing when it printed nothing, as programs of others do."""
        if self._process.returncode:
            raise BenchmarkError(f"{self._name} ended with {self._process.returncode}: {self._text()}")
        self._output.seek(0)
        lines = [line for line in self._output.read().decode().splitlines() if line.startswith("{")]
        return json.loads(lines[-1]) if lines else {}

    def _text(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-800:]


def wait(clients: Iterable[Client], seconds: float) -> None:
    """Until all have ended. Those that need longer are killed, and that is an error."""
    clients = list(clients)
    until = time.monotonic() + seconds
    try:
        while sum(client.running for client in clients):
            # Each is looked at each time: a sum, and not any(), which stops at the first.
            if time.monotonic() > until:
                raise BenchmarkError(f"a client did not end within {seconds:g} s")
            time.sleep(_LOOK)
    finally:
        for client in clients:
            client.kill()
