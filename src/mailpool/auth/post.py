"""One POST of a form over verified TLS, with a bound on everything; nothing is followed and nothing is kept."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from ..errors import ConnectionFailed, TokenFailed
from ..net.connect import connect
from ..options import Options
from ..options.proxy import Proxy
from ..results import Phase

# Of an answer with its header, in octets. Tokens have a few thousand at most.
MOST = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said. ``date`` is its clock in seconds since 1970, ``retry_after`` is in seconds."""

    status: int
    body: bytes
    date: float | None = None
    retry_after: float | None = None


async def post_form(
    url: str,
    form: Mapping[str, str],
    *,
    timeout: float,
    ca_file: str | None = None,
    proxy: Proxy | None = None,
) -> Answer:
    """Send ``form`` and return what comes back, whatever its status: a redirect is an answer as any other.

    :param url: begins with ``https``; the certificate is checked in every case
    :param timeout: seconds for all of it
    :param ca_file: PEM file of the authorities to trust in place of the system's
    :param proxy: what stands between us and the server; it is told its name and nothing of what is sent
    :raises TokenFailed: there is no answer; temporary where time may mend that
    """
    try:
        import h11
    except ImportError as error:
        raise _failed(
            "cannot be asked without the package h11: pip install 'mailpool[oauth2]'", url
        ) from error
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise _failed(f"cannot be asked: ca_file cannot be read: {error}", url) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # RFC 9525 §2
    try:
        async with asyncio.timeout(timeout):
            return await _exchange(h11, url, urlencode(form).encode("ascii"), context, proxy)
    except TimeoutError:
        raise _failed(f"gave no answer within {timeout:g} s", url, temporary=True) from None
    except ssl.SSLCertVerificationError as error:
        words = f"shows a certificate that is not trusted: {error.verify_message}"
        raise _failed(words, url) from error
    except h11.RemoteProtocolError as error:
        raise _failed("answers with something that is no HTTP", url, temporary=True) from error
    except ConnectionFailed as error:
        raise _failed(f"cannot be reached: {error}", url, temporary=error.temporary) from error
    except OSError as error:
        raise _failed(f"cannot be reached: {error}", url, temporary=True) from error


async def _exchange(h11: Any, url: str, body: bytes, context: ssl.SSLContext, proxy: Proxy | None) -> Answer:
    """One request and its answer on a connection of their own (RFC 9112)."""
    parts = urlsplit(url)
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": str(len(body)),
        "Accept": "application/json",
        "User-Agent": "mailpool",
        "Connection": "close",
    }
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    http = h11.Connection(h11.CLIENT)
    request = http.send(h11.Request(method="POST", target=target, headers=list(headers.items())))
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    there = Options(host=str(parts.hostname), port=parts.port or 443, secure=True, proxy=proxy)
    transport = await connect(there, protocol, context)
    writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
    try:
        writer.write(request + http.send(h11.Data(data=body)) + http.send(h11.EndOfMessage()))
        return await _read(h11, http, reader, url)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _read(h11: Any, http: Any, reader: asyncio.StreamReader, url: str) -> Answer:
    head, body, received = None, b"", 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            block = await reader.read(MOST)
            received += len(block)
            if received > MOST:
                raise _failed(f"has more to say than {MOST} octets", url, temporary=True)
            http.receive_data(block)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            return _answer(head, body)


def _answer(head: Any, body: bytes) -> Answer:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    wait = headers.get("retry-after", "")
    return Answer(
        head.status_code,
        body,
        _seconds(headers.get("date")),
        float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 7 else None,
    )


def _seconds(date: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError):
        return None


def _failed(what: str, url: str, *, temporary: bool = False) -> TokenFailed:
    return TokenFailed(
        f"OAuth2: the token server {urlsplit(url).netloc} {what}", phase=Phase.AUTH, temporary=temporary
    )
