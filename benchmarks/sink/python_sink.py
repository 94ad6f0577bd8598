"""The sink in Python, for machines without a C compiler; the same arguments and output as ``sink.c``."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections import Counter
from typing import cast

COUNTED: Counter[str] = Counter()


class Connection(asyncio.BufferedProtocol):
    def __init__(self, extensions: tuple[str, ...]) -> None:
        self._extensions = extensions
        self._buffer = bytearray(262_144)
        self._tail = b""
        self._mode = "command"
        self._left = 0  # octets of a BDAT that are still to come
        self._mail = self._broken = self._last = False
        self._recipients = 0
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        COUNTED["connections"] += 1
        self._transport.write(b"220 sink.test ESMTP\r\n")

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self._tail + self._buffer[:nbytes]
        at = 0
        while at < len(data):
            if self._mode == "chunk":
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                if self._left:
                    break
                self._mode = "command"
                self._chunk_ends()
            elif self._mode == "data":
                found = data.find(b"\r\n.\r\n", at)
                if found < 0:
                    at = max(at, len(data) - 4)
                    break
                at = found + 5
                self._mode = "command"
                self._message_ends()
            else:
                found = data.find(b"\n", at)
                if found < 0:
                    break
                self._command(bytes(data[at:found]).rstrip(b"\r").upper())
                # The line end of DATA is the one that a lone dot may follow.
                at = found - 1 if self._mode == "data" else found + 1
                if self._mode == "chunk" and not self._left:
                    self._mode = "command"
                    self._chunk_ends()
        self._tail = bytes(data[at:])
        self._transport.write(b"".join(self._out))
        self._out.clear()

    def _command(self, line: bytes) -> None:
        say = self._out.append
        if line.startswith(b"MAIL FROM:"):
            bad = self._mail or self._broken
            self._mail = True
            say(b"503 5.5.1 nested MAIL\r\n" if bad else b"250 2.1.0 Ok\r\n")
        elif line.startswith(b"RCPT TO:"):
            if not self._mail:
                say(b"503 5.5.1 need MAIL\r\n")
            elif line.startswith(b"RCPT TO:<REFUSED"):
                COUNTED["refused"] += 1
                say(b"550 5.1.1 no such user\r\n")
            else:
                self._recipients += 1
                say(b"250 2.1.5 Ok\r\n")
        elif line == b"DATA":
            if self._recipients:
                self._mode = "data"
                say(b"354 End data with <CR><LF>.<CR><LF>\r\n")
            else:
                say(b"554 5.5.1 no valid recipients\r\n")
        elif line.startswith(b"BDAT "):
            words = line.split()
            self._left = int(words[1])
            self._last = words[-1] == b"LAST"
            self._broken = self._broken or not self._recipients
            self._mode = "chunk"
        elif line == b"RSET":
            self._reset()
            say(b"250 2.0.0 Ok\r\n")
        elif line.startswith(b"EHLO"):
            lines = ["sink.test", "8BITMIME", "SIZE 4294967296", "SMTPUTF8", *self._extensions]
            marks = ["-"] * (len(lines) - 1) + [" "]
            say("".join(f"250{mark}{text}\r\n" for mark, text in zip(marks, lines, strict=True)).encode())
        elif line == b"QUIT":
            say(b"221 2.0.0 Bye\r\n")
            asyncio.get_running_loop().call_soon(self._transport.close)
        else:
            say(b"250 2.0.0 Ok\r\n" if line in (b"NOOP", b"HELO") else b"500 5.5.2 unrecognised\r\n")

    def _chunk_ends(self) -> None:
        if self._broken:
            self._out.append(b"503 5.5.1 no valid recipients; RSET\r\n")
        elif self._last:
            self._message_ends()
        else:
            self._out.append(b"250 2.0.0 chunk\r\n")

    def _message_ends(self) -> None:
        COUNTED["messages"] += 1
        self._out.append(b"250 2.0.0 Ok: queued\r\n")
        self._reset()

    def _reset(self) -> None:
        self._mail = self._broken = False
        self._recipients = 0


async def serve(words: list[str]) -> None:
    extensions = tuple(name for name in ("PIPELINING", "CHUNKING") if f"--no-{name.lower()}" not in words)
    context = None
    if "--tls" in words:
        at = words.index("--tls")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(words[at + 1], words[at + 2])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(extensions), "127.0.0.1", 0, ssl=context)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps({"messages": 0, "refused": 0, **COUNTED}), flush=True)


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(sys.argv[1:]))
    else:
        uvloop.run(serve(sys.argv[1:]))
