"""A real OpenSMTPD, Debian's: DSN and SIZE, and neither PIPELINING nor CHUNKING, TLS nor AUTH.

Version 6.8 ends each TLS handshake with an internal error where OpenSSL is 3 (OpenSMTPD's issue 1171), as in Debian 12, and
it has no AUTH without TLS.

It keeps its queue, socket and empty folder at fixed places of the system and has no way to move them. So it runs in a
mount namespace of its own, where these are empty file systems in memory and two accounts have the names it wants.
"""

from __future__ import annotations

import email
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from .packages import unpack
from .real_server import Delivery, NotAvailable, RealServer, free_port, once

# The accounts it asks for by name, and those whose numbers they get here: Debian has these, and nothing runs under them.
_LENT = {"opensmtpd": "news", "opensmtpq": "uucp"}

_CONFIGURATION = """\
smtp max-message-size 20M
smtp limit max-mails {most_messages}
smtp limit max-rcpt {most_recipients}
# Decided when the whole message is there.
filter content phase commit match mail-from regex {{ "^virus@" }} reject "554 5.7.1 refused for its content"
listen on 127.0.0.1 port {port} hostname opensmtpd.example filter content
action "on" relay
match from any for rcpt-to regex {{ "^refused" }} reject
match from any for any action "on"
"""

# Each line fails the whole; what it ends with becomes the server. The queue is in the home, so that it outlives a restart.
_NAMESPACE = """\
set -e
mount --bind "$0/passwd" /etc/passwd
mount --bind "$0/group" /etc/group
mount -t tmpfs -o mode=755 none /var/spool
mount -t tmpfs -o mode=755 none /var/lib
mount -t tmpfs -o mode=755 none /run
mkdir -m 755 /var/lib/opensmtpd /var/lib/opensmtpd/empty
mkdir /var/spool/smtpd
mount --bind "$0/queue" /var/spool/smtpd
exec "$1" -d -P mta -f "$0/smtpd.conf"
"""

_RECIPIENT = re.compile(r"^rcpt: (.*)$", re.M)


class OpenSmtpd(RealServer):
    """OpenSMTPD, open to all. Nothing leaves its queue, in which the messages are counted.

    ``refused…@`` anywhere is refused as a recipient, and what comes from ``virus@`` for its content, after DATA.
    ``most_messages`` are taken on a connection.
    """

    name: ClassVar[str] = "OpenSMTPD"
    most_recipients: ClassVar[int | None] = 100
    tls = None
    requires_auth: ClassVar[bool] = False
    pipelining: ClassVar[bool] = False
    refused_content: ClassVar[Mapping[str, str] | None] = {"from": "virus@example.org"}
    stores: ClassVar[str | None] = "queue"
    small_disk = True  # thousands of files are gone with it at once, and in a namespace it is anyway
    # It says 250 to a message of which nothing but the envelope has found room, and delivers an empty one.
    sees_what_finds_no_room: ClassVar[bool] = False

    def __init__(self, authority: Any, *, most_messages: int = 100) -> None:
        super().__init__(authority)
        self._most_messages = most_messages

    def start(self) -> None:
        if os.geteuid() != 0:
            raise NotAvailable("OpenSMTPD changes to accounts of its own, which takes root")
        root = _unpacked()
        _namespace()
        self.port = free_port()
        (self.home / "smtpd.conf").write_text(
            _CONFIGURATION.format(
                port=self.port,
                most_messages=self._most_messages,
                most_recipients=self.most_recipients,
            )
        )
        self._write_accounts()
        self._make_store().chmod(0o711)
        with (self.home / "output").open("wb") as output:
            command = [
                "unshare",
                "--mount",
                "sh",
                "-c",
                _NAMESPACE,
                self.home,
                root / "usr" / "sbin" / "smtpd",
            ]
            self._spawn(command, stdout=output, stderr=output)
        self._wait_for_greeting()

    def deliveries(self) -> list[Delivery]:
        found: list[Delivery] = []
        for message in (self._store / "queue").glob("*/*/message"):
            headers = email.message_from_bytes(message.read_bytes())
            message_id = (headers["Message-ID"] or "").strip()
            found += [
                Delivery(message_id, line[1])
                for envelope in message.parent.iterdir()
                if envelope.name != "message" and (line := _RECIPIENT.search(envelope.read_text()))
            ]
        return found

    def log(self) -> str:
        output = self.home / "output"
        return output.read_text(errors="replace")[-4000:] if output.exists() else ""

    def _write_accounts(self) -> None:
        users, groups = ["root:x:0:0::/root:/bin/sh"], ["root:x:0:"]
        for name, lent in _LENT.items():
            try:
                account = pwd.getpwnam(lent)
            except KeyError:
                raise NotAvailable(f"this system has no account {lent} to lend to OpenSMTPD") from None
            numbers = f"{account.pw_uid}:{account.pw_gid}"
            users.append(f"{name}:x:{numbers}::/var/lib/opensmtpd/empty:/usr/sbin/nologin")
            groups.append(f"{name}:x:{account.pw_gid}:")
        (self.home / "passwd").write_text("\n".join([*users, ""]))
        (self.home / "group").write_text("\n".join([*groups, ""]))


@once
def _namespace() -> None:
    if shutil.which("unshare") is None:
        raise NotAvailable("this system has no unshare, which OpenSMTPD needs here")
    attempt = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/var/lib"]
    done = subprocess.run(attempt, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotAvailable(
            f"no mount namespace is allowed here, which OpenSMTPD needs: {done.stderr.strip()}"
        )


@once
def _unpacked() -> Path:
    return unpack("opensmtpd", ("opensmtpd",))
