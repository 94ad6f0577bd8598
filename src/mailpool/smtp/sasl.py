"""Logging in, without I/O: which mechanism, and what it answers to each challenge (RFC 4422, RFC 4954).

A mechanism deals in plain octets; `Exchange` puts them on AUTH lines in base64, and is where a server that leads us on
is stopped. Secrets live in private attributes only, and no ``repr`` shows them.
"""

from __future__ import annotations

import binascii
import hmac
import json
from collections.abc import Sequence
from typing import Protocol

from ..errors import AuthenticationFailed, ProtocolError
from ..options import Credentials
from ..results import Phase, Reply
from . import commands

# No mechanism here needs more than two rounds; ten leave room for servers that ask strangely, and end a trap.
MOST_CHALLENGES = 10
# Of a command line with its CRLF (RFC 5321 §4.5.3.1.4): a longer initial response waits for its challenge.
MAX_COMMAND = 512


class Mechanism(Protocol):
    """One login by one SASL mechanism; use each object once."""

    @property
    def name(self) -> str: ...

    @property
    def secure(self) -> bool:
        """Whether a listener cannot learn the secret from what is written."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the proof of identity has been handed out: no server can have accepted it before."""
        ...

    @property
    def detail(self) -> str | None:
        """What the server said inside the exchange about why it refused."""
        ...

    def start(self) -> bytes | None:
        """The initial response, or ``None`` where the server speaks first."""
        ...

    def step(self, challenge: bytes) -> bytes:
        """The answer to a challenge.

        :raises ProtocolError: the mechanism has nothing more to answer
        """
        ...


class _Base:
    name = ""
    secure = False

    def __init__(self, user: str, secret: str) -> None:
        self._user = user.encode("utf-8")
        self._secret = secret.encode("utf-8")
        self.complete = False
        self.detail: str | None = None

    def start(self) -> bytes | None:
        return None

    def _over(self) -> ProtocolError:
        return ProtocolError(
            f"the server goes on asking after {self.name} has said everything", phase=Phase.AUTH
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'complete' if self.complete else 'not complete'}>"


class Plain(_Base):
    """RFC 4616."""

    name = "PLAIN"

    def start(self) -> bytes:
        self.complete = True
        return b"\0%s\0%s" % (self._user, self._secret)

    def step(self, challenge: bytes) -> bytes:
        raise self._over()


class Login(_Base):
    """Never standardised, and all that some servers offer: the user name, then the password, whatever the prompts say."""

    name = "LOGIN"

    def __init__(self, user: str, secret: str) -> None:
        super().__init__(user, secret)
        self._answers = [self._secret, self._user]

    def step(self, challenge: bytes) -> bytes:
        if not self._answers:
            raise self._over()
        answer = self._answers.pop()
        self.complete = not self._answers
        return answer


class CramMd5(_Base):
    """RFC 2195. It keeps the password from a listener, and proves nothing about the server."""

    name = "CRAM-MD5"
    secure = True

    def step(self, challenge: bytes) -> bytes:
        if self.complete:
            raise self._over()
        self.complete = True
        return b"%s %s" % (self._user, hmac.new(self._secret, challenge, "md5").hexdigest().encode("ascii"))


class XOAuth2(_Base):
    """A bearer token, in the form that Gmail and Microsoft 365 know (the token is what RFC 6750 calls so)."""

    name = "XOAUTH2"

    def start(self) -> bytes:
        self.complete = True
        return b"user=%s\x01auth=Bearer %s\x01\x01" % (self._user, self._secret)

    def step(self, challenge: bytes) -> bytes:
        # A refusal comes as a challenge that holds JSON; only after an empty answer does the server say 535.
        if self.detail is not None:
            raise self._over()
        self.detail = _token_error(challenge)
        return b""


_FOR_PASSWORD: dict[str, type[Plain] | type[Login] | type[CramMd5]] = {
    "PLAIN": Plain,
    "LOGIN": Login,
    "CRAM-MD5": CramMd5,
}
_FOR_TOKEN = {"XOAUTH2": XOAuth2}


