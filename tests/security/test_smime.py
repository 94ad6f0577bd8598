"""S/MIME: openssl verifies and decrypts what we made, DKIM stands over it, and nothing goes out unprotected instead."""

from __future__ import annotations

import datetime
import email
import email.policy
import shutil
import subprocess
import sys
import warnings
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

import mailpool
from mailpool import (
    ConfigurationError,
    DkimKey,
    MemoryCarrier,
    MessageError,
    Smime,
    create_transport,
    dkim_record,
)
from mailpool.options import parse_options
from mailpool.preparing import Preparation

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dkim

RSA = rsa.generate_private_key(65_537, 2_048)
EC = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
MESSAGE: dict[str, Any] = {
    "from": "Ä <me@example.org>",
    "to": "you@example.net",
    "subject": "Grüße",
    "text": "From here.\n.\n  Grüße \n\n\n",
    "html": "<p>Grüße</p>",
    "attachments": [{"content": bytes(range(256)) * 9, "filename": "é.bin"}],
}


def certificate(key: Any, *, begins: int = -1, ends: int = 1) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "me")])
    usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begins * DAY)
        .not_valid_after(NOW + ends * DAY)
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name("me@example.org")]), critical=False)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )


def pem(thing: Any, secret: bytes | None = None) -> bytes:
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(Encoding.PEM)
    form = BestAvailableEncryption(secret) if secret else NoEncryption()
    return bytes(thing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, form))


MINE, CURVED = certificate(RSA), certificate(EC)
SIGN = Smime(certificate=MINE, private_key=RSA)
ENCRYPT = Smime(recipients=(MINE,))
BOTH = Smime(certificate=CURVED, private_key=EC, recipients=(MINE,))


def octets(message: Any = MESSAGE, **options: Any) -> bytes:
    sealed = Preparation(parse_options(host="relay.example", **options)).seal(message)
    assert sealed.message_id
    return b"".join(sealed.content.blocks())


