"""HTML that mail readers show as it is meant. Nothing here reads a file or a URL, whatever the HTML names (FIL-01, FIL-02)."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from ..errors import ConfigurationError, MessageError

_search_style = re.compile(r"<style[\s>]", re.IGNORECASE).search
_tags = re.compile(r"<(?=[A-Za-z])").findall
# Measured: 900 octets for a level, and <td> alone is three. A thread has 8 MiB with most systems, and 512 KiB with some.
_STACK_PER_TAG: Final = 4_096
_TAGS_ON_ANY_STACK: Final = 150
_MOST_TAGS: Final = 100_000
_one_at_a_time: Final = threading.Lock()


def with_inlined_css(html: str, template: str) -> str:
    """``html`` with the rules of its ``<style>`` in the elements, since many readers look nowhere else.

    What cannot be inlined, such as ``@media``, stays where it is. Raises ``MessageError`` that names ``template``.
    """
    if not _search_style(html):
        return html
    inline = _inliner()
    try:
        return _with_room(len(_tags(html)), lambda: str(inline(html)), template)
    except ValueError as error:
        if isinstance(error, MessageError):
            raise
        raise MessageError(f"{template}: its CSS cannot be inlined: {error}", field=template) from error


def _with_room(tags: int, work: Callable[[], str], template: str) -> str:
    """What ``work`` returns, with a stack that holds as many nested elements as there are ``tags``.

    css-inline goes down into each element, and where the stack ends the whole program does.
    """
    if tags <= _TAGS_ON_ANY_STACK:
        return work()
    if tags > _MOST_TAGS:
        raise MessageError(
            f"{template}: the HTML has over {_MOST_TAGS} tags; switch inline_css off", field=template
        )
    ended: list[str | Exception] = []

    def run() -> None:
        try:
            ended.append(work())
        except Exception as error:
            ended.append(error)

    with _one_at_a_time:
        usual = threading.stack_size(tags * _STACK_PER_TAG)
        try:
            thread = threading.Thread(target=run, name="mailpool-css")
            thread.start()
        finally:
            threading.stack_size(usual)
    thread.join()
    (outcome,) = ended
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


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
