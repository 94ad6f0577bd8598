"""How ``make docs`` builds these pages. Nothing here needs the network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_INIT = (_HERE.parent / "src" / "mailpool" / "__init__.py").read_text("utf-8")
_VERSION = re.search(r'^__version__ = "(.+)"$', _INIT, re.MULTILINE)
assert _VERSION is not None

project = "mailpool"
author = "The mailpool founders"
copyright = "2026, The mailpool founders"  # noqa: A001 - the name that Sphinx reads
version = release = _VERSION[1]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build"]
nitpicky = True

# Headings can be linked to as forges do it: outcomes.md#duplicates.
myst_heading_anchors = 3

html_theme = "alabaster"
html_title = f"mailpool {release}"
html_theme_options = {
    "description": "Pooled SMTP transport",
    "fixed_sidebar": True,
    "page_width": "70rem",
    "body_max_width": "52rem",
}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}
html_show_sourcelink = False
html_copy_source = False


def _add_contents(app: Any, name: str, source: list[str]) -> None:
    """Give the front page its table of contents: the pages that it links to, in their order.

    It is made here so that ``index.md`` stays plain text that any forge can show.
    """
    if name == root_doc:
        pages = list(dict.fromkeys(re.findall(r"\]\(([a-z0-9-]+)\.md\)", source[0])))
        source[0] += "\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", _add_contents)
    return {"parallel_read_safe": True}