class OpenSSL:
    """The program, as the recipient's mail reader."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, thing in {"rsa.crt": MINE, "ec.crt": CURVED, "rsa.key": RSA}.items():
            (folder / name).write_bytes(pem(thing))

    def _run(self, what: str, message: bytes, *arguments: str) -> bytes:
        done = subprocess.run(
            ["openssl", "cms", what, *arguments],
            input=message,
            cwd=self.folder,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def verify(self, message: bytes, signer: str) -> bytes:
        trust = ["-CAfile", f"{signer}.crt", "-partial_chain", "-purpose", "any"]
        return self._run("-verify", message, *trust, "-binary", "-crlfeol")

    def decrypt(self, message: bytes) -> bytes:
        return self._run("-decrypt", message, "-inkey", "rsa.key", "-recip", "rsa.crt", "-binary")


@pytest.fixture
def openssl(tmp_path: Path) -> OpenSSL:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return OpenSSL(tmp_path)


def entity(message: bytes) -> bytes:
    """What a message without S/MIME has of ``Content-`` fields, and its body."""
    header, _, body = message.partition(b"\r\n\r\n")
    return header[header.index(b"Content-Type") :] + b"\r\n\r\n" + body


def outer(message: bytes) -> list[tuple[str, str]]:
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    return [(k, str(v)) for k, v in parsed.items() if not k.startswith("Content-") and k != "Message-ID"]


FIXED = MESSAGE | {"base_boundary": "fixed", "date": NOW}


@pytest.mark.parametrize(
    ("smime", "signer"), [(SIGN, "rsa"), (Smime(certificate=CURVED, private_key=EC), "ec")]
)
def test_openssl_verifies_what_is_signed(smime: Smime, signer: str, openssl: OpenSSL) -> None:
    plain, message = octets(FIXED), octets(FIXED, smime=smime)
    assert openssl.verify(message, signer) == entity(plain)
    assert outer(message) == outer(plain)
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    assert parsed.get_content_type() == "multipart/signed"
    assert [part.get_content_type() for part in parsed.iter_parts()][1] == "application/pkcs7-signature"
    assert max(map(len, message.split(b"\r\n"))) <= 998
    with pytest.raises(AssertionError, match="failure"):
        openssl.verify(message.replace(b"From here", b"From hell"), signer)


def test_openssl_decrypts_what_is_encrypted(openssl: OpenSSL) -> None:
    plain, message = octets(FIXED), octets(FIXED, smime=ENCRYPT)
    assert openssl.decrypt(message) == entity(plain)
    assert outer(message) == outer(plain)
    assert b"From here" not in message
    assert email.message_from_bytes(message).get_param("smime-type") == "enveloped-data"


def test_openssl_decrypts_and_then_verifies_what_is_both(openssl: OpenSSL) -> None:
    inside = openssl.decrypt(octets(FIXED, smime=BOTH))
    assert openssl.verify(inside, "ec") == entity(octets(FIXED))


def test_dkim_stands_over_all_of_it(openssl: OpenSSL) -> None:
    key = DkimKey("example.org", "s1", rsa.generate_private_key(65_537, 1_024))
    message = octets(FIXED, smime=BOTH, dkim=key)
    record = dkim_record(key)[1].encode()
    assert dkim.verify(message, dnsfunc=lambda name, timeout=5: record)
    assert openssl.verify(openssl.decrypt(message), "ec") == entity(octets(FIXED))


def test_every_kind_of_message(openssl: OpenSSL) -> None:
    parsed = EmailMessage()
    parsed["From"], parsed["To"], parsed["Content-Language"] = "me@example.org", "you@example.net", "de"
    parsed.set_content("Hi\n.\n")
    envelope = {"from": "me@example.org", "to": "you@example.net"}
    for message, inside in [
        (parsed, b"Hi\r\n.\r\n"),
        ({"raw": "Message-ID: <1@b>\nFrom: a@b\n\nHi", "envelope": envelope}, b"\r\nHi\r\n"),
        ({"raw": "Message-ID: <1@b>\nFrom: a@b\n", "envelope": envelope}, b"\r\n"),
        (mailpool.Message(from_="a@b.example", to="c@d.example", text="Hi", smime=BOTH), b"\r\n\r\nHi\r\n"),
    ]:
        octets_ = octets(message, smime=BOTH)
        assert openssl.verify(openssl.decrypt(octets_), "ec").endswith(inside)
        assert octets_.lower().count(b"mime-version") == 1


def test_every_form_of_a_certificate_and_a_key(openssl: OpenSSL, tmp_path: Path) -> None:
    (tmp_path / "all.pem").write_bytes(pem(MINE) + pem(CURVED))
    (tmp_path / "secret.pem").write_bytes(pem(RSA, b"geheim"))
    forms = [
        {"certificate": pem(MINE), "private_key": pem(RSA), "chain": [CURVED]},
        {"certificate": pem(MINE).decode(), "private_key": pem(RSA).decode(), "chain": pem(CURVED)},
        {"certificate": tmp_path / "all.pem", "private_key": tmp_path / "secret.pem", "passphrase": "geheim"},
    ]
    for form in forms:
        message = octets(FIXED, smime=form)
        assert openssl.verify(message, "rsa") == entity(octets(FIXED))
        (tmp_path / "message.eml").write_bytes(message)
        sent = subprocess.run(
            ["openssl", "cms", "-verify", "-noverify", "-in", "message.eml", "-certsout", "sent.pem", "-out", "x"],
            cwd=tmp_path, capture_output=True, check=True,
        )  # fmt: skip
        assert sent
        assert (tmp_path / "sent.pem").read_bytes().count(b"BEGIN CERTIFICATE") == 2


# -- errors, and not unprotected messages ------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, "smime", "to sign, recipients to encrypt"),
    ({"certificate": MINE}, "smime.private_key", "is missing"),
    ({"private_key": RSA}, "smime.certificate", "is missing"),
    ({"recipients": MINE, "chain": MINE}, "smime.chain", "belongs to a certificate"),
    ({"certificate": "mine.crt", "private_key": RSA}, "smime.certificate", "pathlib.Path"),
    ({"certificate": 1, "private_key": RSA}, "smime.certificate", "not int"),
    ({"certificate": MINE, "private_key": EC}, "smime.private_key", "another certificate"),
    ({"certificate": MINE, "private_key": pem(RSA, b"x")}, "smime.passphrase", "encrypted"),
    ({"certificate": MINE, "private_key": pem(RSA, b"x"), "passphrase": "y"}, "smime.private_key", "right"),
    ({"certificate": MINE, "private_key": pem(RSA), "passphrase": "y"}, "smime.passphrase", "not encrypted"),
    ({"certificate": MINE, "private_key": "-----BEGIN x"}, "smime.private_key", "no private key"),
    ({"certificate": pem(RSA), "private_key": RSA}, "smime.certificate", "no certificate"),
    ({"recipients": [CURVED]}, "smime.recipients", "only certificates with RSA"),
    ({"recipients": [pem(EC)]}, "smime.recipients", "no certificate"),
    ({"recipient": [MINE]}, "smime.recipient", "did you mean"),
]


@pytest.mark.parametrize(("given", "option", "words"), BAD)
def test_what_cannot_be_used_is_an_error(given: dict[str, Any], option: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        mailpool.create_transport(host="relay.example", smime=given)
    assert caught.value.option == option
    with pytest.raises(MessageError, match=words) as refused:
        octets(MESSAGE | {"smime": given})
    assert refused.value.field == "smime"


def test_ed25519_is_not_for_smime() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    with pytest.raises(ConfigurationError, match="RSA or elliptic curves"):
        mailpool.create_transport(host="relay.example", smime={"certificate": MINE, "private_key": key})


@pytest.mark.rule("FIL-01")
def test_a_message_never_names_the_files_of_keys_and_certificates(tmp_path: Path) -> None:
    file = tmp_path / "mine.pem"
    file.write_bytes(pem(MINE))
    for own in (Smime(recipients=(file,)), {"certificate": MINE, "private_key": file}):
        with pytest.raises(MessageError, match="cannot name the files"):
            octets(MESSAGE | {"smime": own})
    assert octets(smime={"recipients": file})


@pytest.mark.parametrize(("begins", "ends"), [(-3, -1), (1, 3)])
def test_a_certificate_that_is_not_valid_now(begins: int, ends: int) -> None:
    other = certificate(RSA, begins=begins, ends=ends)
    for smime in (Smime(certificate=other, private_key=RSA), Smime(recipients=(MINE, other))):
        with pytest.raises(MessageError, match="valid from"):
            octets(smime=smime)


def test_8_bit_content_is_not_signed_and_can_be_encrypted(openssl: OpenSSL) -> None:
    raw = {"raw": "From: a@b\n\nGrüße", "envelope": {"from": "me@example.org", "to": "you@example.net"}}
    raw["raw"] = "Message-ID: <1@b>\n" + str(raw["raw"])
    with pytest.raises(MessageError, match="8-bit content cannot be signed"):
        octets(raw, smime=SIGN)
    assert openssl.decrypt(octets(raw, smime=ENCRYPT)) == "\r\nGrüße\r\n".encode()


@pytest.mark.rule("DAT-10")
@pytest.mark.parametrize("content", [b"\0", b"plain", b"plain\r\n", b"\r"])
def test_binary_parts_are_not_signed_and_can_be_encrypted(openssl: OpenSSL, content: bytes) -> None:
    part = {"content": content, "filename": "a.bin", "transfer_encoding": "binary"}
    message = FIXED | {"attachments": [part]}
    for smime in (SIGN, BOTH):
        with pytest.raises(MessageError, match="'binary' cannot be signed") as caught:
            octets(message, smime=smime)
        assert caught.value.field == "smime"
    encrypted = octets(message, smime=ENCRYPT)
    assert encrypted.isascii()
    assert openssl.decrypt(encrypted) == entity(octets(message))
    assert content in octets(message | {"smime": False}, smime=SIGN)
    sealed = Preparation(parse_options(host="relay.example", smime=ENCRYPT)).seal(message)
    assert not sealed.content.binary


def test_a_message_may_do_without(openssl: OpenSSL) -> None:
    assert octets(FIXED | {"smime": False}, smime=SIGN).endswith(entity(octets(FIXED)))
    assert openssl.decrypt(octets(FIXED | {"smime": ENCRYPT}, smime=SIGN)) == entity(octets(FIXED))
    for nonsense in (True, (), "x"):
        with pytest.raises(MessageError):
            octets(MESSAGE | {"smime": nonsense}, smime=SIGN)


def test_no_repr_shows_a_secret() -> None:
    smime = Smime(certificate=MINE, private_key=pem(RSA, b"geheim").decode(), passphrase="geheim")
    assert repr(smime) == "Smime()"
    assert "geheim" not in repr(parse_options(host="h", smime=smime))


def test_without_cryptography_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.serialization.pkcs7", None)
    monkeypatch.delattr("cryptography.hazmat.primitives.serialization.pkcs7")
    with pytest.raises(ConfigurationError, match=r"pip install mailpool\[smime\]"):
        mailpool.create_transport(host="relay.example", smime=SIGN)


@pytest.mark.parametrize("way", ["memory:", "carrier"])
async def test_once_wrong_a_carrier_gets_what_is_encrypted(way: str) -> None:
    # Beside the URL of a carrier the option was checked and dropped: messages went out in clear text.
    transporter = create_transport(MemoryCarrier() if way == "carrier" else way, smime=BOTH)
    async with transporter:
        await transporter.send_mail(MESSAGE)
    assert isinstance(transporter.carrier, MemoryCarrier)
    (kept,) = transporter.carrier.messages
    assert kept.email.get_content_type() == "application/pkcs7-mime"


def test_what_signs_cannot_be_said_in_the_url_of_a_carrier() -> None:
    for name in ("smime", "dkim"):
        with pytest.raises(ConfigurationError, match="cannot be said") as caught:
            create_transport(f"memory:?{name}=x")
        assert caught.value.option == name
