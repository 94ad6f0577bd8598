"""Values taken out of what the fuzzer gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Source:
    """Takes values out of the input, front to back; when it is used up, everything is empty or the first choice."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def octets(self, count: int) -> bytes:
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def number(self) -> int:
        return int.from_bytes(self.octets(1), "big")

    def block(self) -> bytes:
        """Octets whose count comes before them; a count of 255 takes what is left."""
        count = self.number()
        return self.octets(len(self._data) if count == 255 else count)

    def choice(self, choices: Sequence[T]) -> T:
        return choices[self.number() % len(choices)]

    def text(self) -> str:
        """Any text, lone surrogates among it."""
        octets = self.block()
        return octets.decode("utf-8", "surrogatepass") if _is_text(octets) else octets.decode("latin-1")

    @property
    def is_empty(self) -> bool:
        return not self._data


def _is_text(octets: bytes) -> bool:
    try:
        octets.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True
