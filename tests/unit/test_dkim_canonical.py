"""The canonical forms of RFC 6376 §3.4, by its own examples, and fed in blocks."""

from __future__ import annotations

import base64
import hashlib

import pytest

from mailpool.message.dkim.canonical import BodyHash, header_fields, relaxed_field


def digest(blocks: list[bytes], *, relaxed: bool) -> bytes:
    body = BodyHash(relaxed=relaxed)
    for block in blocks:
        body.update(block)
    return body.digest()


def test_header_fields_of_the_standard() -> None:
    header = b"A: X\r\nB : Y\t\r\n\tZ  \r\n"
    fields = header_fields(header)
    assert fields == [(b"a", b"A: X"), (b"b", b"B : Y\t\r\n\tZ  ")]
    assert [relaxed_field(*field) for field in fields] == [b"a:X", b"b:Y Z"]


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        # RFC 6376 §3.4.5
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),
        (b"", b"\r\n", b""),
        (b"\r\n", b"\r\n", b""),
        (b"\r\n\r\n\r\n", b"\r\n", b""),
        (b" \r\n\t\r\n", b" \r\n\t\r\n", b""),
        (b"a\r\n \t\r\n\r\n", b"a\r\n \t\r\n", b"a\r\n"),
        (b"a", b"a\r\n", b"a\r\n"),
        (b"\r\n\r\na \r\n\r\nb\r\n", b"\r\n\r\na \r\n\r\nb\r\n", b"\r\n\r\na\r\n\r\nb\r\n"),
        (b"  a\t\tb  c\r\n", b"  a\t\tb  c\r\n", b" a b c\r\n"),
        (b"a\r\n" + b"\r\n" * 10_000 + b"b\r\n", b"a\r\n" + b"\r\n" * 10_000 + b"b\r\n", None),
        (b"\x0b\x0c\xc2\xa0 \xff\r\n", b"\x0b\x0c\xc2\xa0 \xff\r\n", b"\x0b\x0c\xc2\xa0 \xff\r\n"),
    ],
)
def test_bodies(body: bytes, simple: bytes, relaxed: bytes | None) -> None:
    relaxed = simple if relaxed is None else relaxed
    for size in (1, 2, 3, 7, len(body) or 1):
        blocks = [body[start : start + size] for start in range(0, len(body), size)]
        assert digest(blocks, relaxed=False) == hashlib.sha256(simple).digest()
        assert digest(blocks, relaxed=True) == hashlib.sha256(relaxed).digest()
        # An empty block says nothing.
        mixed = [block for pair in zip(blocks, [b""] * len(blocks), strict=True) for block in pair]
        assert digest(mixed, relaxed=True) == hashlib.sha256(relaxed).digest()


def test_the_hashes_of_an_empty_body_are_those_of_the_standard() -> None:
    # RFC 6376 §3.4.3, §3.4.4
    assert base64.b64encode(digest([], relaxed=False)) == b"frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="
    assert base64.b64encode(digest([], relaxed=True)) == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
