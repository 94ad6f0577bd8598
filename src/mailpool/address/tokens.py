"""The tokens of an address-list (RFC 5322 §3.2), for the strict and for the lenient grammar."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from ..errors import AddressError
from .syntax import show, unquote

_WORDS: Final = r"""
    | (?P<atom>[^\x00-\x20\x7f()<>\[\]:;@\\,"]++)
    | "(?P<quoted>(?:[^"\\]|\\.)*+)"
    | (?P<literal>\[[^\[\]\\]*+\])
    | (?P<special>[<>@,:;])"""
STRICT: Final = re.compile(rf"(?P<space>[ \t]++){_WORDS}", re.VERBOSE)
# A line break with white space behind it is a fold; any other ends an element.
WITH_LINE_BREAKS: Final = re.compile(
    rf"(?P<space>(?:[ \t]|(?:\r\n?|\n)[ \t])++) | (?P<break>[\r\n]++){_WORDS}", re.VERBOSE
)
_DEEPEST_COMMENT: Final = 50
_COMMENT_STEP: Final = re.compile(r"[^()\\]++|\\.|[()]")


class Tokens:
    """Reads tokens one by one, each character once, and keeps the comments between them."""

    __slots__ = ("_comments", "_position", "_spaced", "_start", "_text")

    pattern: ClassVar[re.Pattern[str]] = STRICT

    def __init__(self, text: str, position: int) -> None:
        self._text = text
        self._start = self._position = position
        self._comments: list[str] = []
        self._spaced = False

    def _next(self) -> tuple[str, str]:
        """Kind and value of the next token that is neither white space nor a comment; ``("end", "")`` at the end.

        ``_spaced`` says whether there was white space before it.
        """
        text, match = self._text, self.pattern.match
        self._spaced = False
        while self._position < len(text):
            if text[self._position] == "(":
                self._skip_comment()
                continue
            token = match(text, self._position)
            if token is None:
                raise self._refusal(
                    f"has {_UNFINISHED.get(text[self._position], 'a character')} that cannot stand there"
                )
            self._position = token.end()
            kind = token.lastgroup or ""
            if kind != "space":
                return kind, token[kind]
            self._spaced = True
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
