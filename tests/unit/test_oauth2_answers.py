"""What the answers of token servers mean, without a server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpool import Credentials, TokenFailed
from mailpool.auth.oauth2 import checked, lifetime_of, read
from mailpool.auth.post import Answer


def answer(said: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(said).encode())


@pytest.mark.rule("LOG-01")
@pytest.mark.parametrize("where", ["error", "error_description"])
def test_what_was_asked_with_is_in_no_error(where: str) -> None:
    said = {"error": "invalid_client", where: "you said SECRET-1 and SECRET-2"}
    with pytest.raises(TokenFailed) as caught:
        read(answer(said, 401), ("SECRET-1", "SECRET-2"))
    error = caught.value
    assert "you said *** and ***" in str(error)
    assert "SECRET" not in f"{error} {error!r} {vars(error)}"


@pytest.mark.rule("LOG-03")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_whatever_it_holds(status: int) -> None:
    with pytest.raises(TokenFailed, match="redirect"):
        read(answer({"access_token": "token", "token_type": "Bearer"}, status))


@pytest.mark.rule("INJ-12")
@given(st.text(min_size=1))
def test_a_token_is_visible_ascii_or_none(token: str) -> None:
    try:
        assert checked(token) == token
    except TokenFailed:
        assert not all("!" <= character <= "~" for character in token)
    else:
        assert all("!" <= character <= "~" for character in token)


@given(st.integers(100, 599), st.binary() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.text() | st.sampled_from(["access_token", "token_type", "expires_in", "refresh_token", "error", "error_description"]),
        inner,
    ),
).map(lambda said: json.dumps(said).encode()))  # fmt: skip
def test_any_answer_is_a_token_or_a_failure(status: int, body: bytes) -> None:
    try:
        issued = read(Answer(status, body))
    except TokenFailed as refusal:
        shown = str(refusal)
        assert shown.isprintable()
    else:
        assert status == 200
        assert issued.token
        assert issued.lifetime is None or issued.lifetime >= 0


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (3_600, 3_600), ("3600", 3_600), (1.5, 1.5), (0, 0), (-1, None), ("", None), ("NaN", None), ("inf", None), (True, None),
        (None, None), ([], None), (10**400, None),
    ],
)  # fmt: skip
def test_lifetimes(said: object, seconds: float | None) -> None:
    assert lifetime_of(said) == seconds


@pytest.mark.rule("LOG-01")
def test_once_wrong_what_was_asked_with_is_in_no_error_as_the_form_had_it_either() -> None:
    with pytest.raises(TokenFailed) as caught:
        read(
            answer({"error": "invalid_client", "error_description": "got a=s%2Bcret+x"}, 401),
            ("s+cret x", ""),
        )
    assert "got a=***" in str(caught.value)


@pytest.mark.parametrize("renewed", ["\ud800", "a\nb", "\u00e9", 5])
def test_once_wrong_a_refresh_token_that_no_form_can_hold_is_not_kept(renewed: Any) -> None:
    assert read(answer({"access_token": "t", "refresh_token": renewed})).refresh_token is None


def test_once_wrong_a_provider_without_a_hash_is_one_all_the_same() -> None:
    @dataclass
    class Provider:
        token: str

        def __call__(self) -> str:
            return self.token

    provider = Provider("t")
    credentials = Credentials("me", access_token=provider)
    assert hash(credentials) == hash(Credentials("me", access_token=provider))
    assert callable(credentials.access_token)
    assert credentials.access_token() == "t"
