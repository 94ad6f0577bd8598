"""Which mechanism logs in: the strongest that is offered and suits, never one below what was demanded (RFC 4422 §3.2).

One mechanism is tried. When the server refuses it nothing weaker follows by itself: whoever stands between us and the
server could refuse until the password comes in clear text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ...errors import AuthenticationFailed, ConfigurationError, SendError
from ...options import Credentials
from ...options.mechanism_names import FOR_PASSWORD, FOR_TOKEN, WITHOUT_SECRET, meets
from ...results import Phase
from .external import External
from .mechanism import LoginContext, Mechanism
from .passwords import CramMd5, Login, Plain
from .scram import Scram
from .tokens import OAuthBearer, XOAuth2

# What is taken by itself, the best first. Under TLS CRAM-MD5 is last: it hides the password from a server that has to
# keep it readable for this. In clear text it comes before those that show the password.
_BY_PASSWORD = (
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "PLAIN",
    "LOGIN",
    "CRAM-MD5",
)
_BY_TOKEN = ("OAUTHBEARER", "XOAUTH2")
_READABLE = frozenset({"PLAIN", "LOGIN"}) | FOR_TOKEN
_NAME = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,19}")
# Made outside, with a library that asks the system and the network.
_FROM_OUTSIDE = frozenset({"GSSAPI", "NTLM"})


def choose(
    credentials: Credentials,
    offered: Sequence[str],
    *,
    encrypted: bool,
    allow_cleartext: bool = False,
    forced: str | None = None,
    least: str | None = None,
    context: LoginContext | None = None,
) -> Mechanism:
    """The mechanism to log in with.

    :param credentials: who logs in
    :param offered: names in upper case, as in `Capabilities.auth`
    :param encrypted: whether the connection is TLS
    :param allow_cleartext: whether the secret may be readable on the way, as on a loopback address
    :param forced: the one mechanism to use; without it ``credentials.method``
    :param least: nothing weaker than this one
    :param context: what is known of this login
    :raises AuthenticationFailed: none suits; the message says what is offered, what would suit and what to do
    """
    context = LoginContext() if context is None else context
    if credentials.access_token is not None:
        credentials = _with_token(credentials, context.token)
    method = credentials.method if forced is None else forced.upper()
    if callable(method):
        return _custom(
            method, credentials, context, offered, readable_is_fine=encrypted or allow_cleartext, least=least
        )
    order = (method,) if method else _BY_TOKEN if credentials.access_token is not None else _BY_PASSWORD
    suiting = _suiting(credentials)
    candidates = [
        name
        for name in order
        if name in suiting
        and name in offered
        and meets(name, least)
        and (encrypted or allow_cleartext or name not in _READABLE)
        and (context.channel_bindings or not name.endswith("-PLUS"))
    ]
    if not encrypted:
        candidates.sort(key=lambda name: name in _READABLE)
    if candidates:
        return _make(candidates[0], credentials, context, offered)
    raise AuthenticationFailed(
        _why_none(credentials, order, offered, method, least, bool(context.channel_bindings)),
        phase=Phase.AUTH,
    )


def _with_token(credentials: Credentials, token: str | None) -> Credentials:
    now = credentials.access_token if token is None else token
    if not isinstance(now, str):
        raise TypeError("the access token is not there yet: ask for it, and give it in the context")
    try:
        # A token fetched just now has not been looked at yet.
        return Credentials(credentials.user, access_token=now, method=credentials.method)
    except ConfigurationError as error:
        raise AuthenticationFailed(f"the provider of access tokens: {error}", phase=Phase.AUTH) from None


def _suiting(credentials: Credentials) -> frozenset[str]:
    if credentials.access_token is not None:
        return FOR_TOKEN
    return WITHOUT_SECRET if credentials.password is None else FOR_PASSWORD


def _make(name: str, credentials: Credentials, context: LoginContext, offered: Sequence[str]) -> Mechanism:
    user = credentials.user
    if name in _FROM_OUTSIDE:
        if context.negotiate is None:
            raise AuthenticationFailed(f"{name} is not to be had here", phase=Phase.AUTH)
        return context.negotiate(name, credentials, context)
    if name == "EXTERNAL":
        return External(user)
    if name in FOR_TOKEN:
        token = credentials.access_token
        assert isinstance(token, str)
        return (
            XOAuth2(user, token)
            if name == "XOAUTH2"
            else OAuthBearer(user, token, context.host, context.port)
        )
    password = credentials.password
    assert password is not None
    if name.startswith("SCRAM-"):
        return Scram.bound(name, user, password, context.nonce, context.channel_bindings, offered)
    simple: dict[str, Callable[[str, str], Mechanism]] = {"PLAIN": Plain, "LOGIN": Login, "CRAM-MD5": CramMd5}
    return simple[name](user, password)


def _custom(
    method: Callable[..., object],
    credentials: Credentials,
    context: LoginContext,
    offered: Sequence[str],
    *,
    readable_is_fine: bool,
    least: str | None,
) -> Mechanism:
    """A mechanism of the user's own, held to the same rules as ours."""
    try:
        mechanism = method(credentials, context)
    except SendError:
        raise
    except Exception as error:
        raise AuthenticationFailed(
            f"auth: method failed with {type(error).__name__}", phase=Phase.AUTH
        ) from error
    name: object = getattr(mechanism, "name", None)
    if not isinstance(mechanism, Mechanism):
        problem = f"gave {type(mechanism).__name__} in place of a Mechanism"
    elif not isinstance(name, str) or not _NAME.fullmatch(name):
        problem = f"gave a mechanism with the name {name!r}, which is none (RFC 4422 §3.1)"
    elif mechanism.name not in offered:
        problem = f"gave {mechanism.name}, and the server offers {', '.join(offered) or 'no AUTH'}"
    elif not (readable_is_fine or mechanism.secure):
        problem = (
            f"gave {mechanism.name}, which is not secure without TLS: use secure=True or starttls='required'"
        )
    elif not meets(mechanism.name, least):
        problem = f"gave {mechanism.name}, and min_mechanism={least!r} knows nothing of it"
    else:
        return mechanism
    raise AuthenticationFailed(f"auth: method {problem}", phase=Phase.AUTH)


