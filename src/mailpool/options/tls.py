"""How the server proves who it is, and how we do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .checks import flag, one_of, or_none, text, unknown, wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSOptions:
    """How the server proves who it is, and how we do (RFC 8314 §5).

    :param verify: check the certificate and its name; ``False`` trusts anybody on the way
    :param ca_file: PEM file of the authorities to trust in place of the system's
    :param ca_data: the same as text (PEM) or bytes (DER)
    :param cert_file: PEM file of our own certificate; with ``key_file`` where the key is apart
    :param key_file: PEM file of its key
    :param key_password: of the key; in no ``repr``
    :param min_version: ``"TLSv1.2"`` or ``"TLSv1.3"``; older is refused (RFC 8996)
    :raises ConfigurationError: wrong type or combination
    """

    verify: bool = True
    ca_file: str | None = None
    ca_data: str | bytes | None = field(default=None, repr=False)
    cert_file: str | None = None
    key_file: str | None = None
    key_password: str | None = field(default=None, repr=False)
    min_version: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"

    def __post_init__(self) -> None:
        flag("tls.verify", self.verify)
        one_of("TLSv1.2", "TLSv1.3")("tls.min_version", self.min_version)
        for name in ("ca_file", "cert_file", "key_file"):
            given = getattr(self, name)
            path = given.__fspath__() if hasattr(given, "__fspath__") else given
            object.__setattr__(self, name, or_none(text)(f"tls.{name}", path))
        secret: object = self.key_password
        if not isinstance(secret, (str, type(None))):
            raise wrong("tls.key_password", "must be a text")
        data: object = self.ca_data
        if not isinstance(data, (str, bytes, type(None))):
            raise wrong("tls.ca_data", "must be PEM text or DER bytes")
        if self.key_file is not None and self.cert_file is None:
            raise wrong("tls.key_file", "is the key to which certificate? Give cert_file too")
        if not self.verify and (self.ca_file or self.ca_data):
            raise wrong("tls.verify", "is False: the authorities given would not be looked at")

    @classmethod
    def of(cls, value: object) -> Any:
        """From `TLSOptions`, a mapping of its names, ``None`` for the defaults, or an ``ssl.SSLContext`` left as it is."""
        if value is None:
            return cls()
        # Told by what is used of it: layer 0 does not import `ssl`.
        if isinstance(value, TLSOptions) or hasattr(value, "wrap_bio"):
            return value
        if not isinstance(value, Mapping):
            raise wrong(
                "tls", f"must be TLSOptions, a mapping or an ssl.SSLContext, not {type(value).__name__}"
            )
        names = [f.name for f in dataclasses.fields(cls)]
        for key in value:
            if key not in names:
                raise unknown("tls.", key, names)
        return cls(**value)
