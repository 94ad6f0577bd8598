"""Messages as JSON: to a function of yours, or as lines of a file (RFC 8259)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email.parser
import email.policy
import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigurationError
from ..message import Sealed
from ..results import SendResult
from .arguments import checked_path
from .carrier import all_accepted
from .finishing import written
from .octets import whole

_HEADER = email.parser.BytesHeaderParser(policy=email.policy.compat32)


class JSONCarrier:
    """Gives each message as a dictionary of plain values, described in ``docs/transports.md``.

    :param to: a function that is called with it and may return an awaitable; or the path of a file, to which a line is
        appended for each
    :param content: ``"base64"``: the octets exactly; ``"text"``: as text, where they are UTF-8
    :raises ConfigurationError: something else was given
    """

    name = "json"
    extensions = frozenset(("BINARYMIME",))

    def __init__(
        self,
        to: Callable[[dict[str, Any]], Any] | str | os.PathLike[str],
        *,
        content: Literal["base64", "text"] = "base64",
    ) -> None:
        if content not in ("base64", "text"):
            raise ConfigurationError(
                f"content: must be 'base64' or 'text', not {content!r}", option="content"
            )
        if not callable(to) and not isinstance(to, str | os.PathLike):
            raise ConfigurationError(
                f"to: must be a function or a path, not {type(to).__name__}", option="to"
            )
        self._to = to if callable(to) else checked_path("to", to)
        self._content = content
        self._turn = asyncio.Lock()

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        shown = as_dictionary(sealed, self._content)
        if callable(self._to):
            answer = self._to(shown)
            if inspect.isawaitable(answer):
                await answer
            return all_accepted(sealed, "250 2.0.0 given as JSON")
        line = json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        await written(self._append(Path(self._to), line))
        return all_accepted(sealed, "250 2.0.0 written as JSON")

    async def _append(self, path: Path, line: bytes) -> None:
        async with self._turn:
            await asyncio.to_thread(_append, path, line)


def as_dictionary(sealed: Sealed, content: Literal["base64", "text"] = "base64") -> dict[str, Any]:
    """The message as values that JSON has."""
    raw = whole(sealed.content)
    header = _HEADER.parsebytes(raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    headers = [[name, _decoded(name, value)] for name, value in header.raw_items()]
    encoding, body = "base64", ""
    if content == "text":
        try:
            encoding, body = "text", raw.decode("utf-8")
        except UnicodeDecodeError:
            encoding = "base64"
    return {
        "message_id": sealed.message_id,
        "envelope": {"from": sealed.envelope.sender, "to": list(sealed.envelope.recipients)},
        "headers": headers,
        "size": len(raw),
        "encoding": encoding,
        "content": body if encoding == "text" else base64.b64encode(raw).decode("ascii"),
    }


def _decoded(name: str, value: str) -> str:
    try:
        text = str(email.policy.default.header_fetch_parse(name, value))
    except (
        Exception
    ):  # the library's parser fails in many ways on what is no address, and such a message is carried, too
        text = " ".join(value.split())
    # Octets that are no text were read as lone surrogates, which have no place in JSON.
    return text.encode("utf-8", "replace").decode("utf-8")


def _append(path: Path, line: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        view = memoryview(line)
        try:
            while view:
                view = view[file.write(view) :]
        except OSError:
            # The beginning of a line would spoil the next one; unless another program has written behind it.
            begun = len(line) - len(view)
            if begun and os.fstat(file.fileno()).st_size == file.tell():
                with contextlib.suppress(OSError):
                    file.truncate(file.tell() - begun)
            raise
