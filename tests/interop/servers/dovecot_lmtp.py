"""Dovecot as what it is mostly used for: LMTP in front of mailboxes, one of which is too small."""

from __future__ import annotations

import email
import shutil
import subprocess
from pathlib import Path

from .dovecot import Dovecot
from .packages import unpack
from .real_server import Delivery, NotAvailable, once

_CONFIGURATION = """\
import_environment = LD_LIBRARY_PATH
base_dir = {home}/run
state_dir = {home}/run
libexec_dir = {root}/usr/lib/dovecot
mail_plugin_dir = {root}/usr/lib/dovecot/modules
default_internal_user = news
default_internal_group = news
default_login_user = nobody
first_valid_uid = 1
first_valid_gid = 1
log_path = {home}/log
hostname = dovecot.example
protocols = lmtp
ssl = no
mail_location = maildir:{home}/mail/%n
mail_plugins = quota
service lmtp {{
  chroot =
  user = root
  unix_listener lmtp {{
    mode = 0666
  }}
}}
service auth {{
  chroot =
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
protocol lmtp {{
  postmaster_address = postmaster@example.org
  mail_plugins = quota
}}
plugin {{
  quota = maildir:User
  quota_rule = *:storage=1G
  quota_grace = 0
}}
passdb {{
  driver = passwd-file
  args = {home}/users
}}
userdb {{
  driver = passwd-file
  args = {home}/users
}}
"""
_USER = "{name}@example.org:{{PLAIN}}x:news:news::{home}/mail/{name}::userdb_quota_rule=*:bytes={quota}\n"


class DovecotLmtp(Dovecot):
    """``ann``, ``bob`` and ``eve`` at ``example.org`` have mailboxes; ``full`` has one that takes 1,000 octets.

    ``socket`` is where it listens.
    """

    def __init__(self) -> None:
        super().__init__("dovecot-lmtp")
        self.socket = self.home / "run" / "lmtp"

    def start(self) -> None:
        root = _unpacked()
        quotas = {"ann": 10**8, "bob": 10**8, "eve": 10**8, "full": 1_000}
        users = (_USER.format(name=name, home=self.home, quota=bound) for name, bound in quotas.items())
        (self.home / "users").write_text("".join(users))
        self.run(root, _CONFIGURATION, self.socket, as_if_installed(root))

    def deliveries(self) -> list[Delivery]:
        """What is in the mailboxes."""
        found = []
        for path in (self.home / "mail").glob("*/new/*"):
            message = email.message_from_bytes(path.read_bytes())
            found.append(Delivery(str(message["Message-ID"]), path.parts[-3]))
        return sorted(found)


def as_if_installed(root: Path) -> list[str | Path]:
    """What runs a command that sees the files in /usr/lib, where this program looks whatever its settings say.

    The mount is seen by that command and what it starts, and by nobody else.
    """
    mount = 'mount -t overlay overlay -o "lowerdir=$0/usr/lib:/usr/lib" /usr/lib && exec "$@"'
    within: list[str | Path] = ["unshare", "--mount", "sh", "-c", mount, root]
    if shutil.which("unshare") is None or subprocess.run([*within, "true"], capture_output=True).returncode:
        raise NotAvailable("Dovecot's LMTP needs a mount of its own, which this system does not allow")
    return within


@once
def _unpacked() -> Path:
    return unpack("dovecot-lmtp", ("dovecot-core", "dovecot-lmtpd"))
