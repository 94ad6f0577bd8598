"""Dovecot's submission service, which takes BINARYMIME and hands what it was given to a relay (RFC 3030)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from .dovecot import end, run_dovecot
from .dovecot_lmtp import as_if_installed
from .packages import unpack
from .real_server import free_port, once

_CONFIGURATION = """\
import_environment = LD_LIBRARY_PATH
base_dir = {{home}}/run
state_dir = {{home}}/run
libexec_dir = {{root}}/usr/lib/dovecot
mail_plugin_dir = {{root}}/usr/lib/dovecot/modules
default_internal_user = news
default_internal_group = news
default_login_user = nobody
first_valid_uid = 1
first_valid_gid = 1
log_path = {{home}}/log
hostname = dovecot.example
protocols = submission
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
mail_location = maildir:{{home}}/mail/%n
submission_relay_host = 127.0.0.1
submission_relay_port = {relay}
# Said to clients before it has asked the relay.
submission_backend_capabilities = 8BITMIME BINARYMIME DSN
service submission-login {{{{
  chroot =
  inet_listener submission {{{{
    address = 127.0.0.1
    port = {port}
  }}}}
}}}}
service submission {{{{
  chroot =
}}}}
service auth {{{{
  chroot =
}}}}
service anvil {{{{
  chroot =
}}}}
service stats {{{{
  chroot =
}}}}
passdb {{{{
  driver = passwd-file
  args = {{home}}/users
}}}}
userdb {{{{
  driver = static
  args = uid=news gid=news home={{home}}/mail/%n
}}}}
"""


class DovecotSubmission:
    """Listens on ``host`` and ``port`` for ``username`` with ``password``, and relays to a port of this machine."""

    host = "127.0.0.1"
    username, password = "me", "secret"

    def __init__(self, relay: int) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="mailpool-dovecot-submission-")
        self.home = Path(self._home.name)
        self.home.chmod(0o755)
        self.port = free_port()
        self._relay = relay
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            root = _unpacked()
            for folder in ("run", "mail"):
                (self.home / folder).mkdir()
            shutil.chown(self.home / "mail", "news", "news")
            (self.home / "users").write_text(f"{self.username}:{{PLAIN}}{self.password}\n")
            configuration = _CONFIGURATION.format(relay=self._relay, port=self.port)
            self._process = run_dovecot(root, self.home, configuration, as_if_installed(root))
            self._wait(self._process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            end(self._process)
        self._home.cleanup()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 200
        while True:
            try:
                socket.create_connection((self.host, self.port), 5).close()
                return
            except ConnectionRefusedError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError(
                        f"Dovecot did not start\n{(self.home / 'output').read_text()}"
                    ) from None
                time.sleep(0.05)

    def log(self) -> str:
        """What it wrote about itself."""
        path = self.home / "log"
        return path.read_text() if path.exists() else ""


@once
def _unpacked() -> Path:
    return unpack("dovecot-submission", ("dovecot-core", "dovecot-submissiond"))
