"""Who logs in, and with what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .checks import CONTROL, mechanism, wrong
from .mechanism_names import FOR_PASSWORD, FOR_TOKEN, STRENGTH, WITHOUT_SECRET
from .oauth2 import FROM_ELSEWHERE, OAUTH2_FIELDS, OAuth2, oauth2_of

# A token, or a token and the seconds that it lives.
GivenToken = str | tuple[str, float]


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Who logs in, and with what: a password, an OAuth2 access token, or what ``method`` knows. The secret is in no ``repr``.

    :param user: the identity, usually an e-mail address; may be left away for EXTERNAL and GSSAPI
    :param password: the password, or the key of an API
    :param access_token: an OAuth2 bearer token (RFC 6750), or where one comes from: `OAuth2`, or a function that
        returns one, ``(token, expires_in)`` with the seconds that it lives, or an awaitable of these
    :param method: the SASL mechanism to use; ``None``: the strongest that suits. Or one of your own: called with these
        credentials and a `LoginContext`, it gives a `Mechanism`
    :raises ConfigurationError: a part is missing or empty, both secrets are given, the method cannot use what is given,
        or something holds a character that ends a field on the wire: NUL (RFC 4616 §2), or ``\\x01`` as in XOAUTH2
    """

    user: str = ""
    password: str | None = None
    access_token: str | OAuth2 | Callable[[], GivenToken | Awaitable[GivenToken]] | None = None
    method: str | Callable[[Credentials, Any], Any] | None = None

    def __post_init__(self) -> None:
        if self.method is not None and not callable(self.method):
            object.__setattr__(self, "method", mechanism("auth", self.method))
        self._check_secrets()
        for what, value in (
            ("user", self.user),
            ("password", self.password),
            ("access token", self.access_token),
        ):
            if (value is None and what != "user") or (what == "access token" and self.renews):
                continue
            if what == "user" and value == "" and self._may_be_nobody():
                continue
            if not isinstance(value, str) or not value:
                raise wrong("auth", f"the {what} must be a text that is not empty")
            if "\0" in value or "\x01" in value:
                raise wrong("auth", f"the {what} contains a control character that would end it early")
            if what == "access token" and CONTROL.search(value):
                raise wrong("auth", "the access token contains a control character")
            if any("\ud800" <= c <= "\udfff" for c in value):
                raise wrong("auth", f"the {what} contains half of a surrogate pair and has no UTF-8 form")

        source: Any = self.access_token
        if type(source).__hash__ is None:
            # Tokens are kept by where they come from; a method has a hash also where its object has none.
            object.__setattr__(self, "access_token", source.__call__)

    def _check_secrets(self) -> None:
        if self.password is not None and self.access_token is not None:
            raise wrong("auth", "give a password or an access token for the user, not both")
        if callable(self.method):
            return
        secret = "a password" if self.password is not None else "an access token"
        given = self.password is not None or self.access_token is not None
        if not given and self.method not in WITHOUT_SECRET:
            raise wrong("auth", "give a password or an access token for the user: neither is there")
        suiting = FOR_PASSWORD if self.password is not None else FOR_TOKEN if given else WITHOUT_SECRET
        if self.method in STRENGTH and self.method not in suiting:
            raise wrong("auth", f"method {self.method!r} has no use for {secret}")

    def _may_be_nobody(self) -> bool:
        """Whether the mechanism tells the server who logs in."""
        return callable(self.method) or (self.password is None and self.method in WITHOUT_SECRET)

    @property
    def renews(self) -> bool:
        """Whether a new access token can be had when the server refuses one."""
        return isinstance(self.access_token, OAuth2) or callable(self.access_token)

    @classmethod
    def of(cls, value: object) -> Credentials:
        """From credentials, ``(user, password)``, or a mapping with ``user`` and ``password`` or ``access_token``.

        A mapping may say ``pass`` for ``password``, and ``type`` (``"login"`` or ``"oauth2"``) beside it. With the
        fields of `OAuth2` in it, tokens are asked for.

        :raises ConfigurationError: it is something else
        """
        if isinstance(value, Credentials):
            return value
        if isinstance(value, (tuple, list)) and len(value) == 2:
            return cls(*value)
        if not isinstance(value, Mapping):
            # The value itself may be a secret: it is not shown.
            raise wrong(
                "auth", "must be Credentials, a (user, password) pair or a mapping with 'user' and 'password'"
            )
        given: dict[Any, Any] = {_AUTH_NAMES.get(key, key): item for key, item in value.items()}
        if len(given) != len(value):
            raise wrong("auth", "says the same thing twice under two names")
        kind = given.pop("type", None)
        about_tokens = {
            key: given.pop(key) for key in tuple(given) if key in _OF_TOKENS and key != "access_token"
        }
        for key in given:
            if key not in ("user", "password", "access_token", "method"):
                raise wrong(
                    "auth",
                    f"{key!r} is unknown; there are user, password, access_token, method and those of OAuth2",
                )
        if about_tokens:
            if given.get("access_token") is not None:
                about_tokens["access_token"] = given["access_token"]
            given["access_token"] = oauth2_of(about_tokens)
        if str(kind or "login").lower() not in ("login", "oauth2"):
            raise wrong("auth", f"type must be 'login' or 'oauth2', not {kind!r}")
        if (str(kind).lower() == "oauth2") and given.get("access_token") is None:
            raise wrong(
                "auth", "type 'oauth2' needs an access_token, or what one is asked for with: see OAuth2"
            )
        return cls(**given)

    def __repr__(self) -> str:
        secret = "password" if self.password is not None else "access_token"
        shown = f", {secret}=***" if self.password is not None or self.access_token is not None else ""
        name = getattr(self.method, "__qualname__", self.method)
        return f"Credentials(user={self.user!r}{shown}{f', method={name!r}' if self.method else ''})"


_AUTH_NAMES = {"pass": "password", "username": "user", "accessToken": "access_token"}
_OF_TOKENS = OAUTH2_FIELDS | {*FROM_ELSEWHERE, "serviceClient", "privateKey"}