def choose(
    credentials: Credentials,
    offered: Sequence[str],
    *,
    encrypted: bool,
    allow_cleartext: bool = False,
    forced: str | None = None,
    token: str | None = None,
) -> Mechanism:
    """The strongest mechanism that the server offers and that suits the credentials.

    With an access token that is XOAUTH2. With a password, PLAIN, then LOGIN, then CRAM-MD5; CRAM-MD5 comes first when
    nothing is encrypted, and is then the only one unless ``allow_cleartext``.

    :param credentials: who logs in
    :param offered: names in upper case, as in `Capabilities.auth`
    :param encrypted: whether the connection is TLS
    :param allow_cleartext: whether the secret may be readable on the way, as on a loopback address
    :param forced: the one mechanism to use; without it ``credentials.method``
    :param token: what a callable ``access_token`` gave just now
    :raises AuthenticationFailed: none suits; the message says what is offered, what would suit and what to do
    :raises ConfigurationError: ``token`` is empty or holds NUL or ``\\x01``
    """
    by_token = credentials.password is None
    secret = token if by_token else credentials.password
    if secret is None and isinstance(credentials.access_token, str):
        secret = credentials.access_token
    if secret is None:
        raise TypeError("the access token is a callable: await it and give the result as token=")
    if by_token:
        Credentials(
            credentials.user, access_token=secret
        )  # a token fetched just now has not been looked at yet
    suitable = _FOR_TOKEN if by_token else _FOR_PASSWORD
    forced = forced or credentials.method
    order = [forced.upper()] if forced else list(suitable)
    if not encrypted:
        # Those that keep the secret from a listener first; the sort is stable.
        order.sort(key=lambda name: not (name in suitable and suitable[name].secure))
    for name in order:
        if name in suitable and name in offered and (encrypted or allow_cleartext or suitable[name].secure):
            return suitable[name](credentials.user, secret)
    raise AuthenticationFailed(_why_none(by_token, order, offered, forced), phase=Phase.AUTH)


def _why_none(by_token: bool, order: list[str], offered: Sequence[str], forced: str | None) -> str:
    if not offered:
        return (
            "the server offers no AUTH on this connection; many offer it only under TLS: use secure=True or "
            "starttls='required', or leave auth away if this server needs none"
        )
    suitable = _FOR_TOKEN if by_token else _FOR_PASSWORD
    says = f"the server offers {', '.join(offered)}; {'an access token' if by_token else 'a password'} can be used with {', '.join(suitable)}"
    if forced and forced.upper() not in suitable:
        return f"{says}; {forced.upper()} was asked for: leave auth_method away"
    if any(name in offered for name in order):
        return f"{says}, but without TLS the secret could be read on the way: use secure=True or starttls='required', or allow_cleartext_auth=True if you must"
    if forced:
        return f"{says}; {forced.upper()} was asked for and is not offered: leave auth_method away"
    if any(name in _FOR_TOKEN for name in offered):
        return f"{says}; this server wants OAuth2: give auth an access_token in place of the password"
    return f"{says}; use other credentials or ask the server's operator"


class Exchange:
    """One AUTH command and what follows, as lines to write and replies to hand in.

    Write `begin`; hand each reply to `answer` and write what it returns, until it returns ``None``: the reply handed in
    last is then the server's decision (235 or not).
    """

    __slots__ = ("_challenges", "_held", "mechanism")

    def __init__(self, mechanism: Mechanism) -> None:
        self.mechanism = mechanism
        self._held: bytes | None = None  # an initial response too long for the command line
        self._challenges = 0

    def begin(self, *, max_command: int = MAX_COMMAND) -> bytes:
        """The AUTH command, with the initial response if the line then has at most ``max_command`` octets."""
        initial = self.mechanism.start()
        if initial is None:
            return commands.auth(self.mechanism.name, None)
        line = commands.auth(self.mechanism.name, _encode(initial))
        if len(line) <= max_command:
            return line
        self._held = initial
        return commands.auth(self.mechanism.name, None)

    def answer(self, reply: Reply) -> bytes | None:
        """The line that answers a 334, or ``None`` when the server has decided.

        :raises ProtocolError: a challenge that is no base64, too many of them, or success before any proof
        """
        if reply.code != 334:
            if reply.is_success and (self._held is not None or not self.mechanism.complete):
                raise ProtocolError(
                    "the server claims success before it saw any credentials", phase=Phase.AUTH, reply=reply
                )
            return None
        self._challenges += 1
        if self._challenges > MOST_CHALLENGES:
            raise ProtocolError("the server asks without end", phase=Phase.AUTH, reply=reply)
        challenge = _decode(reply)
        if self._held is not None:
            held, self._held = self._held, None
            return _encode(held) + b"\r\n"
        return _encode(self.mechanism.step(challenge)) + b"\r\n"

    def __repr__(self) -> str:
        return f"<Exchange {self.mechanism!r}>"


def _encode(octets: bytes) -> bytes:
    return binascii.b2a_base64(octets, newline=False)


def _decode(reply: Reply) -> bytes:
    text = reply.text.strip()
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ProtocolError("the server's challenge is not base64", phase=Phase.AUTH, reply=reply) from None


def _token_error(challenge: bytes) -> str:
    """The ``status`` of the JSON in which a refusal comes, or as much of the text as fits an error message."""
    text = challenge[:500].decode("utf-8", "replace")
    try:
        status = json.loads(challenge)["status"]
    except (ValueError, TypeError, KeyError, RecursionError):
        status = text
    printable = "".join(c if c.isprintable() else " " for c in str(status))
    return printable.strip()[:200] or "no reason given"
