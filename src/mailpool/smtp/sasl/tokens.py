"""Mechanisms for OAuth2 bearer tokens (RFC 6750): OAUTHBEARER and its elder brother XOAUTH2."""

from __future__ import annotations

import json

from .mechanism import Mechanism, printable


class _Bearer(Mechanism):
    """A refusal comes as a challenge that holds JSON; only after one more answer does the server say 535."""

    last_answer = b""

    def __init__(self, user: str, token: str) -> None:
        self._user = user
        self._token = token

    def step(self, challenge: bytes) -> bytes:
        if self.detail is not None:
            raise self.over()
        self.detail = _reason(self._without_token(challenge))
        # Whatever the server says now, it has not accepted the token.
        self.complete = False
        return self.last_answer

    def _without_token(self, challenge: bytes) -> bytes:
        """A server that repeats the token must not bring it into an error; what is shorter than 4 octets is none."""
        token = self._token.encode()
        return challenge.replace(token, b"***") if len(token) >= 4 else challenge


class XOAuth2(_Bearer):
    """The form that Gmail and Microsoft 365 know."""

    name = "XOAUTH2"

    def start(self) -> bytes:
        self.complete = True
        return f"user={self._user}\x01auth=Bearer {self._token}\x01\x01".encode()


class OAuthBearer(_Bearer):
    """RFC 7628."""

    name = "OAUTHBEARER"
    last_answer = b"\x01"  # §3.2.3

    def __init__(self, user: str, token: str, host: str = "", port: int = 0) -> None:
        super().__init__(user, token)
        self._place = (f"host={host}\x01" if host else "") + (f"port={port}\x01" if port else "")

    def start(self) -> bytes:
        self.complete = True
        # No channel binding, and the user as the identity to act as (RFC 5801 §4).
        identity = self._user.replace("=", "=3D").replace(",", "=2C")
        return f"n,a={identity},\x01{self._place}auth=Bearer {self._token}\x01\x01".encode()


def _reason(challenge: bytes) -> str:
    """The ``status`` of the JSON (RFC 7628 §3.2.2), or as much of the text as fits an error message."""
    try:
        status = json.loads(challenge)["status"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return printable(challenge)
    return printable(str(status).encode("utf-8", "replace"))
