"""Attachments as MIME parts (RFC 2183, RFC 2392)."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from ..access import Access
from ..errors import MessageError
from .contents import encoded_content, located
from .custom_headers import checked_headers
from .encoding import base64_lines, lines_fit, with_crlf
from .fields import ATTACHMENT_KEYS, Attachment, refuse_unknown
from .folding import LONGEST_LINE, fold_text
from .message_ids import message_id
from .parameters import media_type, with_parameters
from .parts import Leaf

_OWNED: Final = frozenset(("content-type", "content-transfer-encoding", "content-disposition", "content-id"))
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
    if isinstance(attachments, str | bytes | Mapping | Attachment):
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
    octets, filename, charset = _content(attachment, field, access)
    kind, parameters = _media_type(attachment, filename, field)
    if kind.startswith("multipart/"):
        raise MessageError(
            f"{field}.content_type: an attachment cannot be a {kind}", field=f"{field}.content_type"
        )
    if charset and kind.startswith("text/"):
        parameters["charset"] = charset
    encoding = "base64"
    if kind.startswith("message/"):
        encoding, octets = _embedded_message(octets, field)
    else:
        octets = base64_lines(octets)
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
    if attachment.headers:
        for name, value in checked_headers(attachment.headers, f"{field}.headers"):
            if name.lower() not in _OWNED:
                header.append(fold_text(name, value, f"{field}.headers[{name}]"))
    return Leaf("".join(header), octets, encoding)


def _content(attachment: Attachment, field: str, access: Access) -> tuple[bytes, str, str]:
    """The octets, the file name, and the charset if the content was given as text."""
    content, path, filename = attachment.content, attachment.path, attachment.filename
    if (content is None) == (path is None):
        raise MessageError(f"{field}: give either content or path", field=field)
    if filename is not None and not isinstance(filename, str):
        raise MessageError(f"{field}.filename: must be text", field=f"{field}.filename")
    if path is not None:
        found = located(path, None, field, access)
    else:
        found = encoded_content(content, None, f"{field}.content", access)
    octets = found.content if isinstance(found.content, bytes) else b"".join(found.content.blocks())
    return octets, found.name if filename is None else filename, "utf-8" if isinstance(content, str) else ""


def _media_type(attachment: Attachment, filename: str, field: str) -> tuple[str, dict[str, str]]:
    if attachment.content_type is not None:
        return media_type(attachment.content_type, f"{field}.content_type")
    guessed, compression = _known_types().guess_type(filename)
    if compression:
        return _COMPRESSED.get(compression, _UNKNOWN_TYPE), {}
    if guessed is None:
        guessed = "text/plain" if isinstance(attachment.content, str) else _UNKNOWN_TYPE
    return guessed, {}


@cache
def _known_types() -> mimetypes.MimeTypes:
    """One table for every machine: what the operating system adds to the standard library's is left out."""
    types = mimetypes.MimeTypes()
    for suffix, kind in _MORE_TYPES.items():
        types.add_type(kind, suffix)
    return types


def _embedded_message(octets: bytes, field: str) -> tuple[str, bytes]:
    """A message inside a message may not be encoded (RFC 2046 §5.2.1)."""
    octets = with_crlf(octets)
    if b"\0" in octets or not lines_fit(octets):
        raise MessageError(
            f"{field}.content: a message that holds NUL or a line over {LONGEST_LINE} octets cannot be embedded;"
            " attach it as application/octet-stream",
            field=f"{field}.content",
        )
    return ("7bit" if octets.isascii() else "8bit"), octets
