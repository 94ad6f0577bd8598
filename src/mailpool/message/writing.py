"""A tree of MIME parts as octets: boundaries that occur in no part (RFC 2046 §5.1.1)."""

from __future__ import annotations

from typing import Final

from ..content import BytesContent, Content, Source, StreamedContent
from .parts import BARE, Leaf, Multipart, Part, leaves
from .transfer import holds

# What the octets of a part may be, by its transfer encoding: lines of ASCII, lines, anything (RFC 2045 §6.2).
_DOMAINS: Final = {"8bit": 1, "binary": 2}
# RFC 2045 §6.4: a multipart says of itself what its widest part needs.
_DOMAIN_LINES: Final = (
    "",
    "Content-Transfer-Encoding: 8bit\r\n",
    "Content-Transfer-Encoding: binary\r\n",
)


def written(root: Part, token: str, *, chosen: bool = False) -> tuple[str, list[bytes | Source], int]:
    """The header fields of the root part, the pieces of its body, and their domain.

    That is 0 for lines of ASCII, 1 where octets may be above 127, and 2 where they may be anything.
    ``token`` makes the boundaries unlike those of other messages; ``chosen`` is whether anybody can know it beforehand.
    """
    if isinstance(root, Leaf):
        return root.header, [root.body], _DOMAINS.get(root.encoding, 0)
    stem = _stem(root, token, chosen)
    pieces: list[bytes | Source] = []
    header, domain = _write_multipart(root, stem, 0, pieces)
    return header, pieces, domain


def _stem(root: Multipart, token: str, chosen: bool) -> str:
    """What all boundaries of the message end in: ``token``, changed until no part holds it (HDR-15).

    Quoted-printable and base64 can not hold a boundary, which has ``=_`` in it (RFC 2045 §6.7). What is binary and
    large is read only when it is sent, and holds 128 bits of chance by no chance; those that somebody chose it may.
    """
    bare = [
        leaf.body
        for leaf in leaves(root)
        if leaf.encoding in BARE and (chosen or leaf.encoding != "binary" or isinstance(leaf.body, bytes))
    ]
    stem, tries = token, 0
    while any(_holds(body, stem.encode()) for body in bare):
        tries += 1
        stem = f"{tries}.{token}"
    return stem


def _holds(body: bytes | Source, octets: bytes) -> bool:
    return octets in body if isinstance(body, bytes) else holds(body, octets)


def _write_multipart(
    part: Multipart, stem: str, number: int, pieces: list[bytes | Source]
) -> tuple[str, int]:
    # The number tells nested boundaries apart from the first character on: none begins with another.
    boundary = f"=_{number}.{stem}"
    domain = 0
    for child in part.parts:
        if isinstance(child, Leaf):
            domain = max(domain, _DOMAINS.get(child.encoding, 0))
            pieces += (f"--{boundary}\r\n{child.header}\r\n".encode("ascii"), child.body, b"\r\n")
        else:
            inside: list[bytes | Source] = []
            header, widest = _write_multipart(child, stem, number + 1, inside)
            domain = max(domain, widest)
            pieces.append(f"--{boundary}\r\n{header}\r\n".encode("ascii"))
            pieces += inside
            pieces.append(b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode("ascii"))
    header = f'Content-Type: multipart/{part.subtype}{part.extra};\r\n boundary="{boundary}"\r\n'
    return header + _DOMAIN_LINES[domain], domain


def assembled(pieces: list[bytes | Source], domain: int, *, utf8_headers: bool) -> Content:
    """The pieces of a message as its content, ending in a line end. ``domain`` is that of ``written``."""
    eight_bit, binary = domain > 0 or utf8_headers, domain > 1
    try:
        octets = b"".join(pieces)  # type: ignore[arg-type]  # nearly always; to ask first costs more
    except TypeError:
        last = pieces[-1]
        if not (last.endswith(b"\r\n") if isinstance(last, bytes) else getattr(last, "ends_line", True)):
            pieces.append(b"\r\n")
        return StreamedContent(pieces, eight_bit=eight_bit, binary=binary, utf8_headers=utf8_headers)
    if octets[-2:] != b"\r\n":
        octets += b"\r\n"
    return BytesContent(
        octets, eight_bit=eight_bit, binary=binary, utf8_headers=utf8_headers, crlf_only=not binary
    )
