"""Texts with ``{name}`` in them, and the values that are put there.

Only plain names are placeholders. Whoever writes a letter reaches no attribute, item or format code of a value, and what
a value holds is text and never a placeholder again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from ...errors import MessageError

Value: TypeAlias = str | int

_brace: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_is_name: Final = re.compile(r"\w+(?:[ -]\w+)*").fullmatch


class Pattern:
    """A text with placeholders: ``literals[0]``, the value of ``names[0]``, ``literals[1]``, and so on.

    text   ``{name}`` is a placeholder; ``{{`` and ``}}`` are braces. A name is words of letters, digits and underscores,
           with single spaces or hyphens between them
    field  the name of the field, for errors
    key    which text of the letter it is

    Raises ``MessageError`` for a lone brace and for anything in braces that is no name.
    """

    __slots__ = ("_pieces", "key", "literals", "names")

    def __init__(self, text: str, field: str, key: str) -> None:
        self.key = key
        literals = [""]
        names: list[str] = []
        end = 0
        for brace in _brace.finditer(text):
            literals[-1] += text[end : brace.start()]
            end = brace.end()
            found = brace[0]
            if found in ("{{", "}}"):
                literals[-1] += found[0]
            elif brace[1] is not None and _is_name(brace[1]):
                names.append(brace[1])
                literals.append("")
            else:
                raise MessageError(
                    f"{field}: {found!r:.60} is no placeholder, which is a plain name in braces; "
                    "write {{ and }} for braces that are text",
                    field=field,
                )
        literals[-1] += text[end:]
        self.literals = tuple(literals)
        self.names = tuple(names)
        # The literals, and between two of them a place for a value.
        self._pieces = [piece for literal in literals for piece in (literal, "")][:-1]

    def filled(self, texts: Mapping[str, str]) -> str:
        """The text with the value of each name in its place."""
        pieces = self._pieces.copy()
        pieces[1::2] = [texts[name] for name in self.names]
        return "".join(pieces)


def as_text(name: str, value: Any) -> str:
    """A value as text. Raises ``MessageError`` that names the placeholder unless it is text or a whole number."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # Python writes no number of more than 4,300 digits
            raise MessageError(f"{{{name}}}: the number is too long", field=name) from None
    raise MessageError(f"{{{name}}}: give text or a whole number, not {type(value).__name__}", field=name)
