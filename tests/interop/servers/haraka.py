"""npm's ``Haraka``, with a folder of configuration and a plugin of ours that writes down what it took."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import ClassVar

from .npm import installed
from .real_server import Delivery, NotAvailable, RealServer, free_port, once

_VERSION = "~3.3.4"

_CONFIGURATION = {
    "me": "haraka.example",
    # No other processes, so that it is gone when it is ended.
    "smtp.ini": "listen=127.0.0.1:{port}\nnodes=0\n",
    "plugins": "tls\nauth/flat_file\ntaken\n",
    "auth_flat_file.ini": "[core]\nmethods=PLAIN,LOGIN,CRAM-MD5\n[users]\n{username}={password}\n",
    "log.ini": "[main]\nlevel=notice\nformat=default\n",
    "tls.ini": "key=key.pem\ncert=certificate.pem\ndhparam=dhparams.pem\n",
    # It would spend its first seconds on making some: the group of 2048 bits of RFC 7919, appendix A.1.
    "dhparams.pem": """\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
""",
}


class Haraka(RealServer):
    """Haraka: STARTTLS, AUTH, and PIPELINING, of which it bears no command behind the end of a message."""

    name: ClassVar[str] = "Haraka"
    most_recipients: ClassVar[int | None] = 100
    stores: ClassVar[str | None] = "store"

    def start(self) -> None:
        node = shutil.which("node")
        if node is None:
            raise NotAvailable("node is not installed, so that Haraka cannot run")
        package = _modules() / "Haraka"
        self.port = free_port()
        config = self.home / "config"
        for folder in (config, self.home / "plugins"):
            folder.mkdir()
        self._make_store()
        # It cannot do without that, and this has its defaults.
        shutil.copy(package / "config" / "connection.ini", config)
        for name, text in _CONFIGURATION.items():
            text = text.format(port=self.port, username=self.username, password=self.password)
            (config / name).write_text(text)
        certificate, key = self._authority.write_certificate(self.home, "127.0.0.1", "localhost")
        certificate.rename(config / "certificate.pem")
        key.rename(config / "key.pem")
        shutil.copy(Path(__file__).with_name("haraka_plugin.js"), self.home / "plugins" / "taken.js")
        with (self.home / "output").open("wb") as output:
            command = [node, package / "bin" / "haraka", "--configs", self.home]
            self._spawn(command, env={"PATH": os.defpath}, stdout=output, stderr=output)
        self._wait_for_greeting()

    def deliveries(self) -> list[Delivery]:
        store = self._store / "taken"
        if not store.exists():
            return []
        # What has no end is being written, or did not find room on the disk.
        lines = [line for line in store.read_text().splitlines() if line.endswith("}")]
        taken = [json.loads(line) for line in lines]
        return [Delivery(one["message_id"], recipient) for one in taken for recipient in one["recipients"]]

    def log(self) -> str:
        output = self.home / "output"
        return output.read_text(errors="replace")[-4000:] if output.exists() else ""


@once
def _modules() -> Path:
    # What is optional there are filters for spam and the like, in great number.
    return installed("haraka", "Haraka", _VERSION, "--omit=optional")
