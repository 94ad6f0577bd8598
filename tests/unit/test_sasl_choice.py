"""Which mechanism is chosen: the strongest that suits, none below the minimum, and nothing readable in clear text."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from mailpool.errors import AuthenticationFailed, ConfigurationError
from mailpool.options import Credentials, Options, parse_options
from mailpool.options.mechanism_names import STRENGTH
from mailpool.results import Phase, Reply
from mailpool.smtp.sasl import Exchange, LoginContext, Mechanism, Plain, choose

PASSWORD = Credentials("tim", "tanstaaftanstaaf")
TOKEN = Credentials("tim", access_token="ya29.token")
BOUND = LoginContext(
    nonce="n0nce", channel_bindings={"tls-server-end-point": b"hash"}, host="mail.example", port=465
)
UNBOUND = LoginContext(nonce="n0nce")
SCRAMS = ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS")


def chosen(credentials: Credentials, *offered: str, encrypted: bool = True, **more: object) -> str:
    return choose(credentials, offered, encrypted=encrypted, **more).name


def refused(credentials: Credentials, *offered: str, encrypted: bool = True, **more: object) -> str:
    with pytest.raises(AuthenticationFailed) as caught:
        choose(credentials, offered, encrypted=encrypted, **more)
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
        assert chosen(TOKEN, "PLAIN", "XOAUTH2", "OAUTHBEARER") == "OAUTHBEARER"

    def test_a_token_fetched_just_now(self) -> None:
        fetched = Credentials("tim", access_token=lambda: "never called")
        mechanism = choose(fetched, ["XOAUTH2"], encrypted=True, context=LoginContext(token="fresh"))
        assert mechanism.start() == b"user=tim\x01auth=Bearer fresh\x01\x01"
        with pytest.raises(TypeError, match="not there yet"):
            choose(fetched, ["XOAUTH2"], encrypted=True)

    def test_a_fetched_token_takes_the_place_of_a_fixed_one_and_never_of_a_password(self) -> None:
        new = LoginContext(token="new")
        by_token = choose(TOKEN, ["XOAUTH2"], encrypted=True, context=new)
        assert by_token.start() == b"user=tim\x01auth=Bearer new\x01\x01"
        assert choose(PASSWORD, ["PLAIN"], encrypted=True, context=new).start() == b"\0tim\0tanstaaftanstaaf"

    @pytest.mark.rule("INJ-12")
    @pytest.mark.parametrize("name", ["XOAUTH2", "OAUTHBEARER"])
    @pytest.mark.parametrize("token", ["", "a\x01b", "a\0b"])
    def test_a_fetched_token_is_looked_at(self, token: str, name: str) -> None:
        with pytest.raises(AuthenticationFailed, match="provider of access tokens") as caught:
            choose(TOKEN, [name], encrypted=True, context=LoginContext(token=token))
        assert not caught.value.temporary

    @pytest.mark.rule("INJ-12")
    @pytest.mark.parametrize("given", [{"user": "u\x01auth=x"}, {"access_token": "a\x01b"}])
    def test_user_and_token_are_looked_at_when_they_are_given(self, given: dict[str, str]) -> None:
        with pytest.raises(ConfigurationError, match="control character"):
            Credentials.of({"user": "u", "access_token": "t", **given})

    @pytest.mark.rule("INJ-11")
    @pytest.mark.parametrize("given", [{"user": "a\0b"}, {"password": "a\0b"}])
    def test_nul_is_refused(self, given: dict[str, str]) -> None:
        with pytest.raises(ConfigurationError, match="control character"):
            Credentials.of({"user": "u", "password": "p", **given})

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
        assert "not offered" in refused(PASSWORD, "PLAIN", forced="SCRAM-SHA-256")
        assert "leave auth_method away" in refused(PASSWORD, "PLAIN", "DIGEST-MD5", forced="DIGEST-MD5")
        assert "XOAUTH2 was asked for" in refused(PASSWORD, "PLAIN", "XOAUTH2", forced="XOAUTH2")

    def test_the_error_says_what_is_there_and_what_to_do(self) -> None:
        assert "offers no AUTH" in refused(PASSWORD)
        message = refused(PASSWORD, "XOAUTH2", "OAUTHBEARER")
        assert "XOAUTH2, OAUTHBEARER" in message
        assert "SCRAM-SHA-1, PLAIN, LOGIN, CRAM-MD5" in message
        assert "access_token" in message
        assert "operator" in refused(PASSWORD, "GSSAPI")
        assert "an access token can be used with OAUTHBEARER, XOAUTH2" in refused(TOKEN, "PLAIN")
        assert "a password can be used with" in refused(PASSWORD, "GSSAPI")

    @pytest.mark.parametrize(
        ("offered", "context", "name"),
        [
            (("PLAIN", *SCRAMS), BOUND, "SCRAM-SHA-256-PLUS"),
            (("PLAIN", *SCRAMS), UNBOUND, "SCRAM-SHA-256"),
            (("PLAIN", *SCRAMS[:3]), BOUND, "SCRAM-SHA-1-PLUS"),
            (("PLAIN", "CRAM-MD5", "SCRAM-SHA-1"), BOUND, "SCRAM-SHA-1"),
        ],
    )
    def test_scram_comes_first(self, offered: tuple[str, ...], context: LoginContext, name: str) -> None:
        assert chosen(PASSWORD, *offered, context=context) == name

    @pytest.mark.rule("TLS-09")
    def test_scram_needs_no_tls(self) -> None:
        assert chosen(PASSWORD, "PLAIN", "SCRAM-SHA-1", encrypted=False) == "SCRAM-SHA-1"

    def test_without_a_secret(self) -> None:
        assert chosen(Credentials(method="external"), "PLAIN", "EXTERNAL") == "EXTERNAL"
        assert "not offered" in refused(Credentials(method="EXTERNAL"), "PLAIN")


class TestMinimum:
    """What an attacker takes out of the list is missed (TLS-10)."""

    @pytest.mark.rule("TLS-10")
    @pytest.mark.parametrize("least", [name for name in STRENGTH if name.startswith("SCRAM")])
    def test_nothing_weaker_is_taken(self, least: str) -> None:
        weaker = [name for name, strength in STRENGTH.items() if strength < STRENGTH[least]]
        message = refused(PASSWORD, *weaker, least=least, context=BOUND)
        assert f"min_mechanism={least!r} demands more" in message
        assert "taken it out of the list" in message
        assert chosen(PASSWORD, *weaker, least, least=least, context=BOUND) == least

    @pytest.mark.rule("TLS-10")
    def test_what_is_stronger_is_fine(self) -> None:
        assert chosen(PASSWORD, "SCRAM-SHA-256", "PLAIN", least="SCRAM-SHA-1") == "SCRAM-SHA-256"
        assert chosen(PASSWORD, "PLAIN", "CRAM-MD5", least="CRAM-MD5") == "CRAM-MD5"

    @pytest.mark.rule("TLS-10")
    @pytest.mark.parametrize("context", [UNBOUND, LoginContext(nonce="n")])
    def test_plus_without_anything_to_bind_to(self, context: LoginContext) -> None:
        message = refused(PASSWORD, *SCRAMS, least="SCRAM-SHA-1-PLUS", context=context)
        assert "nothing to bind a login to" in message

    @pytest.mark.rule("TLS-10")
    def test_a_message_with_its_own_method_is_held_to_it(self) -> None:
        own = Credentials("u", "p", method="PLAIN")
        assert "demands more" in refused(own, "PLAIN", "SCRAM-SHA-256", least="SCRAM-SHA-1")

    @pytest.mark.rule("TLS-10")
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"auth": ("u", "p"), "auth_method": "PLAIN"}, "'PLAIN' is asked for"),
            ({"auth": {"user": "u", "password": "p", "method": "login"}}, "'LOGIN' is asked for"),
            ({"auth": {"user": "u", "access_token": "t"}}, "no access token"),
        ],
    )
    def test_what_no_server_could_meet_is_said_at_once(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigurationError, match=words) as caught:
            Options(min_mechanism="SCRAM-SHA-256", **options)
        assert caught.value.option == "min_mechanism"

    def test_in_any_case_and_in_a_url(self) -> None:
        options = parse_options("smtp://u:p@mail.example/?min_mechanism=scram-sha-256")
        assert options.min_mechanism == "SCRAM-SHA-256"
        with pytest.raises(ConfigurationError, match="is not among PLAIN"):
            Options(min_mechanism="DIGEST-MD5")


class TestMechanismOfOnesOwn:
    class Own(Mechanism):
        name = "X-OWN"

        def __init__(self, credentials: Credentials, context: LoginContext) -> None:
            self.said = f"{credentials.user} {credentials.password} {context.token} {context.host}".encode()

        def start(self) -> bytes:
            self.complete = True
            return self.said

    def test_it_is_given_the_credentials_and_the_context(self) -> None:
        credentials = Credentials("me", "secret", method=self.Own)
        line = Exchange(choose(credentials, ["X-OWN"], encrypted=True, context=BOUND)).begin()
        assert line == b"AUTH X-OWN " + base64.b64encode(b"me secret None mail.example") + b"\r\n"

    def test_it_needs_no_secret_and_no_user(self) -> None:
        assert chosen(Credentials(method=self.Own), "X-OWN") == "X-OWN"

    def test_it_is_held_to_the_same_rules(self) -> None:
        own = Credentials("me", method=self.Own)
        assert "the server offers PLAIN" in refused(own, "PLAIN")
        assert "without TLS" in refused(own, "X-OWN", encrypted=False)
        assert chosen(own, "X-OWN", encrypted=False, allow_cleartext=True) == "X-OWN"
        assert "knows nothing of it" in refused(own, "X-OWN", least="PLAIN")

    @pytest.mark.rule("INJ-13")
    @pytest.mark.parametrize("name", ["X\r\nQUIT", "X Y", "", "x-own", "X" * 21, None, 7])
    def test_a_name_that_would_be_more_than_a_name(self, name: Any) -> None:
        class Named(self.Own):
            pass

        Named.name = name
        assert "which is none" in refused(Credentials("me", method=Named), str(name))

    @pytest.mark.parametrize("method", [lambda *_: None, lambda *_: "PLAIN", lambda: 1, lambda *_: 1 / 0])
    def test_what_gives_no_mechanism(self, method: Any) -> None:
        assert "auth: method" in refused(Credentials("me", "tanstaaf", method=method), "PLAIN")

    @pytest.mark.rule("LOG-01")
    def test_its_error_does_not_tell_what_it_knew(self) -> None:
        def failing(credentials: Credentials, context: LoginContext) -> Mechanism:
            raise ValueError(credentials.password)

        assert "ValueError" in refused(Credentials("me", "tanstaaf", method=failing), "PLAIN")

    def test_a_name_that_is_forced_wins(self) -> None:
        assert chosen(Credentials("me", "p", method=self.Own), "X-OWN", "PLAIN", forced="PLAIN") == "PLAIN"


class TestCredentials:
    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({}, "neither is there"),
            ({"user": "u"}, "neither is there"),
            ({"user": "u", "method": "SCRAM-SHA-256"}, "neither is there"),
            ({"user": "u", "password": "p", "method": "EXTERNAL"}, "no use for a password"),
            ({"user": "u", "password": "p", "method": "XOAUTH2"}, "no use for a password"),
            ({"user": "u", "access_token": "t", "method": "PLAIN"}, "no use for an access token"),
            ({"password": "p"}, "user must be a text"),
            ({"password": "p", "method": "GSSAPI"}, "user must be a text"),
        ],
    )
    def test_a_method_that_cannot_use_them(self, given: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigurationError, match=words):
            Credentials(**given)

    @pytest.mark.rule("LOG-01")
    def test_repr(self) -> None:
        assert repr(Credentials(method="EXTERNAL")) == "Credentials(user='', method='EXTERNAL')"
        own = Credentials("u", "s3cr3t", method=TestMechanismOfOnesOwn.Own)
        assert repr(own) == "Credentials(user='u', password=***, method='TestMechanismOfOnesOwn.Own')"
        context = LoginContext(token="s3cr3t", nonce="n0nce", channel_bindings={"x": b"s3cr3t"})
        assert "s3cr3t" not in repr(context)
        assert "n0nce" not in repr(context)


@pytest.mark.rule("TLS-10")
@pytest.mark.parametrize("said", ["504 5.5.4 what?", "534 5.7.9 too weak", "535 5.7.8 no"])
def test_a_refusal_ends_it_whatever_was_refused(said: str) -> None:
    """The exchange is over; there is nothing here that would try another mechanism."""
    exchange = Exchange(choose(PASSWORD, ["PLAIN", *SCRAMS], encrypted=True, context=BOUND))
    exchange.begin()
    assert exchange.answer(Reply.of(said)) is None
    assert not isinstance(exchange.mechanism, Plain)
