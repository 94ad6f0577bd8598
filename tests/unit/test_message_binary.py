"""Parts that go out as they are (RFC 3030 §3, RFC 2045 §6.2): every octet, and what is said of them."""

from __future__ import annotations

import datetime
import email.policy
import re
import tracemalloc
from collections.abc import Iterator
from email.message import EmailMessage
from email.parser import BytesFeedParser
from pathlib import Path
from typing import Any

import pytest

from mailpool import MailMerge, MemoryCarrier, create_transport
from mailpool.content import BytesContent, StreamedContent
from mailpool.errors import MessageError
from mailpool.message import Sealed, seal
from mailpool.message.sources import LARGE
from mailpool.testing import run_virtual

NOW = datetime.datetime(2026, 1, 5, 9, 30, 7, tzinfo=datetime.UTC)
TOKEN = "0123456789abcdef"
ANYTHING = bytes(range(256)) * 4 + b"\r\n.\r\n\n\r\0--=_0.\r\n" + b"x" * 2_000 + b"\r"


def sealed(**fields: Any) -> Sealed:
    return seal({"from": "a@x.example", "to": "b@y.example", **fields}, now=NOW, token=lambda: TOKEN)


def octets(result: Sealed) -> bytes:
    return b"".join(result.content.blocks())


def binary(content: Any, **more: Any) -> dict[str, Any]:
    return {"content": content, "filename": "a.bin", "transfer_encoding": "binary", **more}


def parsed(data: bytes) -> EmailMessage:
    parser = BytesFeedParser(EmailMessage, policy=email.policy.default)
    parser.feed(data)
    message = parser.close()
    for part in message.walk():
        assert not part.defects
    return message


def attached(result: Sealed) -> list[bytes]:
    found = [part.get_payload(decode=True) for part in parsed(octets(result)).iter_attachments()]
    return [content for content in found if isinstance(content, bytes)]


def test_what_is_written_octet_by_octet() -> None:
    result = sealed(text="Hi\n", attachments=[binary(b"\0\r\n\n.\r\n\xff\r")])
    assert octets(result).partition(b"MIME-Version: 1.0\r\n")[2] == (
        b'Content-Type: multipart/mixed;\r\n boundary="=_0.0123456789abcdef"\r\n'
        b"Content-Transfer-Encoding: binary\r\n\r\n"
        b"--=_0.0123456789abcdef\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\nHi\r\n\r\n"
        b"--=_0.0123456789abcdef\r\n"
        b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=a.bin\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n"
        b"\0\r\n\n.\r\n\xff\r\r\n"
        b"--=_0.0123456789abcdef--\r\n"
    )
    content = result.content
    assert isinstance(content, BytesContent)
    assert (content.binary, content.eight_bit, content.crlf_only) == (True, True, False)
    assert content.size == len(octets(result))


@pytest.mark.parametrize("given", [b"", b"\r", b"\n", b"\0", b"plain", b"a\r\n", ANYTHING, ANYTHING * 200])
def test_every_octet_stays(given: bytes) -> None:
    result = sealed(text="x", attachments=[binary(given)])
    assert attached(result) == [given]
    assert isinstance(result.content, StreamedContent) == (len(given) > LARGE)
    assert result.content.binary


