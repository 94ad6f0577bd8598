"""What a service account shows for a token: a claim signed with its key (RFC 7523 §2.1, RFC 7515, RFC 7518 §3.3)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from ..errors import TokenFailed
from ..options.oauth2 import OAuth2, ServiceAccount
from ..results import Phase

# How long the claim may be used, in seconds; the token lives by its own time.
LIFETIME = 300
# Clocks differ a little: a claim from the future is refused.
_BEFORE = 10


def account_of(source: OAuth2) -> ServiceAccount:
    """The account that is configured, read from its file where that is named.

    :raises TokenFailed: the file cannot be read, or holds none
    """
    account = source.service_account
    if isinstance(account, ServiceAccount):
        return account
    try:
        found = json.loads(Path(str(account)).read_text("utf-8"))
    except (OSError, ValueError) as error:
        # What a file of keys holds is not shown.
        raise _failed(f"its file cannot be read: {type(error).__name__}") from None
    if not (isinstance(found, dict) and found.get("client_email") and found.get("private_key")):
        raise _failed("its file holds no client_email and private_key")
    return ServiceAccount.of(found)


def assertion(source: OAuth2, user: str, now: float) -> str:
    """The signed claim that ``source`` may act as ``user``.

    :param now: seconds since 1970, as the token server counts them
    :raises TokenFailed: the key is no RSA key, or ``cryptography`` is not installed
    """
    account = account_of(source)
    header = {"alg": "RS256", "typ": "JWT"}
    if account.private_key_id:
        header["kid"] = account.private_key_id
    begins = int(now) - _BEFORE
    claims = {
        "iss": account.client_email,
        "sub": user,
        "aud": source.token_url,
        "iat": begins,
        "exp": begins + LIFETIME,
    }
    if source.scope:
        claims["scope"] = source.scope
    signed = b".".join(_part(json.dumps(part).encode()) for part in (header, claims))
    return b".".join((signed, _part(_sign(account.private_key, signed)))).decode("ascii")


def _sign(key: str, data: bytes) -> bytes:
    try:
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError as error:
        raise _failed("needs the package cryptography: pip install 'mailpool[oauth2]'") from error
    try:
        private: Any = serialization.load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError):
        private = None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise _failed("its private_key is no RSA key in PEM without a password")
    return private.sign(data, padding.PKCS1v15(), hashes.SHA256())


def _part(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _failed(what: str) -> TokenFailed:
    return TokenFailed(f"OAuth2: the service account: {what}", phase=Phase.AUTH)
