"""Mechanisms, which one is chosen, and servers that lead us on."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpool.errors import AuthenticationFailed, ConfigurationError, ProtocolError
from mailpool.options import Credentials
from mailpool.results import Phase, Reply
from mailpool.smtp.sasl import MOST_CHALLENGES, CramMd5, Exchange, Login, Mechanism, Plain, XOAuth2, choose

PASSWORD = Credentials("tim", "tanstaaftanstaaf")
TOKEN = Credentials("tim", access_token="ya29.token")


def b64(text: str | bytes) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def challenge(text: str | bytes = b"") -> Reply:
    return Reply(334, (b64(text),))


class TestMechanisms:
    def test_plain_as_in_rfc_4616(self) -> None:
        assert Plain("tim", "tanstaaftanstaaf").start() == b"\0tim\0tanstaaftanstaaf"

    def test_login_asks_twice(self) -> None:
        login = Login("tim", "secret")
        assert login.start() is None
        assert login.step(b"Username:") == b"tim"
        assert not login.complete
        assert login.step(b"whatever") == b"secret"
        assert login.complete

    def test_cram_md5_as_in_rfc_2195(self) -> None:
        cram = CramMd5("tim", "tanstaaftanstaaf")
        assert cram.start() is None
        answer = cram.step(b"<1896.697170952@postoffice.reston.mci.net>")
        assert answer == b"tim b913a602c7eda7a495b4e6e7334d3890"

    def test_xoauth2(self) -> None:
        assert XOAuth2("tim", "t").start() == b"user=tim\x01auth=Bearer t\x01\x01"

    @pytest.mark.rule("INJ-11")
    @pytest.mark.parametrize(
        "text", ["münchen", "パス", "p\r\nQUIT", "a" * 10_000, "=", "a=b", "\N{GRINNING FACE}"]
    )
    def test_any_text_travels_as_utf_8_in_base64(self, text: str) -> None:
        exchange = Exchange(Plain(text, text))
        line = exchange.begin(max_command=100_000)
        assert line.endswith(b"\r\n")
        assert line.count(b"\r") == line.count(b"\n") == 1
        assert base64.b64decode(line.split(b" ")[2]) == f"\0{text}\0{text}".encode()

    @pytest.mark.rule("SRV-10")
    @pytest.mark.parametrize(("mechanism", "rounds"), [(Plain, 0), (Login, 2), (CramMd5, 1), (XOAuth2, 1)])
    def test_a_challenge_after_the_end(self, mechanism: type[Plain], rounds: int) -> None:
        stepper = mechanism("u", "p")
        stepper.start()
        for _ in range(rounds):
            stepper.step(b"x")
        with pytest.raises(ProtocolError, match=stepper.name):
            stepper.step(b"x")

    @pytest.mark.rule("LOG-01")
    @pytest.mark.parametrize("mechanism", [Plain, Login, CramMd5, XOAuth2])
    def test_no_repr_shows_the_secret(self, mechanism: type[Plain]) -> None:
        stepper = mechanism("someone", "s3cr3t")
        assert repr(stepper) == f"<{mechanism.__name__} not complete>"
        stepper.start()
        assert ("not" in repr(stepper)) is not stepper.complete
        for text in (repr(stepper), str(stepper), repr(Exchange(stepper))):
            assert "s3cr3t" not in text
            assert "czNjcjN0" not in text


class TestTokenRefusal:
    @pytest.mark.parametrize(
        ("said", "detail"),
        [
            (json.dumps({"status": "401", "schemes": "bearer", "scope": "https://mail.google.com/"}), "401"),
            ("not json", "not json"),
            ("[]", "[]"),
            ("{}", "{}"),
            ("", "no reason given"),
            (b"\xff\xfe", "\ufffd\ufffd"),
            ('{"status": "a\\u001b[31mb"}', "a [31mb"),
            ('{"status": "' + "x" * 900 + '"}', "x" * 200),
            ("[" * 100_000, "[" * 200),
        ],
    )
    def test_its_reason_is_kept_and_answered_by_an_empty_line(self, said: str | bytes, detail: str) -> None:
        exchange = Exchange(XOAuth2("u", "t"))
        exchange.begin()
        assert exchange.answer(challenge(said)) == b"\r\n"
        assert exchange.answer(Reply.of("535 5.7.8 no")) is None
        assert exchange.mechanism.detail == detail

    def test_it_is_answered_once(self) -> None:
        exchange = Exchange(XOAuth2("u", "t"))
        exchange.begin()
        exchange.answer(challenge("{}"))
        with pytest.raises(ProtocolError):
            exchange.answer(challenge("{}"))


class TestExchange:
    def test_plain_in_one_line(self) -> None:
        exchange = Exchange(Plain("u", "p"))
        assert exchange.begin() == b"AUTH PLAIN " + b64("\0u\0p") + b"\r\n"
        assert exchange.answer(Reply.of("235 2.7.0 ok")) is None

    def test_login_line_by_line(self) -> None:
        exchange = Exchange(Login("u", "p"))
        assert exchange.begin() == b"AUTH LOGIN\r\n"
        assert exchange.answer(challenge("Username:")) == b64("u") + b"\r\n"
        assert exchange.answer(challenge("Password:")) == b64("p") + b"\r\n"
        assert exchange.answer(Reply.of("235 ok")) is None

    def test_a_long_initial_response_waits_for_its_challenge(self) -> None:
        token = "t" * 600
        exchange = Exchange(XOAuth2("u", token))
        assert exchange.begin() == b"AUTH XOAUTH2\r\n"
        assert exchange.answer(challenge()) == b64(f"user=u\x01auth=Bearer {token}\x01\x01") + b"\r\n"
        assert exchange.answer(challenge('{"status": "400"}')) == b"\r\n"
        assert exchange.mechanism.detail == "400"

    def test_exactly_512_octets_fit(self) -> None:
        fitting = next(
            n for n in range(300, 400) if len(Exchange(Plain("u", "p" * n)).begin(max_command=9_999)) >= 509
        )
        line = Exchange(Plain("u", "p" * fitting)).begin(max_command=9_999)
        assert Exchange(Plain("u", "p" * fitting)).begin(max_command=len(line)) == line
        assert Exchange(Plain("u", "p" * fitting)).begin(max_command=len(line) - 1) == b"AUTH PLAIN\r\n"

    @pytest.mark.rule("SRV-10")
    @pytest.mark.parametrize("text", ["Username:", "a", "YQ", "YQ==YQ==", "Y Q==", "ü", "YQ==\nYQ=="])
    def test_a_challenge_that_is_no_base64(self, text: str) -> None:
        exchange = Exchange(Login("u", "p"))
        exchange.begin()
        with pytest.raises(ProtocolError, match="base64") as caught:
            exchange.answer(Reply(334, tuple(text.encode().split(b"\n"))))
        assert caught.value.phase is Phase.AUTH

    @pytest.mark.rule("SRV-10")
    @pytest.mark.parametrize("mechanism", [Login("u", "p"), CramMd5("u", "p"), XOAuth2("u", "t" * 600)])
    def test_success_before_any_proof(self, mechanism: Mechanism) -> None:
        exchange = Exchange(mechanism)
        exchange.begin()
        with pytest.raises(ProtocolError, match="before"):
            exchange.answer(Reply.of("235 welcome"))

    @pytest.mark.rule("SRV-10")
    def test_success_after_the_user_name_alone(self) -> None:
        exchange = Exchange(Login("u", "p"))
        exchange.begin()
        exchange.answer(challenge())
        with pytest.raises(ProtocolError, match="before"):
            exchange.answer(Reply.of("235 welcome"))

    def test_a_refusal_before_any_proof_is_only_that(self) -> None:
        exchange = Exchange(Login("u", "p"))
        exchange.begin()
        assert exchange.answer(Reply.of("504 5.5.4 no such mechanism")) is None

    @pytest.mark.rule("SRV-09")
    def test_it_ends_whatever_the_mechanism_says(self) -> None:
        class Talkative(Plain):
            def step(self, challenge: bytes) -> bytes:
                return b"more"

        exchange = Exchange(Talkative("u", "p"))
        exchange.begin()
        for _ in range(MOST_CHALLENGES):
            exchange.answer(challenge())
        with pytest.raises(ProtocolError, match="without end"):
            exchange.answer(challenge())


@pytest.mark.rule("SRV-10")
@given(
    st.sampled_from([Plain, Login, CramMd5, XOAuth2]),
    st.lists(st.binary(max_size=40), max_size=5),
    st.booleans(),
)
def test_any_challenges_get_one_line_or_a_protocol_error(
    mechanism: type[Plain], said: list[bytes], encoded: bool
) -> None:
    exchange = Exchange(mechanism("u", "p"))
    exchange.begin()
    for text in said:
        try:
            line = exchange.answer(Reply(334, (b64(text) if encoded else text,)))
        except ProtocolError:
            return
        assert line is not None
        assert line.endswith(b"\r\n")
        assert len(line.splitlines()) == 1


def chosen(credentials: Credentials, *offered: str, encrypted: bool = True, **more: object) -> str:
    return choose(credentials, offered, encrypted=encrypted, **more).name  # type: ignore[arg-type]


def refused(credentials: Credentials, *offered: str, encrypted: bool = True, **more: object) -> str:
    with pytest.raises(AuthenticationFailed) as caught:
        choose(credentials, offered, encrypted=encrypted, **more)  # type: ignore[arg-type]
    assert caught.value.phase is Phase.AUTH
    assert not caught.value.temporary
    assert "tanstaaf" not in str(caught.value)
    return str(caught.value)


class TestChoice:
    @pytest.mark.parametrize(
        ("offered", "name"),
        [
            (["LOGIN", "PLAIN", "CRAM-MD5"], "PLAIN"),
            (["CRAM-MD5", "LOGIN"], "LOGIN"),
            (["GSSAPI", "CRAM-MD5"], "CRAM-MD5"),
            (["XOAUTH2", "PLAIN"], "PLAIN"),
        ],
    )
    def test_with_a_password_on_tls(self, offered: list[str], name: str) -> None:
        assert chosen(PASSWORD, *offered) == name

    def test_with_a_token(self) -> None:
        assert chosen(TOKEN, "PLAIN", "LOGIN", "XOAUTH2") == "XOAUTH2"

    def test_a_token_fetched_just_now(self) -> None:
        fetched = Credentials("tim", access_token=lambda: "never called")
        mechanism = choose(fetched, ["XOAUTH2"], encrypted=True, token="fresh")
        assert mechanism.start() == b"user=tim\x01auth=Bearer fresh\x01\x01"
        with pytest.raises(TypeError, match="await"):
            choose(fetched, ["XOAUTH2"], encrypted=True)

    def test_a_fetched_token_takes_the_place_of_a_fixed_one_and_never_of_a_password(self) -> None:
        assert (
            choose(TOKEN, ["XOAUTH2"], encrypted=True, token="new").start()
            == b"user=tim\x01auth=Bearer new\x01\x01"
        )
        assert choose(PASSWORD, ["PLAIN"], encrypted=True, token="new").start() == b"\0tim\0tanstaaftanstaaf"

    @pytest.mark.rule("INJ-12")
    @pytest.mark.parametrize("token", ["", "a\x01b", "a\0b"])
    def test_a_fetched_token_is_looked_at(self, token: str) -> None:
        with pytest.raises(ConfigurationError):
            choose(TOKEN, ["XOAUTH2"], encrypted=True, token=token)

    @pytest.mark.rule("TLS-09")
    @pytest.mark.parametrize("name", ["PLAIN", "LOGIN"])
    def test_no_password_in_clear_text(self, name: str) -> None:
        assert "allow_cleartext_auth" in refused(PASSWORD, name, encrypted=False)
        assert "allow_cleartext_auth" in refused(PASSWORD, name, encrypted=False, forced=name)
        assert chosen(PASSWORD, name, encrypted=False, allow_cleartext=True) == name

    @pytest.mark.rule("TLS-09")
    def test_no_token_in_clear_text(self) -> None:
        assert "allow_cleartext_auth" in refused(TOKEN, "XOAUTH2", encrypted=False)
        assert chosen(TOKEN, "XOAUTH2", encrypted=False, allow_cleartext=True) == "XOAUTH2"

    @pytest.mark.rule("TLS-09")
    @pytest.mark.parametrize("allowed", [True, False])
    def test_without_tls_what_hides_the_password_comes_first(self, allowed: bool) -> None:
        assert (
            chosen(PASSWORD, "PLAIN", "LOGIN", "CRAM-MD5", encrypted=False, allow_cleartext=allowed)
            == "CRAM-MD5"
        )

    @pytest.mark.rule("TLS-10")
    def test_a_forced_mechanism_is_that_or_nothing(self) -> None:
        assert chosen(PASSWORD, "PLAIN", "CRAM-MD5", forced="cram-md5") == "CRAM-MD5"
        assert chosen(Credentials("u", "p", method="LOGIN"), "PLAIN", "LOGIN") == "LOGIN"
        assert "not offered" in refused(PASSWORD, "PLAIN", forced="CRAM-MD5")
        assert "SCRAM-SHA-256" in refused(PASSWORD, "PLAIN", "SCRAM-SHA-256", forced="SCRAM-SHA-256")
        assert "SCRAM-SHA-1" in refused(PASSWORD, "SCRAM-SHA-1", encrypted=False, forced="SCRAM-SHA-1")
        assert "XOAUTH2 was asked for" in refused(PASSWORD, "PLAIN", "XOAUTH2", forced="XOAUTH2")

    def test_the_error_says_what_is_there_and_what_to_do(self) -> None:
        assert "offers no AUTH" in refused(PASSWORD)
        message = refused(PASSWORD, "XOAUTH2", "OAUTHBEARER")
        assert "XOAUTH2, OAUTHBEARER" in message
        assert "PLAIN, LOGIN, CRAM-MD5" in message
        assert "access_token" in message
        assert "operator" in refused(PASSWORD, "GSSAPI")
        assert "an access token can be used with XOAUTH2" in refused(TOKEN, "PLAIN")
        assert "a password can be used with" in refused(PASSWORD, "GSSAPI")
