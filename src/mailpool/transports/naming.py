"""The URL form of carriers: ``file:///var/spool/out?format=maildir&rate=10/s`` (RFC 3986)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import ConfigurationError
from ..options import Options, parse_options
from .carrier import Carrier

# The options that have a meaning for every transport; what is SMTP's alone is refused for the others.
COMMON = frozenset(
    {"name", "defaults", "access", "addresses", "dkim", "smime", "rate", "deadline"}
    | {"max_connections", "max_queue", "max_recipients", "max_throttle_wait"}
)
_NUMBERS: Mapping[str, Callable[[str], int | float]] = {
    "max_connections": int,
    "max_queue": int,
    "max_recipients": int,
    "max_throttle_wait": float,
    "deadline": float,
}
_WORDS: Mapping[str, bool] = {"true": True, "false": False}
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f]")


def common_options(given: Mapping[str, Any], *, ignore_smtp: bool) -> Options:
    """Options for a transporter that does not speak SMTP.

    :param ignore_smtp: whether options of SMTP are checked and then left out, and not refused: right where the way out
        is chosen by a URL, which the program that gives them has not written
    :raises ConfigurationError: one is unknown, malformed, or has a meaning with SMTP only
    """
    if ignore_smtp:
        parse_options(**given)
        given = {key: value for key, value in given.items() if key in COMMON}
    for key in given:
        # The others would be options of SMTP, or of the carrier itself.
        if key not in COMMON:
            raise ConfigurationError(
                f"{key}: has no meaning with this transport; there are {', '.join(sorted(COMMON))}",
                option=key,
            )
    return Options(**given)


def names_carrier(url: str) -> bool:
    """Whether a URL is one of those below, and not of an SMTP server."""
    return url.partition(":")[0].lower() in _MAKERS


def carrier_of(url: str) -> tuple[Carrier, dict[str, Any]]:
    """The carrier that a URL names, and the options in it that are every transport's.

    :raises ConfigurationError: something in it is unknown or malformed
    """
    if _CONTROL.search(url):
        raise ConfigurationError("url: must not contain spaces or control characters", option="url")
    parts = urlsplit(url)
    if parts.fragment:
        raise ConfigurationError("url: holds a # that is not percent-encoded", option="url")
    own: dict[str, Any] = {}
    common: dict[str, Any] = {}
    try:
        pairs = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), errors="strict"
        )
    except ValueError:
        raise ConfigurationError("url: what follows its ? is not name=value&…", option="url") from None
    for key, value in pairs:
        if key in own or key in common:
            raise ConfigurationError(f"{key}: is in the URL twice", option=key)
        if key in ("defaults", "dkim", "smime"):
            raise ConfigurationError(f"{key}: cannot be said after the ? of a URL", option=key)
        if key not in COMMON:
            own[key] = _WORDS.get(value, value)
            continue
        try:
            common[key] = _NUMBERS[key](value) if key in _NUMBERS else value
        except ValueError:
            common[key] = value  # its own check says what is wrong with it
    place = unquote(parts.netloc), unquote(parts.path)
    try:
        return _MAKERS[parts.scheme](*place, own), common
    except TypeError:
        raise ConfigurationError(
            f"url: one of {', '.join(own)} is no option of {parts.scheme}:", option=next(iter(own), "url")
        ) from None


def _path(scheme: str, host: str, path: str) -> str:
    if host not in ("", "localhost") or not path:
        raise ConfigurationError(f"url: write {scheme}:///path, with three slashes", option="url")
    return path


def _nowhere(scheme: str, host: str, path: str) -> None:
    if host or path:
        raise ConfigurationError(f"url: nothing follows {scheme}: but options", option="url")


def _memory(host: str, path: str, own: Mapping[str, Any]) -> Carrier:
    from .memory import MemoryCarrier

    _nowhere("memory", host, path)
    return MemoryCarrier(**own)


def _json(host: str, path: str, own: Mapping[str, Any]) -> Carrier:
    from .json_lines import JSONCarrier

    return JSONCarrier(_path("json", host, path), **own)


def _file(host: str, path: str, own: Mapping[str, Any]) -> Carrier:
    from .file import FileCarrier

    return FileCarrier(_path("file", host, path), **own)


def _sendmail(host: str, path: str, own: Mapping[str, Any]) -> Carrier:
    from .sendmail import SendmailCarrier

    if not path:
        _nowhere("sendmail", host, path)
        return SendmailCarrier(**own)
    return SendmailCarrier(_path("sendmail", host, path), **own)


def _ses(host: str, path: str, own: Mapping[str, Any]) -> Carrier:
    from .ses import SESCarrier

    allowed = {"configuration_set", "endpoint_url"}
    if "@" in host:
        # Not shown: it is the key.
        raise ConfigurationError(
            "url: a key cannot be in the URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give "
            "SESCarrier(access_key=…)",
            option="url",
        )
    if path or not own.keys() <= allowed:
        raise ConfigurationError(
            f"url: write ses://region?…, with {' or '.join(sorted(allowed))} and options", option="url"
        )
    return SESCarrier(host or None, **own)


_MAKERS: Mapping[str, Callable[[str, str, Mapping[str, Any]], Carrier]] = {
    "memory": _memory,
    "json": _json,
    "file": _file,
    "sendmail": _sendmail,
    "ses": _ses,
}
