"""Rate and Credentials."""

from __future__ import annotations

import dataclasses

import pytest

from mailpool.errors import ConfigurationError
from mailpool.options import Credentials, Rate, parse_options


class TestRate:
    @pytest.mark.parametrize(
        ("text", "rate"),
        [
            ("14/s", Rate(14)), ("30/min", Rate(30, 60)), ("10000/day", Rate(10_000, 86_400)), ("5/10s", Rate(5, 10)),
            ("100 / hour", Rate(100, 3_600)), ("7/M", Rate(7, 60)), ("3/1.5s", Rate(3, 1.5)),
            ("10000 recipients/day", Rate(10_000, 86_400, unit="recipients")), ("1 message/second", Rate(1)),
        ],
    )  # fmt: skip
    def test_texts(self, text: str, rate: Rate) -> None:
        assert Rate.parse(text) == rate
        assert Rate.parse(str(rate)) == rate

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "14",
            "/s",
            "14/",
            "14/fortnight",
            "-1/s",
            "0/s",
            "1/0s",
            "14/s;",
            "1e3/s",
            "١/s/",
            "9" * 99 + "/s",
        ],
    )
    def test_no_rates(self, text: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            Rate.parse(text)
        assert caught.value.option == "rate"

    @pytest.mark.parametrize(
        "arguments",
        [
            (0,),
            (True,),
            (1.5,),
            (1, 0),
            (1, -1),
            (1, float("nan")),
            (1, float("inf")),
            (5, 1, 6),
            (5, 1, 0),
            (5, 1, 1, "bytes"),
        ],
    )
    def test_wrong_numbers(self, arguments: tuple[int, ...]) -> None:
        with pytest.raises(ConfigurationError):
            Rate(*arguments)

    def test_a_burst(self) -> None:
        assert Rate(14, burst=14).burst == 14
        assert Rate(14, burst=1).burst == 1

    def test_several_at_once(self) -> None:
        several = (Rate(14), Rate(10_000, 86_400))
        for given in ("14/s,10000/day", ["14/s", "10000/day"], several, [Rate(14), "10000/day"]):
            assert parse_options(rate=given).rate == several
        assert parse_options(rate=Rate(14)).rate == (Rate(14),)
        assert parse_options(rate=None).rate == ()

    @pytest.mark.parametrize("rate", [14, 14.0, True, [14], {"limit": 14}, b"14/s"])
    def test_no_number_without_a_window(self, rate: object) -> None:
        with pytest.raises(ConfigurationError):
            parse_options(rate=rate)


class TestCredentials:
    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            (("u", "p"), Credentials("u", "p")),
            (["u", "p"], Credentials("u", "p")),
            ({"user": "u", "pass": "p"}, Credentials("u", "p")),
            ({"user": "u", "password": "p", "method": "plain"}, Credentials("u", "p", method="PLAIN")),
            ({"type": "login", "user": "u", "pass": "p"}, Credentials("u", "p")),
            ({"user": "u", "access_token": "t"}, Credentials("u", access_token="t")),
            ({"type": "OAuth2", "user": "u", "accessToken": "t"}, Credentials("u", access_token="t")),
        ],
    )
    def test_forms(self, given: object, kept: Credentials) -> None:
        assert parse_options(auth=given).auth == kept

    def test_a_function_may_give_the_token(self) -> None:
        def fetch() -> str:
            return "t"

        credentials = parse_options(auth={"user": "u", "access_token": fetch}).auth
        assert credentials is not None
        assert credentials.access_token is fetch

    def test_the_method_is_said_in_one_place_or_twice_the_same(self) -> None:
        assert parse_options(auth=("u", "p"), auth_method="login").auth_method == "LOGIN"
        both = parse_options(auth={"user": "u", "pass": "p", "method": "login"}, auth_method="LOGIN")
        assert both.auth is not None
        assert both.auth.method == both.auth_method == "LOGIN"

    def test_another_login_does_not_inherit_the_method(self) -> None:
        options = parse_options(auth={"user": "u", "pass": "p", "method": "login"})
        other = dataclasses.replace(options, auth=Credentials("v", access_token="t", method="XOAUTH2"))
        assert other.auth_method is None

    def test_repr_tells_what_kind_it_is(self) -> None:
        assert repr(Credentials("u", "p")) == "Credentials(user='u', password=***)"
        assert (
            repr(Credentials("u", "p", method="plain"))
            == "Credentials(user='u', password=***, method='PLAIN')"
        )

    @pytest.mark.rule("INJ-11")
    @pytest.mark.parametrize("given", [("u\0v", "p"), ("u", "p\0q"), {"user": "u", "access_token": "t\0"}])
    def test_nul_is_refused(self, given: object) -> None:
        with pytest.raises(ConfigurationError, match="control character"):
            parse_options(auth=given)

    @pytest.mark.rule("INJ-12")
    @pytest.mark.parametrize(
        "given",
        [
            {"user": "u\x01", "access_token": "t"},
            {"user": "u", "access_token": "t\x01auth=x"},
            ("u", "p\x01"),
        ],
    )
    def test_the_separator_of_tokens_is_refused(self, given: object) -> None:
        with pytest.raises(ConfigurationError, match="control character"):
            parse_options(auth=given)

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({}, "neither"),
            ({"user": "u"}, "neither"),
            ({"user": None, "pass": None}, "neither"),
            ({"user": "u", "pass": "p", "access_token": "t"}, "not both"),
            ({"user": "u", "pass": "p", "password": "q"}, "twice"),
            ({"pass": "p"}, "user must be"),
            ({"user": "u", "pass": ""}, "password must be"),
            ({"user": 7, "pass": "p"}, "user must be"),
            ({"user": lambda: "u", "pass": "p"}, "user must be"),
            (("u", lambda: "p"), "password must be"),
            ({"user": "u", "pass": b"p"}, "password must be"),
            ({"user": "u", "access_token": 7}, "access token must be"),
            ({"user": "u", "pass": "p\ud800"}, "surrogate"),
            ({"user": "u", "pass": "p", "domain": "d"}, "'domain' is unknown"),
            (
                {"type": "oauth2", "user": "u", "clientId": "c", "refreshToken": "r"},
                "where are tokens asked for",
            ),
            ({"type": "oauth2", "user": "u", "pass": "p"}, "needs an access_token"),
            ({"type": "ntlm", "user": "u", "pass": "p"}, "'login' or 'oauth2'"),
            ({"user": "u", "pass": "p", "method": "NOT A NAME"}, "SASL"),
            (("u",), "pair"),
            ("u:p", "pair"),
        ],
    )
    def test_wrong(self, given: object, says: str) -> None:
        with pytest.raises(ConfigurationError, match=says) as caught:
            parse_options(auth=given)
        assert caught.value.option == "auth"

    @pytest.mark.rule("INJ-11")
    def test_line_ends_are_the_password_s_own_affair(self) -> None:
        # They travel in base64.
        assert Credentials("u", "p\r\nQUIT").password == "p\r\nQUIT"
