"""A content inside of a signature or an envelope: the header of the message stays outside, that of its MIME part goes in."""

from __future__ import annotations

import base64
import datetime

from ...content import BytesContent, Content
from ...errors import MessageError
from ..dkim.canonical import header_fields
from .credentials import LoadedSmime


def protected(content: Content, smime: LoadedSmime, now: datetime.datetime, token: str) -> BytesContent:
    """``content`` signed (RFC 8551 §3.5.3), encrypted (§3.3), or signed and then encrypted.

    It is held in memory as a whole. ``Content-`` fields and the body are what is protected; From, To, Subject and all
    other fields stay in front, readable and unsigned.

    :param now: the time, aware: certificates have one in which they are valid
    :param token: random ASCII letters and digits, for the boundary
    :raises MessageError: a certificate is not valid now, a key failed, or 8-bit content is to be signed
    """
    for certificate in smime.certificates:
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise MessageError(
                f"smime: a certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d} to "
                f"{certificate.not_valid_after_utc:%Y-%m-%d}, and not now",
                field="smime",
            )
    outer, entity = _parted(b"".join(content.blocks()))
    try:
        if smime.sign is not None:
            entity = _signed(entity, smime, token, content.binary)
        if smime.encrypt is not None:
            entity = _part(
                'application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"',
                "smime.p7m",
                smime.encrypt(entity),
            )
    except MessageError:
        raise
    except Exception as error:  # whatever a key does, even one in a hardware module
        raise MessageError(f"smime: a key failed ({type(error).__name__})", field="smime") from error
    return BytesContent(
        outer + entity,
        eight_bit=content.utf8_headers,
        utf8_headers=content.utf8_headers,
        crlf_only=True,
    )


def _parted(octets: bytes) -> tuple[bytes, bytes]:
    """The header fields of the message, each with CRLF, and the MIME entity that it carries."""
    header, _, body = octets.partition(b"\r\n\r\n")
    outer: list[bytes] = []
    inner: list[bytes] = []
    mime = False
    for name, field in header_fields(header):
        (inner if name.startswith(b"content-") else outer).append(field + b"\r\n")
        mime = mime or name == b"mime-version"
    if not mime:
        outer.append(b"MIME-Version: 1.0\r\n")
    return b"".join(outer), b"".join([*inner, b"\r\n", body])


def _signed(entity: bytes, smime: LoadedSmime, token: str, binary: bool) -> bytes:
    assert smime.sign is not None
    if binary:
        raise MessageError(
            "smime: parts in the transfer encoding 'binary' cannot be signed; use base64 for them, or say smime=False",
            field="smime",
        )
    if not entity.isascii():
        # A relay without 8BITMIME recodes it, and the signature is void (RFC 1847 §2.1).
        raise MessageError(
            "smime: 8-bit content cannot be signed; encode it as quoted-printable or base64", field="smime"
        )
    boundary, tries = f"=_s.{token}", 0
    while boundary.encode() in entity:
        tries += 1
        boundary = f"=_s{tries}.{token}"
    signature = _part('application/pkcs7-signature; name="smime.p7s"', "smime.p7s", smime.sign(entity))
    # The CRLF before a boundary belongs to the boundary, and is no part of what is signed (RFC 2046 §5.1.1).
    return b"".join(
        [
            b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n micalg=sha-256;\r\n',
            f' boundary="{boundary}"\r\n\r\n--{boundary}\r\n'.encode(),
            entity,
            f"\r\n--{boundary}\r\n".encode(),
            signature,
            f"\r\n--{boundary}--\r\n".encode(),
        ]
    )


def _part(content_type: str, filename: str, der: bytes) -> bytes:
    header = (
        f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="{filename}"\r\n\r\n'
    )
    return header.encode() + base64.encodebytes(der).replace(b"\n", b"\r\n")
