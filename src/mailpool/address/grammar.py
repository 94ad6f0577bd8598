"""The address-list of RFC 5322 §3.4, read in one pass whose time grows with the length of the text alone.

Left out on purpose: routes, obsolete local parts, white space inside an address, and groups inside groups.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import AddressError
from .encoded_words import decode_words
from .mailbox import Mailbox
from .syntax import MAX_ADDRESS, PLAIN_ADDRESS, search_control_but_tab, show, unquote
from .tokens import Tokens

# Nearly all mail needs only this: an address, or one in angle brackets behind a plain name or one in plain quotes.
SIMPLE: Final = (
    rf"[ \t]*(?:{PLAIN_ADDRESS}"
    rf"|([A-Za-z0-9_\-'\u00a0-\ud7ff][^\x00-\x1f\x7f()<>\[\]:;@\\,\"=\ud800-\udfff]*+)<{PLAIN_ADDRESS}>"
    rf'|"([^\x00-\x1f\x7f"\\]*+)"[ \t]*<{PLAIN_ADDRESS}>)[ \t]*'
)
_SIMPLE: Final = re.compile(rf"{SIMPLE}(?:,|\Z)")
_match_one: Final = re.compile(SIMPLE).fullmatch
_WORDS: Final = ("atom", "quoted")


def read_address_list(text: str) -> tuple[Mailbox, ...]:
    """The mailboxes of ``text``, members of groups included.

    Raises ``AddressError`` when the text cannot be read in exactly one way.
    """
    bad = search_control_but_tab(text)
    if bad:
        raise AddressError(f"{show(text[max(0, bad.start() - 20) :])} holds a control character")
    found: list[Mailbox] = []
    position, in_group = 0, False
    while position < len(text):
        simple = _SIMPLE.match(text, position)
        if simple is not None and simple.end() - position <= MAX_ADDRESS:
            found.append(simple_mailbox(simple))
            position = simple.end()
            continue
        element = _Element(text, position)
        position, in_group = element.read(found, in_group)
    if in_group:
        raise AddressError(f"the group in {show(text)} is not ended by a semicolon")
    return tuple(found)


def read_one(text: str) -> tuple[str, str] | None:
    """The name and the address of ``text`` when it is one ordinary mailbox, as nearly always; ``None`` for all else.

    For those who need no ``Mailbox``, which takes as long as reading it.
    """
    match = _match_one(text)
    if match is None or len(text) > MAX_ADDRESS:
        return None
    local, name = match[1], match[3]
    if local is not None:
        return "", f"{local}@{match[2].lower()}"
    return None if name is None else (name.rstrip(" "), f"{match[4]}@{match[5].lower()}")


def simple_mailbox(match: re.Match[str]) -> Mailbox:
    """The mailbox that ``SIMPLE`` has found."""
    local = match[1]
    if local is not None:
        return Mailbox._checked("", f"{local}@{match[2].lower()}")
    name = match[3]
    if name is not None:
        # The name is checked, too: the pattern takes no control character and no half of a surrogate pair.
        return Mailbox._checked(name.rstrip(" "), f"{match[4]}@{match[5].lower()}")
    return Mailbox(match[6], f"{match[7]}@{match[8]}")


class _Element(Tokens):
    """One element of an address-list: everything up to the next comma, or the start or end of a group."""

    __slots__ = ("_words",)

    def __init__(self, text: str, position: int) -> None:
        super().__init__(text, position)
        self._words: list[tuple[str, str]] = []

    def read(self, found: list[Mailbox], in_group: bool) -> tuple[int, bool]:
        """Add the mailbox of this element, if it has one; return where the next starts and whether in a group."""
        while True:
            kind, value = self._next()
            if kind in ("atom", "quoted", "literal") or value == "@":
                self._words.append((kind, value))
            elif value == "<":
                address = self._angle_address()
                found.append(Mailbox(self._name(), address))
                return self._end_of_element(in_group)
            elif value == ":":
                if in_group:
                    raise self._refusal("has a group inside a group")
                self._name()
                return self._position, True
            elif value == ">":
                raise self._refusal("has a > without a <")
            else:
                if self._words:
                    found.append(
                        Mailbox(self._comments[0] if self._comments else "", self._address(self._words))
                    )
                elif self._comments:
                    raise self._refusal("has a comment without an address")
                return self._finish(value, in_group)

    def _finish(self, value: str, in_group: bool) -> tuple[int, bool]:
        if value != ";":
            return self._position, in_group
        if not in_group:
            raise self._refusal("has a semicolon; separate addresses with commas")
        kind, value = self._next()
        if (kind == "special" and value == ",") or kind == "end":
            return self._position, False
        raise self._refusal("has text after a group; separate addresses with commas")

    def _end_of_element(self, in_group: bool) -> tuple[int, bool]:
        kind, value = self._next()
        if kind == "end" or value in (",", ";"):
            return self._finish(value if kind == "special" else "", in_group)
        raise self._refusal(
            "has text after an address; separate addresses with commas, and quote a name with special characters"
        )

    def _angle_address(self) -> str:
        words: list[tuple[str, str]] = []
        while True:
            kind, value = self._next()
            if kind == "special" and value == ">":
                break
            if kind == "end" or (kind == "special" and value != "@"):
                raise self._refusal("has a < that is not followed by one address and a >")
            words.append((kind, value))
        if not words:
            raise self._refusal("has an empty address")
        return self._address(words)

    def _address(self, words: list[tuple[str, str]]) -> str:
        """The addr-spec, of exactly one local part and one domain: nothing is ever glued together (ADR-02)."""
        match words:
            case [("atom", local), ("special", "@"), ("atom" | "literal", domain)]:
                return f"{local}@{domain}"
            case [("quoted", local), ("special", "@"), ("atom" | "literal", domain)]:
                return f'"{local}"@{domain}'
        at_signs = sum(word == ("special", "@") for word in words)
        if at_signs == 0:
            raise self._refusal("has no @; write local-part@domain, and quote a name that holds a comma")
        if at_signs > 1:
            raise self._refusal("holds more than one @; separate addresses with commas")
        raise self._refusal(
            "is not an address; write local-part@domain without spaces, and put it in <> after a name"
        )

    def _name(self) -> str:
        if not self._words:
            return self._comments[0] if self._comments else ""
        if any(kind not in _WORDS for kind, _ in self._words):
            raise self._refusal(
                "has a name with special characters; put the name in double quotes, or a comma between addresses"
            )
        return phrase_text(self._words)


def phrase_text(words: list[tuple[str, str]]) -> str:
    """The name that the words of a phrase spell (RFC 5322 §3.2.5), encoded words decoded."""
    if any(kind == "quoted" for kind, _ in words):
        return " ".join(
            unquote(value) if kind == "quoted" else decode_words([value]) for kind, value in words
        )
    return decode_words([value for _, value in words])
