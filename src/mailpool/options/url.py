"""The URL form of the options: ``smtps://user:password@host:465/?pool=true&max_connections=5`` (RFC 3986).

A URL often comes from an environment variable and may be wrong in every way; no part of it is shown in an error, since
the part that breaks the parsing is usually a password that was not percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from ..errors import ConfigurationError
from .checks import unknown, wrong
from .oauth2 import OAUTH2_FIELDS

_URL = re.compile(
    r"(?P<scheme>smtps?|lmtp)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?",
    re.IGNORECASE,
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>\d{1,5}))?")
_NOT_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f]")
_NOT_IN_QUERY = frozenset({"host", "port", "auth", "sock", "dial", "defaults", "dkim", "smime", "tls", "url"})
# Of auth; what is no text cannot be said in a URL.
_OF_AUTH = (OAUTH2_FIELDS | {"type", "method"}) - {"params", "on_refresh_token"}
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,60}")
_WORDS = {"true": True, "false": False}


def parse_url(url: str, types: Mapping[str, str]) -> dict[str, Any]:
    """The options that a URL holds, not yet checked.

    :param url: with the scheme ``smtp``, ``smtps`` or ``lmtp``; the last may have the path of a Unix socket
    :param types: for each option, ``"bool"``, ``"int"``, ``"float"`` or anything else, which stays text
    :raises ConfigurationError: it is no such URL, or holds a key twice, or a control character in any disguise
    """
    if _CONTROL.search(url):
        raise wrong("url", "must not contain spaces or control characters")
    whole = _URL.fullmatch(url)
    socket = whole is not None and whole["path"] not in (None, "/")
    if whole is None or (socket and whole["scheme"].lower() != "lmtp"):
        raise wrong(
            "url",
            "must have the form smtp://user:password@host:port/?option=value, with / ? # % @ in it percent-encoded",
        )
    login, at, place = whole["authority"].rpartition("@")
    found = _AUTHORITY.fullmatch(place)
    if found is None:
        raise wrong(
            "url",
            "has no host and port after the user; write an IPv6 address in brackets, / ? # @ percent-encoded",
        )
    options: dict[str, Any] = {}
    if found["host"]:
        options["host"] = _decode(found["host"])
    if socket and (found["host"] or found["port"]):
        raise wrong("url", "has a host and the path of a Unix socket; write lmtp:///path, with three slashes")
    if found["port"]:
        options["port"] = int(found["port"])
    if at:
        options["auth"] = _login(login)
    _query(whole["query"] or "", types, options)
    if socket and options.setdefault("unix_socket", path := _decode(whole["path"])) != path:
        raise wrong("unix_socket", "is in the URL twice")
    if at and options["auth"].keys() == {"user"}:
        raise wrong(
            "auth",
            "the URL holds a user without a password; write user:password@host, auth.… after the ?, or give auth apart",
        )
    if whole["scheme"].lower() == "lmtp" and options.setdefault("lmtp", True) is not True:
        raise wrong("lmtp", "is false in a URL that begins with lmtp://; write smtp://")
    # smtp:// leaves open what port 465 then decides; smtps:// does not.
    if whole["scheme"].lower() == "smtps" and options.setdefault("secure", True) is not True:
        raise wrong("secure", "is false in a URL that begins with smtps://; write smtp://")
    return options


def _login(text: str) -> dict[str, str]:
    user, colon, password = text.partition(":")
    return {"user": _decode(user), **({"password": _decode(password)} if colon else {})}


def _query(text: str, types: Mapping[str, str], options: dict[str, Any]) -> None:
    seen = set()
    for pair in filter(None, text.split("&")):
        key, equals, value = (_decode(part) for part in pair.partition("="))
        if not _KEY.fullmatch(key):
            raise wrong("url", "holds something after its ? that is no option name")
        if key in seen:
            raise ConfigurationError(f"{key}: is in the URL twice", option=key)
        seen.add(key)
        if key in _NOT_IN_QUERY:
            raise ConfigurationError(f"{key}: cannot be said after the ? of a URL", option=key)
        if key.startswith("tls."):
            options.setdefault("tls", {})[key[4:]] = _typed("bool" if key == "tls.verify" else "str", value)
        elif key.startswith("auth."):
            if key[5:] not in _OF_AUTH:
                raise unknown("auth.", key[5:], _OF_AUTH)
            typed = _typed("float" if key == "auth.timeout" else "str", value)
            options.setdefault("auth", {})[key[5:]] = typed
        else:
            options[key] = _typed(types.get(key, "str"), value if equals else "true")


def _typed(kind: str, text: str) -> Any:
    """The value of that type, or the text as it is: the option's own check then says what is wrong with it."""
    if kind == "bool":
        return _WORDS.get(text.lower(), text)
    if kind in ("int", "float") and re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    if kind == "float" and re.fullmatch(r"-?\d{1,18}\.\d{1,18}", text):
        return float(text)
    return text


def _decode(text: str) -> str:
    if _NOT_ENCODED.search(text):
        raise wrong("url", "holds a % that is not followed by two hexadecimal digits; write %25")
    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise wrong("url", "holds percent-encoded octets that are not UTF-8") from None
    if re.search(r"[\x00-\x1f\x7f-\x9f]", decoded):
        raise wrong("url", "holds a percent-encoded control character")
    return decoded
