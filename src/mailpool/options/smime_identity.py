"""`Smime`: who signs a message with a certificate, and for whom it is encrypted (RFC 8551). No certificate is read here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from .checks import unknown, wrong

Certificate: TypeAlias = str | bytes | os.PathLike[str] | Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Smime:
    """S/MIME for messages: signed by one person, encrypted for others, or both.

    Certificates are PEM text or octets, a ``pathlib.Path`` of a PEM file, or objects of ``cryptography``.

    :param certificate: of the one who signs
    :param private_key: of that certificate, RSA or elliptic curves, in the same forms; in no ``repr``
    :param passphrase: of an encrypted PEM; in no ``repr``
    :param chain: certificates between that one and an authority, sent along
    :param recipients: certificates of those who can read the message, with RSA keys; give your own too to read it
        yourself later. Who they are can be seen in the message
    :raises ConfigurationError: neither signed nor encrypted, or a part is missing or of another kind; it names it
    """

    certificate: Certificate | None = field(default=None, repr=False)
    private_key: str | bytes | os.PathLike[str] | Any | None = field(default=None, repr=False)
    passphrase: str | bytes | None = field(default=None, repr=False)
    chain: tuple[Certificate, ...] = field(default=(), repr=False)
    recipients: tuple[Certificate, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name in ("chain", "recipients"):
            object.__setattr__(self, name, _certificates(f"smime.{name}", getattr(self, name)))
        if (self.certificate is None) != (self.private_key is None):
            missing = "certificate" if self.certificate is None else "private_key"
            raise wrong(
                f"smime.{missing}", "is missing: whoever signs needs both, a certificate and its private key"
            )
        if self.certificate is None and not self.recipients:
            raise wrong(
                "smime", "needs a certificate and a private_key to sign, recipients to encrypt, or all three"
            )
        if self.certificate is None and (self.chain or self.passphrase is not None):
            raise wrong(
                "smime.chain" if self.chain else "smime.passphrase",
                "belongs to a certificate, which is missing",
            )
        if self.certificate is not None:
            _check("smime.certificate", self.certificate, "public_key")
            _check("smime.private_key", self.private_key, "sign")
        if not isinstance(self.passphrase, str | bytes | None):
            raise wrong("smime.passphrase", "must be text or octets")

    @property
    def files(self) -> bool:
        """Whether any part has to be read from a file."""
        return any(
            isinstance(part, os.PathLike)
            for part in (self.certificate, self.private_key, *self.chain, *self.recipients)
        )

    @classmethod
    def of(cls, value: object) -> Smime:
        """From an `Smime`, or a mapping of its names.

        :raises ConfigurationError: it is something else, or a name is unknown
        """
        if isinstance(value, Smime):
            return value
        if not isinstance(value, Mapping):
            raise wrong("smime", f"must be an Smime or a mapping of its names, not {type(value).__name__}")
        names = [one.name for one in fields(cls)]
        for name in value:
            if name not in names:
                raise unknown("smime.", name, names)
        return cls(**value)


def _certificates(name: str, value: object) -> tuple[Certificate, ...]:
    # Text that holds several, one after the other, is taken as one thing and split when it is read.
    if isinstance(value, str | bytes | os.PathLike) or not isinstance(value, Iterable):
        value = (value,)
    for item in value:
        _check(name, item, "public_key")
    return tuple(value)


def _check(name: str, value: object, method: str) -> None:
    if isinstance(value, str | bytes):
        marker = "-----BEGIN" if isinstance(value, str) else b"-----BEGIN"
        if marker not in value:  # type: ignore[operator]  # both are text, or both are octets
            raise wrong(name, "is no PEM, which has a line with -----BEGIN; for a file give pathlib.Path(…)")
    elif not (isinstance(value, os.PathLike) or hasattr(value, method)):
        raise wrong(name, f"must be PEM, a path or an object of cryptography, not {type(value).__name__}")
