"""Values that are HTML already."""

from __future__ import annotations


class Markup(str):
    """HTML, which goes into HTML as it is; every other value is escaped there. For what you wrote, not for input.

    The ``Markup`` of MarkupSafe, which Jinja2 and Django use, does as well: what counts is the method ``__html__``.
    """

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)
