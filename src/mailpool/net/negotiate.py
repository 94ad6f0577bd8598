"""GSSAPI (Kerberos, RFC 4752) and NTLM, by ``pyspnego``, which asks the system and perhaps a key distribution centre."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from ..errors import AuthenticationFailed, ProtocolError
from ..options import Credentials
from ..results import Phase
from ..smtp.sasl import LoginContext, Mechanism

_NO_LAYER = 1  # the bit that says that nothing but the login is protected (RFC 4752 §3.3): TLS does the rest


def negotiate(name: str, credentials: Credentials, context: LoginContext) -> Mechanism:
    """The mechanism of that name, ``"GSSAPI"`` or ``"NTLM"``.

    :raises AuthenticationFailed: the library is not there; later, it has no such mechanism on this system
    """
    try:
        import spnego
        from spnego.channel_bindings import GssChannelBindings
    except ImportError:
        raise AuthenticationFailed(
            f"{name} needs a library: pip install mailpool[{'kerberos' if name == 'GSSAPI' else 'spnego'}]",
            phase=Phase.AUTH,
        ) from None
    bound = context.channel_bindings.get("tls-server-end-point")
    kerberos = name == "GSSAPI"

    def begin() -> Any:
        return spnego.client(
            credentials.user or None,
            credentials.password,
            hostname=context.host,
            service="smtp",
            protocol="kerberos" if kerberos else "ntlm",
            channel_bindings=GssChannelBindings(application_data=b"tls-server-end-point:" + bound)
            if bound
            else None,
        )

    return _Kerberos(begin, credentials.user) if kerberos else _Ntlm(begin)


class _Negotiated(Mechanism):
    secure = True

    def __init__(self, begin: Callable[[], Any]) -> None:
        """``begin`` gives the security context; it may ask the network already."""
        self._begin = begin
        self._security: Any = None

    def is_slow(self, challenge: bytes | None) -> bool:
        return True

    def start(self) -> bytes:
        try:
            self._security = self._begin()
        except Exception as error:
            raise self._failed("cannot begin", error) from error
        return self._next(None)

    def _next(self, token: bytes | None) -> bytes:
        try:
            return self._security.step(token) or b""
        except Exception as error:
            raise self._failed("failed", error) from error

    def _failed(self, how: str, error: Exception) -> AuthenticationFailed:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        return AuthenticationFailed(f"{self.name} {how}: {reason}", phase=Phase.AUTH)


class _Ntlm(_Negotiated):
    """As Microsoft describes it ([MS-SMTPNTLM])."""

    name = "NTLM"

    def step(self, challenge: bytes) -> bytes:
        if self.complete:
            raise self.over()
        answer = self._next(challenge)
        self.complete = bool(self._security.complete)
        return answer


class _Kerberos(_Negotiated):
    """RFC 4752. Of the layers that it could put around the connection afterwards none is taken."""

    name = "GSSAPI"

    def __init__(self, begin: Callable[[], Any], user: str) -> None:
        super().__init__(begin)
        self._user = user.encode("utf-8")

    def step(self, challenge: bytes) -> bytes:
        if self.complete:
            raise self.over()
        if not self._security.complete:
            return self._next(challenge)
        try:
            offer = self._security.unwrap(challenge).data
        except Exception as error:
            raise self._failed("failed", error) from error
        if len(offer) != 4:
            raise ProtocolError("the server's offer of security layers is malformed", phase=Phase.AUTH)
        if not offer[0] & _NO_LAYER:
            raise AuthenticationFailed(
                "the server wants a security layer of Kerberos around the connection; TLS is used here",
                phase=Phase.AUTH,
            )
        self.complete = True
        answer: bytes = self._security.wrap(
            struct.pack(">I", _NO_LAYER << 24) + self._user, encrypt=False
        ).data
        return answer
