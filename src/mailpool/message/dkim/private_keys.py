"""Private keys that sign, read by ``cryptography``, and the DNS records of their public halves (RFC 6376 §3.6.1)."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ...errors import ConfigurationError
from ...options.dkim_key import DkimKey

_WEAK: Final = 1_024  # RFC 8301 §3.2: verifiers take nothing shorter


@dataclass(frozen=True, slots=True, repr=False)
class LoadedKey:
    """A `DkimKey` whose private key is there.

    ``algorithm``  the ``a=`` tag
    ``sign``       the signature of octets
    ``public``     the public key as the ``p=`` tag of its DNS record has it, not yet in base64
    ``bits``       of an RSA key
    """

    key: DkimKey
    algorithm: str
    sign: Callable[[bytes], bytes]
    public: bytes
    bits: int

    def __repr__(self) -> str:
        return f"<LoadedKey {self.algorithm} {self.key.selector}._domainkey.{self.key.domain}>"


def load_key(key: DkimKey) -> LoadedKey:
    """Read the private key of ``key``: the file, where it is a path, and the PEM.

    :raises ConfigurationError: it cannot be read, is of another kind, or too weak; or ``cryptography`` is not installed
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    except ImportError:
        raise _wrong("needs the package cryptography: pip install mailpool[dkim]", "dkim") from None
    private = _private_key(key)
    if isinstance(private, RSAPrivateKey):
        return _rsa(key, private)
    if isinstance(private, Ed25519PrivateKey):
        return _ed25519(key, private)
    raise _wrong(f"a DKIM key is RSA or Ed25519, not {type(private).__name__.lstrip('_')}")


def dkim_record(key: DkimKey) -> tuple[str, str]:
    """The TXT record that publishes the public half of ``key``: its name, and its text.

    A text of over 255 octets is several strings in a zone file, one after the other (RFC 6376 §3.6.2.2).

    :raises ConfigurationError: the private key cannot be used, see `DkimKey`
    """
    loaded = load_key(key)
    kind = loaded.algorithm.partition("-")[0]
    public = base64.b64encode(loaded.public).decode("ascii")
    return f"{key.selector}._domainkey.{key.domain}", f"v=DKIM1; k={kind}; p={public}"


def _wrong(problem: str, option: str = "dkim.private_key") -> ConfigurationError:
    return ConfigurationError(f"{option}: {problem}", option=option)


def _private_key(key: DkimKey) -> Any:
    """The key object; whatever a parser says of a key that it cannot read may hold a part of it, and is not passed on."""
    given = key.private_key
    if isinstance(given, os.PathLike):
        try:
            with open(given, "rb") as file:
                given = file.read(100_000)
        except OSError as error:
            raise _wrong(f"the file cannot be read: {error.strerror}") from None
    if not isinstance(given, str | bytes):
        return given
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    octets = given.encode() if isinstance(given, str) else given
    secret = key.passphrase.encode() if isinstance(key.passphrase, str) else key.passphrase
    try:
        return load_pem_private_key(octets, secret)
    except TypeError:
        if secret is None:
            raise _wrong("the PEM is encrypted; give its passphrase", "dkim.passphrase") from None
        raise _wrong("is given, but the PEM is not encrypted", "dkim.passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        if secret is not None:
            raise _wrong("the PEM cannot be read; is the passphrase right?") from None
        raise _wrong("the PEM holds no private key that can be read") from None


def _rsa(key: DkimKey, private: Any) -> LoadedKey:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if private.key_size < _WEAK:
        raise _wrong(f"RSA of {private.key_size} bits is too weak to be accepted; use 2048 (RFC 8301 §3.2)")
    padding, sha256 = PKCS1v15(), hashes.SHA256()
    return LoadedKey(
        key,
        "rsa-sha256",
        lambda octets: bytes(private.sign(octets, padding, sha256)),
        private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        private.key_size,
    )


def _ed25519(key: DkimKey, private: Any) -> LoadedKey:
    # RFC 8463 §3: what is signed is the hash, by PureEdDSA; and the record has the bare key.
    return LoadedKey(
        key,
        "ed25519-sha256",
        lambda octets: bytes(private.sign(hashlib.sha256(octets).digest())),
        private.public_key().public_bytes_raw(),
        0,
    )
