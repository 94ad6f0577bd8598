"""Postfix's ``smtp-sink``: the fastest server there is, without TLS, and with AUTH that believes everybody."""

from __future__ import annotations

import email
import os
import pwd
from collections.abc import Mapping
from typing import Any, ClassVar

from .postfix_files import unpacked
from .real_server import Delivery, NotAvailable, RealServer, free_port


class SmtpSink(RealServer):
    """Writes each message to a file, or nothing with ``keep=False``, which is how it is fast.

    ``arguments`` are further ones of the program, such as ``("-p",)`` for no PIPELINING.
    """

    name: ClassVar[str] = "smtp-sink"
    tls = None
    requires_auth: ClassVar[bool] = False
    refused_content: ClassVar[Mapping[str, str] | None] = None

    def __init__(self, authority: Any, arguments: tuple[str, ...] = (), *, keep: bool = True) -> None:
        super().__init__(authority)
        self._arguments = arguments
        self._keep = keep
        self._messages = self.home / "messages"

    def start(self) -> None:
        debian = unpacked()
        self.port = free_port()
        self._messages.mkdir()
        options: list[str] = []
        if os.geteuid() == 0:
            # It refuses to run as root.
            try:
                account = pwd.getpwnam("nobody")
            except KeyError:
                raise NotAvailable("this system has no account nobody to lend to smtp-sink") from None
            os.chown(self._messages, account.pw_uid, account.pw_gid)
            options = ["-u", "nobody"]
        if self._keep:
            options += ["-d", f"{self._messages}/%M."]
        with (self.home / "output").open("wb") as output:
            command = [
                debian.program("smtp-sink"),
                *options,
                *self._arguments,
                f"{self.host}:{self.port}",
                "100",
            ]
            self._spawn(command, env=debian.environment, stdout=output, stderr=output)
        self._wait_for_greeting()

    def restart(self) -> None:
        # It counts its files from the start again, and stumbles over those that are there.
        command, options = self._spawned
        self._spawned = [str(part).replace("/%M.", "/again.%M.") for part in command], options
        super().restart()

    def deliveries(self) -> list[Delivery]:
        found: list[Delivery] = []
        for file in sorted(self._messages.iterdir()):
            headers = email.message_from_bytes(file.read_bytes())
            # A file that is still being written has no Message-ID yet, or not all of its recipients.
            recipients = [value.strip().strip("<>") for value in headers.get_all("X-Rcpt-Args", [])]
            message_id = (headers["Message-ID"] or "").strip()
            found += [Delivery(message_id, recipient) for recipient in recipients if message_id]
        return found

    def log(self) -> str:
        output = self.home / "output"
        return output.read_text(errors="replace")[-4000:] if output.exists() else ""
