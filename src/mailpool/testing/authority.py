"""Certificates for tests, made on the spot. Needs the package ``cryptography``."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import tempfile
from pathlib import Path
from typing import Any


class Authority:
    """A certificate authority that exists for one test run. Nobody else trusts it.

        authority = Authority()
        async with ScriptedServer(tls=authority.server_context("127.0.0.1")) as server:
            ...  # connect with authority.client_context()

    Raises ``ImportError`` if ``cryptography`` is not installed.
    """

    def __init__(self) -> None:
        try:
            import cryptography  # noqa: F401 - only to see whether it is there
        except ImportError as error:
            raise ImportError(
                "certificates for tests need the package cryptography: pip install cryptography"
            ) from error
        self._key = _new_key()
        self._name = _name("mailpool test authority")
        self._certificate = self._sign(self._name, self._key.public_key(), _now(), 1, ca=True)

    @property
    def ca_pem(self) -> str:
        """The authority's certificate, for whoever is to trust it."""
        return _pem(self._certificate).decode()

    def client_context(self) -> ssl.SSLContext:
        """A context that trusts this authority and nobody else, and checks host names."""
        return ssl.create_default_context(cadata=self.ca_pem)

    def server_context(self, *names: str, days: int = 1, begins: int = 0, san: bool = True) -> ssl.SSLContext:
        """A server's context with a certificate for ``names``: host names, IP addresses, ``*.example``.

        It is valid for ``days`` from ``begins`` days after now; ``begins=-9`` gives one that has expired. With
        ``san=False`` the first name is the subject's alone, which proves nothing (RFC 9525 §2).
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # The standard library loads certificates from files only.
        with tempfile.TemporaryDirectory() as folder:
            context.load_cert_chain(
                *self.write_certificate(folder, *names, days=days, begins=begins, san=san)
            )
        return context

    def write_ca(self, path: str | os.PathLike[str]) -> Path:
        """Write the authority's certificate to a file and return its path."""
        file = Path(path)
        file.write_text(self.ca_pem)
        return file

    def write_certificate(
        self,
        folder: str | os.PathLike[str],
        *names: str,
        days: int = 1,
        begins: int = 0,
        san: bool = True,
    ) -> tuple[Path, Path]:
        """Write a certificate and its key to ``folder`` and return both paths."""
        from cryptography.hazmat.primitives import serialization

        key = _new_key()
        first_day = _now() + datetime.timedelta(days=begins)
        certificate = self._sign(
            _name(names[0]), key.public_key(), first_day, days, names=names if san else ()
        )
        files = Path(folder) / "certificate.pem", Path(folder) / "key.pem"
        files[0].write_bytes(_pem(certificate))
        files[1].touch(mode=0o600)
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    def _sign(
        self,
        subject: Any,
        public_key: Any,
        begins: datetime.datetime,
        days: int,
        *,
        ca: bool = False,
        names: tuple[str, ...] = (),
    ) -> Any:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            # Clocks differ, also between two programs on one machine.
            .not_valid_before(begins - datetime.timedelta(minutes=5))
            .not_valid_after(begins + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(issuer_key, critical=False)
        )
        if ca:
            usage = dict.fromkeys(
                ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                 "encipher_only", "decipher_only"),
                False,
            )  # fmt: skip
            builder = builder.add_extension(
                x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True
            )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str) -> Any:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
