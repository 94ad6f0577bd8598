"""Options from what people write: keywords, a mapping, a URL, the name of a service."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigurationError
from . import presets
from .checks import text, unknown, wrong
from .options import Options
from .url import parse_url

_DEFAULTS = Options()
_BY_DEFAULT = {option.name: getattr(_DEFAULTS, option.name) for option in dataclasses.fields(Options)}
_SECONDS = "in seconds, not milliseconds"
_ELSEWHERE = {
    "requireTLS": "starttls='required'",
    "ignoreTLS": "starttls='never'",
    "opportunisticTLS": "starttls='opportunistic'",
    "maxConnections": "max_connections",
    "maxMessages": "max_messages",
    "maxRequeues": "max_requeues",
    "rateLimit": "rate='14/s' (rate_limit is deprecated)",
    "rateDelta": "rate='14/s' (rate_delta is deprecated)",
    "socketTimeout": f"socket_timeout, {_SECONDS}",
    "greetingTimeout": f"greeting_timeout, {_SECONDS}",
    "connectionTimeout": f"connection_timeout, {_SECONDS}",
    "dnsTimeout": f"dns_timeout, {_SECONDS}",
    "idleTimeout": f"idle_timeout, {_SECONDS}",
    "authMethod": "auth_method",
    "localAddress": "local_address",
    "serverName": "servername",
    "connection": "sock",
    "socket": "sock",
    "socketPath": "unix_socket",
    "getSocket": "dial=an async function (host, port, timeout) that returns a connected socket",
    "user": "auth=(user, password)",
    "username": "auth=(user, password)",
    "password": "auth=(user, password)",
    "pass": "auth=(user, password)",
    "hostname": "host",
    "timeout": "connection_timeout, command_timeout or deadline",
    "use_tls": "secure=True for TLS from the first byte, or starttls='required'",
    "start_tls": "starttls='required'",
}
# "int | None" is an int to the URL form.
_TYPES = {option.name: str(option.type).partition(" ")[0] for option in dataclasses.fields(Options)}


def parse_options(url_or_mapping: str | Mapping[str, Any] | None = None, /, **keywords: Any) -> Options:
    """Options from a URL, a mapping, keywords, or a URL or mapping with keywords that win over it.

    What is said explicitly wins over what the ``service`` preset says, and a keyword wins over the URL. All defaults
    and units are those of `Options`.

    :param url_or_mapping: ``"smtps://user:password@host:465/?pool=true&max_connections=5"`` (percent-encoded where
        needed; ``tls.verify=false`` and the like for TLS), or a mapping of option names, which may hold ``url``
    :param keywords: option names
    :raises ConfigurationError: an option is unknown, malformed, or contradicts another
    """
    given: dict[str, Any] = {}
    if isinstance(url_or_mapping, str):
        given["url"] = url_or_mapping
    elif isinstance(url_or_mapping, Mapping):
        given.update(url_or_mapping)
    elif url_or_mapping is not None:
        raise ConfigurationError(f"options are a URL or a mapping, not {type(url_or_mapping).__name__}")
    if given.get("url") is not None and keywords.get("url") is not None:
        raise wrong("url", "is given twice")
    given.update(keywords)
    url = given.pop("url", None)
    if url is not None:
        given = _merge_url(text("url", url), given)
    for name in given:
        _refuse_unknown(name)
    if given.get("service") is not None:
        given = presets.find(text("service", given["service"])).fill(given, _BY_DEFAULT)
    return Options(**given)


def changed_options(options: Options, changes: Mapping[str, Any]) -> Options:
    """Ready ``options`` with ``changes``.

    :raises ConfigurationError: as with `parse_options`; and for a ``service``, which fills in what nobody has said: of
        ready options nothing tells what that is
    """
    for name in changes:
        _refuse_unknown(name, url=False)
    if changes.get("service") not in (None, options.service):
        raise wrong(
            "service", "cannot be filled into Options that are ready; give it where they are made: service=…"
        )
    return dataclasses.replace(options, **changes)


def options_in_url(url: str) -> dict[str, Any]:
    """What a URL says, not yet checked: for whoever has defaults of his own for what it does not say.

    :raises ConfigurationError: it is malformed
    """
    return parse_url(text("url", url), _TYPES)


def _merge_url(url: str, given: dict[str, Any]) -> dict[str, Any]:
    from_url = parse_url(url, _TYPES)
    if url.lower().startswith("lmtp:") and given.get("lmtp") is False:
        raise wrong("lmtp", "is False, but the URL begins with lmtp://; write smtp://")
    if url.lower().startswith("smtps:") and given.get("secure") is False:
        raise wrong("secure", "is False, but the URL begins with smtps://; write smtp://")
    merged = {**from_url, **given}
    if isinstance(from_url.get("tls"), Mapping) and isinstance(given.get("tls"), Mapping):
        merged["tls"] = {**from_url["tls"], **given["tls"]}
    return merged


def _refuse_unknown(name: object, *, url: bool = True) -> None:
    if name in _TYPES:
        return
    if name in _ELSEWHERE:
        raise ConfigurationError(f"unknown option {name!r}; write {_ELSEWHERE[str(name)]}", option=str(name))
    raise unknown("", name, (*_TYPES, "url") if url else tuple(_TYPES))
