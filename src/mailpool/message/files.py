"""Files that a message names. Every one of them is opened here, and nowhere else (FIL-01, FIL-03)."""

from __future__ import annotations

import io
import os
import stat
from typing import Final

from ..errors import MessageError
from ..options.access import Access

# Without O_NONBLOCK, opening a FIFO would wait for a writer for ever; without O_NOCTTY a terminal could become ours.
_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY: Final = getattr(os, "O_DIRECTORY", 0)


def open_file(path: object, field: str, access: Access) -> io.FileIO:
    """The regular file at ``path``, open for reading, if ``access`` allows it.

    Raises ``MessageError`` that names ``field``: not allowed, outside of the directory, no regular file, not readable.
    """
    if access.files is False:
        raise MessageError(
            f"{field}: files are not allowed here (access.files is False); give the content itself",
            field=field,
        )
    if not isinstance(path, str | os.PathLike):
        raise MessageError(f"{field}: give a path, not {type(path).__name__}", field=field)
    text = os.fsdecode(path)
    if text.lstrip()[:5].lower() == "file:":
        raise MessageError(f"{field}: {text!r:.200} is a URL; give the path of the file", field=field)
    try:
        number = _open(text) if access.files is True else _open_below(os.fspath(access.files), text)
        file = io.FileIO(number, "rb")
        if not stat.S_ISREG(os.fstat(number).st_mode):
            file.close()
            raise _NotAllowed("it is not a regular file")
        return file
    except (OSError, ValueError) as error:
        # The words alone: an OSError would repeat the path, resolved.
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise MessageError(f"{field}: {text!r:.200} cannot be read: {why}", field=field) from error


class _NotAllowed(ValueError):
    pass


def _open(path: str) -> int:
    # Opening a device may already do something.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise _NotAllowed("it is not a regular file")
    return os.open(path, _FLAGS)


def _open_below(base: str, path: str) -> int:
    """Open ``path`` if it is below ``base``, which is resolved already."""
    # A name of another machine is not even looked up.
    if path.startswith(("//", "\\\\")):
        raise _NotAllowed("it is the path of another machine")
    real = os.path.realpath(os.path.join(base, path))
    prefix = base.rstrip(os.sep) + os.sep
    if not real.startswith(prefix):
        raise _NotAllowed(f"it is outside of {base}")
    if os.open not in os.supports_dir_fd or not _NO_LINK:
        return _open(real)
    # What was resolved above has no links in it. If somebody puts one there meanwhile, this walk does not follow it.
    *folders, name = real[len(prefix) :].split(os.sep)
    place = os.open(base, os.O_RDONLY | _DIRECTORY | getattr(os, "O_CLOEXEC", 0))
    try:
        for folder in folders:
            below = os.open(folder, os.O_RDONLY | _DIRECTORY | _NO_LINK, dir_fd=place)
            os.close(place)
            place = below
        if not stat.S_ISREG(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode):
            raise _NotAllowed("it is not a regular file")
        return os.open(name, _FLAGS | _NO_LINK, dir_fd=place)
    finally:
        os.close(place)
