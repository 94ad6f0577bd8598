"""Contents behind ``http:`` and ``https:`` URLs, for messages that may name them (extra ``fetch``).

A URL in a message is often written by somebody else, so it may aim at this machine's own network, at endless answers, or
at the credentials of another host. Names are looked up here and the checked address is the one connected to; time, size
and redirects are bounded; nothing is decompressed; header fields of the caller go to the origin they were given for.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import ipaddress
import re
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from ..address import ascii_domain
from ..errors import AddressError, ConfigurationError, MessageError
from ..message.sources import Found, Spool
from ..options.access import Access
from .resolve import resolve

try:
    import httpcore
except ImportError as missing:
    raise ConfigurationError(
        "URLs in messages need the package httpcore: pip install mailpool[fetch]", option="access"
    ) from missing

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_SCHEMES: Final = {"http": 80, "https": 443}
_is_name = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_is_value = re.compile(r"[\t -~\x80-\xff]*").fullmatch
# These are about the connection, which is ours.
_NOT_THEIRS: Final = frozenset(
    (
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "accept-encoding",
        "te",
        "trailer",
        "upgrade",
    )
)
# Whoever is behind this prefix is the IPv4 address in its last 32 bits (RFC 6052 §2.1).
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

Origin = tuple[str, str, int]


async def fetch(url: str, headers: Mapping[str, str] | None, field: str, access: Access) -> Found:
    """The content behind ``url``, with its media type and the last part of its path.

    :param headers: header fields for the origin of ``url``; one that it redirects to does not get them
    :param field: for errors
    :raises MessageError: it may not be read, could not be read, or holds too much; no part of the URL that may be
        secret, and no header field, is in the error
    """
    if not access.urls:
        raise MessageError(f"{field}: URLs are not allowed here (access.urls is False)", field=field)
    shown = field
    try:
        parts = _split(url, field)
        shown = f"{field}: {_shown(parts)}"
        async with asyncio.timeout(access.timeout):
            return await _follow(parts, _checked(headers, field), field, access)
    except TimeoutError:
        words = f"there was no complete answer within {access.timeout:g} s (access.timeout)"
    except httpcore.LocalProtocolError:
        words = "the request cannot be made"  # its own words would repeat a header field
    except (
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.TimeoutException,
        httpcore.UnsupportedProtocol,
        OSError,
        UnicodeError,
    ) as error:
        words = str(error) or type(error).__name__
    raise MessageError(f"{shown}: {words}", field=field) from None


async def _follow(parts: SplitResult, headers: dict[str, str], field: str, access: Access) -> Found:
    name = _name(parts)
    login = _login(parts)
    if login:
        headers.setdefault("Authorization", login)
    async with (
        contextlib.aclosing(_Guard(field, access)) as guard,
        httpcore.AsyncConnectionPool(
            ssl_context=_tls_context(ssl.get_default_verify_paths()),
            network_backend=guard,
            max_connections=1,
        ) as pool,
    ):
        for _ in range(access.max_redirects + 1):
            async with pool.stream("GET", _target(parts), headers=list(_sent(headers))) as response:
                if response.status not in _REDIRECTS:
                    return await _body(response, name, parts, field, access)
                there = _leads_to(parts, _header(response, b"location"), field)
                if (parts.scheme, there.scheme) == ("https", "http"):
                    raise MessageError(
                        f"{field}: {_shown(parts)} leads from https: to http:, which is refused", field=field
                    )
                if _origin(there) != _origin(parts):
                    headers = {}  # it may be anybody's
                parts = there
    raise MessageError(
        f"{field}: it was redirected more than {access.max_redirects} times (access.max_redirects)",
        field=field,
    )


async def _body(
    response: httpcore.Response, name: str, parts: SplitResult, field: str, access: Access
) -> Found:
    if not 200 <= response.status < 300:
        raise MessageError(f"{field}: {_shown(parts)} was answered {response.status}", field=field)
    if _header(response, b"content-encoding").strip().lower() not in ("", "identity"):
        # A few octets may stand for gigabytes, and we asked for none of that.
        raise MessageError(
            f"{field}: {_shown(parts)} gives it compressed only, which is refused", field=field
        )
    spool = Spool(field, access.most_fetched)
    try:
        length = _header(response, b"content-length")
        if length.isdigit() and int(length[:18]) > access.most_fetched:
            raise MessageError(
                f"{field}: it holds more than {access.most_fetched} octets (access.max_size)", field=field
            )
        async for block in response.aiter_stream():
            spool.write(block)
        return Found(spool.finish(), content_type=_header(response, b"content-type").strip(), name=name)
    finally:
        spool.close()


class _Guard(httpcore.AnyIOBackend):
    """Connects to the addresses that it has looked up and checked itself: what a name leads to later does not matter."""

    def __init__(self, field: str, access: Access) -> None:
        self._field = field
        self._access = access
        self._streams: list[httpcore.AsyncNetworkStream] = []

    async def aclose(self) -> None:
        """Close what was connected to: httpcore leaves it open when it is cancelled in a TLS handshake."""
        while self._streams:
            await self._streams.pop().aclose()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            found = await resolve(host, port)
        except (OSError, UnicodeError):
            raise MessageError(
                f"{self._field}: the host {host!r:.80} could not be resolved", field=self._field
            ) from None
        addresses = list(dict.fromkeys(str(target[0]) for _, target in found))
        if not self._access.private_addresses and not all(map(is_public, addresses)):
            raise MessageError(
                f"{self._field}: {host!r:.80} leads to this machine or a private network, which is refused "
                "(access.private_addresses)",
                field=self._field,
            )
        error: Exception = OSError("there is no address")
        for address in addresses:
            try:
                stream = await super().connect_tcp(address, port, timeout, local_address, socket_options)
                self._streams.append(stream)
                return stream
            except httpcore.NetworkError as failed:
                error = failed
        raise error

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise NotImplementedError


def is_public(address: str) -> bool:
    """Whether ``address`` is one of the open Internet (RFC 6890), also if it stands for another address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        elif ip.sixtofour is not None:
            return is_public(str(ip.sixtofour))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


