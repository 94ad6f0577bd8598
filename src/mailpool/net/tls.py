"""TLS contexts, and sessions that make the next handshake cheap (RFC 8446 §2.2).

A resumed handshake does not look at the certificate again, so a session is kept with the context of one connection key
only, and with it the host name that was verified.
"""

from __future__ import annotations

import functools
import ssl
from typing import Any

from ..errors import ConfigurationError, TLSFailed
from ..options import Options, TLSOptions
from ..options.proxy import Proxy
from ..results import Phase


def context_for(options: Options) -> ResumingContext:
    """The context of one key: the user's own, or one made from the simple options.

    :raises ConfigurationError: a certificate or key file cannot be loaded
    """
    tls = options.tls
    if isinstance(tls, ssl.SSLContext):
        return ResumingContext(tls)
    return ResumingContext(_build(tls if tls is not None else TLSOptions()))


def proxy_context(proxy: Proxy) -> ssl.SSLContext:
    """The context for TLS with an ``https`` proxy; one for all connections to it.

    :raises ConfigurationError: a certificate or key file cannot be loaded
    """
    if isinstance(proxy.tls, ssl.SSLContext):
        return proxy.tls
    return _for_proxies(proxy.tls, ssl.get_default_verify_paths())


@functools.lru_cache(maxsize=8)
def _for_proxies(tls: TLSOptions, paths: ssl.DefaultVerifyPaths) -> ssl.SSLContext:
    """``paths`` says where the system's authorities are: to load them takes longer than to connect."""
    return _build(tls, "proxy.tls")


def _build(tls: TLSOptions, option: str = "tls") -> ssl.SSLContext:
    loading = "ca_data" if tls.ca_file is None else f"ca_file {tls.ca_file!r}"
    try:
        context = ssl.create_default_context(cafile=tls.ca_file, cadata=tls.ca_data)
        if tls.cert_file is not None:
            loading = f"cert_file {tls.cert_file!r}"
            if tls.key_file is not None:
                loading += f" with key_file {tls.key_file!r}"
            context.load_cert_chain(tls.cert_file, tls.key_file, tls.key_password)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else error
        raise ConfigurationError(f"{option}.{loading} cannot be loaded: {reason}", option=option) from error
    # A name in the subject proves nothing (RFC 9525 §2).
    context.hostname_checks_common_name = False
    context.minimum_version = ssl.TLSVersion[tls.min_version.replace(".", "_")]
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


# So many sessions may be lent in vain, one after the other; then a server is taken not to want any.
_MOST_IN_VAIN = 3


class ResumingContext(ssl.SSLContext):
    """Stands before another context and lends each new connection the session of the last.

    asyncio has no way in for sessions: it asks its context for an SSLObject and gives none. So this one overrides the
    asking. It must be an SSLContext to be let in, but only ``wrap_bio`` of the inner one is ever used.
    """

    inner: ssl.SSLContext
    _session: ssl.SSLSession | None
    _in_vain: int  # lent since the last one that was of use

    def __new__(cls, inner: ssl.SSLContext) -> ResumingContext:
        context = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        context.inner = inner
        context._session = None
        context._in_vain = 0
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

    def has_made(self, ssl_object: Any) -> bool:
        """Whether this TLS is with the server, and not with a proxy on the way to it."""
        return getattr(ssl_object, "context", self.inner) is self.inner

    def keep_session(self, ssl_object: Any) -> None:
        """Take the session at the end of a connection: with TLS 1.3 the ticket comes after the handshake.

        Only from a handshake that was a whole one: each look at a session costs some 6 KB that many versions of CPython
        never give back (gh-116810), and the ticket that has opened one connection opens the next. When it does not any
        more, that handshake is a whole one, and brings another.
        """
        if not self.has_made(ssl_object):
            return  # it is of the TLS with a proxy
        if self._in_vain >= _MOST_IN_VAIN:
            return
        if self._session is not None and getattr(ssl_object, "session_reused", False):
            return
        session = getattr(ssl_object, "session", None)
        if session is not None and session.has_ticket:
            self._session = session

    def opened(self, ssl_object: Any) -> None:
        """A connection has been opened to its end: if it resumed a session, that was of use."""
        if self.has_made(ssl_object) and getattr(ssl_object, "session_reused", False):
            self._in_vain = 0

    def forget_session(self) -> None:
        """Let the next handshake be a whole one: what the last session opened did not come to a reply."""
        if self._session is not None:
            self._session = None
            self._in_vain += 1


# What no retry mends: the two sides will disagree in the same way next time.
_LASTING = (
    "WRONG_VERSION_NUMBER",
    "UNSUPPORTED_PROTOCOL",
    "ALERT_PROTOCOL_VERSION",
    "NO_SHARED_CIPHER",
    "UNKNOWN_CA",
)


def tls_error(error: ssl.SSLError, options: Options) -> TLSFailed:
    """What went wrong in a handshake with the server, in words; ``temporary`` unless time will not mend it."""
    where = options.effective_servername
    if not options.effective_secure:
        in_clear = None
    else:
        in_clear = (
            f"{where} does not speak TLS from the first byte on port {options.effective_port}; "
            "use secure=False: STARTTLS is then used by itself"
        )
    advice = "give its authority with tls={'ca_file': …}, or the right name with servername"
    return _in_words(error, where, advice, in_clear, Phase.TLS)


def proxy_tls_error(error: ssl.SSLError, proxy: Proxy) -> TLSFailed:
    """The same for a handshake with an ``https`` proxy."""
    where = f"the proxy {proxy.url}"
    advice = "give its authority with proxy={'url': …, 'tls': {'ca_file': …}}"
    return _in_words(error, where, advice, f"{where} does not speak TLS; write http://", Phase.PROXY)


def _in_words(
    error: ssl.SSLError, where: str, untrusted: str, in_clear: str | None, phase: Phase
) -> TLSFailed:
    """
    :param untrusted: what to do about a certificate that is not trusted
    :param in_clear: what is wrong when the other side speaks no TLS, where that is known
    """
    reason = error.reason or ""
    lasting = isinstance(error, ssl.SSLCertVerificationError) or any(word in reason for word in _LASTING)
    if isinstance(error, ssl.SSLCertVerificationError):
        words = f"the certificate of {where} is not trusted: {error.verify_message}; {untrusted}"
    elif "WRONG_VERSION_NUMBER" in reason and in_clear is not None:
        words = in_clear
    else:
        words = (
            f"the TLS handshake with {where} failed: {reason or error}; "
            "the server's TLS versions or certificates may not suit"
        )
    return TLSFailed(words, phase=phase, temporary=not lasting)
