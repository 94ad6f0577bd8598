"""SCRAM: both sides prove that they know the password, and neither says it (RFC 5802, RFC 7677).

With -PLUS the proof holds for this TLS connection only, so that nobody in between can pass it on. The server's proof is
always asked for: what is said here gives nobody who does not know the password a way to claim that it was right.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

from ...errors import AuthenticationFailed, ProtocolError
from ...results import Phase
from .mechanism import Mechanism, printable
from .saslprep import saslprep

# Fewer make the password easy to guess for whoever took the server's place (RFC 7677 §4); more are an attack on us.
LEAST_ITERATIONS = 4_096
MOST_ITERATIONS = 2_000_000
# About a millisecond; what takes longer is worked out in a thread.
_QUICK = 5_000

_ALGORITHMS = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}
_SERVER_FIRST = re.compile(
    rb"r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+),s=(?P<salt>[A-Za-z0-9+/=]+),i=(?P<count>[1-9][0-9]*)(?:,.*)?",
    re.DOTALL,
)
_SERVER_FINAL = re.compile(rb"v=(?P<signature>[A-Za-z0-9+/=]+)(?:,.*)?", re.DOTALL)
_COUNT = re.compile(rb",i=([1-9][0-9]*)(?:,|\Z)")


class Scram(Mechanism):
    """One login with SCRAM-SHA-256, SCRAM-SHA-1, or a -PLUS form of them."""

    secure = True

    def __init__(self, name: str, user: str, password: str, *, nonce: str, gs2: str, binding: bytes) -> None:
        """
        :param name: of the mechanism
        :param nonce: fresh, of printable ASCII without a comma
        :param gs2: the header that says whether the channel is bound (RFC 5802 §6)
        :param binding: the data that it is bound to; empty if it is not
        :raises AuthenticationFailed: user or password has no prepared form (RFC 4013)
        """
        self.name = name
        self._algorithm = _ALGORITHMS[name.removesuffix("-PLUS")]
        self._password = _prepared("password", password).encode("utf-8")
        identity = _prepared("user", user).replace("=", "=3D").replace(",", "=2C")
        self._nonce = nonce.encode("ascii")
        self._gs2 = gs2.encode("ascii")
        self._binding = base64.b64encode(self._gs2 + binding)
        self._first = b"n=%s,r=%s" % (identity.encode("utf-8"), self._nonce)
        self._expected: bytes | None = None  # the server's signature, once we know what it must be

    @classmethod
    def bound(
        cls,
        name: str,
        user: str,
        password: str,
        nonce: str,
        bindings: Mapping[str, bytes],
        offered: Sequence[str],
    ) -> Scram:
        """The login with the header that tells a server truly what we could have done (RFC 5802 §6).

        :param bindings: what the channel could be bound to, the preferred first
        :param offered: the mechanisms that the server offers, as we saw them
        """
        if name.endswith("-PLUS"):
            kind, data = next(iter(bindings.items()))
            return cls(name, user, password, nonce=nonce, gs2=f"p={kind},,", binding=data)
        # "y" tells a server that does offer -PLUS that somebody took that out of its list; it then refuses.
        stripped = bool(bindings) and not any(
            other.startswith("SCRAM-") and other.endswith("-PLUS") for other in offered
        )
        return cls(name, user, password, nonce=nonce, gs2="y,," if stripped else "n,,", binding=b"")

    def start(self) -> bytes:
        return self._gs2 + self._first

    def is_slow(self, challenge: bytes | None) -> bool:
        found = _COUNT.search(challenge or b"")
        return self._expected is None and found is not None and _QUICK < _number(found[1]) <= MOST_ITERATIONS

    def step(self, challenge: bytes) -> bytes:
        if self.complete or self.detail is not None:
            raise self.over()
        if challenge.startswith(b"e="):
            # A refusal with a reason; an empty answer lets the server say 535.
            self.detail = printable(challenge[2:])
            return b""
        if self._expected is None:
            return self._prove(challenge)
        return self._check(challenge)

    def _prove(self, challenge: bytes) -> bytes:
        said = _SERVER_FIRST.fullmatch(challenge)
        salt = _decode(said["salt"]) if said is not None else None
        if said is None or not salt:
            raise ProtocolError(
                f"the server's first message of {self.name} is malformed (RFC 5802 §7)", phase=Phase.AUTH
            )
        nonce = said["nonce"]
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise self._distrusted("does not continue our nonce: this may be an old answer played back")
        iterations = _number(said["count"])
        if iterations < LEAST_ITERATIONS:
            raise self._distrusted(
                f"wants {iterations} iterations, and fewer than {LEAST_ITERATIONS} make the password easy to guess"
            )
        if iterations > MOST_ITERATIONS:
            raise self._distrusted(f"wants more than {MOST_ITERATIONS} iterations")
        salted = _salted(self._algorithm, self._password, salt, iterations)
        without_proof = b"c=%s,r=%s" % (self._binding, nonce)
        transcript = b",".join((self._first, challenge, without_proof))
        client_key = self._hmac(salted, b"Client Key")
        stored_key = hashlib.new(self._algorithm, client_key).digest()
        signature = self._hmac(stored_key, transcript)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._expected = self._hmac(self._hmac(salted, b"Server Key"), transcript)
        return without_proof + b",p=" + base64.b64encode(proof)

    def _check(self, challenge: bytes) -> bytes:
        assert self._expected is not None
        said = _SERVER_FINAL.fullmatch(challenge)
        signature = _decode(said["signature"]) if said is not None else None
        if signature is None:
            raise ProtocolError(
                f"the server's last message of {self.name} is malformed (RFC 5802 §7)", phase=Phase.AUTH
            )
        if not hmac.compare_digest(signature, self._expected):
            raise self._distrusted("does not know the password that it claims to have checked")
        self.complete = True
        return b""

    def _hmac(self, key: bytes, message: bytes) -> bytes:
        return hmac.digest(key, message, self._algorithm)

    def _distrusted(self, why: str) -> AuthenticationFailed:
        return AuthenticationFailed(
            f"the server {why} ({self.name}); it may not be the one that you mean", phase=Phase.AUTH
        )


def _prepared(what: str, text: str) -> str:
    try:
        return saslprep(text)
    except ValueError as error:
        raise AuthenticationFailed(
            f"the {what} {error}, which SCRAM has no form for (RFC 4013); change it, or name another mechanism with "
            "auth_method",
            phase=Phase.AUTH,
        ) from None


# The connections of one pool log in to the same server as the same user: the work is done for the first of them.
@functools.lru_cache(maxsize=64)
def _salted(algorithm: str, password: bytes, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac(algorithm, password, salt, iterations)


def _number(digits: bytes) -> int:
    return int(digits) if len(digits) <= 9 else MOST_ITERATIONS + 1


def _decode(text: bytes) -> bytes | None:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
