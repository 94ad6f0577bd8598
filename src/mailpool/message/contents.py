"""Contents in all the forms that callers give: octets, text, files, streams, data URIs, and what was fetched."""

from __future__ import annotations

import binascii
import codecs
import os
from collections.abc import Iterable, Mapping, Sized
from typing import Any, Final

from ..content import Source
from ..errors import MessageError
from ..options.access import Access
from .data_uris import data_uri, is_data_uri
from .sources import LARGE, FileSource, Found, MemorySource, Spool, SpooledSource, file_source

# The keys of a mapping that says where a content comes from.
CONTENT_KEYS: Final = frozenset(("content", "path", "href", "http_headers", "encoding"))
_READ: Final = 65_536


def content_of(given: object, field: str, access: Access) -> bytes | Source:
    """The octets of a content, or the source of large ones.

    given   bytes; text, which is sent in UTF-8; a file object or an iterator of pieces of those, read once and now; or
            a mapping with one of ``content`` (any of these), ``path`` and ``href``, and perhaps ``encoding``: how text
            stands for octets (``"base64"``, ``"hex"``, or a charset). Other keys of the mapping are not looked at
    field   for errors
    access  what may be read

    Raises ``MessageError`` that names ``field``.
    """
    return found_content(given, field, access).content


def text_of(given: object, field: str, access: Access) -> str:
    """The same as text. Octets are read in UTF-8, or in the charset that ``encoding`` or their origin names.

    Raises ``MessageError`` that names ``field``.
    """
    if isinstance(given, str):
        return given
    encoding: object = None
    if isinstance(given, Mapping):
        encoding = given.get("encoding")
        content = given.get("content")
        if isinstance(content, str) and (encoding, given.get("path"), given.get("href")) == (
            None,
            None,
            None,
        ):
            return content
    found = found_content(given, field, access)
    octets = found.content if isinstance(found.content, bytes) else b"".join(found.content.blocks())
    charset = _charset(found.content_type)
    if isinstance(encoding, str) and encoding.lower() not in _BINARY:
        charset = encoding
    try:
        if charset and not _codec(charset):
            raise LookupError(charset)
        return octets.decode(charset or "utf-8")
    except (ValueError, LookupError) as error:  # of octets that do not fit, and of names that are none
        raise MessageError(
            f"{field}: the octets are no text in {(charset or 'UTF-8')!r:.40}; name their charset with encoding",
            field=field,
        ) from error


def octets_of(given: object, field: str, access: Access) -> bytes:
    """As `content_of`, in memory however large it is."""
    content = content_of(given, field, access)
    return content if isinstance(content, bytes) else b"".join(content.blocks())


def found_content(given: object, field: str, access: Access) -> Found:
    """As `content_of`, with what the origin says of the content."""
    if isinstance(given, Mapping):
        return _of_mapping(given, field, access)
    return _of_content(given, None, field, access)


def located(path: object, href: object, field: str, access: Access) -> Found:
    """The content behind ``path`` or ``href``, of which one is given. Both may be data URIs."""
    name = "path" if href is None else "href"
    where = path if href is None else href
    field = f"{field}.{name}"
    if isinstance(where, str):
        where_text = where.strip() if len(where) < 4_096 else where
        if is_data_uri(where_text):
            octets, kind = data_uri(where_text, field, access.most_fetched)
            return Found(_held(octets), content_type=kind)
        if name == "href" or is_url(where_text):
            raise _not_fetched(field, access)
    elif name == "href":
        raise MessageError(f"{field}: give a URL as text, not {type(where).__name__}", field=field)
    return file_source(where, field, access)


def text_charset(encoding: str | None) -> str:
    """The charset of what is given as text with this ``encoding``; ``""`` when it stands for other octets."""
    if encoding is None:
        return "utf-8"
    return "" if encoding.lower() in _BINARY else encoding.lower()


def is_url(text: str) -> bool:
    """Whether ``text`` names something on the web."""
    return text[:8].lower().startswith(("http://", "https://"))


def _not_fetched(field: str, access: Access) -> MessageError:
    if not access.urls:
        return MessageError(
            f"{field}: URLs are not allowed here; create_transport(access=Access(urls=True)) allows them",
            field=field,
        )
    return MessageError(f"{field}: a URL is fetched only by the send methods of a transporter", field=field)


