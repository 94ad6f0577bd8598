"""Messages written one after another to something that takes octets."""

from __future__ import annotations

import asyncio
import inspect
import io
from typing import Any, Protocol

from ..errors import ConfigurationError, MailpoolError, MessageError
from ..message import Sealed
from ..results import SendResult
from .carrier import all_accepted
from .finishing import finished
from .octets import Newline, blocks_of, checked_newline


class Writer(Protocol):
    """A binary file, an ``asyncio.StreamWriter``, or anything with such a ``write``; it may return an awaitable.

    Where there is ``drain`` it is awaited after each block.
    """

    def write(self, data: bytes, /) -> Any: ...


class StreamCarrier:
    """Writes the octets of each message, and nothing between two of them: a message ends with a line end.

    Who it is to is not written: give ``envelopes`` to learn it. One message at a time is written, each to its end.

    :param writer: see `Writer`; it stays open
    :param newline: ``"crlf"`` or ``"lf"``
    :param envelopes: called with each `Sealed` before it is written, from the event loop; may return an awaitable
    """

    name = "stream"

    def __init__(self, writer: Writer, *, newline: Newline = "crlf", envelopes: Any = None) -> None:
        if not callable(getattr(writer, "write", None)):
            raise ConfigurationError("writer: has no write method", option="writer")
        if _takes_text(writer):
            raise ConfigurationError(
                "writer: takes text; messages are octets, so open it in binary mode", option="writer"
            )
        if envelopes is not None and not callable(envelopes):
            raise ConfigurationError("envelopes: must be a function", option="envelopes")
        self._writer = writer
        self._newline = checked_newline(newline)
        self._envelopes = envelopes
        self._turn = asyncio.Lock()
        # With other line ends a binary part would be another one.
        self.extensions = frozenset(("BINARYMIME",) if self._newline == "crlf" else ())

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        await finished(self._write(sealed))  # half a message would spoil the next one
        return all_accepted(sealed, "250 2.0.0 written to the stream")

    async def _write(self, sealed: Sealed) -> None:
        async with self._turn:
            if self._envelopes is not None:
                await self._tell(sealed)
            drain = getattr(self._writer, "drain", None)
            for block in blocks_of(sealed.content, self._newline):
                await self._put(block)
                if drain is not None:
                    await _awaited(drain())

    async def _put(self, block: bytes) -> None:
        """Write all of it: a file without a buffer may take a part, and says how much."""
        if not isinstance(self._writer, io.RawIOBase):
            await _awaited(self._writer.write(block))
            return
        left = memoryview(block)
        while left:
            taken = self._writer.write(left)
            if not taken:
                raise BlockingIOError("the writer takes nothing more")
            left = left[taken:]

    async def _tell(self, sealed: Sealed) -> None:
        try:
            await _awaited(self._envelopes(sealed))
        except MailpoolError:
            raise
        except Exception as error:  # whatever the user's own code raises: nothing has been written
            raise MessageError(f"envelopes: it failed with {type(error).__name__}") from error


def _takes_text(writer: object) -> bool:
    return isinstance(writer, io.TextIOBase)


async def _awaited(value: Any) -> None:
    if inspect.isawaitable(value):
        await value
