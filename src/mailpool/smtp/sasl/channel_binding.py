"""``tls-server-end-point``: what ties a login to the certificate that the server showed (RFC 5929 §4)."""

from __future__ import annotations

import hashlib

# The hash is the one with which the certificate is signed; MD5 and SHA-1 are replaced by SHA-256 (§4.1).
_HASHES = {
    "2a864886f70d010104": "sha256",  # md5WithRSAEncryption
    "2a864886f70d010105": "sha256",  # sha1WithRSAEncryption
    "2a864886f70d01010b": "sha256",
    "2a864886f70d01010c": "sha384",
    "2a864886f70d01010d": "sha512",
    "2a864886f70d01010e": "sha224",
    "2a8648ce3d0401": "sha256",  # ecdsa-with-SHA1
    "2a8648ce3d040301": "sha224",
    "2a8648ce3d040302": "sha256",
    "2a8648ce3d040303": "sha384",
    "2a8648ce3d040304": "sha512",
    "2a8648ce380403": "sha256",  # dsa-with-sha1
    "608648016503040301": "sha224",  # dsa-with-sha224
    "608648016503040302": "sha256",
}
_PSS = "2a864886f70d01010a"
_PSS_HASHES = {
    "608648016503040201": "sha256",
    "608648016503040202": "sha384",
    "608648016503040203": "sha512",
    "608648016503040204": "sha224",
}
_SEQUENCE, _OID, _EXPLICIT_0 = 0x30, 0x06, 0xA0


def server_end_point(certificate: bytes) -> bytes | None:
    """The hash of the server's certificate, or None where the standard defines none, as for Ed25519.

    :param certificate: X.509 in DER
    """
    try:
        signed_by = _signature_algorithm(certificate)
    except (IndexError, ValueError):
        return None
    return None if signed_by is None else hashlib.new(signed_by, certificate).digest()


def _signature_algorithm(certificate: bytes) -> str | None:
    whole, _ = _element(certificate, _SEQUENCE)
    _, rest = _element(whole, _SEQUENCE)  # what is signed
    algorithm, _ = _element(rest, _SEQUENCE)
    oid, parameters = _element(algorithm, _OID)
    if oid.hex() != _PSS:
        return _HASHES.get(oid.hex())
    described, _ = _element(parameters, _SEQUENCE)
    if not described or described[0] != _EXPLICIT_0:
        return "sha256"  # SHA-1 by default (RFC 4055 §3.1)
    hashing, _ = _element(_element(described, _EXPLICIT_0)[0], _SEQUENCE)
    oid, _ = _element(hashing, _OID)
    return _PSS_HASHES.get(oid.hex())


def _element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the first DER element, which must have that tag, and what follows it (X.690 §8.1)."""
    if data[0] != tag:
        raise ValueError("another element was expected")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("the element is cut off")
    return data[start : start + length], data[start + length :]
