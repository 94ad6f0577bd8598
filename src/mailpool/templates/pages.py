"""HTML that mail readers show as it is meant. Nothing here reads a file or a URL, whatever the HTML names (FIL-01, FIL-02)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from ..errors import ConfigurationError, MessageError

_search_style = re.compile(r"<style[\s>]", re.IGNORECASE).search


def with_inlined_css(html: str, template: str) -> str:
    """``html`` with the rules of its ``<style>`` in the elements, since many readers look nowhere else.

    What cannot be inlined, such as ``@media``, stays where it is. Raises ``MessageError`` that names ``template``.
    """
    if not _search_style(html):
        return html
    inline = _inliner()
    try:
        inlined: str = inline(html)
    except ValueError as error:
        raise MessageError(f"{template}: its CSS cannot be inlined: {error}", field=template) from error
    return inlined


def html_of_mjml(mjml: str, template: str) -> str:
    """The HTML that ``mjml`` stands for. Raises ``MessageError`` that names ``template``."""
    try:
        from mjml import mjml2html
    except ImportError:
        raise missing("mjml-python", "mjml") from None
    try:
        # Without a loader of its own it includes nothing: Jinja2 does that, from the folder alone.
        html: str = mjml2html(mjml)
    except ValueError as error:
        raise MessageError(f"{template}: is no MJML: {error}", field=template) from error
    return html


def missing(package: str, extra: str) -> ConfigurationError:
    """The error for a package that is not installed."""
    return ConfigurationError(f"templates need the package {package}; pip install mailpool[{extra}]")


@cache
def _inliner() -> Callable[[str], Any]:
    try:
        from css_inline import CSSInliner
    except ImportError:
        raise missing("css-inline", "templates") from None
    # The default would fetch what <link> names, from the network and from files.
    inline: Callable[[str], Any] = CSSInliner(load_remote_stylesheets=False, keep_at_rules=True).inline
    return inline
