"""A tree of MIME parts as octets: boundaries that occur in no part (RFC 2046 §5.1.1)."""

from __future__ import annotations

from typing import Final

from ..content import BytesContent, Content, Source, StreamedContent
from .parts import Leaf, Multipart, Part, leaves
from .transfer import Base64Lines, Lines


def written(root: Part, token: str) -> tuple[str, list[bytes | Source], bool]:
    """The header fields of the root part, the pieces of its body, and whether any octet may be above 127.

    ``token`` makes the boundaries unlike those of other messages.
    """
    if isinstance(root, Leaf):
        return root.header, [root.body], root.encoding == "8bit"
    stem = _stem(root, token)
    pieces: list[bytes | Source] = []
    header = _write_multipart(root, stem, 0, pieces)
    return header, pieces, "8bit" in header


def _stem(root: Multipart, token: str) -> str:
    """What all boundaries of the message end in: ``token``, changed until no part holds it (HDR-15).

    Quoted-printable and base64 can not hold a boundary, which has ``=_`` in it (RFC 2045 §6.7).
    """
    bare = [leaf.body for leaf in leaves(root) if leaf.encoding in ("7bit", "8bit")]
    stem, tries = token, 0
    while any(_holds(body, stem.encode()) for body in bare):
        tries += 1
        stem = f"{tries}.{token}"
    return stem


def _holds(body: bytes | Base64Lines | Lines, octets: bytes) -> bool:
    if isinstance(body, bytes):
        return octets in body
    return isinstance(body, Lines) and body.holds(octets)


def _write_multipart(part: Multipart, stem: str, number: int, pieces: list[bytes | Source]) -> str:
    # The number tells nested boundaries apart from the first character on: none begins with another.
    boundary = f"=_{number}.{stem}"
    eight_bit = ""
    for child in part.parts:
        if isinstance(child, Leaf):
            if child.encoding == "8bit":
                eight_bit = _EIGHT_BIT
            pieces += (f"--{boundary}\r\n{child.header}\r\n".encode("ascii"), child.body, b"\r\n")
        else:
            inside: list[bytes | Source] = []
            header = _write_multipart(child, stem, number + 1, inside)
            if _EIGHT_BIT in header:
                eight_bit = _EIGHT_BIT
            pieces.append(f"--{boundary}\r\n{header}\r\n".encode("ascii"))
            pieces += inside
            pieces.append(b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode("ascii"))
    return f'Content-Type: multipart/{part.subtype}{part.extra};\r\n boundary="{boundary}"\r\n{eight_bit}'


# RFC 2045 §6.4: a multipart with a part in 8bit says so itself.
_EIGHT_BIT: Final = "Content-Transfer-Encoding: 8bit\r\n"


def assembled(pieces: list[bytes | Source], *, eight_bit: bool, utf8_headers: bool) -> Content:
    """The pieces of a message as its content, ending in a line end."""
    try:
        octets = b"".join(pieces)  # type: ignore[arg-type]  # nearly always; to ask first costs more
    except TypeError:
        last = pieces[-1]
        if not (last.endswith(b"\r\n") if isinstance(last, bytes) else getattr(last, "ends_line", True)):
            pieces.append(b"\r\n")
        return StreamedContent(pieces, eight_bit=eight_bit, utf8_headers=utf8_headers)
    if octets[-2:] != b"\r\n":
        octets += b"\r\n"
    return BytesContent(octets, eight_bit=eight_bit, utf8_headers=utf8_headers, crlf_only=True)