def _of_mapping(given: Mapping[str, Any], field: str, access: Access) -> Found:
    content, path, href = given.get("content"), given.get("path"), given.get("href")
    if (content is not None) + (path is not None) + (href is not None) != 1:
        raise MessageError(f"{field}: give one of content, path and href", field=field)
    if content is None:
        return located(path, href, field, access)
    return _of_content(content, given.get("encoding"), f"{field}.content", access)


def encoded_content(content: object, encoding: object, field: str, access: Access) -> Found:
    """A content that is given itself; ``encoding`` says how text stands for octets."""
    return _of_content(content, encoding, field, access)


def _of_content(given: object, encoding: object, field: str, access: Access) -> Found:
    if isinstance(given, Found):
        return given
    if isinstance(given, bytes):
        return Found(_bounded(given, field, access))
    if isinstance(given, str):
        return Found(_bounded(_octets(given, encoding, field), field, access))
    if isinstance(given, bytearray | memoryview):
        return Found(_bounded(bytes(given), field, access))
    if isinstance(given, MemorySource | FileSource | SpooledSource):
        return Found(given)
    if isinstance(given, os.PathLike):
        raise MessageError(f"{field}: write {{'path': …}} for a file", field=field)
    if hasattr(given, "__aiter__"):
        raise MessageError(
            f"{field}: what has to be awaited is read only by the send methods of a transporter", field=field
        )
    spool = Spool(field, access.max_size)
    read = getattr(given, "read", None)
    try:
        if callable(read):
            while piece := read(_READ):
                spool.write(piece)
        elif isinstance(given, Iterable) and not isinstance(given, Sized):
            for piece in given:
                spool.write(piece)
        else:
            raise MessageError(
                f"{field}: give octets, text, a file object or an iterator, not {type(given).__name__}",
                field=field,
            )
    except MessageError:
        raise
    except Exception as error:  # whatever the caller's own code raises
        raise MessageError(f"{field}: it could not be read: {error}", field=field) from error
    return Found(spool.finish())


def _bounded(octets: bytes, field: str, access: Access) -> bytes | Source:
    if access.max_size is not None and len(octets) > access.max_size:
        raise MessageError(
            f"{field}: it holds more than {access.max_size} octets (access.max_size)", field=field
        )
    return _held(octets)


def _held(octets: bytes) -> bytes | Source:
    return octets if len(octets) <= LARGE else MemorySource(octets)


# How text may stand for octets that are no text.
_BINARY: Final = frozenset(("base64", "hex"))
# What Python counts among the charsets and no mail is written in. The first two take minutes for a page (DOS-01).
_NO_CHARSETS: Final = frozenset(("punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined"))


def _codec(charset: str) -> str:
    """Python's name of a charset; ``""`` for any other text."""
    try:
        found = codecs.lookup(charset)
    except (LookupError, ValueError):
        return ""
    is_one = found._is_text_encoding and found.name.replace("_", "-") not in _NO_CHARSETS
    return found.name if is_one else ""


def _octets(text: str, encoding: object, field: str) -> bytes:
    if encoding is None:
        # Octets and not text: what is attached arrives with the line ends it was given.
        return text.encode("utf-8", "replace")
    if not isinstance(encoding, str):
        raise MessageError(f"{field}: encoding must be text, not {type(encoding).__name__}", field=field)
    try:
        if encoding.lower() == "base64":
            compact = text.encode("ascii").translate(None, b" \t\r\n").rstrip(b"=")
            return binascii.a2b_base64(compact + b"=" * (-len(compact) % 4), strict_mode=True)
        if encoding.lower() == "hex":
            return bytes.fromhex(text)
        if _codec(encoding):
            return text.encode(encoding)
    except ValueError as error:  # UnicodeEncodeError and binascii.Error are kinds of it
        raise MessageError(
            f"{field}: the text does not fit its encoding {encoding!r:.40}", field=field
        ) from error
    raise MessageError(
        f"{field}: encoding {encoding!r:.40} is not known; write base64, hex or the name of a charset",
        field=field,
    )


def _charset(content_type: str) -> str:
    """The charset parameter of a media type that somebody else wrote; ``""`` when there is none that Python knows."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return _codec(value.strip().strip('"'))
    return ""