def _why_none(
    credentials: Credentials,
    order: Sequence[str],
    offered: Sequence[str],
    forced: str | None,
    least: str | None,
    bindable: bool,
) -> str:
    if not offered:
        return (
            "the server offers no AUTH on this connection; many offer it only under TLS: use secure=True or "
            "starttls='required', or leave auth away if this server needs none"
        )
    by_token = credentials.access_token is not None
    suiting = _suiting(credentials)
    usual = _BY_TOKEN if by_token else _BY_PASSWORD if credentials.password is not None else sorted(suiting)
    secret = (
        "an access token" if by_token else "a password" if credentials.password is not None else "no secret"
    )
    says = f"the server offers {', '.join(offered)}; {secret} can be used with {', '.join(usual)}"
    if forced and forced not in suiting:
        return f"{says}; {forced} was asked for: leave auth_method away"
    there = [name for name in order if name in offered and name in suiting]
    if there and not any(meets(name, least) for name in there):
        return (
            f"{says}; min_mechanism={least!r} demands more. If the server used to offer it, somebody may have taken it "
            "out of the list on the way"
        )
    if there and all(name.endswith("-PLUS") for name in there if meets(name, least)) and not bindable:
        return f"{says}, but this connection has nothing to bind a login to: -PLUS needs TLS and a usual certificate"
    if there:
        return f"{says}, but without TLS the secret could be read on the way: use secure=True or starttls='required', or allow_cleartext_auth=True if you must"
    if forced:
        return f"{says}; {forced} was asked for and is not offered: leave auth_method away"
    if not by_token and any(name in FOR_TOKEN for name in offered):
        return f"{says}; this server wants OAuth2: give auth an access_token in place of the password"
    return f"{says}; use other credentials or ask the server's operator"
