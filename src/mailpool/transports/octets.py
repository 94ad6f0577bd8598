"""The octets of a message for carriers: block by block, with the line ends that the other side wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from ..content import Content
from ..errors import ConfigurationError

Newline = Literal["crlf", "lf"]


def checked_newline(value: object) -> Newline:
    """:raises ConfigurationError: it is neither of the two"""
    if value == "lf":
        return "lf"
    if value == "crlf":
        return "crlf"
    raise ConfigurationError(f"newline: must be 'crlf' or 'lf', not {value!r}", option="newline")


def blocks_of(content: Content, newline: Newline = "crlf") -> Iterator[bytes]:
    """The content from its start, of which never more than a block is held."""
    return content.blocks() if newline == "crlf" else with_lf(content.blocks())


def with_lf(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same with LF in place of each CRLF, also of one that two blocks share."""
    held = b""
    for block in blocks:
        data = held + block
        held = b"\r" if data.endswith(b"\r") else b""
        data = (data[:-1] if held else data).replace(b"\r\n", b"\n")
        if data:
            yield data
    if held:
        yield held


def whole(content: Content, newline: Newline = "crlf") -> bytes:
    """All of it at once."""
    return b"".join(blocks_of(content, newline))
