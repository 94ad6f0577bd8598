"""A token end point (RFC 6749 §3.2) over HTTPS whose misbehaviour is written down beforehand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

Script = dict[str, Any]


class TokenServer:
    """Answers each request by the next entry of ``script``, and when that is used up with a token.

    An entry may hold ``status``, ``headers``, ``body`` (octets or what becomes JSON), ``delay`` in seconds, ``hang``,
    ``close``, ``raw``. The tokens are ``token-1``, ``token-2`` and so on. ``forms`` are the requests, parsed.
    """

    def __init__(self, context: ssl.SSLContext | None, *script: Script, expires_in: Any = 3_600) -> None:
        self.script = list(script)
        self.expires_in = expires_in
        self.forms: list[dict[str, str]] = []
        self.heads: list[str] = []
        self.issued = 0
        self.port = 0
        self._context = context

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/token"

    async def __aenter__(self) -> TokenServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        try:
            await self._answer(reader, writer)
            await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(
            next(line.split(":")[1] for line in head.lower().split("\r\n") if "content-length" in line)
        )
        form = parse_qs((await reader.readexactly(length)).decode(), strict_parsing=True)
        self.heads.append(head)
        self.forms.append({name: values[0] for name, values in form.items()})
        how = self.script.pop(0) if self.script else {}
        if callable(how):
            how = how(self.forms[-1])
        await asyncio.sleep(how.get("delay", 0))
        if how.get("hang"):
            await asyncio.Event().wait()
        if how.get("close"):
            return
        if "raw" in how:
            writer.write(how["raw"])
            return
        body = how["body"] if "body" in how else self.token(**how.get("token", {}))
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {
            "Date": formatdate(usegmt=True), "Content-Type": "application/json", "Content-Length": str(len(octets)),
            **how.get("headers", {}),
        }  # fmt: skip
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {how.get('status', 200)} So\r\n{lines}\r\n".encode() + octets)

    def token(self, **more: Any) -> dict[str, Any]:
        self.issued += 1
        said = {
            "access_token": f"token-{self.issued}", "token_type": "Bearer", "expires_in": self.expires_in, **more
        }  # fmt: skip
        return {name: value for name, value in said.items() if value is not None}
