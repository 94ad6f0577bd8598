"""A way through a SOCKS proxy: versions 4, 4a and 5 (RFC 1928, RFC 1929), spoken by the package ``python-socks``."""

from __future__ import annotations

import socket
from typing import Any

from ..errors import ConfigurationError, ProxyFailed
from ..options.proxy import Proxy
from ..results import Phase
from .dial import Patience

# What time does not mend: the proxy's rules (5: RFC 1928 §6; 4: the client is not who it says), or what it cannot do.
_LASTING = frozenset({0x02, 0x07, 0x08, 0x5C, 0x5D})


def python_socks() -> Any:
    """The package that speaks SOCKS.

    :raises ConfigurationError: it is not installed
    """
    try:
        import python_socks as package
        import python_socks.async_.asyncio
    except ImportError as error:
        raise ConfigurationError(
            "proxy: SOCKS proxies need the package python-socks: pip install 'mailpool[proxy]'",
            option="proxy",
        ) from error
    return package


class _Connected:
    """Stands where a proxy before this proxy would: it has connected already, to the addresses that we chose."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def connect(self, **where: object) -> socket.socket:
        return self._sock


async def ask(
    proxy: Proxy, sock: socket.socket, host: str, port: int, patience: Patience
) -> ProxyFailed | None:
    """Have the proxy at the other end of ``sock`` connect to ``host``: afterwards its octets are the server's.

    :param host: a name, which the proxy then looks up, or an IP address
    :returns: None; or why it does not, and then the socket is closed: another address may be reached all the same
    :raises ProxyFailed: it wants another login, whatever the address
    """
    package = python_socks()
    kind = package.ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else package.ProxyType.SOCKS5
    client = package.async_.asyncio.Proxy(
        kind, proxy.host, proxy.port, proxy.user, proxy.password, rdns=True, forward=_Connected(sock)
    )
    lasting = unknown = False
    try:
        async with patience.step(Phase.PROXY, f"answer from the proxy {proxy.url}"):
            # It reads no more than the answer: what the server says first is still to be read.
            await client.connect(dest_host=host, dest_port=port, timeout=patience.seconds + 1)
        return None
    except package.ProxyError as error:
        words = _words(error)
        unknown = "authentication" in words
        lasting = unknown or error.error_code in _LASTING
        cause: Exception = error
    except (OSError, ValueError, IndexError) as error:
        words, cause = "closed the connection, or answers with something that is no SOCKS", error
    except BaseException:
        sock.close()
        raise
    sock.close()
    refusal = ProxyFailed(
        f"the proxy {proxy.url} did not connect to {host} port {port}: {words}",
        phase=Phase.PROXY,
        temporary=not lasting,
    )
    refusal.__cause__ = cause
    if unknown:
        raise refusal
    return refusal


def _words(error: BaseException) -> str:
    text = "".join(filter(str.isprintable, str(error)))[:200]
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
