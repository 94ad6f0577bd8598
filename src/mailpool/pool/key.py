"""What connections must have in common to be shared (P-04)."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import Credentials, Options


@dataclass(frozen=True, slots=True)
class ConnectionKey:
    """Two messages may use the same connection only if these are equal: the way there, the trust, and the identity.

    The secret itself is part of it: a changed password must not ride on an old login.
    """

    address: tuple[object, ...]
    trust: tuple[object, ...]
    identity: Credentials | None

    @classmethod
    def of(cls, options: Options, credentials: Credentials | None) -> ConnectionKey:
        """The key of a connection for ``credentials`` over ``options``."""
        return cls(
            (
                options.lmtp,
                options.host,
                options.effective_port,
                options.unix_socket,
                options.local_address,
                options.proxy,
                options.dial,
                options.name,
            ),
            (options.effective_secure, options.starttls, options.effective_servername, options.tls),
            credentials,
        )
