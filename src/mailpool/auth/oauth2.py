"""Asking a token server for an access token, and what its answers mean (RFC 6749 §4.4, §5, §6; RFC 7523)."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from ..errors import TokenFailed
from ..options.oauth2 import OAuth2
from ..options.proxy import Proxy
from ..results import Phase
from .post import Answer, post_form
from .service_account import assertion

# A clock that differs by more from the token server's may be why a signed claim is refused, in seconds.
_SKEW = 20.0
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# Of the error codes those that time may mend (RFC 6749 §4.1.2.1, RFC 8628 §3.5).
_PASSING = frozenset({"temporarily_unavailable", "server_error", "slow_down"})

Post = Callable[..., Awaitable[Answer]]


@dataclass(frozen=True, slots=True, repr=False)
class Issued:
    """An access token, the seconds that it lives where that is told, and the refresh token that replaces the old."""

    token: str
    lifetime: float | None = None
    refresh_token: str | None = None


async def request_token(
    source: OAuth2,
    user: str,
    refresh_token: str | None,
    now: float,
    post: Post = post_form,
    *,
    proxy: Proxy | None = None,
) -> Issued:
    """Ask once; for a claim that our clock has spoilt, once more by the server's clock.

    :param user: whom a service account acts for
    :param refresh_token: the one to use: the configured one, or what has replaced it
    :param now: our clock, in seconds since 1970
    :param proxy: what stands between us and the token server
    :raises TokenFailed: with the server's own code and description; temporary where time may mend it
    """
    if proxy is not None:
        post = functools.partial(post, proxy=proxy)
    form = _form(source, user, refresh_token, now)
    answer = await _ask(source, form, post)
    try:
        return read(answer, _secrets(source, form))
    except TokenFailed as error:
        if source.grant != "service_account" or error.error != "invalid_grant" or answer.date is None:
            raise
        if abs(answer.date - now) < _SKEW:
            raise
    form = _form(source, user, None, answer.date)
    return read(await _ask(source, form, post), _secrets(source, form))


async def _ask(source: OAuth2, form: dict[str, str], post: Post) -> Answer:
    assert source.token_url is not None
    return await post(source.token_url, form, timeout=source.timeout, ca_file=source.ca_file)


def _form(source: OAuth2, user: str, refresh_token: str | None, now: float) -> dict[str, str]:
    form = dict(source.params)
    if source.grant == "service_account":
        return {**form, "grant_type": _JWT_BEARER, "assertion": assertion(source, user, now)}
    form["grant_type"] = source.grant
    optional = {
        "client_id": source.client_id,
        "client_secret": source.client_secret,
        "refresh_token": refresh_token,
        "scope": source.scope,
    }
    return {**form, **{name: value for name, value in optional.items() if value}}


def _secrets(source: OAuth2, form: dict[str, str]) -> tuple[str, ...]:
    named = ("assertion", "refresh_token", "client_secret")
    return (*source.secrets, *(form[name] for name in named if name in form), *dict(source.params).values())


def read(answer: Answer, secrets: tuple[str, ...] = ()) -> Issued:
    """The token in an answer.

    :param secrets: what was asked with: a server may repeat it, and it must reach no error
    :raises TokenFailed: there is none
    """
    if 300 <= answer.status < 400:
        # A secret is for the place that was named, and for no other.
        raise _failed(f"answers with a redirect ({answer.status}), which is not followed; check token_url")
    said = parsed(answer.body)
    if answer.status != 200 or "error" in said:
        raise _refusal(answer, said, secrets)
    token = said.get("access_token")
    if not isinstance(token, str) or not token:
        raise _failed("answered without an access token", temporary=True)
    kind = said.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise _failed("gives tokens of another type than Bearer, which mail servers do not take")
    renewed = said.get("refresh_token")
    # RFC 6749, appendix A.17: printable ASCII.
    may_be_kept = isinstance(renewed, str) and renewed.isascii() and renewed.isprintable()
    return Issued(checked(token), lifetime_of(said.get("expires_in")), renewed if may_be_kept else None)


def checked(token: str) -> str:
    """The token, if it may stand in a login: visible ASCII (RFC 6750 §2.1), so that nothing in it ends a field.

    :raises TokenFailed: it may not
    """
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise TokenFailed(
            "OAuth2: the access token that was given holds a character that no token may hold",
            phase=Phase.AUTH,
        )
    return token


def lifetime_of(value: object) -> float | None:
    """``expires_in`` in seconds, or None where it says nothing that can be used; some write it as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _refusal(answer: Answer, said: dict[str, Any], secrets: tuple[str, ...]) -> TokenFailed:
    code: Any = said.get("error")
    description: Any = said.get("error_description")
    if isinstance(code, dict):  # as Google's other interfaces say it
        code, description = code.get("status"), code.get("message")
    error = _shown(code, secrets, 60)
    words = _shown(description, secrets, 300)
    passing = error in _PASSING or answer.status in (408, 425, 429) or answer.status >= 500
    told = ": ".join(filter(None, (error, words))) or "no reason given"
    refusal = _failed(f"refused ({answer.status}): {told}", temporary=passing)
    refusal.error, refusal.description = error, words
    refusal.retry_after = answer.retry_after
    return refusal


def parsed(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _shown(text: object, secrets: tuple[str, ...], most: int) -> str | None:
    """A stranger's text for people: on one line, short, and without what we told it."""
    if not isinstance(text, str):
        return None
    for secret in filter(None, secrets):
        # Some repeat the form as it came.
        for form in (secret, quote_plus(secret)):
            text = text.replace(form, "***")
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:most] or None


def _failed(what: str, *, temporary: bool = False) -> TokenFailed:
    return TokenFailed(f"OAuth2: the token server {what}", phase=Phase.AUTH, temporary=temporary)
