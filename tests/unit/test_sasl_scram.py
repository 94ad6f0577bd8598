"""SCRAM: the vectors of the standards, another implementation as the server, and servers that lie."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramMechanism

from mailpool.errors import AuthenticationFailed, ProtocolError, SendError
from mailpool.results import Phase, Reply
from mailpool.smtp.sasl import Exchange, Scram
from mailpool.smtp.sasl.scram import LEAST_ITERATIONS, MOST_ITERATIONS
from mailpool.testing import ScramManners
from mailpool.testing.login import mechanisms

BINDINGS = {"tls-server-end-point": b"the hash of a certificate"}
NAMES = ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"]


def client(
    name: str = "SCRAM-SHA-256",
    user: str = "me",
    password: str = "secret",
    *,
    nonce: str = "fresh",
    bindings: dict[str, bytes] | None = None,
    offered: tuple[str, ...] = (),
) -> Scram:
    return Scram.bound(name, user, password, nonce, bindings or {}, offered)


def plain_client(nonce: str = "fresh") -> Scram:
    return Scram("SCRAM-SHA-256", "me", "secret", nonce=nonce, gs2="n,,", binding=b"")


class TestVectors:
    def test_rfc_5802_section_5(self) -> None:
        scram = Scram(
            "SCRAM-SHA-1", "user", "pencil", nonce="fyko+d2lbbFgONRv9qkxdawL", gs2="n,,", binding=b""
        )
        assert scram.start() == b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"
        first = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
        assert scram.step(first) == (
            b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
        )
        assert not scram.complete
        assert scram.step(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=") == b""
        assert scram.complete

    def test_rfc_7677_section_3(self) -> None:
        scram = Scram("SCRAM-SHA-256", "user", "pencil", nonce="rOprNGfwEbeRWgbNEkqO", gs2="n,,", binding=b"")
        assert scram.start() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
        first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        assert scram.step(first) == (
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        )
        assert scram.step(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == b""
        assert scram.complete


class TestAgainstAnotherImplementation:
    """``scramp`` is the server."""

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize(
        ("user", "password"),
        [
            ("me", "secret"),
            ("a=b,c", "=,=,"),
            ("böse", "pässwörd"),
            ("u", "ﬁnal\u00a0Ⅸ\u00adx"),
        ],
    )
    def test_it_lets_us_in(self, name: str, user: str, password: str) -> None:
        server = ScramMechanism(mechanism=name)
        accounts: dict[str, Any] = {user: server.make_auth_info(password, iteration_count=4_096)}
        bindings = BINDINGS if name.endswith("PLUS") else {}
        kind = next(iter(bindings.items()), None)
        other = server.make_server(accounts.__getitem__, channel_binding=kind)
        ours = client(name, user, password, bindings=bindings)
        other.set_client_first(ours.start().decode())
        other.set_client_final(ours.step(other.get_server_first().encode()).decode())
        assert ours.step(other.get_server_final().encode()) == b""
        assert ours.complete

    def test_and_not_with_another_certificate(self) -> None:
        server = ScramMechanism(mechanism="SCRAM-SHA-256-PLUS")
        accounts: dict[str, Any] = {"me": server.make_auth_info("secret", iteration_count=4_096)}
        other = server.make_server(
            accounts.__getitem__, channel_binding=("tls-server-end-point", b"another's hash")
        )
        ours = client("SCRAM-SHA-256-PLUS", bindings=BINDINGS)
        other.set_client_first(ours.start().decode())
        with pytest.raises(Exception, match="channel bindings don't match"):
            other.set_client_final(ours.step(other.get_server_first().encode()).decode())


def converse(ours: Scram, manners: ScramManners, *, accounts: dict[str, str] | None = None) -> str | None:
    """Play the whole login against our own server; returns whom it let in."""
    server = mechanisms([ours.name], manners)[ours.name].run(accounts or {"me": "secret"})
    next(server)
    said = ours.start()
    try:
        while True:
            said = ours.step(server.send(said))
    except StopIteration as end:
        who: str | None = end.value
        return who


class TestServersThatLie:
    @pytest.mark.parametrize("name", NAMES)
    def test_one_that_does_not(self, name: str) -> None:
        ours = client(name, bindings=BINDINGS, offered=("SCRAM-SHA-1-PLUS",))
        assert converse(ours, ScramManners(bindings=BINDINGS)) == "me"
        assert ours.complete

    @pytest.mark.rule("SRV-11")
    @pytest.mark.parametrize("name", NAMES)
    def test_a_wrong_signature(self, name: str) -> None:
        ours = client(name, bindings=BINDINGS)
        with pytest.raises(AuthenticationFailed, match="does not know the password") as caught:
            converse(ours, ScramManners(knows_password=False, bindings=BINDINGS))
        assert not ours.complete
        assert (caught.value.phase, caught.value.temporary) == (Phase.AUTH, False)

    @pytest.mark.rule("SRV-11")
    def test_success_without_its_proof(self) -> None:
        exchange = Exchange(plain_client())
        exchange.begin()
        line = exchange.answer(Reply(334, (base64.b64encode(b"r=freshmore,s=c2FsdA==,i=4096"),)))
        assert line is not None
        with pytest.raises(ProtocolError, match="before SCRAM-SHA-256 was complete"):
            exchange.answer(Reply.of("235 welcome"))

    @pytest.mark.rule("SRV-11")
    @pytest.mark.parametrize("nonce", [False, "another", "fres", "Freshmore"])
    def test_a_nonce_that_does_not_continue_ours(self, nonce: bool | str) -> None:
        with pytest.raises(AuthenticationFailed, match="does not continue our nonce"):
            converse(plain_client(), ScramManners(extends_nonce=nonce))

    @pytest.mark.rule("SRV-11")
    @pytest.mark.parametrize("iterations", [1, 100, LEAST_ITERATIONS - 1])
    def test_too_few_iterations(self, iterations: int) -> None:
        ours = plain_client()
        with pytest.raises(AuthenticationFailed, match="easy to guess"):
            converse(ours, ScramManners(iterations=iterations))

    @pytest.mark.rule("SRV-11")
    @pytest.mark.parametrize(
        "iterations", [str(MOST_ITERATIONS + 1), str(2**31), "9" * 30, "9" * 5_000], ids=len
    )
    def test_too_many_iterations(self, iterations: str) -> None:
        """Nothing is computed: the test would take minutes."""
        ours = plain_client()
        challenge = b"r=freshmore,s=c2FsdA==,i=" + iterations.encode()
        assert not ours.is_slow(challenge)
        with pytest.raises(AuthenticationFailed, match=f"more than {MOST_ITERATIONS}"):
            ours.step(challenge)

    def test_as_many_as_are_fine(self) -> None:
        assert converse(plain_client(), ScramManners(iterations=LEAST_ITERATIONS)) == "me"
        assert plain_client().is_slow(b"r=freshmore,s=c2FsdA==,i=%d" % MOST_ITERATIONS)
        assert not plain_client().is_slow(b"r=freshmore,s=c2FsdA==,i=4096")
        assert not plain_client().is_slow(None)

    @pytest.mark.rule("SRV-10")
    @pytest.mark.parametrize(
        "challenge",
        [
            b"",
            b"r=freshmore",
            b"r=freshmore,s=c2FsdA==",
            b"r=freshmore,s=,i=4096",
            b"r=freshmore,s=?,i=4096",
            b"r=freshmore,s=c2FsdA,i=4096",
            b"r=freshmore,s====,i=4096",
            b"r=freshmore,s=c2FsdA==,i=0",
            b"r=freshmore,s=c2FsdA==,i=-1",
            b"r=freshmore,s=c2FsdA==,i=04096",
            b"r=freshmore,s=c2FsdA==,i=4096x",
            b"m=ext,r=freshmore,s=c2FsdA==,i=4096",
            b"r=fresh more,s=c2FsdA==,i=4096",
            b"s=c2FsdA==,r=freshmore,i=4096",
            b"v=c2FsdA==",
        ],
    )
    def test_a_first_message_that_is_none(self, challenge: bytes) -> None:
        with pytest.raises(ProtocolError, match="malformed"):
            plain_client().step(challenge)

    @pytest.mark.rule("SRV-10")
    @pytest.mark.parametrize(
        "challenge", [b"", b"v=", b"v=?", b"v=c2F", b"x=c2FsdA==", b"r=a,s=c2FsdA==,i=4096"]
    )
    def test_a_last_message_that_is_none(self, challenge: bytes) -> None:
        ours = plain_client()
        ours.step(b"r=freshmore,s=c2FsdA==,i=4096")
        with pytest.raises(ProtocolError, match="malformed"):
            ours.step(challenge)

    def test_extensions_that_may_be_ignored(self) -> None:
        ours = plain_client()
        assert ours.step(b"r=freshmore,s=c2FsdA==,i=4096,x=whatever")
        with pytest.raises(AuthenticationFailed, match="does not know the password"):
            ours.step(b"v=c2FsdA==,x=whatever")

    def test_a_refusal_with_a_reason(self) -> None:
        ours = client(password="wrong")
        server = mechanisms(["SCRAM-SHA-256"], ScramManners())["SCRAM-SHA-256"].run({"me": "secret"})
        next(server)
        answer = ours.step(server.send(ours.step(server.send(ours.start()))))
        assert answer == b""
        assert ours.detail == "invalid-proof"
        assert not ours.complete

    @pytest.mark.rule("SRV-10")
    def test_no_success_after_a_refusal(self) -> None:
        exchange = Exchange(plain_client())
        exchange.begin()
        assert exchange.answer(Reply(334, (base64.b64encode(b"e=other-error\x1b[31m"),))) == b"\r\n"
        assert exchange.mechanism.detail == "other-error [31m"
        with pytest.raises(ProtocolError, match="before"):
            exchange.answer(Reply.of("235 welcome"))

    @pytest.mark.rule("SRV-10")
    @pytest.mark.parametrize("said", [b"", b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", b"e=x"])
    def test_a_challenge_after_the_end(self, said: bytes) -> None:
        ours = plain_client()
        converse(ours, ScramManners())
        with pytest.raises(ProtocolError, match="SCRAM-SHA-256 has said everything"):
            ours.step(said)


class TestChannelBinding:
    """RFC 5802 §6: what we tell the server about what we could have done."""

    def header(self, name: str, bindings: dict[str, bytes], *offered: str) -> str:
        said = client(name, bindings=bindings, offered=offered).start().decode()
        return said[: said.index("n=")]

    @pytest.mark.rule("TLS-10")
    def test_plus_missing_in_the_list_is_told(self) -> None:
        assert self.header("SCRAM-SHA-256", BINDINGS, "SCRAM-SHA-256", "PLAIN") == "y,,"

    def test_nothing_to_bind_to(self) -> None:
        assert self.header("SCRAM-SHA-256", {}, "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS") == "n,,"
        assert self.header("SCRAM-SHA-256", {}, "SCRAM-SHA-256") == "n,,"

    def test_plus_that_we_were_told_not_to_use_is_no_downgrade(self) -> None:
        assert self.header("SCRAM-SHA-256", BINDINGS, "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS") == "n,,"

    def test_plus_with_the_preferred_type(self) -> None:
        both = {"tls-unique": b"a", **BINDINGS}
        assert self.header("SCRAM-SHA-256-PLUS", both) == "p=tls-unique,,"
        assert self.header("SCRAM-SHA-1-PLUS", BINDINGS) == "p=tls-server-end-point,,"

    @pytest.mark.rule("TLS-10")
    def test_the_server_sees_that_somebody_took_plus_away(self) -> None:
        stripped = client(bindings=BINDINGS, offered=("SCRAM-SHA-256",))
        assert converse(stripped, ScramManners(offers_plus=True, bindings=BINDINGS)) is None
        assert not stripped.complete

    @pytest.mark.rule("TLS-10")
    def test_a_login_passed_on_to_another_connection_is_worth_nothing(self) -> None:
        ours = client("SCRAM-SHA-256-PLUS", bindings={"tls-server-end-point": b"of the one in between"})
        assert converse(ours, ScramManners(bindings=BINDINGS)) is None


class TestPreparing:
    @pytest.mark.parametrize("password", ["\N{LATIN SMALL LIGATURE FI}", "fi", "f\u00adi"])
    def test_one_password_however_it_was_typed(self, password: str) -> None:
        ours = client(password=password)
        assert converse(ours, ScramManners(), accounts={"me": "fi"}) == "me"

    @pytest.mark.parametrize(
        ("user", "password"), [("me", "a\u0007b"), ("m\u200ee", "p"), ("\u00ad", "p"), ("aا", "p")]
    )
    def test_what_has_no_form_is_an_error_and_no_reason_for_another_mechanism(
        self, user: str, password: str
    ) -> None:
        with pytest.raises(AuthenticationFailed, match="RFC 4013") as caught:
            client(user=user, password=password)
        assert not caught.value.temporary
        assert password not in str(caught.value).replace("password", "").replace("prepared", "").split()


@pytest.mark.rule("LOG-01")
def test_no_repr_shows_the_secret() -> None:
    ours = client(user="someone", password="s3cr3t")
    assert repr(ours) == "<Scram not complete>"
    assert converse(ours, ScramManners(), accounts={"someone": "s3cr3t"}) == "someone"
    assert repr(Exchange(ours)) == "<Exchange <Scram complete>>"


MESSAGES = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda nonce, salt, count, more: b"r=fresh%s,s=%s,i=%d%s" % (nonce, salt, count, more),
        st.binary(max_size=10),
        st.one_of(st.binary(max_size=10), st.binary(min_size=1, max_size=9).map(base64.b64encode)),
        st.one_of(st.integers(-1, 6_000), st.integers(MOST_ITERATIONS, 10**12)),
        st.sampled_from([b"", b",", b",x=y", b"\n"]),
    ),
    st.binary(max_size=40).map(lambda signature: b"v=" + base64.b64encode(signature)),
    st.binary(max_size=20).map(lambda reason: b"e=" + reason),
)


@pytest.mark.rule("SRV-10")
@pytest.mark.rule("SRV-11")
@given(st.lists(MESSAGES, max_size=4))
def test_any_challenges_get_an_answer_or_a_typed_error_and_never_complete_the_login(
    said: list[bytes],
) -> None:
    ours = plain_client()
    ours.start()
    for challenge in said:
        ours.is_slow(challenge)
        try:
            answer = ours.step(challenge)
        except SendError:
            break
        assert re.fullmatch(rb"|c=biws,r=[^,]+,p=[A-Za-z0-9+/=]+", answer)
    assert not ours.complete
