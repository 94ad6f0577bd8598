"""The servers that the clients send to, and the line that makes the way to them long."""

from __future__ import annotations

import contextlib
import os
import pwd
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.interop.servers.real_server import RealServer

from .job import Job
from .places import NotAvailable, built, cores, unpacked
from .processes import BenchmarkError, Server, cpu_of


class Sink:
    """The sink of this project: PIPELINING, CHUNKING, TLS; it counts."""

    label = "own sink"

    def __init__(self, job: Job, *, chunking: bool = True) -> None:
        arguments: list[str | Path] = [] if chunking else ["--no-chunking"]
        if job.tls:
            arguments += ["--tls", f"{job.folder}/certificate.pem", f"{job.folder}/key.pem"]
        try:
            command: list[str | Path] = [built("sink")]
        except NotAvailable:
            # Slower; whether it is the limit is seen from its CPU, as always.
            command = [sys.executable, "-m", "benchmarks.sink.python_sink"]
        self._server = Server(command + arguments, cores()[0])
        self.port = self._server.port

    def cpu(self) -> float:
        return self._server.cpu()

    def check(self, accepted: int, refused: int) -> None:
        """Stop it and compare its count with the client's."""
        counted = self._server.stop()
        if (counted.get("messages"), counted.get("refused")) != (accepted, refused):
            raise BenchmarkError(
                f"the client counts {accepted} accepted and {refused} refused, the server {counted}"
            )

    def stop(self) -> None:
        self._server.stop()


class SmtpSink:
    """Postfix's ``smtp-sink``, which has PIPELINING and no CHUNKING.

    Counting aloud slows it, but it can end after a number of messages: with one more than were sent it must still be
    there after the last, and gone after one more.
    """

    label = "smtp-sink"

    def __init__(self, job: Job) -> None:
        debian = unpacked()
        self.port = _free_port()
        program = debian.program("smtp-sink")
        command: list[str | Path] = [program, "-M", str(job.total + 1)]
        if os.geteuid() == 0:
            command += ["-u", pwd.getpwnam("nobody").pw_name]
        self._process = subprocess.Popen(
            [*command, f"127.0.0.1:{self.port}", "500"],
            env=debian.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, cores()[0]),
        )
        until = time.monotonic() + 5
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                if probe.recv(100).startswith(b"220"):
                    probe.sendall(b"QUIT\r\n")
                    return
            time.sleep(0.01)
        self.stop()
        raise BenchmarkError("smtp-sink did not start")

    def cpu(self) -> float:
        return cpu_of(self._process.pid)

    def check(self, accepted: int, refused: int) -> None:
        if self._process.poll() is not None:
            raise BenchmarkError("smtp-sink got more messages than were sent")
        # It goes without a word, sometimes before it has answered.
        with contextlib.suppress(smtplib.SMTPServerDisconnected, ConnectionError):
            one_more = smtplib.SMTP("127.0.0.1", self.port, timeout=5)
            one_more.sendmail("a@example.org", ["b@example.org"], b"Subject: one more\r\n\r\n")
            one_more.quit()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"smtp-sink got fewer messages than the {accepted} of the client") from None

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Real:
    """A server that people run: it writes each message to its disk, and is the limit itself. It counts deliveries."""

    def __init__(self, job: Job, kind: str) -> None:
        from tests.interop.servers.exim import Exim
        from tests.interop.servers.postfix import Postfix

        from mailpool.testing import Authority

        if kind == "postfix":
            restrictions = ("smtpd_relay_restrictions", "smtpd_recipient_restrictions")
            settings = dict.fromkeys(restrictions, "permit_mynetworks, reject")
            for name in ("smtpd_tls_security_level", "smtpd_tls_auth_only", "smtpd_sasl_auth_enable"):
                settings[name] = "none" if name.endswith("level") else "no"
            self._server: RealServer = Postfix(Authority(), {**settings, "mynetworks": "127.0.0.0/8"})
        else:
            self._server = Exim(Authority(), open_to_all=True)
        self.label = self._server.name
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores()[0])  # its processes inherit it
        try:
            self._server.__enter__()
        finally:
            os.sched_setaffinity(0, before)
        self.port = self._server.port

    def cpu(self) -> float:
        """Of its many processes; most of the work is done by those."""
        return 0.0

    def check(self, accepted: int, refused: int) -> None:
        counted = len(self._server.wait_for_deliveries(accepted, 60))
        if counted != accepted:
            raise BenchmarkError(f"the client counts {accepted} accepted, {self.label} {counted}")

    def stop(self) -> None:
        self._server.__exit__()


AnyServer = Sink | SmtpSink | Real


@contextlib.contextmanager
def serving(kind: str, job: Job, round_trip: float) -> Iterator[tuple[AnyServer, int]]:
    """A fresh server, and the port at which it is as far away as ``round_trip``, in milliseconds."""
    server: AnyServer
    if kind == "smtp-sink":
        server = SmtpSink(job)
    elif kind in ("postfix", "exim"):
        server = Real(job, kind)
    else:
        server = Sink(job, chunking=kind == "sink")
    proxy: Any = None
    try:
        if round_trip:
            delay = round_trip / 2
            try:
                command: list[str | Path] = [built("proxy")]
            except NotAvailable:
                command = [sys.executable, "-m", "benchmarks.sink.python_proxy"]
            proxy = Server([*command, str(server.port), str(delay)], cores()[0])
        yield server, proxy.port if proxy else server.port
    finally:
        server.stop()
        if proxy:
            proxy.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_certificate(folder: Path) -> None:
    """A certificate for 127.0.0.1 and its authority, for the time of this run."""
    from mailpool.testing import Authority

    authority = Authority()
    authority.write_ca(folder / "ca.pem")
    authority.write_certificate(folder, "127.0.0.1", "localhost")
