"""The body of an attachment in its transfer encoding (RFC 2045 §6)."""

from __future__ import annotations

from typing import Final

from ..content import Source
from ..errors import MessageError
from .encoding import base64_lines, lines_fit, quoted_printable, with_crlf
from .folding import LONGEST_LINE
from .transfer import Base64Lines, Lines

# RFC 2046 §5.2.2, §5.2.3: no other encoding than 7bit is allowed.
_ONLY_7BIT: Final = frozenset(("message/partial", "message/external-body"))


def transferred(content: bytes | Source, kind: str, wanted: object, field: str) -> tuple[str, bytes | Source]:
    """The Content-Transfer-Encoding, and the content in it.

    kind    the media type: a message inside a message may not be encoded (RFC 2046 §5.2.1)
    wanted  an encoding, or ``None`` for the one that suits

    Raises ``MessageError`` when the content cannot be sent so.
    """
    if wanted not in (None, "base64", "quoted-printable", "7bit", "8bit", "binary"):
        raise MessageError(
            f"{field}.transfer_encoding: {wanted!r:.40} is not 'base64', 'quoted-printable', '7bit', '8bit' or "
            "'binary'",
            field=f"{field}.transfer_encoding",
        )
    bare = kind.startswith("message/")
    if bare and wanted in ("base64", "quoted-printable"):
        raise MessageError(
            f"{field}.transfer_encoding: a {kind} may not be encoded; attach it as application/octet-stream",
            field=f"{field}.transfer_encoding",
        )
    if wanted == "binary":
        if kind in _ONLY_7BIT:
            raise MessageError(
                f"{field}.transfer_encoding: a {kind} has to be 7bit", field=f"{field}.transfer_encoding"
            )
        return wanted, content
    if bare or wanted in ("7bit", "8bit"):
        return _bare(content, wanted, field)
    if wanted == "quoted-printable":
        octets = content if isinstance(content, bytes) else b"".join(content.blocks())
        return "quoted-printable", quoted_printable(with_crlf(octets))
    return "base64", base64_lines(content) if isinstance(content, bytes) else Base64Lines(content)


def _bare(content: bytes | Source, wanted: object, field: str) -> tuple[str, bytes | Source]:
    body: bytes | Source
    if isinstance(content, bytes):
        body = with_crlf(content)
        if b"\0" in body or not lines_fit(body):
            raise MessageError(
                f"{field}.content: what holds NUL or a line over {LONGEST_LINE} octets cannot be sent without an "
                "encoding; attach a message as application/octet-stream",
                field=f"{field}.content",
            )
        is_ascii = body.isascii()
    else:
        body = lines = Lines(content, f"{field}.content")
        is_ascii = lines.is_ascii
    if wanted == "7bit" and not is_ascii:
        raise MessageError(
            f"{field}.transfer_encoding: the content is not 7-bit", field=f"{field}.transfer_encoding"
        )
    return "7bit" if is_ascii and wanted != "8bit" else "8bit", body