@pytest.mark.parametrize("size", [10, LARGE + 100])
def test_from_a_file_and_from_what_is_read_once(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes((ANYTHING * (size // len(ANYTHING) + 1))[:size])

    def pieces() -> Iterator[bytes]:
        for start in range(0, size, 1_000):
            yield path.read_bytes()[start : start + 1_000]

    with path.open("rb") as file:
        given = [{"path": path, "transfer_encoding": "binary"}, binary(pieces()), binary(file)]
        result = sealed(attachments=given)
    assert attached(result) == [path.read_bytes()] * 3
    assert result.content.size == len(octets(result))


def test_alone_it_is_a_part_all_the_same_so_that_no_line_end_is_added() -> None:
    result = sealed(attachments=[binary(b"no line end")])
    assert parsed(octets(result)).get_content_type() == "multipart/mixed"
    assert attached(result) == [b"no line end"]


def test_each_multipart_around_it_says_so_and_no_other() -> None:
    result = sealed(
        text="x",
        html='<img src="cid:a">é',
        encoding="8bit",
        attachments=[binary(b"\0", cid="a", content_type="image/png"), {"content": b"y"}],
    )
    said = [
        (part.get_content_type(), part["content-transfer-encoding"]) for part in parsed(octets(result)).walk()
    ]
    assert said == [
        ("multipart/mixed", "binary"),
        ("multipart/alternative", "binary"),
        ("text/plain", "7bit"),
        ("multipart/related", "binary"),
        ("text/html", "8bit"),
        ("image/png", "binary"),
        ("application/octet-stream", "base64"),
    ]


def test_text_that_suits_no_line_goes_as_it_is_and_other_text_as_little_as_it_needs() -> None:
    long = "é" * 600
    result = sealed(
        text="plain", html=long, alternatives=[{"content_type": "text/x", "content": "é"}], encoding="binary"
    )
    said = {
        part.get_content_type(): part["content-transfer-encoding"] for part in parsed(octets(result)).walk()
    }
    assert said == {
        "multipart/alternative": "binary",
        "text/plain": "7bit",
        "text/html": "binary",
        "text/x": "8bit",
    }
    assert long.encode() in octets(result)
    assert result.content.binary
    short = sealed(text="é", html="x", encoding="binary").content
    assert (short.binary, short.eight_bit) == (False, True)
    plain = sealed(text="e", html="x", encoding="binary").content
    assert (plain.binary, plain.eight_bit) == (False, False)


def test_text_alone_ends_in_a_line_end_and_has_none_that_is_bare() -> None:
    data = octets(sealed(text="a\nb\0" + "c" * 1_000, encoding="binary"))
    assert data.endswith(b"Content-Transfer-Encoding: binary\r\n\r\na\r\nb\0" + b"c" * 1_000 + b"\r\n")


def test_what_is_not_asked_for_is_not_binary() -> None:
    for attachment in (
        {"content": ANYTHING},
        {"content": b"A: \xe9\r\n\r\n", "content_type": "message/rfc822"},
    ):
        assert not sealed(text="x", attachments=[attachment]).content.binary


@pytest.mark.rule("HDR-15")
@pytest.mark.parametrize("padding", [0, LARGE])
def test_hdr15_a_boundary_that_somebody_chose_is_in_no_part(padding: int) -> None:
    given = b"\r\n--=_0.mine--\r\n\0" + bytes(padding) + b"\r\n--=_0.1.mine"
    result = sealed(text="x", attachments=[binary(given)], base_boundary="mine")
    assert b'boundary="=_0.2.mine"' in octets(result)
    assert attached(result) == [given]


@pytest.mark.rule("HDR-15")
def test_hdr15_what_is_in_memory_is_looked_at_in_any_case() -> None:
    given = f"\r\n--=_0.{TOKEN}--\r\n".encode()
    result = sealed(text="x", attachments=[binary(given)])
    assert attached(result) == [given]


def test_a_large_file_is_not_read_before_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(LARGE + 1))
    result = sealed(text="x", attachments=[{"path": path, "transfer_encoding": "binary"}])
    path.write_bytes(bytes(LARGE + 2))
    with pytest.raises(MessageError, match="has changed"):
        octets(result)


def test_memory_stays_flat_over_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(32 * 1_048_576)
    tracemalloc.start()
    try:
        result = sealed(text="x", attachments=[{"path": path, "transfer_encoding": "binary"}])
        size = sum(map(len, result.content.blocks()))
        assert tracemalloc.get_traced_memory()[1] < 1_048_576
    finally:
        tracemalloc.stop()
    assert size == result.content.size > 32 * 1_048_576


@pytest.mark.parametrize("kind", ["message/rfc822", "text/csv"])
def test_embedded_messages_and_text_may_be_binary(kind: str) -> None:
    given = b"A: b\r\n\r\n\0\n"
    assert given in octets(sealed(text="x", attachments=[binary(given, content_type=kind)]))


@pytest.mark.parametrize(
    ("attachment", "field"),
    [
        (binary(b"", content_type="message/partial"), "attachments[0].transfer_encoding"),
        (binary(b"", content_type="message/external-body"), "attachments[0].transfer_encoding"),
        (binary(b"", content_type="multipart/mixed"), "attachments[0].content_type"),
        ({"raw": b"Content-Transfer-Encoding: binary\r\n\r\nx"}, "attachments[0].raw"),
        ({"content": b"", "transfer_encoding": "BINARY"}, "attachments[0].transfer_encoding"),
    ],
)
def test_what_may_not_be_binary(attachment: Any, field: str) -> None:
    with pytest.raises(MessageError) as caught:
        sealed(text="x", attachments=[attachment])
    assert caught.value.field == field


@pytest.mark.rule("INJ-07")
def test_an_envelope_that_promises_less_than_8bit() -> None:
    with pytest.raises(MessageError) as caught:
        sealed(
            attachments=[binary(b"plain")],
            envelope={"from": "a@x.example", "to": "b@y.example", "use_8bitmime": False},
        )
    assert caught.value.field == "envelope.use_8bitmime"


def test_it_cannot_be_optional() -> None:
    with pytest.raises(MessageError, match="cannot be optional") as caught:
        sealed(attachments=[binary(b"x")], optional_extensions="BINARYMIME")
    assert caught.value.field == "optional_extensions"


def test_a_header_in_front_leaves_it_binary() -> None:
    for size in (10, LARGE + 1):
        more = sealed(attachments=[binary(bytes(size))]).with_header("X-Campaign", "7")
        assert more.content.binary
        assert octets(more).startswith(b"X-Campaign: 7\r\n")
        assert attached(more) == [bytes(size)]


def test_in_memory_and_from_a_merge_it_is_read_as_it_was_given() -> None:
    async def main() -> None:
        carrier = MemoryCarrier()
        letter = MailMerge({"from": "a@x.example", "text": "Hi {name}", "attachments": [binary(ANYTHING)]})
        async with create_transport(carrier) as transporter:
            for name in ("ana", "bob"):
                await transporter.send_mail(letter.fill({"name": name}, to=f"{name}@y.example"))
        for message in carrier.messages:
            (part,) = message.email.iter_attachments()
            assert part.get_payload(decode=True) == ANYTHING
            assert message.binary
            assert re.fullmatch(r"Hi (ana|bob)", message.text)

    run_virtual(main)
