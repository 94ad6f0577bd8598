"""Texts with ``{name}`` in them, filled from the columns of a table.

Only plain names are fields: whoever writes a template shall not reach attributes, items or format codes of anything.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping


class TemplateError(ValueError):
    """The text is no template, or has a field that is no column."""


class Template:
    """A text whose ``{name}`` is replaced by the column of that name; ``{{`` and ``}}`` stand for braces.

    :param text: the template
    :param where: what it is, for errors: ``"the subject"``
    :param escape: applied to every value, such as ``html.escape``
    :raises TemplateError: a brace stands alone, or a field is more than a name
    """

    def __init__(self, text: str, where: str, *, escape: Callable[[str], str] = str) -> None:
        self._where = where
        self._escape = escape
        self._pieces: list[tuple[str, str | None]] = []
        try:
            parsed = list(string.Formatter().parse(text))
        except ValueError as error:
            raise TemplateError(f"{where}: {error}; write {{{{ or }}}} for a brace") from None
        for literal, field, code, conversion in parsed:
            if field is not None and (not field or code or conversion or any(c in field for c in ".[]{}")):
                shown = field + (f"!{conversion}" if conversion else "") + (f":{code}" if code else "")
                raise TemplateError(
                    f"{where}: {{{shown}}} is no plain field name; write {{{{ and }}}} for braces that are text"
                )
            self._pieces.append((literal, field))

    @property
    def fields(self) -> frozenset[str]:
        """The names it asks for."""
        return frozenset(field for _, field in self._pieces if field is not None)

    def check(self, columns: Iterable[str]) -> None:
        """See to it that every field is a column.

        :raises TemplateError: one is not
        """
        known = tuple(columns)
        for field in sorted(self.fields.difference(known)):
            raise TemplateError(f"{self._where}: there is no column {field!r}; there are {', '.join(known)}")

    def fill(self, row: Mapping[str, str]) -> str:
        """The text for one row."""
        return "".join(
            literal if field is None else literal + self._escape(row[field])
            for literal, field in self._pieces
        )
