"""Certificates and keys, read by ``cryptography``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigurationError
from ...options.smime_identity import Smime

_READ = 1_000_000  # octets of a file: a chain has a few thousand


@dataclass(frozen=True, slots=True, repr=False)
class LoadedSmime:
    """An `Smime` whose certificates and key are there.

    ``sign``          a detached signature of octets, as DER (RFC 5652); ``None`` to leave it unsigned
    ``encrypt``       octets for the recipients, as DER; ``None`` to leave it readable
    ``certificates``  whose time has to be right: that of the signer, and those of the recipients
    """

    sign: Callable[[bytes], bytes] | None
    encrypt: Callable[[bytes], bytes] | None
    certificates: tuple[Any, ...]


def load_smime(given: Smime) -> LoadedSmime:
    """Read what ``given`` holds.

    :raises ConfigurationError: a part cannot be read or used; or ``cryptography`` is not installed
    """
    try:
        from cryptography.hazmat.primitives.ciphers import algorithms
        from cryptography.hazmat.primitives.serialization import pkcs7
        from cryptography.x509 import load_pem_x509_certificates

        pkcs7.PKCS7EnvelopeBuilder.set_content_encryption_algorithm  # noqa: B018 - older versions have only AES-128
    except (ImportError, AttributeError):
        raise _wrong("smime", "needs the package cryptography: pip install mailpool[smime]") from None
    from cryptography.hazmat.primitives.serialization import Encoding

    def certificates(name: str, value: Any) -> list[Any]:
        value = _read(name, value)
        if not isinstance(value, str | bytes):
            return [value]
        try:
            return load_pem_x509_certificates(value.encode() if isinstance(value, str) else value)
        except ValueError:
            raise _wrong(name, "the PEM holds no certificate that can be read") from None

    used: list[Any] = []
    sign = encrypt = None
    if given.certificate is not None:
        own, *rest = certificates("smime.certificate", given.certificate)
        for one in given.chain:
            rest += certificates("smime.chain", one)
        sign = _signer(own, _private_key(given), rest)
        used.append(own)
    if given.recipients:
        readers = [found for one in given.recipients for found in certificates("smime.recipients", one)]
        builder = pkcs7.PKCS7EnvelopeBuilder().set_content_encryption_algorithm(algorithms.AES256)
        try:
            for reader in readers:
                builder = builder.add_recipient(reader)
        except TypeError:
            raise _wrong("smime.recipients", "only certificates with RSA keys can be encrypted for") from None

        def encrypt(octets: bytes) -> bytes:
            return bytes(builder.set_data(octets).encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary]))

        used += readers
    return LoadedSmime(sign, encrypt, tuple(used))


def _signer(own: Any, private: Any, rest: list[Any]) -> Callable[[bytes], bytes]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

    try:
        belongs = own.public_key() == private.public_key()
        pkcs7.PKCS7SignatureBuilder().add_signer(own, private, hashes.SHA256())
    except (TypeError, AttributeError):
        raise _wrong(
            "smime.private_key", "S/MIME is signed with RSA or elliptic curves, nothing else"
        ) from None
    if not belongs:
        raise _wrong("smime.private_key", "belongs to another certificate")
    options = [pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.DetachedSignature]

    def sign(octets: bytes) -> bytes:
        builder = pkcs7.PKCS7SignatureBuilder().set_data(octets).add_signer(own, private, hashes.SHA256())
        for certificate in rest:
            builder = builder.add_certificate(certificate)
        return bytes(builder.sign(Encoding.DER, options))

    return sign


def _private_key(given: Smime) -> Any:
    """The key object; what a parser says of a key that it cannot read may hold a part of it, and is not passed on."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    value = _read("smime.private_key", given.private_key)
    if not isinstance(value, str | bytes):
        return value
    secret = given.passphrase.encode() if isinstance(given.passphrase, str) else given.passphrase
    try:
        return load_pem_private_key(value.encode() if isinstance(value, str) else value, secret)
    except TypeError:
        if secret is None:
            raise _wrong("smime.passphrase", "the PEM is encrypted; give its passphrase") from None
        raise _wrong("smime.passphrase", "is given, but the PEM is not encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        hint = "; is the passphrase right?" if secret is not None else ""
        raise _wrong("smime.private_key", f"the PEM holds no private key that can be read{hint}") from None


def _read(name: str, value: Any) -> Any:
    if not isinstance(value, os.PathLike):
        return value
    try:
        with open(value, "rb") as file:
            return file.read(_READ)
    except OSError as error:
        raise _wrong(name, f"the file cannot be read: {error.strerror}") from None


def _wrong(option: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"{option}: {problem}", option=option)
