"""EXTERNAL: the server knows already who we are, from our TLS certificate (RFC 4422 Appendix A)."""

from __future__ import annotations

from .mechanism import Mechanism


class External(Mechanism):
    name = "EXTERNAL"
    secure = True

    def __init__(self, user: str) -> None:
        """``user`` is the identity to act as; empty: whoever the certificate names."""
        self._user = user.encode("utf-8")

    def start(self) -> bytes:
        self.complete = True
        return self._user
