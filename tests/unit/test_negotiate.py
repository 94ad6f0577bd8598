"""NTLM and GSSAPI: what is ours of them. The rest is proven with real servers in ``tests/interop``."""

from __future__ import annotations

import base64
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import spnego

from mailpool import AuthenticationFailed, Credentials, LoginContext, ProtocolError
from mailpool.net.negotiate import negotiate
from mailpool.results import Reply
from mailpool.smtp.sasl import Exchange, Mechanism, choose

CONTEXT = LoginContext(
    nonce="n", host="mail.example", channel_bindings={"tls-server-end-point": b"hash"}, negotiate=negotiate
)
NTLM = Credentials("DOMAIN\\me", "secret", method="NTLM")


def chosen(credentials: Credentials, context: LoginContext = CONTEXT) -> Mechanism:
    return choose(credentials, ["NTLM", "GSSAPI", "PLAIN"], encrypted=True, context=context)


def challenge(octets: bytes) -> Reply:
    return Reply(334, (base64.b64encode(octets),))


@pytest.mark.parametrize("password", ["secret", "wrong"])
def test_ntlm_against_the_librarys_own_server(
    password: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = tmp_path / "accounts"
    accounts.write_text("DOMAIN:me:secret\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(accounts))
    server = spnego.server(hostname="mail.example", service="smtp", protocol="ntlm")
    exchange = Exchange(chosen(Credentials("DOMAIN\\me", password, method="NTLM")))
    assert exchange.is_slow(None)
    first = exchange.begin()
    assert first.startswith(b"AUTH NTLM ")
    offer = server.step(base64.b64decode(first.split()[2]))
    assert offer is not None
    last = exchange.answer(challenge(offer))
    assert last is not None
    if password == "wrong":
        with pytest.raises(Exception, match=r"(?i)user|logon|cred|password"):
            server.step(base64.b64decode(last))
        return
    server.step(base64.b64decode(last))
    assert server.complete
    assert exchange.answer(Reply.of("235 ok")) is None


@pytest.mark.rule("SRV-10")
def test_ntlm_and_success_before_any_proof() -> None:
    exchange = Exchange(chosen(NTLM))
    exchange.begin()
    with pytest.raises(ProtocolError, match="before NTLM was complete"):
        exchange.answer(Reply.of("235 welcome"))


@pytest.mark.rule("SRV-10")
@pytest.mark.parametrize("said", [b"", b"x", b"NTLMSSP\0\x02\0\0\0", b"\xff" * 500])
def test_ntlm_and_a_challenge_that_is_none(said: bytes) -> None:
    exchange = Exchange(chosen(NTLM))
    exchange.begin()
    with pytest.raises(AuthenticationFailed, match="NTLM failed") as caught:
        exchange.answer(challenge(said))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("name", "extra"), [("NTLM", "spnego"), ("GSSAPI", "kerberos")])
def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, "spnego", None)
    with pytest.raises(AuthenticationFailed, match=rf"pip install mailpool\[{extra}\]"):
        chosen(Credentials("me", "secret", method=name))


def test_nothing_is_asked_of_the_system_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A security context may ask the network as soon as it is made."""
    threads: list[threading.Thread] = []
    monkeypatch.setattr("spnego.client", lambda *_, **__: threads.append(threading.current_thread()))
    mechanism = chosen(NTLM)
    assert threads == []
    assert mechanism.is_slow(None)
    assert mechanism.is_slow(b"")


def test_they_are_not_taken_by_themselves() -> None:
    assert chosen(Credentials("me", "secret")).name == "PLAIN"


class Wrapped(NamedTuple):
    data: bytes


class Security:
    """A Kerberos context that is complete after one round; it wraps by a prefix."""

    complete = False

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def step(self, token: bytes | None) -> bytes | None:
        if token is None:
            return b"ticket"
        self.complete = True
        return None

    def unwrap(self, data: bytes) -> Wrapped:
        if not data.startswith(b"wrapped:"):
            raise ValueError("not wrapped")
        return Wrapped(data.removeprefix(b"wrapped:"))

    def wrap(self, data: bytes, *, encrypt: bool) -> Wrapped:
        assert not encrypt
        return Wrapped(b"wrapped:" + data)


@pytest.fixture
def gssapi(monkeypatch: pytest.MonkeyPatch) -> Exchange:
    monkeypatch.setattr("spnego.client", Security)
    exchange = Exchange(chosen(Credentials("me", method="GSSAPI")))
    assert exchange.begin() == b"AUTH GSSAPI " + base64.b64encode(b"ticket") + b"\r\n"
    assert exchange.answer(challenge(b"mutual")) == b"\r\n"
    return exchange


def test_gssapi_takes_no_layer_and_says_who_it_is(gssapi: Exchange) -> None:
    """RFC 4752 §3.1."""
    answer = gssapi.answer(challenge(b"wrapped:\x07\x00\xff\xff"))
    assert answer == base64.b64encode(b"wrapped:\x01\x00\x00\x00me") + b"\r\n"
    assert gssapi.answer(Reply.of("235 ok")) is None


@pytest.mark.rule("SRV-10")
def test_gssapi_and_success_before_the_end(gssapi: Exchange) -> None:
    with pytest.raises(ProtocolError, match="before GSSAPI was complete"):
        gssapi.answer(Reply.of("235 ok"))


@pytest.mark.rule("SRV-10")
@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (b"wrapped:\x06\x00\xff\xff", AuthenticationFailed, "wants a security layer"),
        (b"wrapped:\x01", ProtocolError, "malformed"),
        (b"wrapped:", ProtocolError, "malformed"),
        (b"\x01\x00\x00\x00", AuthenticationFailed, "not wrapped"),
        (b"", AuthenticationFailed, "not wrapped"),
    ],
)
def test_gssapi_and_an_offer_that_is_none(
    gssapi: Exchange, said: bytes, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        gssapi.answer(challenge(said))


@pytest.mark.rule("SRV-10")
def test_gssapi_and_a_challenge_after_the_end(gssapi: Exchange) -> None:
    gssapi.answer(challenge(b"wrapped:\x01\x00\x00\x00"))
    with pytest.raises(ProtocolError, match="GSSAPI has said everything"):
        gssapi.answer(challenge(b"wrapped:\x01\x00\x00\x00"))
