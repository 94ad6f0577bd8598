"""Real proxies: Debian's dante-server (SOCKS 4 and 5) and tinyproxy (HTTP CONNECT), and stunnel for TLS before it."""

from __future__ import annotations

import abc
import os
import subprocess
from pathlib import Path
from typing import ClassVar

from mailpool.testing import Authority

from .daemon import Daemon
from .packages import unpack
from .real_server import NotAvailable, free_port, once

HERE = "127.0.0.1"
USER, PASSWORD = "me", "correct-horse"

_DANTE = """\
logoutput: {home}/log
internal: {here} port = {port}
external: lo
clientmethod: none
socksmethod: {method}
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks block {{ from: 0.0.0.0/0 to: 0.0.0.0/0 port = 7 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 log: connect }}
"""
_TINYPROXY = """\
Listen {here}
Port {port}
LogFile "{home}/log"
LogLevel Info
MaxClients 100
Timeout 600
Allow {here}
{login}
"""
_STUNNEL = """\
foreground = yes
pid =
output = {home}/log
[proxy]
accept = {here}:{port}
connect = {here}:{behind}
cert = {certificate}
key = {key}
"""


class RealProxy(Daemon):
    """A proxy, which can be stopped and started again at the same port."""

    def __init__(self) -> None:
        super().__init__("proxy")
        self.home.chmod(0o777)  # some give up their privileges, and still write their log
        self.port = free_port()

    @abc.abstractmethod
    def command(self) -> tuple[list[str], dict[str, str]]:
        """What to run, and in which environment; ``NotAvailable`` if it cannot be had."""

    def start(self) -> None:
        self._run(*self.command(), (HERE, self.port))


class Dante(RealProxy):
    """SOCKS 4 and 5; to port 7 it connects nobody. With ``login`` only version 5, for `USER` and `PASSWORD`."""

    def __init__(self, *, login: bool = False) -> None:
        super().__init__()
        self._login = login

    def command(self) -> tuple[list[str], dict[str, str]]:
        if os.geteuid() != 0:
            raise NotAvailable("Dante changes between two accounts, which takes root")
        root = _dante()
        method = "username" if self._login else "none"
        configuration = self.home / "conf"
        configuration.write_text(_DANTE.format(home=self.home, here=HERE, port=self.port, method=method))
        libraries = next(root.glob("usr/lib/*/libwrap.so.0")).parent
        environment = {"LD_LIBRARY_PATH": str(libraries)}
        if self._login:
            # It asks the system for passwords, and no user is added to the system: a library says that there is one.
            done = subprocess.run(
                ["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True
            )
            files = {
                "PASSWD": f"root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n{USER}:x:1500:1500::/:/bin/sh\n",
                "GROUP": f"root:x:0:\nnogroup:x:65534:\n{USER}:x:1500:\n",
                "SHADOW": f"{USER}:{done.stdout.strip()}:19000:0:99999:7:::\n",
            }
            environment["LD_PRELOAD"] = str(libraries / "libnss_wrapper.so")
            for name, text in files.items():
                (self.home / name).write_text(text)
                environment[f"NSS_WRAPPER_{name}"] = str(self.home / name)
        return [str(root / "usr/sbin/danted"), "-f", str(configuration)], environment


class Tinyproxy(RealProxy):
    """HTTP CONNECT; with ``login`` for `USER` and `PASSWORD` only."""

    def __init__(self, *, login: bool = False) -> None:
        super().__init__()
        self._login = login

    def command(self) -> tuple[list[str], dict[str, str]]:
        root = _tinyproxy()
        login = f"BasicAuth {USER} {PASSWORD}" if self._login else ""
        configuration = self.home / "conf"
        configuration.write_text(_TINYPROXY.format(home=self.home, here=HERE, port=self.port, login=login))
        return [str(root / "usr/bin/tinyproxy"), "-d", "-c", str(configuration)], {}


class TinyproxyBehindTLS(RealProxy):
    """The same over TLS, which stunnel does, with a certificate for ``names``."""

    names: ClassVar = ("localhost", HERE)

    def __init__(self, authority: Authority) -> None:
        super().__init__()
        self._authority = authority
        self._behind = Tinyproxy(login=True)

    def start(self) -> None:
        self._behind.start()
        super().start()

    def stop(self) -> None:
        super().stop()
        self._behind.stop()

    def log(self) -> str:
        return super().log() + self._behind.log()

    def __exit__(self, *error: object) -> None:
        super().__exit__()
        self._behind.__exit__()

    def command(self) -> tuple[list[str], dict[str, str]]:
        root = _stunnel()
        certificate, key = self._authority.write_certificate(self.home, *self.names)
        configuration = self.home / "conf"
        configuration.write_text(
            _STUNNEL.format(
                home=self.home, here=HERE, port=self.port, behind=self._behind.port,
                certificate=certificate, key=key,
            )
        )  # fmt: skip
        libraries = next(root.glob("usr/lib/*/libwrap.so.0")).parent
        return [str(root / "usr/bin/stunnel4"), str(configuration)], {"LD_LIBRARY_PATH": str(libraries)}


@once
def _dante() -> Path:
    return unpack("dante", ("dante-server", "libwrap0", "libnss-wrapper"))


@once
def _tinyproxy() -> Path:
    return unpack("tinyproxy", ("tinyproxy-bin",))


@once
def _stunnel() -> Path:
    return unpack("stunnel", ("stunnel4", "libwrap0"))
