"""A disk that can be full: a small file system in memory, in a mount namespace of its own."""

from __future__ import annotations

import errno
import shutil
import subprocess
from pathlib import Path

SIZE = 32 * 1024 * 1024


class NotAvailable(Exception):
    """The server, or what it needs, cannot be had here; the text says why."""


class SmallDisk:
    """Is mounted at ``folder`` for whoever is started with ``prefix`` in front of its command.

    ``inside`` is the same folder for everybody else.
    """

    def __init__(self, folder: Path) -> None:
        for tool in ("unshare", "nsenter"):
            if shutil.which(tool) is None:
                raise NotAvailable(f"this system has no {tool}, which a small disk needs")
        folder.mkdir()
        script = 'mount -t tmpfs -o size="$1",mode=755 none "$0" && echo mounted && exec cat'
        # It lives as long as the one who holds it.
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, folder, str(SIZE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != b"mounted\n":
            reason = self._holder.stderr.read().decode(errors="replace").strip()
            self.end()
            raise NotAvailable(f"no mount namespace is allowed here, which a small disk needs: {reason}")
        process = Path("/proc") / str(self._holder.pid)
        self.prefix = ["nsenter", f"--mount={process / 'ns' / 'mnt'}", "--"]
        self.inside = process / "root" / folder.relative_to("/")

    def fill(self) -> None:
        """Leave no room at all."""
        with (self.inside / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"\0" * 65_536)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def make_room(self) -> None:
        (self.inside / "ballast").unlink()

    def end(self) -> None:
        """Let go of it, when nobody uses it any more."""
        self._holder.communicate()
