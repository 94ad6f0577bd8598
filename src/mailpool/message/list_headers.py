"""What a mailing list says of itself: List-* fields (RFC 2369, RFC 2919) and one-click unsubscription (RFC 8058)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..address import (
    Mailbox,
    ascii_domain,
    display_pieces,
    encode_words,
    parse_mailboxes,
    without_lone_surrogates,
)
from ..errors import MessageError
from .fields import refuse_unknown
from .folding import fold_pieces, refuse_line_breaks

_NAMES: Final = {
    "id": "List-ID",
    "help": "List-Help",
    "unsubscribe": "List-Unsubscribe",
    "subscribe": "List-Subscribe",
    "post": "List-Post",
    "owner": "List-Owner",
    "archive": "List-Archive",
}
_KEYS: Final = frozenset(_NAMES) | {"one_click"}
_LONGEST_URL: Final = 880
_LONGEST_WORD: Final = 60
_URL_KEYS: Final = frozenset(("url", "comment"))
_ID_KEYS: Final = frozenset(("id", "comment"))

_has_scheme = re.compile(r"(https?://|ftp://|mailto:)(?=.)", re.IGNORECASE).match
_is_list_id = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)+").fullmatch
# What may stand in a URL (RFC 3986 §2) and yet end neither it nor a comment; all other octets are percent-encoded.
_PERCENT: Final = {octet: f"%{octet:02X}" for octet in range(256)}
for _safe in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#[]@!$&'*+,;=%":
    _PERCENT[_safe] = chr(_safe)
_stray_percent = re.compile(r"%(?![0-9A-Fa-f]{2})").sub


def list_headers(given: object, words: str = "") -> str:
    """The header fields of a mailing list, each with its CRLF.

    given  a mapping. ``id`` is the list's name such as ``news.example.org``; the others (``help``, ``unsubscribe``,
           ``subscribe``, ``post``, ``owner``, ``archive``) are a URL, an address, a mapping with ``url`` and
           ``comment``, or a list of these; ``post`` may be ``"NO"``. With ``one_click`` the https URL of
           ``unsubscribe`` may be called by a machine, with POST
    words  as for ``fold_text``

    Raises ``MessageError`` for what is no URL, and when ``one_click`` lacks an https URL.
    """
    if not isinstance(given, Mapping):
        raise MessageError("list: give a mapping, such as {'unsubscribe': 'https://…'}", field="list")
    refuse_unknown(given, _KEYS, "list")
    head = ""
    for key, name in _NAMES.items():
        value, field = given.get(key), f"list.{key}"
        if value is None:
            continue
        if key == "id":
            pieces = _id_pieces(value, field, words)
        elif key == "post" and isinstance(value, str) and value.upper() == "NO":
            pieces = ["NO"]
        else:
            pieces = _url_pieces(value, field, words)
        head += fold_pieces(name, pieces)
    return head + _one_click(given)


def _one_click(given: Mapping[str, Any]) -> str:
    wanted = given.get("one_click")
    if wanted is None or wanted is False:
        return ""
    if wanted is not True:
        raise MessageError("list.one_click: give True or False", field="list.one_click")
    value = given.get("unsubscribe")
    if not any(url.lower().startswith("https://") for url, _ in _entries(value, "list.unsubscribe")):
        raise MessageError(
            "list.one_click: needs an https URL in unsubscribe (RFC 8058 §3.1)", field="list.one_click"
        )
    return "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"


def _entries(value: object, field: str) -> list[tuple[str, str]]:
    """URLs with their comments."""
    if value is None:
        return []
    single = isinstance(value, str | Mapping) or not isinstance(value, Iterable)
    items: Iterable[object] = (value,) if single else value  # type: ignore[assignment]  # mypy forgets the "not"
    entries: list[tuple[str, str]] = []
    for item in items:
        url, comment = item, None
        if isinstance(item, Mapping):
            refuse_unknown(item, _URL_KEYS, field)
            url, comment = item.get("url"), item.get("comment")
        if not isinstance(url, str) or not (comment is None or isinstance(comment, str)):
            raise MessageError(
                f"{field}: {item!r:.80} is no URL, nor a mapping with url and comment", field=field
            )
        entries.append((_url(url, field), comment or ""))
    if not entries:
        raise MessageError(f"{field}: give a URL", field=field)
    return entries


def _url_pieces(value: object, field: str, words: str) -> list[str]:
    pieces: list[str] = []
    for url, comment in _entries(value, field):
        if pieces:
            pieces[-1] += ","
        pieces.append(f"<{url}>")
        pieces += _comment_pieces(comment, field, words)
    return pieces


def _url(text: str, field: str) -> str:
    """``text`` as a URL that angle brackets can hold; an address becomes a ``mailto:`` URL."""
    refuse_line_breaks(text, field)
    text = without_lone_surrogates(text.strip(" \t"))
    if not _has_scheme(text):
        if "@" not in text or ":" in text:
            raise MessageError(
                f"{field}: {text!r:.80} is no URL; begin it with https:, http:, mailto: or ftp:, or give an address",
                field=field,
            )
        mailboxes = parse_mailboxes(text, field)
        if len(mailboxes) != 1:
            raise MessageError(f"{field}: give several addresses as a list", field=field)
        local = mailboxes[0].address.rpartition("@")[0]
        # RFC 6068 §2: what has a meaning in a URL is encoded in an address.
        for char in "%/?#[]&;=":
            local = local.replace(char, f"%{ord(char):02X}")
        text = f"mailto:{local}@{ascii_domain(mailboxes[0].domain)}"
    elif not text.isascii():
        text = _with_ascii_host(text)
    url = _stray_percent("%25", text.encode().decode("latin-1").translate(_PERCENT))
    if len(url) > _LONGEST_URL:
        raise MessageError(
            f"{field}: the URL has {len(url)} characters; at most {_LONGEST_URL} fit", field=field
        )
    return url


def _with_ascii_host(url: str) -> str:
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        return url
    end = min((found for mark in "/?#" if (found := rest.find(mark)) >= 0), default=len(rest))
    user, at, host = rest[:end].rpartition("@")
    name, colon, port = host.partition(":")
    return f"{scheme}://{user}{at}{ascii_domain(name)}{colon}{port}{rest[end:]}"


def _id_pieces(value: object, field: str, words: str) -> list[str]:
    name, comment = value, None
    if isinstance(value, Mapping):
        refuse_unknown(value, _ID_KEYS, field)
        name, comment = value.get("id"), value.get("comment")
    if not isinstance(name, str) or not (comment is None or isinstance(comment, str)):
        raise MessageError(f"{field}: give text, or a mapping with id and comment", field=field)
    name = name.strip(" \t")
    if name.startswith("<") and name.endswith(">"):
        name = name[1:-1]
    if len(name) > 255 or not _is_list_id(name):
        raise MessageError(
            f"{field}: {value!r:.80} is no list's name; write it like news.example.org (RFC 2919 §2)",
            field=field,
        )
    if not comment:
        return [f"<{name}>"]
    refuse_line_breaks(comment, field)
    # A phrase is written as a mailbox's name is; the address only stands in for the path.
    return [*display_pieces(Mailbox(comment, "list@list.invalid"), words)[:-1], f"<{name}>"]


def _comment_pieces(comment: str, field: str, words: str) -> list[str]:
    """``comment`` in parentheses (RFC 5322 §3.2.2), as encoded words where it needs them (RFC 2047 §5 (2))."""
    refuse_line_breaks(comment, field)
    comment = comment.strip(" \t")
    if not comment:
        return []
    plain = comment.isascii() and comment.isprintable() and "=?" not in comment
    pieces = comment.split() if plain else []
    if plain and max(map(len, pieces)) <= _LONGEST_WORD:
        pieces = [_escaped(piece) for piece in pieces]
    else:
        pieces = encode_words(
            without_lone_surrogates(comment), first=_LONGEST_WORD, longest=_LONGEST_WORD, encoding=words
        )
    pieces[0] = f"({pieces[0]}"
    pieces[-1] += ")"
    return pieces


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
