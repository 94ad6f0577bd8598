"""The body of a message from its fields: which MIME parts there are, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..errors import MessageError
from ..options.access import Access
from .attachments import OWNED, attachment_leaves
from .bodies import transferred
from .calendar_event import calendar_leaves
from .contents import CONTENT_KEYS, content_of, text_of
from .custom_headers import part_headers
from .data_urls import attached_images
from .fields import Attachment, Fields, refuse_unknown
from .html_text import text_from_html
from .parameters import media_type, with_parameters
from .parts import Leaf, Part, page, text_leaf, tree
from .texts import USUAL_STYLE, TextStyle, flowed_leaf, given_text, whole_part

_ALTERNATIVE_KEYS: Final = CONTENT_KEYS | {"content_type", "headers", "raw"}
_SUBTYPES: Final = {"text": "plain", "watch_html": "watch-html", "amp": "x-amp-html", "html": "html"}


def usual_body(fields: Fields, access: Access) -> Part:
    """The body of a message that has but text, HTML and attachments, as nearly all have."""
    text, html, attachments = fields.get("text"), fields.get("html"), fields.get("attachments")
    if not ((text is None or isinstance(text, str)) and (html is None or isinstance(html, str))):
        return body(fields, USUAL_STYLE, access)
    alternatives: list[Part] = []
    if text is not None:
        alternatives.append(text_leaf("plain", text))
    if not attachments:
        if html is not None:
            alternatives.append(text_leaf("html", html))
        return tree(alternatives, ())
    inline, attached = attachment_leaves(attachments, has_html=html is not None, access=access)
    if html is not None:
        alternatives.append(page(text_leaf("html", html), inline))
    return tree(alternatives, attached)


def body(fields: Fields, style: TextStyle, access: Access) -> Part:
    """The body of any message, its text encoded in ``style``.

    Alternatives come in the order in which readers prefer the last that they understand (RFC 2046 §5.1.4): text,
    watch_html, amp, html, calendar, and then those of ``alternatives``.
    """
    given = {name: fields.get(name) for name in _SUBTYPES}
    attachments: Iterable[Attachment | Mapping[str, Any]] = fields.get("attachments") or ()
    if not isinstance(attachments, list | tuple):
        attachments = _items(attachments, "attachments")
    given, images = _with_html_used(fields, given, access)
    is_flowed = _is_flowed(fields)

    inline, attached = attachment_leaves(
        [*attachments, *images], has_html=given["html"] is not None, access=access
    )
    alternatives: list[Part] = []
    for name, subtype in _SUBTYPES.items():
        value = given[name]
        if value is None:
            continue
        if name == "text" and is_flowed:
            alternatives.append(flowed_leaf(style, given_text(value, "text", access)))
            continue
        leaf = style.leaf_of(subtype, value, name, access)
        alternatives.append(page(leaf, inline) if name == "html" else leaf)
    event = fields.get("calendar")
    if event is not None:
        alternative, file = calendar_leaves(event, style, access)
        alternatives.append(alternative)
        attached.append(file)
    more = fields.get("alternatives")
    if more is not None:
        for number, item in enumerate(_items(more, "alternatives")):
            alternatives.append(_alternative(item, style, f"alternatives[{number}]", access))
    return tree(alternatives, attached)


def _with_html_used(
    fields: Fields, given: dict[str, Any], access: Access
) -> tuple[dict[str, Any], list[Attachment]]:
    """The texts, of which some are made from the HTML, and the images that were in it."""
    html = given["html"]
    to_text, to_images = _flag(fields, "text_from_html"), _flag(fields, "attach_data_urls")
    if html is None or not (to_text or to_images) or (isinstance(html, Mapping) and "raw" in html):
        return given, []
    text = given_text(html, "html", access)  # once: what it is read from may give it only once
    images: list[Attachment] = []
    if to_images:
        text, images = attached_images(text, access.most_fetched)
    given = given | {"html": text}
    if to_text and given["text"] is None:
        given["text"] = text_from_html(text)
    return given, images


def _alternative(given: Any, style: TextStyle, field: str, access: Access) -> Leaf:
    if isinstance(given, Attachment):
        given = {name: value for name in Attachment.__slots__ if (value := getattr(given, name)) is not None}
    if not isinstance(given, Mapping):
        raise MessageError(f"{field}: give a mapping, not {type(given).__name__}", field=field)
    refuse_unknown(given, _ALTERNATIVE_KEYS, field)
    if given.get("raw") is not None:
        return whole_part(given, field, access)
    given_type, where = given.get("content_type"), f"{field}.content_type"
    if not isinstance(given_type, str):
        raise MessageError(f"{where}: an alternative needs one, such as text/markdown", field=where)
    kind, parameters = media_type(given_type, where)
    if kind.startswith(("multipart/", "message/")):
        raise MessageError(f"{where}: a {kind} has to be given as raw", field=where)
    more = part_headers(given.get("headers"), f"{field}.headers", OWNED)
    if not kind.startswith("text/"):
        encoding, octets = transferred(content_of(given, field, access), kind, None, field)
        header = with_parameters("Content-Type", kind, parameters, where)
        return Leaf(f"{header}Content-Transfer-Encoding: {encoding}\r\n{more}", octets, encoding)
    if (
        "charset" in parameters
        and given.get("encoding") is None
        and not isinstance(given.get("content"), str)
    ):
        given = {**given, "encoding": parameters["charset"]}
    leaf = style.leaf(kind.removeprefix("text/"), text_of(given, field, access), field)
    # The text is written in UTF-8, whatever it came in.
    header = with_parameters("Content-Type", kind, parameters | {"charset": "utf-8"}, where)
    return Leaf(f"{header}Content-Transfer-Encoding: {leaf.encoding}\r\n{more}", leaf.body, leaf.encoding)


def _items(given: Any, field: str) -> list[Any]:
    if isinstance(given, str | bytes | Mapping | Attachment) or not isinstance(given, Iterable):
        raise MessageError(f"{field}: give a list", field=field)
    return list(given)


def _flag(fields: Fields, name: str) -> bool:
    value = fields.get(name)
    if not (value is None or isinstance(value, bool)):
        raise MessageError(f"{name}: give True or False", field=name)
    return bool(value)


def _is_flowed(fields: Fields) -> bool:
    wanted = fields.get("text_format")
    if wanted not in (None, "flowed"):
        raise MessageError(f"text_format: {wanted!r:.60} is not 'flowed'", field="text_format")
    return wanted is not None
