"""`DkimKey`: who signs, with which key, and what is signed (RFC 6376). A checked value; no key is read here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, Final, Literal, TypeAlias

from .checks import flag, host_name, one_of, or_none, seconds, text, unknown, wrong

PrivateKey: TypeAlias = str | bytes | os.PathLike[str] | Any

# RFC 6376 §3.1: a selector is one or more labels, as a domain has them.
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
# Narrower than the standards, for what none of us ever met: nothing that has a meaning in a list of tags.
_LOCAL_PART: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/?^_`{|}~.-]*")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,76}")


@dataclass(frozen=True, slots=True)
class DkimKey:
    """One DKIM signature for each message: whose it is, with which key, over which header fields.

    :param domain: who signs, the ``d=`` tag; an international domain is kept with A-labels (RFC 8616 §4)
    :param selector: under which name the public key is in the DNS: ``<selector>._domainkey.<domain>``, the ``s=`` tag
    :param private_key: RSA of 1024 bits and more (RFC 8301 §3.2 asks for 2048), or Ed25519 (RFC 8463): PEM text or octets,
        a ``pathlib.Path`` to a PEM file, or a key object of ``cryptography``; in no ``repr``
    :param passphrase: of an encrypted PEM; in no ``repr``
    :param canonicalization: of header and body, each ``"relaxed"`` or ``"simple"`` (RFC 6376 §3.4)
    :param headers: names of the header fields to sign in place of the usual ones; ``From`` is always signed. A field
        that occurs so often is signed so often, and once more, so that nobody can add another one
    :param skip_fields: names to leave out of the usual ones, such as those that the relay rewrites
    :param oversign: whether to forbid further fields of the signed names in that way
    :param expires_after: seconds after which the signature is no longer valid, the ``x=`` tag; ``None``: never
    :param identity: for whom the domain signs, the ``i=`` tag: ``"user@domain"`` or ``"@sub.domain"`` of that domain
    :raises ConfigurationError: a value would not be what it says in a tag, such as a selector with ``;``; it names it
    """

    domain: str
    selector: str
    private_key: PrivateKey = field(repr=False)
    _: KW_ONLY
    passphrase: str | bytes | None = field(default=None, repr=False)
    canonicalization: Literal["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"] = (
        "relaxed/relaxed"
    )
    headers: tuple[str, ...] | None = None
    skip_fields: tuple[str, ...] = ()
    oversign: bool = True
    expires_after: float | None = None
    identity: str | None = None

    def __post_init__(self) -> None:
        def keep(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        keep("domain", _domain("dkim.domain", self.domain))
        _check_selector("dkim.selector", self.selector)
        keep("selector", self.selector.lower())
        _check_key("dkim.private_key", self.private_key)
        if not isinstance(self.passphrase, str | bytes | None):
            raise wrong("dkim.passphrase", "must be text or octets")
        one_of("relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple")(
            "dkim.canonicalization", self.canonicalization
        )
        if self.headers is not None:
            keep("headers", _names("dkim.headers", self.headers))
            if "from" not in self.headers:
                raise wrong("dkim.headers", "must have From in it, which is always signed (RFC 6376 §5.4)")
        keep("skip_fields", _names("dkim.skip_fields", self.skip_fields))
        if "from" in self.skip_fields:
            raise wrong("dkim.skip_fields", "cannot leave out From, which is always signed (RFC 6376 §5.4)")
        flag("dkim.oversign", self.oversign)
        keep("expires_after", or_none(seconds())("dkim.expires_after", self.expires_after))
        if self.expires_after is not None and self.expires_after < 1:
            raise wrong("dkim.expires_after", "must be at least a second, which is what x= counts in")
        if self.identity is not None:
            keep("identity", _identity("dkim.identity", self.identity, self.domain))

    @classmethod
    def of(cls, value: object) -> DkimKey:
        """From a key, or a mapping of its names.

        :raises ConfigurationError: it is something else, or a name is unknown
        """
        if isinstance(value, DkimKey):
            return value
        if not isinstance(value, Mapping):
            # The value itself may be a secret: it is not shown.
            raise wrong(
                "dkim",
                f"must be a DkimKey, a mapping of its names, or a list of those, not {type(value).__name__}",
            )
        names = [option.name for option in fields(cls)]
        for name in value:
            if name not in names:
                if name in _ELSEWHERE:
                    raise wrong("dkim", f"{name!r} is unknown; write {_ELSEWHERE[name]}")
                raise unknown("dkim.", name, names)
        for name in ("domain", "selector", "private_key"):
            if value.get(name) is None:
                raise wrong(f"dkim.{name}", "is missing: a signature needs domain, selector and private_key")
        return cls(**value)


_ELSEWHERE: Final = {
    "domainName": "domain",
    "keySelector": "selector",
    "privateKey": "private_key",
    "headerFieldNames": "headers, a list of names",
    "skipFields": "skip_fields, a list of names",
    "hashAlgo": "nothing: it is SHA-256",
    "keys": "dkim=[…], a list of keys",
    "cacheDir": "nothing: large content is read twice in place of being stored",
    "l": "nothing: a signature over a part of the body lets anybody add to it",
}


def dkim_keys(name: str, value: object) -> tuple[DkimKey, ...]:
    """The check of the option ``dkim``: one key or several, each of which makes a signature of its own."""
    if (
        isinstance(value, (DkimKey, Mapping))
        or not isinstance(value, Sequence)
        or isinstance(value, str | bytes)
    ):
        return (DkimKey.of(value),)
    keys = tuple(map(DkimKey.of, value))
    if not keys:
        raise wrong(name, "has no keys in it; to sign nothing, leave it away")
    places = {(key.domain, key.selector) for key in keys}
    if len(places) < len(keys):
        raise wrong(name, "two keys have the same domain and selector, where only one can be in the DNS")
    return keys


def _domain(name: str, value: object) -> str:
    domain = host_name(name, value).lower()
    if "." not in domain or ":" in domain or domain.endswith(".") or domain.rpartition(".")[2].isdigit():
        raise wrong(name, f"{value!r} is no domain that can hold a key; write it as in example.org")
    return domain


def _check_selector(name: str, value: object) -> None:
    selector = text(name, value)
    if len(selector) > 190 or not all(map(_LABEL.fullmatch, selector.split("."))):
        raise wrong(
            name, f"{selector!r:.80} must be a name as in the DNS: letters, digits, '-', '_' and dots between"
        )


def _check_key(name: str, value: object) -> None:
    # Which kind of key it is, and whether it is one, is seen when it is loaded.
    if isinstance(value, str | bytes):
        marker = "-----BEGIN" if isinstance(value, str) else b"-----BEGIN"
        if marker not in value:  # type: ignore[operator]  # both are text, or both are octets
            raise wrong(name, "is no PEM, which has a line with -----BEGIN; for a file give pathlib.Path(…)")
    elif not (isinstance(value, os.PathLike) or hasattr(value, "sign")):
        raise wrong(name, f"must be PEM, a path or a key object of cryptography, not {type(value).__name__}")


def _names(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise wrong(name, f"must be a list of names of header fields, not {type(value).__name__}")
    names = [item.lower() if isinstance(item, str) else item for item in value]
    for item in names:
        if not isinstance(item, str) or not _HEADER_NAME.fullmatch(item):
            raise wrong(name, f"{item!r:.80} is no name of a header field")
    return tuple(dict.fromkeys(names))


def _identity(name: str, value: object, domain: str) -> str:
    local, at, place = text(name, value).rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local):
        raise wrong(name, f"{value!r:.80} must be user@{domain} or @{domain}, the user in plain ASCII")
    place = _domain(name, place)
    if place != domain and not place.endswith("." + domain):
        raise wrong(name, f"{value!r:.80} is not in {domain} (RFC 6376 §3.5, i=)")
    return f"{local}@{place}"
