"""Dovecot as the SASL server of a Postfix: a second implementation of SCRAM, and OAuth2 tokens that are really checked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from .daemon import Daemon
from .packages import unpack
from .real_server import NotAvailable, once

_KEY = b"the key that signs tokens in a test"

_CONFIGURATION = """\
import_environment = LD_LIBRARY_PATH
base_dir = {home}/run
state_dir = {home}/run
libexec_dir = {root}/usr/lib/dovecot
default_internal_user = news
default_internal_group = news
default_login_user = nobody
log_path = {home}/log
protocols =
ssl = no
# A wrong password is answered at once, and not after two seconds.
auth_failure_delay = 0
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 oauthbearer xoauth2
service auth {{
  chroot =
  unix_listener sasl {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
}}
passdb {{
  driver = passwd-file
  args = {home}/users
  mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
}}
passdb {{
  driver = oauth2
  args = {home}/oauth2.conf
  mechanisms = oauthbearer xoauth2
}}
userdb {{
  driver = static
  args = uid=news gid=news home=/
}}
"""
_OAUTH2 = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={home}/keys/
username_attribute = email
"""


class Dovecot(Daemon):
    """Has the mailboxes in ``mail`` and its sockets in ``run``, below its home."""

    def run(
        self,
        root: Path,
        configuration: str,
        answers_at: tuple[str, int] | Path,
        before: Sequence[str | Path] = (),
    ) -> None:
        """Start a Dovecot that was unpacked to ``root``; ``{root}`` and ``{home}`` are filled into its configuration.

        :param before: a command that runs the one that follows it
        :raises NotAvailable: it takes root
        """
        if os.geteuid() != 0:
            raise NotAvailable("Dovecot starts its programs under several accounts, which takes root")
        for folder in ("run", "mail"):
            (self.home / folder).mkdir()
        shutil.chown(self.home / "mail", "news", "news")
        libraries = root / "usr" / "lib" / "dovecot"
        path = self.home / "dovecot.conf"
        path.write_text(configuration.format(home=self.home, root=root))
        # By itself it looks for doveconf where it would be installed; this is what doveconf then does.
        begin = [root / "usr/bin/doveconf", "-f", "service=master", "-c", path, "-m", "master", "-e"]
        folders = (libraries, libraries / "modules", libraries / "modules" / "old-stats")
        self._run(
            [*before, *begin, root / "usr/sbin/dovecot", "-F", "-c", path],
            {"LD_LIBRARY_PATH": os.pathsep.join(map(str, folders))},
            answers_at,
        )


class DovecotAuthentication(Dovecot):
    """``settings`` are what Postfix has to be told to ask it."""

    def __init__(self, user: str, password: str) -> None:
        super().__init__("dovecot")
        self._login = f"{user}:{{PLAIN}}{password}\n"
        self._socket = self.home / "run" / "sasl"
        self.settings = {"smtpd_sasl_type": "dovecot", "smtpd_sasl_path": str(self._socket)}

    def start(self) -> None:
        root = _unpacked()
        key = self.home / "keys" / "default" / "HS256" / "default"
        key.parent.mkdir(parents=True)
        key.write_bytes(base64.b64encode(_KEY))
        (self.home / "users").write_text(self._login)
        (self.home / "oauth2.conf").write_text(_OAUTH2.format(home=self.home))
        self.run(root, _CONFIGURATION, self._socket)

    @staticmethod
    def token(user: str, *, lives: float = 600.0, key: bytes = _KEY) -> str:
        """A token for a user: a JWT (RFC 7519) with HS256."""
        now = int(time.time())
        parts = (
            {"alg": "HS256", "typ": "JWT"},
            {"sub": user, "email": user, "iat": now - 60, "exp": now + int(lives)},
        )
        signed = b".".join(_base64url(json.dumps(part).encode()) for part in parts)
        return (signed + b"." + _base64url(hmac.digest(key, signed, hashlib.sha256))).decode()


def _base64url(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


@once
def _unpacked() -> Path:
    return unpack("dovecot", ("dovecot-core",))
