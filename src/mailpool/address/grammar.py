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

# Nearly all mail needs only this: an address, or a plain name before one in angle brackets.
_SIMPLE: Final = re.compile(
    rf"[ \t]*(?:{PLAIN_ADDRESS}|([A-Za-z0-9_\-'\u00a0-\ud7ff][^\x00-\x1f\x7f()<>\[\]:;@\\,\"=]*+)<{PLAIN_ADDRESS}>)[ \t]*(?:,|\Z)"
)
_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t]++)
    | (?P<atom>[^\x00-\x20\x7f()<>\[\]:;@\\,"]++)
    | "(?P<quoted>(?:[^"\\]|\\.)*+)"
    | (?P<literal>\[[^\[\]\\]*+\])
    | (?P<special>[<>@,:;])""",
    re.VERBOSE,
)
_DEEPEST_COMMENT: Final = 50
_COMMENT_STEP: Final = re.compile(r"[^()\\]++|\\.|[()]")

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
            local, domain, name, named_local, named_domain = simple.groups()
            if name is None:
                found.append(Mailbox._checked("", f"{local}@{domain.lower()}"))
            else:
                found.append(Mailbox(name, f"{named_local}@{named_domain}"))
            position = simple.end()
            continue
        element = _Element(text, position)
        position, in_group = element.read(found, in_group)
    if in_group:
        raise AddressError(f"the group in {show(text)} is not ended by a semicolon")
    return tuple(found)


class _Element:
    """One element of an address-list: everything up to the next comma, or the start or end of a group."""

    __slots__ = ("_comments", "_position", "_start", "_text", "_words")

    def __init__(self, text: str, position: int) -> None:
        self._text = text
        self._start = self._position = position
        self._words: list[tuple[str, str]] = []
        self._comments: list[str] = []

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
        if any(kind == "quoted" for kind, _ in self._words):
            return " ".join(
                unquote(value) if kind == "quoted" else decode_words([value]) for kind, value in self._words
            )
        return decode_words([value for _, value in self._words])

    def _next(self) -> tuple[str, str]:
        """The next token that is neither white space nor a comment."""
        text = self._text
        while self._position < len(text):
            if text[self._position] == "(":
                self._skip_comment()
                continue
            token = _TOKEN.match(text, self._position)
            if token is None:
                raise self._refusal(
                    f"has {_UNFINISHED.get(text[self._position], 'a character')} that cannot stand there"
                )
            self._position = token.end()
            if token.lastgroup != "space":
                kind = token.lastgroup or ""
                return kind, token[kind]
        return "end", ""

    def _skip_comment(self) -> None:
        depth, start = 0, self._position
        for step in _COMMENT_STEP.finditer(self._text, start):
            if step[0] == "(":
                depth += 1
                if depth > _DEEPEST_COMMENT:
                    raise self._refusal(f"has comments nested more than {_DEEPEST_COMMENT} deep")
            elif step[0] == ")":
                depth -= 1
                if depth == 0:
                    self._position = step.end()
                    self._comments.append(unquote(self._text[start + 1 : step.start()]).strip())
                    return
        raise self._refusal("has a comment that is not closed")

    def _refusal(self, why: str) -> AddressError:
        return AddressError(f"{show(self._text[self._start : self._start + 200].strip())} {why}")


_UNFINISHED: Final = {
    '"': "a quoted string without its end, or a quote",
    "[": "a [ without its ]",
    "]": "a ]",
    "\\": "a backslash",
}
