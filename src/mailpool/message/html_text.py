"""Plain text made from HTML, for readers that show no HTML."""

from __future__ import annotations

import re
from typing import Final

from ..address import without_lone_surrogates
from ..errors import MessageError

# XML knows none of these, and the library that reads the HTML is built on one that minds.
_controls = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]").sub
_FIELD: Final = "text_from_html"


def text_from_html(html: str) -> str:
    """``html`` as plain text with its paragraphs, lists and tables, by ``inscriptis``.

    Raises ``MessageError`` when that is not installed, or the HTML is nested too deep for it.
    """
    try:
        from inscriptis import get_text  # slow to import, and few need it
    except ImportError:
        raise MessageError(
            f"{_FIELD}: needs the package inscriptis; pip install mailpool[html]", field=_FIELD
        ) from None
    try:
        text: str = get_text(_controls("", without_lone_surrogates(html)))
    except RecursionError:
        raise MessageError(f"{_FIELD}: the html is nested too deep; give text", field=_FIELD) from None
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "\n".join(lines) + "\n"
