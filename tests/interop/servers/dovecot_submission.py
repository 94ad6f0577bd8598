"""Dovecot's submission service, which takes BINARYMIME and hands what it was given to a relay (RFC 3030)."""

from __future__ import annotations

from pathlib import Path

from .dovecot import Dovecot
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


class DovecotSubmission(Dovecot):
    """Listens on ``host`` and ``port`` for ``username`` with ``password``, and relays to a port of this machine."""

    host = "127.0.0.1"
    username, password = "me", "secret"

    def __init__(self, relay: int) -> None:
        super().__init__("dovecot-submission")
        self.port = free_port()
        self._relay = relay

    def start(self) -> None:
        root = _unpacked()
        (self.home / "users").write_text(f"{self.username}:{{PLAIN}}{self.password}\n")
        configuration = _CONFIGURATION.format(relay=self._relay, port=self.port)
        self.run(root, configuration, (self.host, self.port), as_if_installed(root))


@once
def _unpacked() -> Path:
    return unpack("dovecot-submission", ("dovecot-core", "dovecot-submissiond"))
