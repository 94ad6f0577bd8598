"""How to get OAuth2 access tokens, as a value: who asks, where, and what is shown for it (RFC 6749, RFC 7523).

Nothing here asks for anything; ``auth.oauth2`` does. Two of these that say the same are the same identity.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal
from urllib.parse import urlsplit

from ..errors import ConfigurationError

Grant = Literal["refresh_token", "client_credentials", "service_account"]

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_GOOGLE_SCOPE = "https://mail.google.com/"
_MICROSOFT_SCOPES: Mapping[str, str] = {
    "refresh_token": "https://outlook.office.com/SMTP.Send offline_access",
    # An application asks for all that its registration was granted.
    "client_credentials": "https://outlook.office365.com/.default",
}


@dataclass(frozen=True, slots=True, repr=False)
class ServiceAccount:
    """An account of a program: it signs what it asks for with a key of its own (RFC 7523 §2.1).

    :param client_email: the account's name, as it stands in Google's JSON file
    :param private_key: PEM text of its RSA key
    :param private_key_id: which of the account's keys that is
    :param token_uri: where it asks for tokens
    :raises ConfigurationError: a part is missing
    """

    client_email: str
    private_key: str
    private_key_id: str | None = None
    token_uri: str | None = None

    def __post_init__(self) -> None:
        parts: tuple[object, ...] = (self.client_email, self.private_key)
        if not all(isinstance(part, str) and part for part in parts):
            raise _wrong("the service account needs client_email and private_key")

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> ServiceAccount:
        """From what Google's JSON file holds; what it says besides is left aside."""
        return cls(
            value.get("client_email", ""),
            value.get("private_key", ""),
            value.get("private_key_id"),
            value.get("token_uri"),
        )

    def __repr__(self) -> str:
        return f"ServiceAccount({self.client_email!r}, private_key=***)"


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class OAuth2:
    """Where access tokens come from; give it as ``access_token``, or its fields beside ``user`` in ``auth``.

    With ``refresh_token`` a person has allowed the program to send (RFC 6749 §6); with ``service_account`` the program
    signs what it asks for, in the name of ``user`` (RFC 7523); with neither it asks as itself (RFC 6749 §4.4).

    :param provider: ``"google"`` or ``"microsoft"``: fills ``token_url`` and ``scope``
    :param tenant: Microsoft's directory: its id or domain; ``client_credentials`` needs it, others use ``"common"``
    :param token_url: the token end point; ``https`` only
    :param client_id: of the registered application
    :param client_secret: of the same; some public applications have none
    :param refresh_token: which a person's consent gave
    :param service_account: what Google's JSON file holds, as a mapping, or the path of that file
    :param scope: what is asked for, separated by spaces
    :param access_token: one to begin with, used until the server refuses it
    :param params: further fields of the request, such as ``{"audience": …}``
    :param timeout: seconds that one request for a token may take
    :param ca_file: PEM file of the authorities to trust at ``token_url`` in place of the system's
    :param on_refresh_token: a function, plain or async, that is called with the new refresh token when the provider
        replaces the old one, so that it can be kept
    :raises ConfigurationError: a part is missing, or contradicts another
    """

    provider: Literal["google", "microsoft"] | None = None
    tenant: str | None = None
    token_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    refresh_token: str | None = None
    service_account: ServiceAccount | Mapping[str, Any] | str | None = None
    scope: str | None = None
    access_token: str | None = None
    params: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    timeout: float = 30.0
    ca_file: str | None = None
    on_refresh_token: Callable[[str], object] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.service_account, Mapping):
            object.__setattr__(self, "service_account", ServiceAccount.of(self.service_account))
        for name in ("service_account", "ca_file"):
            given = getattr(self, name)
            if hasattr(given, "__fspath__"):
                object.__setattr__(self, name, str(given.__fspath__()))
        pairs = self.params.items() if isinstance(self.params, Mapping) else self.params
        object.__setattr__(self, "params", tuple((str(key), str(value)) for key, value in pairs))
        self._check_texts()
        self._check_grant()
        self._fill()

    @property
    def grant(self) -> Grant:
        """By what right a token is asked for."""
        if self.service_account is not None:
            return "service_account"
        return "refresh_token" if self.refresh_token is not None else "client_credentials"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must appear in no error and no log."""
        account = self.service_account
        own = (self.client_secret, self.refresh_token, self.access_token)
        key = account.private_key if isinstance(account, ServiceAccount) else None
        return tuple(text for text in (*own, key) if text)

    def _check_texts(self) -> None:
        texts = (
            "provider", "tenant", "token_url", "client_id", "client_secret", "refresh_token", "scope",
            "access_token", "ca_file",
        )  # fmt: skip
        for name in texts:
            given = getattr(self, name)
            if given is None:
                continue
            # Neither the value nor a part of it is shown: people mix up fields.
            if not isinstance(given, str) or not given:
                raise _wrong(f"{name} must be a text that is not empty")
            if re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", given):
                raise _wrong(f"{name} must not contain control characters")
        if self.provider not in (None, "google", "microsoft"):
            raise _wrong("provider must be 'google' or 'microsoft'; for any other give token_url")
        if self.tenant is not None and not _TENANT.fullmatch(self.tenant):
            raise _wrong("tenant must be the id or the domain of a Microsoft directory")
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, (int, float)):
            raise _wrong("timeout must be a number of seconds")
        if not 0 < self.timeout <= 3_600:
            raise _wrong(f"timeout must be from above 0 to 3600 seconds, not {self.timeout:g}")
        if self.on_refresh_token is not None and not callable(self.on_refresh_token):
            raise _wrong("on_refresh_token must be a function")

    def _check_grant(self) -> None:
        account: object = self.service_account
        if account is not None and not isinstance(account, (ServiceAccount, str)):
            raise _wrong("service_account must be what Google's JSON file holds, or its path")
        if account is not None and (self.refresh_token or self.client_secret):
            raise _wrong("service_account signs for itself: leave client_secret and refresh_token away")
        if self.grant == "refresh_token" and self.client_id is None:
            raise _wrong("refresh_token needs the client_id that it was given to")
        if self.grant == "client_credentials" and not (self.client_id and self.client_secret):
            raise _wrong("give refresh_token, service_account, or client_id with client_secret")
        if self.grant == "service_account" and self.provider == "microsoft":
            raise _wrong(
                "service_account is Google's; with Microsoft give client_id, client_secret and tenant"
            )
        if self.tenant is not None and self.provider != "microsoft":
            raise _wrong("tenant belongs to provider='microsoft'")
        if self.grant == "client_credentials" and self.provider == "google":
            raise _wrong("Google sends mail for no client by itself; give refresh_token or service_account")

    def _fill(self) -> None:
        url, scope = self.token_url, self.scope
        account = self.service_account
        if self.provider == "microsoft":
            if self.grant == "client_credentials" and not (self.tenant or url):
                raise _wrong("an application that asks as itself needs the tenant, its directory's id")
            url = url or f"https://login.microsoftonline.com/{self.tenant or 'common'}/oauth2/v2.0/token"
            scope = scope or _MICROSOFT_SCOPES[self.grant]
        elif self.provider == "google" or account is not None:
            stated = account.token_uri if isinstance(account, ServiceAccount) else None
            url = url or stated or "https://oauth2.googleapis.com/token"
            # A refresh token has its scope already.
            scope = scope or (_GOOGLE_SCOPE if account is not None else None)
        if url is None:
            raise _wrong(
                "where are tokens asked for? Give provider='google', provider='microsoft' or token_url"
            )
        check_url("token_url", url)
        object.__setattr__(self, "token_url", url)
        object.__setattr__(self, "scope", scope)

    def __repr__(self) -> str:
        place = urlsplit(self.token_url or "")
        client = f", client_id={self.client_id!r}" if self.client_id else ""
        return f"OAuth2({self.grant} at {place.hostname}{place.path}{client}, ***)"


OAUTH2_FIELDS = frozenset(field.name for field in fields(OAuth2))
# As people know them from elsewhere.
FROM_ELSEWHERE = {
    "clientId": "client_id",
    "clientSecret": "client_secret",
    "refreshToken": "refresh_token",
    "accessUrl": "token_url",
    "accessToken": "access_token",
    "customParams": "params",
}


def oauth2_of(given: Mapping[str, Any]) -> OAuth2:
    """From the fields of an ``auth`` mapping that are about tokens; ``serviceClient`` with ``privateKey`` are known too.

    :raises ConfigurationError: they make no OAuth2
    """
    known = {FROM_ELSEWHERE.get(key, key): value for key, value in given.items()}
    if len(known) != len(given):
        raise _wrong("says the same thing twice under two names")
    if "serviceClient" in known or "privateKey" in known:
        account = {"client_email": known.pop("serviceClient", ""), "private_key": known.pop("privateKey", "")}
        known.setdefault("service_account", account)
    return OAuth2(**known)


def check_url(name: str, url: str) -> None:
    """``https``, a host, and nobody's password in it.

    :raises ConfigurationError: it is something else; ``name`` says what
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise _wrong(f"{name} is no URL") from None
    if parts.scheme != "https":
        raise _wrong(f"{name} must begin with https://: what goes there is a secret")
    if not host or parts.username is not None or parts.fragment or not url.isascii() or " " in url:
        raise _wrong(f"{name} must have the form https://host/path")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", host):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise _wrong(f"{name} has no valid host") from None


def _wrong(problem: str) -> ConfigurationError:
    return ConfigurationError(f"auth: {problem}", option="auth")
