"""The server's side of SASL (RFC 4954), one generator for each mechanism.

A mechanism yields challenges, is sent responses, and returns the user it let in, or ``None``. The empty first challenge
of a mechanism in which the client speaks first is skipped when the client sent an initial response.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from typing import NamedTuple

from .scram import ScramManners, scram

Accounts = Mapping[str, str]
Exchange = Generator[bytes, bytes, str | None]


class Mechanism(NamedTuple):
    """How one mechanism runs. ``initial_response``: whether the client may send its first words with AUTH."""

    initial_response: bool
    run: Callable[[Accounts], Exchange]


def _let_in(accounts: Accounts, user: bytes, secret: bytes) -> str | None:
    name = user.decode("utf-8", "replace")
    known = accounts.get(name)
    return name if known is not None and hmac.compare_digest(known.encode(), secret) else None


def _plain(accounts: Accounts) -> Exchange:
    """RFC 4616."""
    parts = (yield b"").split(b"\0")
    return _let_in(accounts, parts[1], parts[2]) if len(parts) == 3 else None


def _login(accounts: Accounts) -> Exchange:
    user = yield b"Username:"
    secret = yield b"Password:"
    return _let_in(accounts, user, secret)


def _cram_md5(accounts: Accounts) -> Exchange:
    """RFC 2195."""
    challenge = f"<{secrets.token_hex(8)}@scripted.example>".encode()
    name, _, digest = (yield challenge).rpartition(b" ")
    user = name.decode("utf-8", "replace")
    secret = accounts.get(user)
    if secret is None:
        return None
    expected = hmac.new(secret.encode(), challenge, hashlib.md5).hexdigest().encode()
    return user if hmac.compare_digest(expected, digest) else None


def _token(accounts: Accounts, user: bytes, authorization: bytes) -> Exchange:
    kind, _, token = authorization.partition(b" ")
    found = _let_in(accounts, user, token) if kind.lower() == b"bearer" else None
    if found is None:
        # The reason comes as a challenge, and the client has to answer it before it hears the refusal.
        yield b'{"status":"401","schemes":"bearer","scope":"mail"}'
    return found


def _xoauth2(accounts: Accounts) -> Exchange:
    fields = dict(part.partition(b"=")[::2] for part in (yield b"").split(b"\x01") if part)
    return (yield from _token(accounts, fields.get(b"user", b""), fields.get(b"auth", b"")))


def _oauthbearer(accounts: Accounts) -> Exchange:
    """RFC 7628."""
    header, *parts = (yield b"").split(b"\x01")
    user = next((f[2:] for f in header.split(b",") if f.startswith(b"a=")), b"")
    fields = dict(part.partition(b"=")[::2] for part in parts if part)
    return (yield from _token(accounts, user, fields.get(b"auth", b"")))


def _external(accounts: Accounts) -> Exchange:
    """RFC 4422 Appendix A. Nobody looks at a certificate here: whoever is named is let in if there is such an account."""
    name = (yield b"").decode("utf-8", "replace") or next(iter(accounts), "")
    return name if name in accounts else None


def mechanisms(names: Iterable[str], manners: ScramManners) -> dict[str, Mechanism]:
    """The mechanisms of those names, in that order. ``KeyError`` for one that is not known."""
    scrams = {
        name + suffix: Mechanism(True, partial(scram, algorithm, bool(suffix), manners))
        for name, algorithm in (("SCRAM-SHA-1", "sha1"), ("SCRAM-SHA-256", "sha256"))
        for suffix in ("", "-PLUS")
    }
    known = {**_SIMPLE, **scrams}
    return {name: known[name] for name in names}


_SIMPLE: dict[str, Mechanism] = {
    "PLAIN": Mechanism(True, _plain),
    "LOGIN": Mechanism(True, _login),
    "CRAM-MD5": Mechanism(False, _cram_md5),
    "XOAUTH2": Mechanism(True, _xoauth2),
    "OAUTHBEARER": Mechanism(True, _oauthbearer),
    "EXTERNAL": Mechanism(True, _external),
}


class Login:
    """One AUTH exchange. Each step gives what the server says next.

    ``user`` is who was let in, once that is so.
    """

    def __init__(self, mechanism: Mechanism, accounts: Accounts) -> None:
        self.user: str | None = None
        self._mechanism = mechanism
        self._exchange: Exchange | None = mechanism.run(accounts)

    def begin(self, initial: str | None) -> str:
        """The answer to AUTH. ``initial`` is the initial response as it stood on the line."""
        if initial is not None and not self._mechanism.initial_response:
            return "501 5.7.0 this mechanism has no initial response"
        assert self._exchange is not None
        challenge = next(self._exchange)
        return (
            self.respond("" if initial == "=" else initial) if initial is not None else _challenge(challenge)
        )

    def respond(self, line: str) -> str:
        """The answer to a response line."""
        if line == "*":
            return "501 5.7.0 authentication cancelled"
        try:
            response = base64.b64decode(line, validate=True)
        except ValueError:
            return "501 5.5.2 that is no base64"
        if self._exchange is None:
            return "535 5.7.8 authentication failed"
        try:
            return _challenge(self._exchange.send(response))
        except StopIteration as end:
            self._exchange = None
            self.user = end.value
        return "535 5.7.8 authentication failed" if self.user is None else "235 2.7.0 authenticated"


def _challenge(data: bytes) -> str:
    return f"334 {base64.b64encode(data).decode()}"
