"""The table of recipients: a CSV file with a column ``email``, often ``name``, and any other."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

ADDRESS = "email"
NAME = "name"


class TableError(ValueError):
    """The file is no table that can be used; nothing has been sent."""


class People:
    """The rows of a CSV file (RFC 4180; UTF-8; comma or semicolon), read anew each time, so that memory stays flat.

    The whole file is looked at once before anything is sent: a file that breaks off in its middle shall not be found
    out after half of the mail has gone.

    :raises TableError: it cannot be read, has no column ``email``, or a row is incomplete
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: tuple[str, ...] = ()
        self._delimiter = ","
        self.count = sum(1 for _ in self)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[dict[str, str]]:
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                first = file.readline()
                file.seek(0)
                self._delimiter = ";" if ";" in first and "," not in first else ","
                yield from self._rows(csv.reader(file, delimiter=self._delimiter, strict=True))
        except io.UnsupportedOperation:
            raise TableError(
                f"{self.path}: is a pipe, which can be read only once; write the table to a file"
            ) from None
        except OSError as error:
            raise TableError(f"{self.path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise TableError(f"{self.path}: is not UTF-8 (octet {error.start} of a block)") from None

    def _rows(self, lines: Iterator[list[str]]) -> Iterator[dict[str, str]]:
        reader = _Numbered(self.path, lines)
        self.columns = self._checked_header(next(reader, []))
        for row in reader:
            if not row:
                continue  # an empty line
            if len(row) != len(self.columns):
                raise TableError(
                    f"{self.path}: row {reader.number} has {len(row)} cells, the first one has {len(self.columns)}"
                )
            cells = dict(zip(self.columns, row, strict=True))
            if not cells[ADDRESS].strip():
                raise TableError(f"{self.path}: row {reader.number} has no {ADDRESS}")
            yield cells

    def _checked_header(self, names: list[str]) -> tuple[str, ...]:
        columns = tuple(name.strip() for name in names)
        if ADDRESS not in columns:
            raise TableError(f"{self.path}: the first row must name the columns, one of them {ADDRESS!r}")
        if len(set(columns)) != len(columns):
            raise TableError(f"{self.path}: two columns have the same name")
        return columns


class _Numbered:
    """Rows with the number of the one read last, and errors that tell it."""

    def __init__(self, path: Path, lines: Iterator[list[str]]) -> None:
        self.number = 0
        self._path = path
        self._lines = lines

    def __iter__(self) -> _Numbered:
        return self

    def __next__(self) -> list[str]:
        self.number += 1
        try:
            return next(self._lines)
        except csv.Error as error:
            raise TableError(f"{self._path}: row {self.number}: {error}") from None
