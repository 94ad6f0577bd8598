"""Messages that remember which row of the table they were made from."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailpool import Message

from .people import ADDRESS, NAME, People
from .template import Template


@dataclass(slots=True, kw_only=True)
class Letter(Message):
    """A message with its number in the batch, from 1, and the address as it was given."""

    number: int = 0
    address: str = ""


class MailMerge:
    """One letter for each row of a table.

    :param people: the table
    :param subject: template
    :param text: template, or None
    :param html_text: template whose values are escaped, or None
    :param fields: what all letters have: ``from_``, ``reply_to``, ``attachments``
    :raises TemplateError: a template is none, or has a field that is no column
    """

    def __init__(
        self,
        people: People,
        *,
        subject: str,
        text: str | None,
        html_text: str | None = None,
        fields: Mapping[str, Any],
    ) -> None:
        self._people = people
        self._subject = Template(subject, "the subject")
        self._text = Template(text, "the text") if text is not None else None
        self._html = Template(html_text, "the HTML", escape=html.escape) if html_text is not None else None
        self._fields = fields
        for template in (self._subject, self._text, self._html):
            if template is not None:
                template.check(people.columns)

    def __len__(self) -> int:
        return len(self._people)

    def __iter__(self) -> Iterator[Letter]:
        for number, row in enumerate(self._people, start=1):
            address = row[ADDRESS].strip()
            yield Letter(
                number=number,
                address=address,
                # A pair, not a text: a cell with a comma in it is no list of recipients.
                to=(row.get(NAME, ""), address),
                subject=self._subject.fill(row),
                text=self._text.fill(row) if self._text is not None else None,
                html=self._html.fill(row) if self._html is not None else None,
                **self._fields,
            )
