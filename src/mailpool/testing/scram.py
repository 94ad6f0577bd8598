"""The server's side of SCRAM (RFC 5802, RFC 7677), which can be told to misbehave."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

Accounts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ScramManners:
    """How the server's side of SCRAM behaves; by default, well.

    ``iterations``    of the hash; what it asks for is also what it does, up to a million
    ``salt``          ``None``: another each time
    ``bindings``      what the -PLUS forms accept: data by type, such as ``{"tls-server-end-point": …}``
    ``offers_plus``   whether it knows itself to offer -PLUS: then a client that says it saw none is refused, as somebody
                      must have taken it out of the list
    ``extends_nonce``  ``False``: it sends the client's nonce back as it is; a text: it sends that
    ``knows_password``  ``False``: it takes any proof, and signs with another key, as an impostor would
    ``proves_itself``  ``False``: it says 235 without its own proof
    ``error``         a server-error (§7) to send in place of the proof
    """

    iterations: int = 4_096
    salt: bytes | None = None
    bindings: Mapping[str, bytes] = field(default_factory=dict)
    offers_plus: bool = False
    extends_nonce: bool | str = True
    knows_password: bool = True
    proves_itself: bool = True
    error: str | None = None


def scram(
    algorithm: str, plus: bool, manners: ScramManners, accounts: Accounts
) -> Generator[bytes, bytes, str | None]:
    """One login: yields challenges, is sent responses, returns who was let in."""
    first = yield b""
    gs2, _, bare = first.partition(b",,")
    fields = _fields(bare)
    if not _binding_is_right(gs2, plus, manners) or b"n" not in fields or b"r" not in fields:
        return None
    user = fields[b"n"].replace(b"=2C", b",").replace(b"=3D", b"=").decode("utf-8", "replace")
    salt = secrets.token_bytes(16) if manners.salt is None else manners.salt
    nonce = fields[b"r"]
    if isinstance(manners.extends_nonce, str):
        nonce = manners.extends_nonce.encode()
    elif manners.extends_nonce:
        nonce += secrets.token_hex(12).encode()
    offer = b"r=%s,s=%s,i=%d" % (nonce, base64.b64encode(salt), manners.iterations)
    final = yield offer
    without_proof, _, proof = final.rpartition(b",p=")
    answer = _fields(without_proof)
    bound = gs2 + b",," + (manners.bindings[gs2[2:].decode()] if plus else b"")
    if user not in accounts or answer.get(b"r") != nonce or answer.get(b"c") != base64.b64encode(bound):
        return None
    secret = accounts[user] if manners.knows_password else secrets.token_hex(16)
    salted = hashlib.pbkdf2_hmac(algorithm, secret.encode(), salt, min(manners.iterations, 1_000_000))
    client_key = hmac.digest(salted, b"Client Key", algorithm)
    transcript = b",".join((bare, offer, without_proof))
    signature = hmac.digest(hashlib.new(algorithm, client_key).digest(), transcript, algorithm)
    expected = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    right = hmac.compare_digest(base64.b64encode(expected), proof)
    if manners.error is not None or (manners.knows_password and not right):
        yield b"e=" + (manners.error or "invalid-proof").encode()
        return None
    if manners.proves_itself:
        server_key = hmac.digest(salted, b"Server Key", algorithm)
        yield b"v=" + base64.b64encode(hmac.digest(server_key, transcript, algorithm))
    return user


def _binding_is_right(gs2: bytes, plus: bool, manners: ScramManners) -> bool:
    if plus:
        return gs2[:2] == b"p=" and gs2[2:].decode("ascii", "replace") in manners.bindings
    return gs2 == b"n" or (gs2 == b"y" and not manners.offers_plus)


def _fields(text: bytes) -> dict[bytes, bytes]:
    return dict(part.partition(b"=")[::2] for part in text.split(b","))
