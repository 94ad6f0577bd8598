"""Attachments as MIME parts (RFC 2183, RFC 2392)."""

from __future__ import annotations

import contextlib
import dataclasses
import mimetypes
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from ..errors import MessageError
from ..options.access import Access
from .bodies import transferred
from .contents import encoded_content, located, text_charset
from .custom_headers import part_headers
from .fields import ATTACHMENT_KEYS, Attachment, refuse_unknown
from .message_ids import message_id
from .parameters import media_type, with_parameters
from .parts import BinaryLeaf, Leaf
from .raw_parts import raw_leaf
from .sources import Found

# The header fields of a part that only the composer can know.
OWNED: Final = frozenset(("content-type", "content-transfer-encoding", "content-disposition", "content-id"))
_COMPRESSED: Final = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_UNKNOWN_TYPE: Final = "application/octet-stream"
# What people attach and some versions of the standard library do not know.
_MORE_TYPES: Final = {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".ics": "text/calendar",
    ".md": "text/markdown",
    ".rtf": "application/rtf",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".7z": "application/x-7z-compressed",
}


def attachment_leaves(
    attachments: Iterable[Attachment | Mapping[str, Any]], *, has_html: bool, access: Access
) -> tuple[list[Leaf], list[Leaf]]:
    """The parts that the HTML shows, and the parts that are attached.

    Raises ``MessageError`` that names ``attachments[n]`` and what is wrong with it.
    """
    inline: list[Leaf] = []
    attached: list[Leaf] = []
    if isinstance(attachments, str | bytes | Mapping | Attachment) or not isinstance(attachments, Iterable):
        raise MessageError("attachments: give a list of attachments", field="attachments")
    for number, given in enumerate(attachments):
        field = f"attachments[{number}]"
        attachment = _as_attachment(given, field)
        (inline if attachment.cid and has_html else attached).append(_leaf(attachment, field, access))
    return inline, attached


def _as_attachment(given: Attachment | Mapping[str, Any], field: str) -> Attachment:
    if isinstance(given, Attachment):
        return given
    if not isinstance(given, Mapping):
        raise MessageError(
            f"{field}: give an Attachment or a mapping, not {type(given).__name__}", field=field
        )
    refuse_unknown(given, ATTACHMENT_KEYS, field)
    return Attachment(**given)


def _leaf(attachment: Attachment, field: str, access: Access) -> Leaf:
    if attachment.raw is not None:
        return _raw_leaf(attachment, f"{field}.raw", access)
    found = _found(attachment, field, access)
    filename = _filename(attachment, found, field)
    kind, parameters = _media_type(attachment, found, filename, field)
    if kind.startswith("multipart/"):
        raise MessageError(
            f"{field}.content_type: an attachment cannot be a {kind}", field=f"{field}.content_type"
        )
    if isinstance(attachment.content, str) and kind.startswith("text/"):
        charset = text_charset(attachment.encoding)
        if charset:
            parameters["charset"] = charset
    encoding, body = transferred(found.content, kind, attachment.transfer_encoding, field)
    disposition = attachment.disposition or ("inline" if attachment.cid else "attachment")
    if disposition not in ("attachment", "inline"):
        raise MessageError(
            f"{field}.disposition: {disposition!r:.60} is neither 'attachment' nor 'inline'",
            field=f"{field}.disposition",
        )
    names = {"filename": filename} if filename else {}
    header = [
        with_parameters("Content-Type", kind, parameters, f"{field}.content_type"),
        with_parameters("Content-Disposition", disposition, names, f"{field}.filename"),
        f"Content-Transfer-Encoding: {encoding}\r\n",
    ]
    if attachment.cid:
        header.append(f"Content-ID: {message_id(attachment.cid, f'{field}.cid')}\r\n")
    header.append(part_headers(attachment.headers, f"{field}.headers", OWNED))
    return (BinaryLeaf if encoding == "binary" else Leaf)("".join(header), body, encoding)


def _found(attachment: Attachment, field: str, access: Access) -> Found:
    content, path, href = attachment.content, attachment.path, attachment.href
    if (content is not None) + (path is not None) + (href is not None) != 1:
        raise MessageError(f"{field}: give one of content, path, href and raw", field=field)
    if content is None:
        return located(path, href, field, access)
    return encoded_content(content, attachment.encoding, f"{field}.content", access)


def _filename(attachment: Attachment, found: Found, field: str) -> str:
    given: object = attachment.filename
    if given is None:
        return found.name
    if given is False:
        return ""
    if not isinstance(given, str):
        raise MessageError(f"{field}.filename: must be text, or False for none", field=f"{field}.filename")
    return given


def _media_type(
    attachment: Attachment, found: Found, filename: str, field: str
) -> tuple[str, dict[str, str]]:
    if attachment.content_type is not None:
        return media_type(attachment.content_type, f"{field}.content_type")
    guessed, compression = _known_types().guess_type(filename)
    if compression:
        return _COMPRESSED.get(compression, _UNKNOWN_TYPE), {}
    if guessed is None and found.content_type:
        # Somebody else wrote it; where it cannot be read, the content is still good.
        with contextlib.suppress(MessageError):
            return media_type(found.content_type, field)
    if guessed is None:
        guessed = "text/plain" if isinstance(attachment.content, str) else _UNKNOWN_TYPE
    return guessed, {}


def _raw_leaf(attachment: Attachment, field: str, access: Access) -> Leaf:
    """A part that is ready."""
    for other in dataclasses.fields(Attachment):
        if other.name != "raw" and getattr(attachment, other.name) is not None:
            raise MessageError(
                f"{field}: it is the whole part; {other.name} cannot be given with it", field=field
            )
    return raw_leaf(attachment.raw, field, access)


@cache
def _known_types() -> mimetypes.MimeTypes:
    """One table for every machine: what the operating system adds to the standard library's is left out."""
    types = mimetypes.MimeTypes()
    for suffix, kind in _MORE_TYPES.items():
        types.add_type(kind, suffix)
    return types
