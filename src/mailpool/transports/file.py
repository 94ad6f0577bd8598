"""Messages as files: one ``.eml`` each, or a maildir.

A file appears under its name only when it is whole and on the disk: it is written somewhere else in the same file system,
synchronised, and then linked, which never replaces another file.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import re
import secrets
import socket
import time
from pathlib import Path
from typing import Literal

from ..errors import ConfigurationError, DeliveryUncertain
from ..message import Sealed
from ..results import Phase, SendResult
from .arguments import checked_path
from .carrier import all_accepted
from .finishing import written
from .octets import Newline, blocks_of, checked_newline

_COUNTER = itertools.count()


class FileCarrier:
    """Writes each message into a directory, which is made when it is missing. Give it local, trusted directories.

    :param directory: where
    :param format: ``"eml"``: ``<time>.<random>.eml`` in the directory itself; ``"maildir"``: into ``new`` of a maildir,
        whose ``tmp``, ``new`` and ``cur`` are made when they are missing
    :param newline: ``"crlf"`` or ``"lf"``; ``None``: CRLF for ``.eml``, which is the message exactly, and LF for a maildir,
        as its readers expect
    :param sync: wait until each file is on the disk; without it a power failure may cost messages that were reported
        as written
    :raises ConfigurationError: a value is none of these
    """

    name = "file"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        format: Literal["eml", "maildir"] = "eml",  # noqa: A002  # the name that it has in a URL
        newline: Newline | None = None,
        sync: bool = True,
    ) -> None:
        if format not in ("eml", "maildir"):
            raise ConfigurationError(f"format: must be 'eml' or 'maildir', not {format!r}", option="format")
        if not isinstance(sync, bool):
            raise ConfigurationError(f"sync: must be True or False, not {sync!r}", option="sync")
        self._directory = Path(checked_path("directory", directory))
        self._maildir = format == "maildir"
        self._newline = checked_newline(newline) if newline is not None else "lf" if self._maildir else "crlf"
        self._sync = sync
        # With other line ends a binary part would be another one.
        self.extensions = frozenset(("BINARYMIME",) if self._newline == "crlf" else ())

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        # In a thread, for a disk may take its time; and what a thread has begun it also ends.
        path = await written(asyncio.to_thread(self._write, sealed))
        return all_accepted(sealed, f"250 2.0.0 written to {path.name}")

    def _write(self, sealed: Sealed) -> Path:
        base = self._directory
        base.mkdir(parents=True, exist_ok=True)
        if self._maildir:
            for name in ("tmp", "new", "cur"):
                (base / name).mkdir(mode=0o700, exist_ok=True)
            name = _maildir_name()
            temporary, final = base / "tmp" / name, base / "new" / name
        else:
            name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.{secrets.token_hex(8)}"
            temporary, final = base / f".{name}.tmp", base / f"{name}.eml"
        try:
            # O_EXCL: a name that exists, or a link that somebody put there, is an error and never followed.
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                for block in blocks_of(sealed.content, self._newline):
                    file.write(block)
                if self._sync:
                    file.flush()
                    os.fsync(file.fileno())
            _appear(temporary, final)
            if self._sync:
                _sync_directory(final.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        return final


def _appear(temporary: Path, final: Path) -> None:
    """Give the file its name, unless another one has it."""
    try:
        os.link(temporary, final)
    except OSError as error:
        # Not every file system has links. Names are unlike each other, so that a look is nearly as good there.
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS) or os.path.lexists(final):
            raise
        os.rename(temporary, final)


def _maildir_name() -> str:
    """A name that no other delivery has: time, process, counter, dice, host (cr.yp.to/proto/maildir.html)."""
    now = time.time_ns()
    host = re.sub(
        r"[^A-Za-z0-9.-]", lambda found: f"\\{ord(found[0]):03o}", socket.gethostname() or "localhost"
    )
    return (
        f"{now // 10**9}.M{now // 1_000 % 10**6}P{os.getpid()}Q{next(_COUNTER)}R{secrets.token_hex(4)}.{host}"
    )


def _sync_directory(directory: Path) -> None:
    """The entry, too, has to be on the disk. Not every system can do that."""
    try:
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            return
        # The file is there: whoever is told that it is not makes a second one.
        raise DeliveryUncertain(
            f"the message was written to a file, and its directory cannot be synchronised: {error.strerror}",
            phase=Phase.HANDOVER,
            temporary=True,
            may_have_been_delivered=True,
        ) from error
