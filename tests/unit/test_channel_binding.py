"""tls-server-end-point: the hash of a certificate, with the hash that it is signed with (RFC 5929 §4.1)."""

from __future__ import annotations

import datetime
import hashlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from mailpool.smtp.sasl.channel_binding import server_end_point

RSA = rsa.generate_private_key(65_537, 2_048)
EC = ec.generate_private_key(ec.SECP256R1())


def certificate(key: Any, algorithm: Any, **how: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.example")])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=9))
    return builder.sign(key, algorithm, **how).public_bytes(serialization.Encoding.DER)


def pss(algorithm: Any) -> dict[str, Any]:
    return {"rsa_padding": padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH)}


@pytest.mark.parametrize("key", [RSA, EC], ids=["RSA", "ECDSA"])
@pytest.mark.parametrize("name", ["sha224", "sha256", "sha384", "sha512"])
def test_the_hash_of_the_signature(key: Any, name: str) -> None:
    der = certificate(key, getattr(hashes, name.upper())())
    assert server_end_point(der) == hashlib.new(name, der).digest()


@pytest.mark.parametrize("name", ["sha224", "sha256", "sha384", "sha512"])
def test_rsa_pss(name: str) -> None:
    algorithm = getattr(hashes, name.upper())()
    der = certificate(RSA, algorithm, **pss(algorithm))
    assert server_end_point(der) == hashlib.new(name, der).digest()


def test_dsa() -> None:
    der = certificate(dsa.generate_private_key(1_024), hashes.SHA256())
    assert server_end_point(der) == hashlib.sha256(der).digest()


@pytest.mark.parametrize(
    "oid", ["2a864886f70d010104", "2a864886f70d010105", "2a8648ce380403", "2a8648ce3d0401"]
)
def test_md5_and_sha1_are_replaced_by_sha256(oid: str) -> None:
    octets = bytes.fromhex(oid)
    algorithm = b"\x30" + bytes([len(octets) + 2]) + b"\x06" + bytes([len(octets)]) + octets
    content = b"\x30\x00" + algorithm + b"\x03\x01\x00"
    der = b"\x30" + bytes([len(content)]) + content
    assert server_end_point(der) == hashlib.sha256(der).digest()


def test_ed25519_has_none() -> None:
    assert server_end_point(certificate(ed25519.Ed25519PrivateKey.generate(), None)) is None


DER = certificate(RSA, hashes.SHA256(), **pss(hashes.SHA256()))


@given(st.one_of(st.binary(max_size=80), st.integers(0, len(DER)).map(lambda cut: DER[:cut])))
def test_what_is_no_certificate_has_none(data: bytes) -> None:
    assert data == DER or server_end_point(data) is None or data[:1] == b"\x30"


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_broken_certificate_raises_nothing(place: int, octet: int) -> None:
    server_end_point(DER[:place] + bytes([octet]) + DER[place + 1 :])