# -- URLs ----------------------------------------------------------------------------------------------------------------


def _split(url: object, field: str) -> SplitResult:
    if not isinstance(url, str) or not url.isprintable() or " " in url or "\\" in url:
        raise MessageError(
            f"{field}: the URL holds white space or another character that it may not", field=field
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise MessageError(f"{field}: the URL cannot be read", field=field) from None
    if parts.scheme not in _SCHEMES or not parts.hostname or port == 0:
        raise MessageError(f"{field}: only http: and https: URLs with a host are read", field=field)
    try:
        _host(parts)
    except AddressError:
        raise MessageError(f"{field}: the host of the URL is no domain name", field=field) from None
    return parts


def _leads_to(parts: SplitResult, location: str, field: str) -> SplitResult:
    # Not ASCII, as it should be, but what people put there is UTF-8.
    with contextlib.suppress(UnicodeDecodeError):
        location = location.encode("latin-1").decode()
    try:
        there = urljoin(parts.geturl(), location)
    except ValueError:
        raise MessageError(
            f"{field}: {_shown(parts)} leads to a URL that cannot be read", field=field
        ) from None
    return _split(there, field)


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return host if host.isascii() else ascii_domain(host)


def _origin(parts: SplitResult) -> Origin:
    return parts.scheme, _host(parts), parts.port or _SCHEMES[parts.scheme]


def _target(parts: SplitResult) -> httpcore.URL:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]") if parts.query else ""
    scheme, host, port = _origin(parts)
    return httpcore.URL(
        scheme=scheme.encode(),
        host=host.encode(),
        port=None if port == _SCHEMES[scheme] else port,
        target=(path + query).encode(),
    )


def _shown(parts: SplitResult) -> str:
    """The URL without what may be secret in it."""
    place = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    return f"{parts.scheme}://{place}{parts.path:.80}{'?…' if parts.query else ''}"


def _name(parts: SplitResult) -> str:
    name = re.split(r"[/\\]", unquote(parts.path))[-1]
    return "".join(filter(str.isprintable, name))


def _login(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


# -- header fields ---------------------------------------------------------------------------------------------------


def _checked(headers: object, field: str) -> dict[str, str]:
    where = f"{field.rpartition('.')[0]}.http_headers"
    if headers is None:
        headers = {}
    if not isinstance(headers, Mapping):
        raise MessageError(f"{where}: give a mapping of names to text", field=where)
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not _is_name(name) or name.lower() in _NOT_THEIRS:
            raise MessageError(f"{where}: {name!r:.60} cannot be given", field=where)
        if not isinstance(value, str) or not _is_value(value):
            raise MessageError(
                f"{where}: the value of {name} is no text, or cannot be in a header", field=where
            )
        checked[name] = value
    return checked


def _sent(headers: Mapping[str, str]) -> Iterable[tuple[bytes, bytes]]:
    own = {"Accept": "*/*", "User-Agent": "mailpool"}
    taken = {name.lower() for name in headers}
    for name, value in own.items():
        if name.lower() not in taken:
            yield name.encode(), value.encode()
    yield b"Accept-Encoding", b"identity"
    for name, value in headers.items():
        yield name.encode(), value.encode("latin-1")


def _header(response: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), "")


@functools.lru_cache(maxsize=4)
def _tls_context(paths: ssl.DefaultVerifyPaths) -> ssl.SSLContext:
    """One for all: to load the system's authorities takes longer than many a fetch. ``paths`` says where they are."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # RFC 9525 §2
    return context
