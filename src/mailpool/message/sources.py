"""Large contents that stay where they are until they are sent: on disk, or in memory that the caller has anyway."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..content import Source
from ..errors import MessageError
from ..options.access import Access
from .files import open_file

# Contents up to this size are taken into the message at once; larger ones are read when they are sent.
LARGE: Final = 262_144
_BLOCK: Final = 57 * 1_024  # whole lines of base64, so that no octets are carried from block to block


class MemorySource:
    """Octets that the caller holds in any case: a second copy would cost more than to encode them at each attempt."""

    __slots__ = ("octets",)

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    @property
    def size(self) -> int:
        return len(self.octets)

    def blocks(self) -> Iterator[bytes]:
        view = memoryview(self.octets)
        for start in range(0, len(view), _BLOCK):
            yield bytes(view[start : start + _BLOCK])


class FileSource:
    """A file of the user's. It is not kept open; at each reading it must be the same file, unchanged."""

    __slots__ = ("_access", "_field", "_identity", "_path", "size")

    def __init__(self, path: str, field: str, access: Access, found: os.stat_result) -> None:
        self._path = path
        self._field = field
        self._access = access
        self._identity = _identity(found)
        self.size = found.st_size

    def blocks(self) -> Iterator[bytes]:
        """Raises ``MessageError`` before the last block when the file is not what it was."""
        with open_file(self._path, self._field, self._access) as file:
            self._check(file.fileno())
            left = self.size
            while left:
                block = _some(file, min(_BLOCK, left), self._path, self._field)
                left -= len(block)
                if not block or not left:
                    self._check(file.fileno())
                if not block:
                    raise self._changed()
                yield block

    def _check(self, number: int) -> None:
        if _identity(os.fstat(number)) != self._identity:
            raise self._changed()

    def _changed(self) -> MessageError:
        return MessageError(
            f"{self._field}: {self._path!r:.200} has changed since the message was sealed; leave large files alone "
            "until the message has its outcome",
            field=self._field,
        )


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Spool:
    """Takes what can be read only once, for as many readings as it takes; what is large goes to a file without a name.

    field  for errors
    most   octets that it takes; ``None`` without bound
    """

    __slots__ = ("_field", "_file", "_most", "_pieces", "size")

    def __init__(self, field: str, most: int | None = None) -> None:
        self._field = field
        self._most = most
        self._pieces: list[bytes] = []
        self._file: Any = None
        self.size = 0

    def write(self, piece: object) -> None:
        """Take one piece: octets, or text in UTF-8. Raises ``MessageError`` for anything else, and when it is too much."""
        if isinstance(piece, str):
            piece = piece.encode("utf-8", "replace")
        elif not isinstance(piece, bytes):
            if not isinstance(piece, bytearray | memoryview):
                raise MessageError(
                    f"{self._field}: its pieces must be octets or text, not {type(piece).__name__}",
                    field=self._field,
                )
            piece = bytes(piece)
        self.size += len(piece)
        if self._most is not None and self.size > self._most:
            self.close()
            raise MessageError(
                f"{self._field}: it holds more than {self._most} octets (access.max_size)", field=self._field
            )
        if self._file is None and self.size > LARGE:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # it outlives this call
            pieces, self._pieces = self._pieces, []
            for earlier in pieces:
                _write_all(self._file, earlier)
        if self._file is None:
            self._pieces.append(piece)
        else:
            _write_all(self._file, piece)

    def finish(self) -> bytes | Source:
        """All of it. The file is gone as soon as nobody holds what this returns."""
        if self._file is None:
            return b"".join(self._pieces)
        source = SpooledSource(os.dup(self._file.fileno()), self.size, self._field)
        self.close()
        return source

    def close(self) -> None:
        """Forget it all."""
        self._pieces = []
        if self._file is not None:
            self._file.close()
            self._file = None


def _write_all(file: Any, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[file.write(view) :]


class SpooledSource:
    """A file without a name, which nobody else can change."""

    __slots__ = ("_field", "_number", "size")

    def __init__(self, number: int, size: int, field: str) -> None:
        self._number = number
        self._field = field
        self.size = size

    def blocks(self) -> Iterator[bytes]:
        position = 0
        while position < self.size:
            block = _read_at(self._number, min(_BLOCK, self.size - position), position)
            if not block:
                raise MessageError(f"{self._field}: the temporary file was cut short", field=self._field)
            position += len(block)
            yield block

    # Each number is closed once: a second owner would close whatever has got the same number meanwhile.
    def __copy__(self) -> SpooledSource:
        return self

    def __deepcopy__(self, _: object) -> SpooledSource:
        return self

    def __reduce__(self) -> tuple[type[MemorySource], tuple[bytes]]:
        """In another process the octets are in memory."""
        return MemorySource, (b"".join(self.blocks()),)

    def __del__(self) -> None:
        os.close(self._number)


def _read_at(number: int, count: int, position: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(number, count, position)
    os.lseek(number, position, os.SEEK_SET)
    return os.read(number, count)


@dataclass(frozen=True, slots=True)
class Found:
    """A content and what its origin says of it; ``content_type`` and ``name`` are ``""`` where it says nothing."""

    content: bytes | Source
    content_type: str = ""
    name: str = ""


def file_source(path: object, field: str, access: Access) -> Found:
    """The content of a file: read now when it is small, and when it is sent otherwise."""
    with open_file(path, field, access) as file:
        found = os.fstat(file.fileno())
        name = os.path.abspath(os.fsdecode(path)) if access.files is True else os.fsdecode(path)  # type: ignore[arg-type]  # open_file has seen to it
        if access.max_size is not None and found.st_size > access.max_size:
            raise MessageError(
                f"{field}: the file holds more than {access.max_size} octets (access.max_size)", field=field
            )
        if found.st_size > LARGE:
            return Found(FileSource(name, field, access, found), name=os.path.basename(name))
        octets = _exactly(file, found.st_size, name, field)
        if len(octets) < found.st_size:
            raise MessageError(f"{field}: {name!r:.200} was cut short while it was read", field=field)
        # Those of /proc have a size of 0 and give something other each time.
        if not octets and _some(file, 1, name, field):
            raise MessageError(f"{field}: {name!r:.200} has no size; it is no file on a disk", field=field)
        return Found(octets, name=os.path.basename(name))


def _exactly(file: Any, size: int, name: str, field: str) -> bytes:
    pieces: list[bytes] = []
    while size and (piece := _some(file, size, name, field)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _some(file: Any, size: int, name: str, field: str) -> bytes:
    try:
        found: bytes = file.read(size)
        return found
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise MessageError(f"{field}: {name!r:.200} cannot be read: {why}", field=field) from error
