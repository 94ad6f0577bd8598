"""Mechanisms, and servers that lead us on."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpool.errors import AuthenticationFailed, ProtocolError
from mailpool.results import Phase, Reply
from mailpool.smtp.sasl import (
    MOST_CHALLENGES,
    CramMd5,
    Exchange,
    External,
    Login,
    Mechanism,
    OAuthBearer,
    Plain,
    XOAuth2,
)


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

    def test_oauthbearer_as_in_rfc_7628(self) -> None:
        bearer = OAuthBearer(
            "user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", "server.example.com", 143
        )
        assert bearer.start() == (
            b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
            b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
        )

    def test_oauthbearer_without_a_place_and_with_what_has_to_be_escaped(self) -> None:
        assert OAuthBearer("a=b,c", "t").start() == b"n,a=a=3Db=2Cc,\x01auth=Bearer t\x01\x01"

    def test_external(self) -> None:
        assert External("me@example.org").start() == b"me@example.org"
        assert Exchange(External("")).begin() == b"AUTH EXTERNAL =\r\n"

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
    @pytest.mark.parametrize(
        ("mechanism", "rounds"), [(Plain, 0), (Login, 2), (CramMd5, 1), (XOAuth2, 1), (OAuthBearer, 1)]
    )
    def test_a_challenge_after_the_end(self, mechanism: type[Plain], rounds: int) -> None:
        stepper = mechanism("u", "p")
        stepper.start()
        for _ in range(rounds):
            stepper.step(b"x")
        with pytest.raises(ProtocolError, match=stepper.name):
            stepper.step(b"x")

    @pytest.mark.rule("LOG-01")
    @pytest.mark.parametrize("mechanism", [Plain, Login, CramMd5, XOAuth2, OAuthBearer])
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

    def test_oauthbearer_answers_it_by_a_dummy(self) -> None:
        """RFC 7628 §3.2.3."""
        exchange = Exchange(OAuthBearer("u", "t"))
        exchange.begin()
        assert exchange.answer(challenge('{"status": "invalid_token"}')) == b"AQ==\r\n"
        assert exchange.answer(Reply.of("535 5.7.8 no")) is None
        assert exchange.mechanism.detail == "invalid_token"

    @pytest.mark.rule("LOG-01")
    @pytest.mark.parametrize(
        "said", [f"{'x' * 198}a-token-of-some-length", '{"status": "a-token-of-some-length"}']
    )
    def test_a_token_that_is_repeated_is_not_kept(self, said: str) -> None:
        """Not even the part of it that has room in an error."""
        exchange = Exchange(XOAuth2("u", "a-token-of-some-length"))
        exchange.begin()
        exchange.answer(challenge(said))
        assert exchange.mechanism.detail is not None
        assert not re.search("[a-w]", exchange.mechanism.detail)

    @pytest.mark.rule("SRV-10")
    @pytest.mark.parametrize("mechanism", [XOAuth2, OAuthBearer])
    def test_no_success_after_a_refusal(self, mechanism: type[XOAuth2]) -> None:
        exchange = Exchange(mechanism("u", "t"))
        exchange.begin()
        exchange.answer(challenge('{"status": "401"}'))
        with pytest.raises(ProtocolError, match="before"):
            exchange.answer(Reply.of("235 welcome"))

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


class TestMechanismsOfOthers:
    """The hook for one's own; whatever it does, the login fails and nothing else."""

    class Own(Mechanism):
        name = "X-OWN"

        def __init__(self, said: object = b"", step: object = b"") -> None:
            self.said, self.answer = said, step

        def start(self) -> Any:
            if isinstance(self.said, Exception):
                raise self.said
            return self.said

        def step(self, challenge: bytes) -> Any:
            if isinstance(self.answer, Exception):
                raise self.answer
            self.complete = True
            return self.answer

    def test_one_that_behaves(self) -> None:
        exchange = Exchange(self.Own(b"hello", b"proof"))
        assert exchange.begin() == b"AUTH X-OWN " + b64("hello") + b"\r\n"
        assert not exchange.is_slow(challenge("x"))
        assert exchange.answer(challenge("x")) == b64("proof") + b"\r\n"
        assert exchange.answer(Reply.of("235 ok")) is None

    @pytest.mark.rule("INJ-13")
    def test_line_ends_in_what_it_says_are_data(self) -> None:
        exchange = Exchange(self.Own(b"X\r\nQUIT", b"Y\r\nRSET"))
        assert exchange.begin() == b"AUTH X-OWN " + b64("X\r\nQUIT") + b"\r\n"
        assert exchange.answer(challenge()) == b64("Y\r\nRSET") + b"\r\n"

    @pytest.mark.rule("INJ-13")
    @pytest.mark.parametrize("said", ["X\r\nQUIT", 7, object(), ValueError("s3cr3t")])
    def test_what_is_no_octets_is_an_error(self, said: object) -> None:
        for exchange in (Exchange(self.Own(said)), Exchange(self.Own(None, said))):
            with pytest.raises(AuthenticationFailed, match="X-OWN") as caught:  # noqa: PT012 - whichever comes first
                exchange.begin()
                exchange.answer(challenge())
            assert "s3cr3t" not in str(caught.value)
            assert not caught.value.temporary

    def test_no_answer_is_an_error_too(self) -> None:
        exchange = Exchange(self.Own(None, None))
        exchange.begin()
        with pytest.raises(AuthenticationFailed, match="NoneType"):
            exchange.answer(challenge())

    def test_one_that_answers_nothing_is_over_at_the_first_challenge(self) -> None:
        class Silent(Mechanism):
            name = "SILENT"

        exchange = Exchange(Silent())
        assert exchange.begin() == b"AUTH SILENT\r\n"
        with pytest.raises(ProtocolError, match="SILENT has said everything"):
            exchange.answer(challenge())


@pytest.mark.rule("SRV-10")
@given(
    st.sampled_from([Plain, Login, CramMd5, XOAuth2, OAuthBearer]),
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
