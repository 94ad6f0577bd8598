"""What a login takes from the world outside: chance, the TLS connection that it is bound to, and a thread."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable

from ..errors import AuthenticationFailed, TimedOut
from ..options import Options
from ..results import Phase
from ..smtp.sasl import LoginContext
from ..smtp.sasl.channel_binding import server_end_point
from .beside import in_daemon_thread
from .negotiate import negotiate


def login_context(options: Options, token: str | None, tls: ssl.SSLObject | None) -> LoginContext:
    """What is known of the login that comes now.

    :param token: the access token, where one is configured
    :param tls: the TLS connection, or None in clear text
    """
    return LoginContext(
        token=token,
        nonce=secrets.token_urlsafe(24),
        channel_bindings={} if tls is None else channel_bindings(tls),
        host=options.effective_servername,
        port=options.effective_port,
        negotiate=negotiate,
    )


def channel_bindings(tls: ssl.SSLObject) -> dict[str, bytes]:
    """What a login can be bound to, the preferred first: what a server must know comes before what it may (RFC 9266)."""
    found: dict[str, bytes | None] = {}
    if "tls-exporter" in ssl.CHANNEL_BINDING_TYPES:
        found["tls-exporter"] = tls.get_channel_binding("tls-exporter")
    if tls.version() in ("TLSv1.2", "TLSv1.1", "TLSv1"):
        # There is none with TLS 1.3, whatever OpenSSL gives (RFC 8446 Appendix C.5).
        found["tls-unique"] = tls.get_channel_binding("tls-unique")
    certificate = tls.getpeercert(binary_form=True)
    found["tls-server-end-point"] = server_end_point(certificate) if certificate else None
    return {kind: data for kind, data in found.items() if data}


async def in_thread(work: Callable[[], bytes | None], timeout: float) -> bytes | None:
    """Run ``work`` beside the event loop.

    :param timeout: seconds after which nobody waits for it any more; the thread comes to its own end
    :raises TimedOut: it took longer
    """
    try:
        async with asyncio.timeout(timeout):
            return await in_daemon_thread(work, "mailpool-login")
    except RuntimeError as error:  # the system has no thread left
        raise AuthenticationFailed(
            f"the login could not be worked out: {error}", phase=Phase.AUTH, temporary=True
        ) from error
    except TimeoutError:
        raise TimedOut(
            f"the login was not worked out within {timeout:g} s", phase=Phase.AUTH, temporary=True
        ) from None
