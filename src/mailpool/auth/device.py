"""A person allows the program to send, on a device of their own with a browser (RFC 8628)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import ConfigurationError, TokenFailed
from ..options.oauth2 import OAuth2, check_url
from ..options.proxy import Proxy
from ..results import Phase
from .oauth2 import Post, lifetime_of, parsed, read
from .post import post_form

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# How long a person has, and how often is asked, where the server does not say, in seconds (RFC 8628 §3.2, §3.5).
_PATIENCE = 900.0
_INTERVAL = 5.0
_MORE = 5.0


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What to show to the person: open ``verification_uri`` and enter ``user_code`` within ``expires_in`` seconds."""

    user_code: str
    verification_uri: str
    expires_in: float
    device_code: str = field(repr=False)
    interval: float = field(default=_INTERVAL, repr=False)


async def device_login(
    show: Callable[[DeviceCode], object],
    *,
    client_id: str,
    provider: Literal["microsoft"] | None = None,
    tenant: str | None = None,
    device_url: str | None = None,
    token_url: str | None = None,
    scope: str | None = None,
    client_secret: str | None = None,
    ca_file: str | None = None,
    proxy: Proxy | str | Mapping[str, Any] | None = None,
    post: Post = post_form,
) -> str:
    """Wait until a person has allowed the program to send, and return the refresh token for `OAuth2`. Keep it secret.

    Google gives no permission to send mail in this way; there use a refresh token from a browser, or a service account.

    :param show: called once, with the code that the person has to enter
    :param client_id: of the registered application, which must be allowed to use this flow
    :param provider: ``"microsoft"`` fills ``device_url``, ``token_url`` and ``scope``; ``tenant`` as in `OAuth2`
    :param device_url: where the code is asked for, with ``https``; ``token_url`` is where the token is
    :param scope: what is asked for, separated by spaces
    :param ca_file: PEM file of the authorities to trust at both places in place of the system's
    :param proxy: what stands between us and both places, as the option of a transporter
    :raises ConfigurationError: something is missing or malformed
    :raises TokenFailed: the person refused or took too long, or the server does not want it
    """
    if proxy is not None:
        post = functools.partial(post, proxy=Proxy.of(proxy))
    none_yet = "-"  # it stands for the one that this leads to
    source = OAuth2(
        provider=provider, tenant=tenant, token_url=token_url, client_id=client_id, client_secret=client_secret,
        refresh_token=none_yet, scope=scope, ca_file=ca_file,
    )  # fmt: skip
    assert source.token_url is not None
    if device_url is None and provider == "microsoft":
        device_url = source.token_url.removesuffix("token") + "devicecode"
    if device_url is None:
        raise ConfigurationError("device_url: where are codes asked for? Give it, or provider='microsoft'")
    check_url("device_url", device_url)
    secret = {"client_secret": client_secret} if client_secret else {}
    scopes = {"scope": source.scope} if source.scope else {}

    async def ask(url: str, **form: str) -> Any:
        return await post(
            url, {"client_id": client_id, **form, **secret}, timeout=source.timeout, ca_file=ca_file
        )

    code = _read_code(await ask(device_url, **scopes), tuple(secret.values()))
    show(code)
    interval = code.interval
    try:
        async with asyncio.timeout(code.expires_in):
            while True:
                await asyncio.sleep(interval)
                try:
                    answer = await ask(source.token_url, grant_type=_GRANT, device_code=code.device_code)
                    issued = read(answer, (code.device_code, *secret.values()))
                    break
                except TokenFailed as error:
                    if error.error != "authorization_pending" and not error.temporary:
                        raise
                    interval += _MORE if error.temporary else 0.0
    except TimeoutError:
        raise _failed("nobody has entered the code in time") from None
    if issued.refresh_token is None:
        raise _failed("the token server gave no refresh token; its scope may have to hold offline_access")
    return issued.refresh_token


def _read_code(answer: Any, secrets: tuple[str, ...]) -> DeviceCode:
    said = parsed(answer.body)
    if answer.status != 200 or "device_code" not in said:
        read(answer, secrets)  # which says why, if the server did
        raise _failed("the server gave no code")
    # Google's name for it is older than the standard.
    place = said.get("verification_uri", said.get("verification_url"))
    texts = (said["device_code"], said.get("user_code"), place)
    if not all(isinstance(text, str) and text.isprintable() and 0 < len(text) <= 4_096 for text in texts):
        raise _failed("the server's code is malformed")
    device_code, user_code, uri = map(str, texts)
    return DeviceCode(
        user_code,
        uri,
        lifetime_of(said.get("expires_in")) or _PATIENCE,
        device_code,
        max(1.0, lifetime_of(said.get("interval")) or _INTERVAL),
    )


def _failed(what: str) -> TokenFailed:
    return TokenFailed(f"OAuth2: {what}", phase=Phase.AUTH)
