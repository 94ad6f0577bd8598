"""TLS contexts, and sessions that make the next handshake cheap (RFC 8446 §2.2).

A resumed handshake does not look at the certificate again, so a session is kept with the context of one connection key
only, and with it the host name that was verified.
"""

from __future__ import annotations

import ssl
from typing import Any

from ..errors import ConfigurationError, TLSFailed
from ..options import Options, TLSOptions
from ..results import Phase


def context_for(options: Options) -> ResumingContext:
    """The context of one key: the user's own, or one made from the simple options.

    :raises ConfigurationError: a certificate or key file cannot be loaded
    """
    tls = options.tls
    if isinstance(tls, ssl.SSLContext):
        return ResumingContext(tls)
    return ResumingContext(_build(tls if tls is not None else TLSOptions()))


def _build(tls: TLSOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file, cadata=tls.ca_data)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file, tls.key_password)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"tls: a certificate or key cannot be loaded: {error}", option="tls"
        ) from error
    context.minimum_version = ssl.TLSVersion[tls.min_version.replace(".", "_")]
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class ResumingContext(ssl.SSLContext):
    """Stands before another context and lends each new connection the session of the last.

    asyncio has no way in for sessions: it asks its context for an SSLObject and gives none. So this one overrides the
    asking. It must be an SSLContext to be let in, but only ``wrap_bio`` of the inner one is ever used.
    """

    inner: ssl.SSLContext
    _session: ssl.SSLSession | None

    def __new__(cls, inner: ssl.SSLContext) -> ResumingContext:
        context = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        context.inner = inner
        context._session = None
        return context

    def __init__(self, inner: ssl.SSLContext) -> None:
        """Wraps ``inner``, which stays as it is."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return self.inner.wrap_bio(
            incoming,
            outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
            session=self._session,
        )

    def keep_session(self, ssl_object: Any) -> None:
        """Take the session at the end of a connection: with TLS 1.3 the ticket comes after the handshake."""
        session = getattr(ssl_object, "session", None)
        if session is not None and session.has_ticket:
            self._session = session


# What no retry mends: the two sides will disagree in the same way next time.
_LASTING = (
    "WRONG_VERSION_NUMBER",
    "UNSUPPORTED_PROTOCOL",
    "ALERT_PROTOCOL_VERSION",
    "NO_SHARED_CIPHER",
    "UNKNOWN_CA",
)


def tls_error(error: ssl.SSLError, options: Options) -> TLSFailed:
    """What went wrong in a handshake, in words; ``temporary`` unless time will not mend it."""
    where = options.effective_servername
    reason = error.reason or ""
    lasting = isinstance(error, ssl.SSLCertVerificationError) or any(word in reason for word in _LASTING)
    if isinstance(error, ssl.SSLCertVerificationError):
        words = f"the certificate of {where} is not trusted: {error.verify_message}"
        advice = "give its authority with tls={'ca_file': …}, or the right name with servername"
    elif "WRONG_VERSION_NUMBER" in reason and options.effective_secure:
        words = f"{where} does not speak TLS from the first byte on port {options.effective_port}"
        advice = "use secure=False: STARTTLS is then used by itself"
    else:
        words = f"the TLS handshake with {where} failed: {reason or error}"
        advice = "the server's TLS versions or certificates may not suit"
    return TLSFailed(f"{words}; {advice}", phase=Phase.TLS, temporary=not lasting)
