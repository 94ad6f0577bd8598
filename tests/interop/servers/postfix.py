"""A real Postfix: STARTTLS, Cyrus SASL with most of its mechanisms, and a mailbox for all that it takes."""

from __future__ import annotations

import email
import grp
import os
import pwd
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import ClassVar

from . import sessions
from .postfix_files import Unpacked, unpacked
from .real_server import Delivery, NotAvailable, RealServer, free_port

# Postfix wants three different accounts of its own. These are on every Debian, and nothing else runs under them.
_OWNER, _GROUP, _DELIVERY = "news", "uucp", "nobody"

_SERVICES = """\
127.0.0.1:{port} inet n - n - {most} smtpd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
error     unix  - - n - - error
retry     unix  - - n - - error
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""

_QUEUE_ID = re.compile(r"\sid (\w+)")


class Postfix(RealServer):
    """Postfix with AUTH required; whatever it takes is delivered to one mailbox.

    Its log does not tell the truth: another program writes it down, some time later, or never when that was just stopped.

    ``settings`` are lines of ``main.cf`` that come last, such as ``{"smtpd_client_connection_count_limit": "3"}``,
    ``environment`` is added to that of its programs, and ``mechanisms`` are what Cyrus SASL is to offer.
    """

    name: ClassVar[str] = "Postfix"
    most_recipients: ClassVar[int | None] = 100
    stores: ClassVar[str | None] = "queue"

    def __init__(
        self,
        authority: object,
        settings: dict[str, str] | None = None,
        *,
        environment: dict[str, str] | None = None,
        mechanisms: str = "PLAIN LOGIN CRAM-MD5 NTLM SCRAM-SHA-1 SCRAM-SHA-256",
    ) -> None:
        super().__init__(authority)
        self._settings = settings or {}
        self._environment = environment or {}
        self._mechanisms = mechanisms
        self._log = self.home / "mail.log"
        self._mailbox = self.home / "mail" / "all" / "new"
        self._read: dict[str, tuple[str, Delivery, str]] = {}

    def start(self) -> None:
        if os.geteuid() != 0:
            raise NotAvailable("Postfix starts its programs under several accounts, which takes root")
        for account in (_OWNER, _DELIVERY):
            if not _exists(pwd.getpwnam, account):
                raise NotAvailable(f"this system has no account {account} to lend to Postfix")
        if not _exists(grp.getgrnam, _GROUP):
            raise NotAvailable(f"this system has no group {_GROUP} to lend to Postfix")
        debian = unpacked()
        self.port = free_port()
        self._write_configuration(debian)
        self._write_password(debian)
        command = [debian.program("master"), "-d", "-c", self.home / "etc"]
        with (self.home / "master.out").open("wb") as output:
            self._spawn(command, env=debian.environment, stdout=output, stderr=output)
        self._wait_for_greeting()

    def deliveries(self) -> list[Delivery]:
        return [delivery for _, delivery, _ in self._delivered()]

    def senders(self) -> dict[str, str]:
        """The reverse-path of each message that was delivered, by its Message-ID."""
        return {delivery.message_id: sender for _, delivery, sender in self._delivered()}

    def _delivered(self) -> list[tuple[str, Delivery, str]]:
        """What is in the mailbox: the name in the queue, the delivery, and the reverse-path."""
        for file in os.scandir(self._mailbox) if self._mailbox.exists() else ():
            if file.name not in self._read:
                headers = email.message_from_bytes(Path(file).read_bytes())
                queue_id = _QUEUE_ID.search(headers["Received"])
                assert queue_id is not None
                delivery = Delivery(headers["Message-ID"], headers["Delivered-To"])
                self._read[file.name] = queue_id[1], delivery, headers["Return-Path"].strip("<>")
        # When it is stopped between a delivery and the note of it, it delivers that file of its queue again.
        return sorted(set(self._read.values()))

    def log(self) -> str:
        output = self.home / "master.out"
        said = output.read_text(errors="replace") if output.exists() else ""
        return "\n".join([said, *self._lines()[-40:]])

    def _end(self) -> None:
        """End its programs, too: a new Postfix leaves alone for minutes what an old one seems to be delivering."""
        if self._process is not None:
            self._process.terminate()
            deadline = time.monotonic() + 20
            while sessions.at_work(self._process.pid):
                if time.monotonic() > deadline:
                    # As its own command to stop it does: now and then its master does not heed a SIGTERM.
                    sessions.kill(self._process.pid)
                time.sleep(0.01)
        super()._end()

    def _lines(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines() if self._log.exists() else []

    def _write_configuration(self, debian: Unpacked) -> None:
        etc, data = (self.home / name for name in ("etc", "data"))
        mail = self.home / "mail"
        for folder in (etc, data, mail):
            folder.mkdir()
        queue = self._make_store()
        owner = pwd.getpwnam(_OWNER).pw_uid
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
                     "public", "saved", "trace", "maildrop", "pid"):  # fmt: skip
            (queue / name).mkdir()
            if name != "pid":
                os.chown(queue / name, owner, grp.getgrnam(_GROUP).gr_gid if name == "public" else -1)
            (queue / name).chmod(0o755 if name in ("pid", "public") else 0o700)
        os.chown(data, owner, -1)
        reader = pwd.getpwnam(_DELIVERY)
        os.chown(mail, reader.pw_uid, -1)
        certificate, key = self._authority.write_certificate(etc, "127.0.0.1", "localhost")
        settings = {
            "compatibility_level": "3.6",
            "myhostname": "postfix.example",
            "mydestination": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "config_directory": etc,
            "queue_directory": self.home / "queue",
            "data_directory": data,
            "daemon_directory": debian.root / "usr/lib/postfix/sbin",
            "command_directory": debian.root / "usr/sbin",
            "shlib_directory": debian.root / "usr/lib/postfix",
            "meta_directory": debian.root / "etc/postfix",
            "mail_owner": _OWNER,
            "setgid_group": _GROUP,
            "default_privs": _DELIVERY,
            # Postfix cleans the environment, and our libraries are in no place that it knows.
            "import_environment": " ".join(
                [
                    "MAIL_CONFIG MAIL_LOGTAG POSTLOG_SERVICE POSTLOG_HOSTNAME",
                    *(
                        f"{{ {name} = {value} }}"
                        for name, value in {**debian.environment, **self._environment}.items()
                    ),
                ]
            ),
            "maillog_file": self._log,
            "maillog_file_prefixes": self.home,
            # Short ones are used again, and the log is read by them.
            "enable_long_queue_ids": "yes",
            "alias_maps": "",
            "alias_database": "",
            "default_transport": "virtual",
            "relay_transport": "virtual",
            "virtual_mailbox_base": mail,
            "virtual_mailbox_maps": "static:all/",
            "virtual_uid_maps": f"static:{reader.pw_uid}",
            "virtual_gid_maps": f"static:{reader.pw_gid}",
            "smtpd_tls_security_level": "may",
            "smtpd_tls_cert_file": certificate,
            "smtpd_tls_key_file": key,
            "smtpd_tls_auth_only": "yes",
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_security_options": "noanonymous",
            "smtpd_sasl_local_domain": "postfix.example",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
            "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
            "smtpd_peername_lookup": "no",
            "smtpd_client_connection_count_limit": "0",
            "smtpd_recipient_limit": "100",
            # Who is refused often is cut off, and need not wait for it.
            "smtpd_error_sleep_time": "0",
            # No mail of its own, to tell that its disk is full.
            "notify_classes": "",
            "header_checks": f"regexp:{etc / 'checks'}",
            **self._settings,
        }
        (etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        (etc / "checks").write_text("/^Subject: virus/ REJECT refused for its content\n")
        (etc / "master.cf").write_text(_SERVICES.format(port=self.port, most=60))
        for file in ("main.cf", "master.cf"):
            # A file that has just changed is read again and again, lest it change some more: two seconds are lost.
            os.utime(etc / file, (time.time() - 60,) * 2)
        (debian.root / "etc/postfix/dynamicmaps.cf").touch()

    def _write_password(self, debian: Unpacked) -> None:
        etc = self.home / "etc"
        database = etc / "sasldb"
        # Where Debian's build looks for it, whatever main.cf says.
        (etc / "sasl").mkdir()
        (etc / "sasl" / "smtpd.conf").write_text(
            f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\n"
            f"mech_list: {self._mechanisms}\n"
        )
        self.add_user(self.username, self.password)
        shutil.chown(database, _OWNER)

    def add_user(self, user: str, password: str) -> None:
        """One more who may log in."""
        debian = unpacked()
        subprocess.run(
            [
                debian.program("saslpasswd2"),
                "-p",
                "-c",
                "-f",
                self.home / "etc" / "sasldb",
                "-u",
                "postfix.example",
                user,
            ],
            input=password.encode(),
            env=debian.environment,
            capture_output=True,
            check=True,
        )


def _exists(look_up: object, name: str) -> bool:
    try:
        look_up(name)
    except KeyError:
        return False
    return True
