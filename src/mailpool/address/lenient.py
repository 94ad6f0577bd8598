"""The lenient grammar: address-lists as people and old programs write them, and a note of each thing repaired.

It repairs what can be meant in one way only, and loses nobody: whatever might be a recipient becomes one or is an
error. Text that could reach one person or another, as a comment in the middle of an address, stays an error.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from ..errors import AddressError
from .grammar import SIMPLE, phrase_text, read_address_list, simple_mailbox
from .mailbox import Mailbox
from .syntax import MAX_ADDRESS, show
from .tokens import WITH_LINE_BREAKS, Tokens

Word: TypeAlias = tuple[str, str, bool]  # kind, value, and whether white space is before it

_SIMPLE: Final = re.compile(rf"{SIMPLE}(?=[,;\r\n]|\Z)")
_search_control = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]").search
_is_route = re.compile(r"@d(?:,+@d)*+").fullmatch  # RFC 5322 §4.4: obs-domain-list, "d" for a domain
_AT: Final = ("special", "@")
_LOCALS: Final = ("atom", "quoted")
_DOMAINS: Final = ("atom", "literal")


def read_leniently(text: str, repairs: list[str]) -> tuple[Mailbox, ...]:
    """The mailboxes of ``text``; for each thing that is not as RFC 5322 §3.4 has it a sentence goes to ``repairs``.

    What the strict grammar takes is taken as it is. Raises ``AddressError`` for what stays unclear.
    """
    try:
        return read_address_list(text)
    except AddressError:
        pass
    bad = _search_control(text)
    if bad:
        raise AddressError(f"{show(text[max(0, bad.start() - 20) :])} holds a control character")
    reader = _Lenient(text)
    reader.read()
    repairs += reader.repairs
    return tuple(reader.found)


class _Lenient(Tokens):
    """One pass over a text. Each token is looked at once; a name before a comma waits for the rest of itself."""

    __slots__ = (
        "_address_end",
        "_after_address",
        "_after_group",
        "_depth",
        "_no_comma",
        "_unfinished",
        "_words",
        "found",
        "repairs",
    )

    pattern = WITH_LINE_BREAKS

    def __init__(self, text: str) -> None:
        super().__init__(text, 0)
        self.found: list[Mailbox] = []
        self.repairs: list[str] = []
        self._words: list[Word] = []
        self._unfinished: list[str] = []  # "Cole" of: Cole, Ann <a@b>
        self._depth = 0  # of groups
        self._after_address = False  # an address has ended, and neither comma nor end has come yet
        self._address_end = 0
        self._after_group = False
        self._no_comma = False  # before this element

    def read(self) -> None:
        self._take_simple()
        while True:
            kind, value = self._next()
            if kind in ("atom", "quoted", "literal") or value == "@":
                self._begin()
                self._words.append((kind, value, self._spaced))
            elif kind == "special" and value == "<":
                self._begin()
                ended_by = self._angle()
                if ended_by is not None and self._boundary(*ended_by):
                    return
            elif kind == "special" and value == ">":
                self._stray_bracket()
            elif kind == "special" and value == ":":
                self._colon()
            elif self._boundary(kind, value):
                return

    # -- the parts of a list -----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._after_address:
            self._repaired("put a comma between two addresses")
            self._after_address, self._no_comma = False, True
            self._start = self._address_end
        elif self._after_group:
            self._repaired("put a comma after a group")
        self._after_group = False

    def _boundary(self, kind: str, value: str) -> bool:
        """A comma, semicolon, line break or the end; whether it was the end."""
        words, ends_group = self._words, value == ";" and self._depth > 0
        if words and not _holds_at(words):
            self._words_without_at(value)
        elif words:
            self._refuse_unfinished()
            self._take_addresses(words)
        else:
            self._refuse_unfinished()
        if not words and self._comments and not self._after_address:
            self._repaired("dropped a comment without an address")
        if kind == "break":
            self._repaired("read a line break as a comma")
        elif ends_group:
            self._depth -= 1
        elif value == ";":
            self._repaired("read a semicolon as a comma")
        elif kind == "end" and self._depth:
            self._repaired("ended a group that was not ended by a semicolon")
        self._after_group = ends_group
        self._next_element()
        return kind == "end"

    def _next_element(self) -> None:
        self._words, self._comments = [], []
        self._after_address = self._no_comma = False
        if not self._unfinished:
            self._start = self._position
            if not self._after_group:
                self._take_simple()

    def _take_simple(self) -> None:
        """Most elements need no repair, and one match is enough for them."""
        simple = _SIMPLE.match(self._text, self._position)
        if simple is not None and simple.end() - self._position <= MAX_ADDRESS:
            self.found.append(simple_mailbox(simple))
            self._position = self._address_end = simple.end()
            self._after_address = True

    def _words_without_at(self, ended_by: str) -> None:
        """Words that are no address: one in quotes as a whole, the first part of a name, or an error."""
        if len(self._words) == 1 and self._words[0][0] == "quoted" and not self._unfinished:
            try:
                inside = read_address_list(_unescaped(self._words[0][1]))
            except AddressError:
                inside = ()
            if len(inside) == 1:
                self._repaired("took off the quotes around a whole address")
                self.found += inside
                return
        # After an address without a comma nobody could say whether they go with what is before or what is behind.
        if ended_by != "," or self._no_comma or any(kind == "literal" for kind, _, _ in self._words):
            self._refuse_unfinished(always=True)
        self._unfinished.append(_phrase(self._words))

    def _colon(self) -> None:
        words = [(kind, value.lower()) for kind, value, _ in self._words]
        if words == [("atom", "mailto")]:
            self._repaired("took off mailto:")
            self._words = []
            return
        self._refuse_unfinished()
        if _holds_at(self._words):
            raise self._refusal("has an address before a colon, where the name of a group belongs")
        self._depth += 1
        if self._depth > 1:
            self._repaired("took the members out of a group inside a group")
        self._next_element()

    def _stray_bracket(self) -> None:
        if self._words:
            self._refuse_unfinished()
            if not _holds_at(self._words):
                raise self._refusal("has a > without a <")
            self._take_addresses(self._words)
            self._words, self._after_address, self._address_end = [], True, self._position
        elif not self._after_address:
            raise self._refusal("has a > without a <")
        self._repaired("dropped a > without a <")

    def _angle(self) -> tuple[str, str] | None:
        """The address after a ``<`` with the name before it; returns what ended it if that was no ``>``."""
        inside: list[Word] = []
        while True:
            kind, value = self._next()
            if kind in ("atom", "quoted", "literal") or value == "@":
                inside.append((kind, value, self._spaced))
            elif kind == "special" and value == "<" and not inside:
                self._repaired("dropped the second of two <")
            elif kind == "special" and value == ":" and inside:
                inside = self._without_prefix(inside)
            elif kind == "special" and value == "," and inside and inside[0][:2] == _AT:
                inside.append((kind, value, False))  # of a route
            else:
                break
        addresses = self._run(inside)
        if len(addresses) != 1:
            raise self._refusal("has a < that is not followed by one address")
        self.found.append(Mailbox(self._name_for(addresses[0]), addresses[0]))
        self._words, self._comments, self._unfinished = [], [], []
        self._after_address, self._address_end = True, self._position
        if kind == "special" and value == ">":
            return None
        if kind == "special" and value not in (",", ";"):
            raise self._refusal("has a < that is not followed by one address and a >")
        self._repaired("added the > that was missing")
        return kind, value

    def _without_prefix(self, inside: list[Word]) -> list[Word]:
        if _is_route("".join("d" if kind in _DOMAINS else value for kind, value, _ in inside)):
            self._repaired("dropped a route, as RFC 5321 appendix C says")
        elif [(kind, value.lower()) for kind, value, _ in inside] == [("atom", "mailto")]:
            self._repaired("took off mailto:")
        else:
            raise self._refusal("has a colon in an address")
        return []

    # -- names and addresses -----------------------------------------------------------------------------------------

    def _name_for(self, address: str) -> str:
        words = self._words
        if not words:
            self._refuse_unfinished()
            return self._comments[0] if self._comments else ""
        if _holds_at(words):
            self._refuse_unfinished()
            named = self._run(words)
            if (
                len(named) != 1
                or Mailbox("", named[0]).address.lower() != Mailbox("", address).address.lower()
            ):
                raise self._refusal(
                    "has one address before another in <>; separate addresses with commas, or put a name in quotes"
                )
            self._repaired("put quotes around an address that is a name")
            return named[0]
        if any(kind == "literal" for kind, _, _ in words):
            self._repaired("put quotes around a name with brackets")
        if not self._unfinished:
            return _phrase(words)
        self._repaired("put quotes around a name with a comma")
        return ", ".join([*self._unfinished, _phrase(words)])

    def _take_addresses(self, words: list[Word]) -> None:
        addresses = self._run(words)
        if len(addresses) == 1:
            self.found.append(Mailbox(self._comments[0] if self._comments else "", addresses[0]))
            return
        self._repaired("put a comma between two addresses" + " and dropped comments" * bool(self._comments))
        self.found += [Mailbox("", address) for address in addresses]

    def _run(self, words: list[Word]) -> list[str]:
        """Addresses with white space between them. Nothing else parts or joins them (ADR-02)."""
        found = []
        for index in range(0, len(words), 3):
            match words[index : index + 3]:
                case [(local_kind, local, spaced), ("special", "@", _), (domain_kind, domain, _)] if (
                    local_kind in _LOCALS and domain_kind in _DOMAINS and (spaced or index == 0)
                ):
                    found.append(self._address(local_kind, local, domain))
                case _:
                    raise self._refusal(
                        "is not an address; write local-part@domain without spaces, and put it in <> after a name"
                    )
        return found

    def _address(self, kind: str, local: str, domain: str) -> str:
        if kind == "quoted":
            local = f'"{local}"'
        elif local[0] == domain[-1] == "'" and len(local) > 1 and len(domain) > 1:
            self._repaired("took off the quotes around an address")
            local, domain = local[1:], domain[:-1]
        if len(domain) > 1 and domain[-1] == "." != domain[-2]:
            self._repaired("dropped the dot at the end of a domain")
            domain = domain[:-1]
        return f"{local}@{domain}"

    def _refuse_unfinished(self, *, always: bool = False) -> None:
        if self._unfinished or always:
            raise self._refusal("has no @; write local-part@domain, and quote a name that holds a comma")

    def _repaired(self, what: str) -> None:
        self.repairs.append(
            f"{show(self._text[self._start : min(self._position, self._start + 200)].strip())}: {what}"
        )


def _holds_at(words: list[Word]) -> bool:
    return any(word[:2] == _AT for word in words)


def _phrase(words: list[Word]) -> str:
    return phrase_text([(kind, value) for kind, value, _ in words])


def _unescaped(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)
