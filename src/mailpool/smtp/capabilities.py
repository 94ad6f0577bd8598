"""What the server offers, from its reply to EHLO (RFC 5321 §4.1.1.1).

Only whole keywords at the start of the second and later lines count: the first line is the server's name and a
greeting, and a host called ``mail-auth.example`` offers nothing by that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..results import Reply

_KEYWORD = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?: +(.*))?")
_AUTH_OLD = re.compile(r"AUTH=", re.IGNORECASE)
_MECHANISM = re.compile(r"[A-Z0-9_-]{1,20}")
_LIMIT = re.compile(r"([A-Z0-9][A-Z0-9-]*)=([1-9][0-9]{0,5})")
# No honest server comes near; a hostile one shall not fill our memory, as capabilities live as long as a connection.
_MOST_KEYWORDS = 500
_MOST_MECHANISMS = 50


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server announced about a connection (RFC 9422); ``None`` where it said nothing.

    :param mail_max: transactions of a connection; every MAIL counts, refused ones too
    :param rcpt_max: recipients of a transaction
    :param rcpt_domain_max: different recipient domains of a transaction
    """

    mail_max: int | None = None
    rcpt_max: int | None = None
    rcpt_domain_max: int | None = None


class Capabilities:
    """The extensions of one connection. They are asked for anew after STARTTLS (RFC 3207 §4.2).

    :param keywords: for each keyword its parameters as one text, empty if there are none
    """

    __slots__ = ("_keywords", "auth", "eight_bit_mime", "limits", "size", "size_declared", "smtputf8")

    auth: tuple[str, ...]
    """Names of SASL mechanisms in upper case, in the server's order (RFC 4954 §3)."""
    limits: Limits
    """RFC 9422."""
    eight_bit_mime: bool
    """RFC 6152."""
    smtputf8: bool
    """RFC 6531."""
    size_declared: bool
    """RFC 1870: MAIL may say how large the message is."""
    size: int | None
    """The largest message in octets; ``None`` if the server has no bound or names none (RFC 1870 §3)."""

    def __init__(self, keywords: Mapping[str, str]) -> None:
        self._keywords = MappingProxyType({name.upper(): text for name, text in keywords.items()})
        self.auth = _mechanisms(self._keywords.get("AUTH", ""))
        self.limits = _limits(self._keywords.get("LIMITS", ""))
        self.size = _size(self._keywords.get("SIZE", ""))
        # Asked for each message.
        self.size_declared = "SIZE" in self._keywords
        self.eight_bit_mime = "8BITMIME" in self._keywords
        self.smtputf8 = "SMTPUTF8" in self._keywords

    @classmethod
    def parse(cls, reply: Reply) -> Capabilities:
        """The extensions in a 250 reply to EHLO; what is no keyword is passed over."""
        keywords: dict[str, str] = {}
        for line in reply.lines[1:]:
            # Some servers still write the form from before RFC 2554, alone or beside the other.
            match = _KEYWORD.fullmatch(f"AUTH {line[5:]}" if _AUTH_OLD.match(line) else line)
            if match is None:
                continue
            name, text = match[1].upper(), (match[2] or "").strip()
            if name == "AUTH" and name in keywords:
                keywords[name] += f" {text}"
            elif len(keywords) < _MOST_KEYWORDS:
                keywords.setdefault(name, text)
        return cls(keywords)

    @classmethod
    def none(cls) -> Capabilities:
        """What is known after HELO: nothing is offered."""
        return cls({})

    def without(self, names: Iterable[str]) -> Capabilities:
        """The same without extensions that the user switched off: some servers offer what they do not do."""
        off = {name.upper() for name in names}
        if off.isdisjoint(self._keywords):
            return self
        return Capabilities({name: text for name, text in self._keywords.items() if name not in off})

    @property
    def keywords(self) -> Mapping[str, str]:
        """Every keyword in upper case, with its parameters as the server wrote them."""
        return self._keywords

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.upper() in self._keywords

    @property
    def pipelining(self) -> bool:
        """RFC 2920."""
        return "PIPELINING" in self._keywords

    @property
    def chunking(self) -> bool:
        """RFC 3030: BDAT."""
        return "CHUNKING" in self._keywords

    @property
    def binarymime(self) -> bool:
        """RFC 3030; it means nothing without CHUNKING."""
        return "BINARYMIME" in self._keywords and self.chunking

    @property
    def starttls(self) -> bool:
        """RFC 3207."""
        return "STARTTLS" in self._keywords

    @property
    def dsn(self) -> bool:
        """RFC 3461."""
        return "DSN" in self._keywords

    @property
    def enhanced_status_codes(self) -> bool:
        """RFC 2034."""
        return "ENHANCEDSTATUSCODES" in self._keywords

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Capabilities) and self._keywords == other._keywords

    def __hash__(self) -> int:
        return hash(frozenset(self._keywords.items()))

    def __repr__(self) -> str:
        return f"<Capabilities {' '.join(self._keywords) or 'none'}>"


def _mechanisms(text: str) -> tuple[str, ...]:
    names = dict.fromkeys(name for name in text.upper().split(" ") if _MECHANISM.fullmatch(name))
    return tuple(names)[:_MOST_MECHANISMS]


def _limits(text: str) -> Limits:
    found: dict[str, int] = {}
    for part in text.upper().split(" "):
        if match := _LIMIT.fullmatch(part):
            found.setdefault(match[1], int(match[2]))
    return Limits(found.get("MAILMAX"), found.get("RCPTMAX"), found.get("RCPTDOMAINMAX"))


def _size(text: str) -> int | None:
    # RFC 1870 §4 bounds the number at 20 digits; 0 says that there is no bound.
    number = text.partition(" ")[0]
    return (int(number) or None) if re.fullmatch(r"[0-9]{1,20}", number) else None
