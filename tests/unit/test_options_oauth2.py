"""OAuth2 as an option: every way to write it, and what is refused before anything is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from mailpool import ConfigurationError, Credentials, OAuth2
from mailpool.auth.service_account import account_of
from mailpool.options import parse_options

REFRESH = {"client_id": "app", "client_secret": "SECRET-1", "refresh_token": "SECRET-2"}
ACCOUNT = {"client_email": "robot@project.example", "private_key": "SECRET-3", "private_key_id": "7"}


def source(auth: Mapping[str, Any]) -> OAuth2:
    credentials = parse_options(auth=auth).auth
    assert credentials is not None
    assert isinstance(credentials.access_token, OAuth2)
    assert credentials.password is None
    assert credentials.renews
    return credentials.access_token


@pytest.mark.parametrize(
    ("given", "grant", "token_url", "scope"),
    [
        ({"provider": "google", **REFRESH}, "refresh_token", "https://oauth2.googleapis.com/token", None),
        ({"provider": "google", "client_id": "a", "refresh_token": "r"}, "refresh_token", "https://oauth2.googleapis.com/token", None),
        (
            {"provider": "microsoft", **REFRESH}, "refresh_token",
            "https://login.microsoftonline.com/common/oauth2/v2.0/token",
            "https://outlook.office.com/SMTP.Send offline_access",
        ),
        (
            {"provider": "microsoft", "tenant": "contoso.example", "client_id": "a", "client_secret": "s"}, "client_credentials",
            "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token", "https://outlook.office365.com/.default",
        ),
        (
            {"provider": "microsoft", "token_url": "https://login.example/token", "scope": "mail", **REFRESH}, "refresh_token",
            "https://login.example/token", "mail",
        ),
        ({"service_account": ACCOUNT}, "service_account", "https://oauth2.googleapis.com/token", "https://mail.google.com/"),
        (
            {"service_account": {**ACCOUNT, "token_uri": "https://t.example/x"}, "scope": "a b"}, "service_account",
            "https://t.example/x", "a b",
        ),
        ({"service_account": "/a/file.json", "provider": "google"}, "service_account", "https://oauth2.googleapis.com/token", "https://mail.google.com/"),
        ({"token_url": "https://[::1]:8443/token?x=1", "client_id": "a", "client_secret": "s"}, "client_credentials", "https://[::1]:8443/token?x=1", None),
    ],
)  # fmt: skip
def test_grants_and_places(given: dict[str, Any], grant: str, token_url: str, scope: str | None) -> None:
    found = source({"user": "me", **given})
    assert (found.grant, found.token_url, found.scope) == (grant, token_url, scope)
    assert found == OAuth2(**given)
    assert hash(found) == hash(OAuth2(**given))


def test_names_from_elsewhere() -> None:
    found = source(
        {
            "type": "OAuth2", "user": "me", "clientId": "app", "clientSecret": "SECRET-1", "refreshToken": "SECRET-2",
            "accessToken": "first", "accessUrl": "https://t.example/token", "customParams": {"audience": "x"},
        }
    )  # fmt: skip
    expected = {**REFRESH, "access_token": "first", "token_url": "https://t.example/token"}
    assert found == OAuth2(**expected, params={"audience": "x"})
    found = source({"user": "me", "serviceClient": "robot", "privateKey": "KEY"})
    account = account_of(found)
    assert (account.client_email, account.private_key) == ("robot", "KEY")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (REFRESH, "where are tokens asked for"),
        ({"provider": "google"}, "give refresh_token"),
        ({"provider": "google", "client_id": "a"}, "give refresh_token"),
        ({"provider": "google", "client_id": "a", "client_secret": "s"}, "Google sends mail for no client by itself"),
        ({"provider": "google", "refresh_token": "r"}, "needs the client_id"),
        ({"provider": "microsoft", "client_id": "a", "client_secret": "s"}, "needs the tenant"),
        ({"provider": "microsoft", "service_account": ACCOUNT}, "Google's"),
        ({"provider": "yahoo", **REFRESH}, "token_url"),
        ({"provider": "google", "tenant": "t", **REFRESH}, "tenant belongs to"),
        ({"provider": "microsoft", "tenant": "a/../b", **REFRESH}, "tenant must be"),
        ({"service_account": ACCOUNT, "refresh_token": "r"}, "signs for itself"),
        ({"service_account": {"client_email": "x"}}, "client_email and private_key"),
        ({"service_account": {"client_email": 7, "private_key": "k"}}, "client_email and private_key"),
        ({"service_account": 7}, "JSON file"),
        ({"provider": "google", "client_id": "a", "refresh_token": ""}, "refresh_token must be a text"),
        ({"provider": "google", "client_id": 7, "refresh_token": "r"}, "client_id must be a text"),
        ({"provider": "google", "client_id": "a\r\nb", "refresh_token": "r"}, "control characters"),
        ({"provider": "google", **REFRESH, "timeout": 0}, "timeout"),
        ({"provider": "google", **REFRESH, "timeout": 30_000}, "timeout"),
        ({"provider": "google", **REFRESH, "timeout": "30"}, "timeout"),
        ({"provider": "google", **REFRESH, "on_refresh_token": "x"}, "must be a function"),
        ({"provider": "google", **REFRESH, "clientId": "b"}, "twice"),
        ({"provider": "google", **REFRESH, "password": "p"}, "not both"),
        ({"provider": "google", **REFRESH, "expires": 7}, "'expires' is unknown"),
        ({"token_url": "http://t.example/token", **REFRESH}, "https"),
        ({"token_url": "https://", **REFRESH}, "form"),
        ({"token_url": "https://u:p@t.example/", **REFRESH}, "form"),
        ({"token_url": "https://t.example/#x", **REFRESH}, "form"),
        ({"token_url": "https://t.example:99999/", **REFRESH}, "no URL"),
        ({"token_url": "https://[::1", **REFRESH}, "no URL"),
        ({"token_url": "https://tö.example/", **REFRESH}, "form"),
        ({"token_url": "https://t.example/\r\nHost: x", **REFRESH}, "control characters"),
        ({"token_url": "https://t.example/a b", **REFRESH}, "form"),
        ({"token_url": "https://t$.example/", **REFRESH}, "valid host"),
    ],
)  # fmt: skip
def test_wrong(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        parse_options(auth={"user": "me", **given})
    assert caught.value.option == "auth"
    assert "SECRET" not in str(caught.value)


@pytest.mark.rule("LOG-01")
@pytest.mark.parametrize("more", [REFRESH, {"service_account": ACCOUNT}])
def test_no_repr_shows_a_secret(more: dict[str, Any]) -> None:
    first = "SECRET-4"
    options = parse_options(
        host="mail.example.org",
        auth={"user": "me", "provider": "google", "access_token": first, "params": {"x": "SECRET-5"}, **more},
    )
    assert options.auth is not None
    token = options.auth.access_token
    assert isinstance(token, OAuth2)
    account = token.service_account
    for shown in (options, options.auth, token, account, options.redacted_url()):
        assert "SECRET" not in f"{shown!r} {shown}"
    assert "oauth2.googleapis.com" in repr(token)


@pytest.mark.rule("INJ-12")
@pytest.mark.parametrize("character", ["\x00", "\x01", "\r", "\n", "\x7f"])
def test_a_given_token_holds_no_control_character(character: str) -> None:
    with pytest.raises(ConfigurationError, match="control character"):
        Credentials("me", access_token=f"a{character}b")


@pytest.mark.rule("INJ-12")
@pytest.mark.parametrize("character", ["\x00", "\x01"])
def test_a_user_holds_no_character_that_ends_its_field(character: str) -> None:
    with pytest.raises(ConfigurationError, match="control character"):
        Credentials(f"a{character}auth=Bearer x", access_token=OAuth2(provider="google", **REFRESH))


def test_in_a_url() -> None:
    options = parse_options(
        "smtps://me%40example.org@smtp.example.org/?auth.provider=microsoft&auth.tenant=contoso.example"
        "&auth.client_id=7&auth.client_secret=S%26S&auth.timeout=5&pool=true"
    )
    expected = OAuth2(
        provider="microsoft", tenant="contoso.example", client_id="7", client_secret="S&S", timeout=5
    )
    assert options.auth == Credentials("me@example.org", access_token=expected)
    options = parse_options("smtp://me@smtp.example.org/?auth.access_token=abc&auth.type=oauth2")
    assert options.auth == Credentials("me", access_token="abc")
    options = parse_options("smtp://me@smtp.example.org/?auth.service_account=/etc/key.json")
    assert options.auth == Credentials("me", access_token=OAuth2(service_account="/etc/key.json"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("smtp://me@h/", "without a password"),
        ("smtp://me@h/?auth.user=x", "auth.user"),
        ("smtp://me@h/?auth.params=x", "auth.params"),
        ("smtp://me@h/?auth.on_refresh_token=x", "auth.on_refresh_token"),
        ("smtp://me:p@h/?auth.access_token=x", "not both"),
        ("smtp://h/?auth.access_token=x", "user must be"),
        ("smtp://me@h/?auth=x", "auth"),
    ],
)
def test_wrong_in_a_url(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        parse_options(url)
