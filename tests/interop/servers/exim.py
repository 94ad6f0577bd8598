"""A real Exim, Debian's light build: STARTTLS, AUTH, PIPELINING, CHUNKING, and a log that tells each delivery."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path
from typing import ClassVar

from .packages import unpack
from .real_server import Delivery, NotAvailable, RealServer, free_port, once

PACKAGES = ("exim4-daemon-light", "libidn12", "libnss-wrapper")

# The account that the program asks for by name, and whose number it gets here: Debian has it, and nothing runs under it.
_NAME, _LENT = "Debian-exim", "news"

_CONFIGURATION = """\
primary_hostname = exim.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
exim_path = {program}
spool_directory = {home}/spool
log_file_path = {home}/log/%slog
keep_environment = LD_PRELOAD : LD_LIBRARY_PATH : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
log_selector = +received_recipients +smtp_protocol_error +smtp_syntax_error
tls_certificate = {certificate}
tls_privatekey = {key}
tls_advertise_hosts = {tls_for}
# Whoever shows a certificate of the authority may log in by it.
tls_try_verify_hosts = *
tls_verify_certificates = {authority}
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
pipelining_advertise_hosts = *
chunking_advertise_hosts = *
message_size_limit = 20M
recipients_max = 100
smtp_accept_max = 100
# Each message is delivered at once, however many there are on a connection.
smtp_accept_queue_per_connection = 0
deliver_drop_privilege = true
host_lookup =
{settings}
acl_smtp_rcpt = check_recipient
acl_smtp_data = check_content

begin acl
check_recipient:
  deny    {strangers}
          message = log in first
  deny    local_parts = ^refused
          message = no such user
  accept

check_content:
  deny    condition = ${{if eq{{$h_subject:}}{{virus}}}}
          message = refused for its content
  accept

begin routers
nowhere:
  driver = redirect
  data = :blackhole:

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and{{ {{eq{{$auth2}}{{{username}}}}} {{eq{{$auth3}}{{{password}}}}} }}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{ {{eq{{$auth1}}{{{username}}}}} {{eq{{$auth2}}{{{password}}}}} }}}}
  server_set_id = $auth1
cram_md5:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{if eq{{$auth1}}{{{username}}}{{{password}}}fail}}
  server_set_id = $auth1
external:
  driver = external
  public_name = EXTERNAL
  server_advertise_condition = $tls_in_certificate_verified
  server_param2 = ${{certextract{{subject,CN}}{{$tls_in_peercert}}}}
  server_condition = ${{if eq{{$auth2}}{{$auth1}}}}
  server_set_id = $auth2
"""

_RECEIVED = re.compile(r"^\S+ \S+ (\S+) <= (\S+) .* id=(\S+)")
_DELIVERED = re.compile(r"^\S+ \S+ (\S+) [=-]> :blackhole: <([^>]*)>")


class Exim(RealServer):
    """Exim with AUTH required; ``refused…@`` anywhere is refused, all else is delivered to nowhere.

    ``settings`` are lines of the main part of its configuration; with ``open_to_all`` nobody needs to log in, and TLS is
    not offered.
    """

    name: ClassVar[str] = "Exim"
    most_recipients: ClassVar[int | None] = 100
    stores: ClassVar[str | None] = "spool"

    def __init__(
        self, authority: object, settings: tuple[str, ...] = (), *, open_to_all: bool = False
    ) -> None:
        super().__init__(authority)
        self._settings = settings
        self._open_to_all = open_to_all
        self._log = self.home / "log" / "mainlog"

    def start(self) -> None:
        if os.geteuid() != 0:
            raise NotAvailable("Exim changes to an account of its own, which takes root")
        try:
            account = pwd.getpwnam(_LENT)
        except KeyError:
            raise NotAvailable(f"this system has no account {_LENT} to lend to Exim") from None
        root = _unpacked()
        program = root / "usr" / "sbin" / "exim4"
        self.port = free_port()
        (self.home / "log").mkdir()
        for folder in (self._make_store(), self.home / "log"):
            os.chown(folder, account.pw_uid, account.pw_gid)
        certificate, key = self._authority.write_certificate(self.home, "127.0.0.1", "localhost")
        os.chown(key, account.pw_uid, account.pw_gid)
        configuration = self.home / "exim.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                port=self.port,
                program=program,
                home=self.home,
                certificate=certificate,
                key=key,
                authority=self.ca_file,
                username=self.username,
                password=self.password,
                settings="\n".join(self._settings),
                strangers="!hosts = 127.0.0.1" if self._open_to_all else "!authenticated = *",
                tls_for="" if self._open_to_all else "*",
            )
        )
        # It wants the account by its name, and no name is added to the system: a library says that there is one.
        (self.home / "passwd").write_text(
            "".join(
                f"{name}:x:{uid}:{gid}::{self.home}:/usr/sbin/nologin\n"
                for name, uid, gid in (
                    ("root", 0, 0),
                    (_NAME, account.pw_uid, account.pw_gid),
                    ("mail", 8, 8),
                )
            )
        )
        (self.home / "group").write_text(f"root:x:0:\n{_NAME}:x:{account.pw_gid}:\nmail:x:8:\n")
        libraries = next(root.glob("usr/lib/*/libnss_wrapper.so"))
        environment = {
            "PATH": os.defpath,
            "LD_LIBRARY_PATH": str(libraries.parent),
            "LD_PRELOAD": str(libraries),
            "NSS_WRAPPER_PASSWD": str(self.home / "passwd"),
            "NSS_WRAPPER_GROUP": str(self.home / "group"),
        }
        with (self.home / "output").open("wb") as output:
            command = [
                program,
                "-C",
                configuration,
                "-bdf",
                "-q2s",
                "-oX",
                str(self.port),
                "-oP",
                self.home / "pid",
            ]
            self._spawn(command, env=environment, stdout=output, stderr=output)
        self._wait_for_greeting()

    def deliveries(self) -> list[Delivery]:
        ids: dict[str, str] = {}
        found: list[Delivery] = []
        for line in self._lines():
            if received := _RECEIVED.match(line):
                ids[received[1]] = f"<{received[3]}>"
            elif delivered := _DELIVERED.match(line):
                found.append(Delivery(ids.get(delivered[1], ""), delivered[2]))
        return found

    def senders(self) -> dict[str, str]:
        """The reverse-path of each message that was taken, by its Message-ID."""
        lines = (_RECEIVED.match(line) for line in self._lines())
        return {f"<{line[3]}>": line[2] for line in lines if line}

    def log(self) -> str:
        output = self.home / "output"
        said = output.read_text(errors="replace") if output.exists() else ""
        panic = self.home / "log" / "paniclog"
        said += panic.read_text(errors="replace") if panic.exists() else ""
        return "\n".join([said, *self._lines()[-40:]])

    def _lines(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines() if self._log.exists() else []


@once
def _unpacked() -> Path:
    return unpack("exim", PACKAGES)
