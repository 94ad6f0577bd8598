"""`DkimKey`: every way to give a private key, and what is refused before anything is signed."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

import mailpool
from mailpool import ConfigurationError, DkimKey
from mailpool.message.dkim import load_key

RSA = rsa.generate_private_key(65_537, 1_024)
ED25519 = ed25519.Ed25519PrivateKey.generate()
# 512 bits, which takes minutes to break.
WEAK = """-----BEGIN RSA PRIVATE KEY-----
MIIBOgIBAAJBAOD1o2TD4nPurrusYkrYMLxphlexjhciz9plOW5RP6nc73pdtVI2
YefXTM79f5Uz/7FKDBtZ+y+/1xNrtmmiUDUCAwEAAQJAG8zfY119x7vwZgr4nq02
4KHd00qC98L6ks+9mC98QZ5rrNqH+pMP0s/iHbygZ3krjCesZCNJPESIrPRSt5Gc
QQIhAPuF90LRbHXMOG0hbCJDnT9Pf8rLkxXAs4zi71c3S9zFAiEA5PajTLIQzu/a
BCKPbpLwE9GtqdkYj8m1nsJcVLS2vLECIDFUC7MyCVhs7eARPvjVU+CXwdNO65DH
ky8dTp1HPfyVAiANQF0JJlEkuOsETD/C5YwxiXQknWT3hXQWgSc429CrsQIhAIEl
P5bs2iclzjWEF8Zo6FCD7vYlUUiqrh6j9PGk5Yaa
-----END RSA PRIVATE KEY-----
"""


def pem(key: Any, secret: bytes | None = None, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return bytes(
        key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(secret) if secret else NoEncryption())
    )


def given(private_key: Any, **more: Any) -> DkimKey:
    return DkimKey("example.org", "s1", private_key, **more)


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "rsa-sha256"), (ED25519, "ed25519-sha256")], ids=["rsa", "ed25519"]
)
def test_every_form_of_a_key_is_the_same_key(key: Any, algorithm: str, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(key))
    forms = [given(key), given(pem(key)), given(pem(key).decode()), given(path)]
    forms += [given(pem(key, b"geheim"), passphrase=secret) for secret in (b"geheim", "geheim")]
    if key is RSA:
        forms.append(given(pem(key, form=PrivateFormat.TraditionalOpenSSL)))
    loaded = [load_key(form) for form in forms]
    assert {one.algorithm for one in loaded} == {algorithm}
    assert len({one.public for one in loaded}) == 1
    assert len({one.sign(b"x") for one in loaded}) == 1


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (given(WEAK), "512 bits is too weak"),
        (given(ec.generate_private_key(ec.SECP256R1())), "RSA or Ed25519"),
        (given(pem(ec.generate_private_key(ec.SECP256R1()))), "RSA or Ed25519"),
        (given(pem(ED25519, b"geheim")), "give its passphrase"),
        (given(pem(ED25519, b"geheim"), passphrase="falsch"), "is the passphrase right"),
        (given(pem(ED25519), passphrase="falsch"), "not encrypted"),
        (given("-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----"), "no private key"),
        (given(pem(ED25519).decode()[:60]), "no private key"),
        (given(Path("no/such/file.pem")), "cannot be read: No such file"),
        (given(Path(__file__).parent), "cannot be read"),
        (given(Path(__file__)), "no private key"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_when_the_transporter_is_made(key: DkimKey, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        mailpool.create_transport(host="relay.example", dkim=key)
    assert str(caught.value.option).startswith("dkim.")
    assert "geheim" not in str(caught.value)
    assert "falsch" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("private_key", "words"),
    [
        ("MC4CAQAwBQYDK2VwBCIEIJ", "-----BEGIN"),
        (b"keys/dkim.pem", "pathlib.Path"),
        ("", "-----BEGIN"),
        (17, "not int"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_key_at_all(private_key: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        given(private_key)
    assert caught.value.option == "dkim.private_key"
    assert "MC4C" not in str(caught.value)


def test_nothing_shows_the_key() -> None:
    key = given(pem(ED25519, b"geheim").decode(), passphrase="geheim")
    transporter = mailpool.create_transport(host="relay.example", dkim=key)
    secret = pem(ED25519, b"geheim").decode().splitlines()[1]
    for shown in (key, load_key(key), transporter, transporter.options):
        assert "geheim" not in repr(shown)
        assert secret not in repr(shown)
        assert "BEGIN" not in repr(shown)


def test_the_ways_to_give_the_option() -> None:
    key, other = given(ED25519), DkimKey("example.org", "s2", RSA)
    fields = {"domain": "example.org", "selector": "s1", "private_key": ED25519}
    for way in (key, fields, [key], (fields,)):
        assert mailpool.create_transport(host="h", dkim=way).options.dkim == (key,)
    options = mailpool.create_transport(host="h", dkim=[fields, other]).options
    assert options.dkim == (key, other)
    assert dataclasses.replace(options) == options
    assert mailpool.create_transport(host="h").options.dkim is None
    assert hash(options) == hash(dataclasses.replace(options))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ([], "no keys in it"),
        ("example.org", "not str"),
        (True, "not bool"),
        ({"domainName": "example.org"}, "write domain"),
        ({"l": 100}, "anybody add to it"),
        ({"domian": "example.org"}, "did you mean 'dkim.domain'"),
        ({"domain": "example.org", "selector": "s"}, "dkim.private_key: is missing"),
        ([given(ED25519), given(RSA)], "same domain and selector"),
    ],
)
def test_options_that_are_refused(option: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        mailpool.create_transport(host="relay.example", dkim=option)


def test_the_default_of_messages_is_the_option() -> None:
    with pytest.raises(ConfigurationError, match="create_transport"):
        mailpool.create_transport(host="relay.example", defaults={"dkim": False})


def test_without_cryptography_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    with pytest.raises(ConfigurationError, match=r"pip install mailpool\[dkim\]"):
        mailpool.create_transport(host="relay.example", dkim=given(pem(RSA)))
