"""What a SASL mechanism is, and what it is told (RFC 4422 §5).

A mechanism deals in plain octets; `exchange` puts them on lines. Secrets live in private attributes only, and no ``repr``
shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ...errors import ProtocolError
from ...results import Phase


@dataclass(frozen=True, slots=True)
class LoginContext:
    """What a login may need beside the credentials. It does no I/O itself: it is told.

    :param token: the access token to use now, or None
    :param nonce: a fresh unguessable text of printable ASCII without a comma
    :param channel_bindings: data that ties the login to this TLS connection, by type (RFC 5056), the preferred first;
        empty without TLS
    :param host: name of the server, as in its certificate
    :param port: its port
    :param negotiate: makes GSSAPI and NTLM, which take a library that asks the system: ``negotiate(name, credentials,
        context)``
    """

    token: str | None = field(default=None, repr=False)
    nonce: str = field(default="", repr=False)
    channel_bindings: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    host: str = ""
    port: int = 0
    negotiate: Callable[[str, Any, LoginContext], Mechanism] | None = field(default=None, repr=False)


class Mechanism:
    """One login by one SASL mechanism; each object is used once. Subclass it for a mechanism of your own.

    ``name``      as the server announces it, in upper case
    ``secure``    whether a listener on a connection without TLS learns nothing that it could use
    ``complete``  set it once your side of the proof has been given and, if the mechanism has the server prove something
                  too, that was checked. Success that the server claims before is an error
    ``detail``    what the server said inside the exchange about why it refused; shown in the error
    """

    name: str = ""
    secure: bool = False
    complete: bool = False
    detail: str | None = None

    def start(self) -> bytes | None:
        """The initial response, or ``None`` where the server speaks first."""
        return None

    def step(self, challenge: bytes) -> bytes:
        """The answer to a challenge.

        :raises SendError: the challenge is wrong, or the mechanism has nothing more to answer
        """
        raise self.over()

    def is_slow(self, challenge: bytes | None) -> bool:
        """Whether the answer takes so long that it is to be worked out in a thread; ``None`` asks about ``start``."""
        return False

    def over(self) -> ProtocolError:
        """The error for a challenge after everything has been said."""
        return ProtocolError(
            f"the server goes on asking after {self.name} has said everything", phase=Phase.AUTH
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'complete' if self.complete else 'not complete'}>"


def printable(octets: bytes) -> str:
    """What a server said inside an exchange, as far as it fits an error message."""
    text = octets[:500].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text).strip()[:200] or "no reason given"
