"""Contents in every form, and large ones that are read when they are sent."""

from __future__ import annotations

import base64
import datetime
import email
import email.policy
import gc
import io
import itertools
import os
import tracemalloc
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpool.content import BytesContent, Source, StreamedContent
from mailpool.errors import MessageError
from mailpool.message import Attachment, seal
from mailpool.message.data_uris import data_uri
from mailpool.message.encoding import base64_lines, with_crlf
from mailpool.message.seal import Sealed
from mailpool.message.sources import LARGE, Found, Spool
from mailpool.message.transfer import Base64Lines, Lines, holds
from mailpool.options.access import Access

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
GOOD: dict[str, Any] = {"from": "a@x.example", "to": "b@y.example"}
BIG = bytes(range(256)) * (LARGE // 256 + 7)


def sealed(fields: dict[str, Any], access: Access | None = None) -> Sealed:
    return seal(GOOD | fields, now=NOW, token=lambda: "0123456789abcdef", access=access or Access())


def octets(message: Sealed) -> bytes:
    whole = b"".join(message.content.blocks())
    assert len(whole) == message.content.size
    return whole


def parsed(fields: dict[str, Any], access: Access | None = None) -> EmailMessage:
    found = email.message_from_bytes(octets(sealed(fields, access)), policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def attached(attachment: Any, access: Access | None = None) -> EmailMessage:
    (part,) = parsed({"text": "x", "attachments": [attachment]}, access).iter_attachments()
    assert isinstance(part, EmailMessage)
    return part


class Cut:
    """A source of the given blocks."""

    def __init__(self, blocks: list[bytes]) -> None:
        self._blocks = blocks
        self.size = sum(map(len, blocks))

    def blocks(self) -> Iterator[bytes]:
        return iter(self._blocks)


def cut(whole: bytes, places: list[int]) -> Cut:
    edges = [0, *sorted(place % (len(whole) + 1) for place in places), len(whole)]
    return Cut([whole[a:b] for a, b in itertools.pairwise(edges)])


# -- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, LARGE, LARGE + 1, len(BIG)])
@pytest.mark.parametrize("form", ["bytes", "bytearray", "path", "file", "text file", "iterator", "data URI"])
def test_an_attachment_arrives_as_it_was(form: str, size: int, tmp_path: Path) -> None:
    whole = BIG[:size] if form != "text file" else (b"abcdefg" * LARGE)[:size]
    file = tmp_path / "a.bin"
    file.write_bytes(whole)
    with open(file, "rb") as binary, open(file, encoding="ascii") as text:
        content: Any = {
            "bytes": {"content": whole},
            "bytearray": {"content": bytearray(whole)},
            "path": {"path": file},
            "file": {"content": binary},
            "text file": {"content": text},
            "iterator": {"content": (whole[n : n + 1000] for n in range(0, size, 1000))},
            "data URI": {"path": "data:application/x;base64," + base64.b64encode(whole).decode()},
        }[form]
        message = sealed({"text": "x", "attachments": [content]})
    assert octets(message) == octets(message)
    assert isinstance(message.content, BytesContent if size <= LARGE else StreamedContent)
    part = email.message_from_bytes(octets(message), policy=email.policy.default)
    assert next(part.iter_attachments()).get_payload(decode=True) == whole


def test_large_and_small_are_written_alike(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(BIG)
    large = octets(sealed({"text": "x", "attachments": [{"path": tmp_path / "big"}]}))
    body = large.split(b"\r\n\r\n")[-1].partition(b"\r\n--")[0]
    assert body == base64_lines(BIG)
    alone = octets(sealed({"attachments": [{"path": tmp_path / "big"}]}))
    assert alone.endswith(base64_lines(BIG) + b"\r\n")


@given(st.binary(max_size=500), st.lists(st.integers(0, 1000), max_size=9))
def test_base64_does_not_depend_on_the_blocks(whole: bytes, places: list[int]) -> None:
    lines = Base64Lines(cut(whole, places))
    assert b"".join(lines.blocks()) == base64_lines(whole)
    assert lines.size == len(base64_lines(whole))


_LINES = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\xe9", b"x" * 996, b"."])).map(b"".join)


@given(_LINES, st.lists(st.integers(0, 5000), max_size=9))
def test_lines_do_not_depend_on_the_blocks(whole: bytes, places: list[int]) -> None:
    expected = with_crlf(whole)
    too_long = any(len(line) > 998 for line in expected.split(b"\r\n"))
    try:
        lines = Lines(cut(whole, places), "f")
    except MessageError:
        assert too_long
        return
    assert not too_long
    assert b"".join(lines.blocks()) == expected
    assert lines.size == len(expected)
    assert lines.is_ascii == expected.isascii()
    assert lines.ends_line == (not expected or expected.endswith(b"\r\n"))
    assert lines.head() == (b"" if expected.startswith(b"\r\n") else expected.partition(b"\r\n\r\n")[0])
    assert holds(lines, b"aa.") == (b"aa." in expected)


@pytest.mark.parametrize(
    ("encoding", "text", "expected"),
    [
        ("base64", "aGk\r\n=", b"hi"),
        ("hex", "6869", b"hi"),
        ("latin-1", "é", b"\xe9"),
        (None, "é", "é".encode()),
    ],
)
def test_text_stands_for_octets(encoding: str | None, text: str, expected: bytes) -> None:
    part = attached({"content": text, "encoding": encoding, "filename": "a.txt"})
    assert part.get_payload(decode=True) == expected


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("base64", "a"), ("base64", "é"), ("hex", "6"), ("ascii", "é"), ("rot13", "a"), ("no", "a"), (5, "a")],
)
def test_an_encoding_that_does_not_fit_is_an_error(encoding: Any, text: str) -> None:
    with pytest.raises(MessageError) as caught:
        attached({"content": text, "encoding": encoding})
    assert caught.value.field == "attachments[0].content"


def test_text_and_html_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_bytes("<p>Zoë</p>".encode("latin-1"))
    message = parsed(
        {
            "text": io.StringIO("Hi Zoë"),
            "html": {"path": tmp_path / "page.html", "encoding": "latin-1"},
        }
    )
    text, html = message.iter_parts()
    assert (text.get_content(), html.get_content()) == ("Hi Zoë", "<p>Zoë</p>")
    assert parsed({"text": {"content": "SGk=", "encoding": "base64"}}).get_content().strip() == "Hi"
    assert parsed({"html": {"href": "data:text/html;charset=latin-1,%e9"}}).get_content().strip() == "é"


@pytest.mark.parametrize("raw", ["path", "file", "bytes"])
@pytest.mark.parametrize("big", [False, True])
def test_a_raw_message_from_anywhere(raw: str, big: bool, tmp_path: Path) -> None:
    whole = b"Message-ID: <7@x>\nSubject: \xc3\xa9\n\n" + b"line\n.\n" * (LARGE // 5 if big else 1) + b"end"
    (tmp_path / "m.eml").write_bytes(whole)
    given: Any = {"path": {"path": tmp_path / "m.eml"}, "file": io.BytesIO(whole), "bytes": whole}[raw]
    envelope = {"from": "a@x.example", "to": "b@y.example"}
    message = seal({"raw": given, "envelope": envelope}, now=NOW, token=str)
    assert octets(message) == with_crlf(whole) + b"\r\n"
    assert (message.message_id, message.content.utf8_headers, message.content.eight_bit) == (
        "<7@x>",
        True,
        True,
    )


@pytest.mark.parametrize("bad", [b"\0", b"x" * 999])
def test_a_large_raw_message_is_checked_to_its_end(bad: bytes) -> None:
    whole = b"A: b\n\n" + b"line\n" * LARGE + bad
    with pytest.raises(MessageError):
        seal({"raw": whole, "envelope": {"from": "", "to": "b@y.example"}}, now=NOW, token=str)


def test_the_keys_of_an_attachment(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;b\n")
    assert attached({"path": tmp_path / "a.csv"}).get_filename() == "a.csv"
    assert attached({"path": tmp_path / "a.csv", "filename": False}).get_filename() is None
    part = attached({"content": "é\n", "transfer_encoding": "quoted-printable", "filename": "a.txt"})
    assert (part["content-transfer-encoding"], part.get_content()) == ("quoted-printable", "é\r\n")
    part = attached({"content": "a\n", "transfer_encoding": "7bit"})
    assert (part["content-transfer-encoding"], part.get_payload()) == ("7bit", "a\r\n")
    assert attached({"path": "data:image/png,x"}).get_content_type() == "image/png"
    assert attached({"path": "data:no type,x"}).get_content_type() == "application/octet-stream"
    part = attached({"raw": "Content-Type: text/x-a\nX-Y: z\n\nbody\n"})
    assert (part.get_content_type(), part["x-y"], part.get_payload()) == ("text/x-a", "z", "body\r\n")


@pytest.mark.parametrize(
    "attachment",
    [
        {},
        {"content": b"", "path": "x"},
        {"path": "x", "href": "data:,"},
        {"content": ["a", "b"]},
        {"content": {"path": "x"}},
        {"content": Path("x")},
        {"content": 5},
        {"content": iter([5])},
        {"content": io.BytesIO, "filename": "x"},
        {"path": 3},
        {"href": 3},
        {"content": b"", "filename": True},
        {"content": b"", "transfer_encoding": "Binary"},
        {"content": b"\xe9", "transfer_encoding": "7bit"},
        {"content": b"\0", "transfer_encoding": "8bit"},
        {"content": b"A: b\n\nc", "content_type": "message/rfc822", "transfer_encoding": "base64"},
        {"raw": "no header"},
        {"raw": "A: b\n \nC: d\n\nbody"},
        {"raw": "\xe9: b\n\nbody"},
        {"raw": "A: b\n\n\0"},
        {"raw": "A: b\n\nbody", "cid": "x"},
        Attachment(),
    ],
)
def test_what_is_wrong_with_an_attachment_is_told(attachment: Any) -> None:
    with pytest.raises(MessageError) as caught:
        attached(attachment)
    assert str(caught.value.field).startswith("attachments[0]")


def test_an_iterator_that_raises_is_told() -> None:
    def broken() -> Iterator[bytes]:
        yield b"a"
        raise OSError("the tape tore")

    with pytest.raises(MessageError, match=r"attachments\[0\]\.content: it could not be read: the tape tore"):
        attached({"content": broken()})


@pytest.mark.rule("HDR-15")
def test_no_boundary_occurs_in_a_large_part() -> None:
    inner = b"A: b\n\n" + b"line\n" * LARGE + b"--=_0.0123456789abcdef\n"
    attachment = {"content": inner, "content_type": "message/rfc822"}
    message = email.message_from_bytes(octets(sealed({"text": "x", "attachments": [attachment]})))
    assert message.get_boundary() == "=_0.1.0123456789abcdef"


# -- files that change -----------------------------------------------------------------------------------------------


@pytest.mark.rule("DAT-08")
@pytest.mark.parametrize(
    "change", ["grow", "shrink", "touch", "replace", "remove", "grow later", "shrink later"]
)
def test_a_file_that_changes_after_sealing_is_not_sent(change: str, tmp_path: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(BIG * 4)
    message = sealed({"attachments": [{"path": file}]})
    blocks = message.content.blocks()
    if change.endswith("later"):
        next(blocks)
        next(blocks)
    match change.split()[0]:
        case "grow":
            file.write_bytes(BIG * 5)
        case "shrink":
            os.truncate(file, LARGE * 2)
        case "touch":
            os.utime(file, ns=(1, 1))
        case "replace":
            (tmp_path / "other").write_bytes(BIG * 4)
            os.replace(tmp_path / "other", file)
        case "remove":
            file.unlink()
    sent: list[bytes] = []
    with pytest.raises(MessageError, match=r"^attachments\[0\]\.path: .*big") as caught:
        sent.extend(blocks)
    assert caught.value.field == "attachments[0].path"
    assert sum(map(len, sent)) < message.content.size


@pytest.mark.rule("DAT-08")
@pytest.mark.parametrize("blocks", [[b"ab", b"c"], [b"a"], [], [b"ab", b""], [b"abc"]])
def test_a_source_that_is_not_of_its_size_fails(blocks: list[bytes]) -> None:
    source = Cut(blocks)
    source.size = 2
    content = StreamedContent([b"x", source, b"y"])
    assert content.size == 4
    if sum(map(len, blocks)) == 2:
        assert b"".join(content.blocks()) == b"xaby"
        return
    with pytest.raises(ValueError, match="octets than it said"):
        list(content.blocks())


def test_a_relative_path_stays_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big").write_bytes(BIG)
    monkeypatch.chdir(tmp_path)
    message = sealed({"attachments": [{"path": "big"}]})
    monkeypatch.chdir("/")
    assert octets(message).endswith(base64_lines(BIG) + b"\r\n")


# -- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("DAT-07")
def test_a_large_file_is_never_in_memory(tmp_path: Path) -> None:
    size = 80_000_000
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        message = sealed({"text": "x", "attachments": [{"path": tmp_path / "sparse"}]})
        sent = sum(len(block) for block in message.content.blocks())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent == message.content.size > size * 4 // 3
    assert peak < 8_000_000


def test_what_is_read_once_waits_on_disk() -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(400):
            yield bytes(100_000)

    gc.collect()  # what other tests have left is not closed meanwhile
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    tracemalloc.start()
    try:
        message = sealed({"attachments": [{"content": pieces()}]})
        sent = sum(len(block) for block in message.content.blocks())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent == message.content.size
    assert peak < 8_000_000
    del message
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) <= before


def test_octets_of_the_caller_are_not_copied() -> None:
    whole = bytes(20_000_000)
    tracemalloc.start()
    try:
        message = sealed({"attachments": [{"content": whole}]})
        for _ in message.content.blocks():
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 200_000), max_size=6))
def test_a_spool_gives_back_what_it_took(sizes: list[int]) -> None:
    spool = Spool("f")
    pieces = [bytes([n]) * size for n, size in enumerate(sizes)]
    for piece in pieces:
        spool.write(piece)
    content: bytes | Source = spool.finish()
    whole = content if isinstance(content, bytes) else b"".join(content.blocks())
    assert whole == b"".join(pieces)
    assert isinstance(content, bytes) == (len(whole) <= LARGE)


def test_two_readings_of_a_spool_do_not_disturb_each_other() -> None:
    spool = Spool("f")
    spool.write(BIG * 3)
    content = spool.finish()
    assert not isinstance(content, bytes)
    pairs = list(zip(content.blocks(), content.blocks(), strict=True))
    assert b"".join(a for a, _ in pairs) == b"".join(b for _, b in pairs) == BIG * 3


# -- data URIs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "octets", "kind"),
    [
        ("data:,a%20b", b"a b", "text/plain;charset=US-ASCII"),
        ("DATA:;charset=utf-8,%C3%A9", "é".encode(), "text/plain;charset=utf-8"),
        ("data:image/png;base64,aGk=", b"hi", "image/png"),
        ("data:image/png;BASE64,aG%6B\n", b"hi", "image/png"),
        ("data:text/html;a=b;base64,", b"", "text/html;a=b"),
    ],
)
def test_a_data_uri(uri: str, octets: bytes, kind: str) -> None:
    assert data_uri(uri, "f", 100) == (octets, kind)


@pytest.mark.parametrize(
    "uri", ["data:", "data:base64", "data:;base64,a", "data:;base64,a!==", "data:;base64,é"]
)
def test_a_broken_data_uri_is_an_error(uri: str) -> None:
    with pytest.raises(MessageError) as caught:
        data_uri(uri, "f", 100)
    assert caught.value.field == "f"


@pytest.mark.rule("FIL-08")
@pytest.mark.parametrize("head", ["data:,", "data:;base64,"])
def test_a_data_uri_over_the_cap_is_an_error_and_not_an_empty_attachment(head: str) -> None:
    with pytest.raises(MessageError, match=r"attachments\[0\]\.path: .*max_size"):
        attached({"path": head + "A" * 100_000}, Access(max_size=1000))


# -- once wrong, now proven ------------------------------------------------------------------------------------------


@pytest.mark.rule("DOS-01")
@pytest.mark.parametrize(
    "encoding", ["punycode", "IDNA", "unicode_escape", "raw-unicode-escape", "undefined"]
)
def test_what_only_python_counts_among_the_charsets_is_none(encoding: str) -> None:
    # Of different characters Python's punycode takes time with the square of their number: minutes for a page.
    page = "".join(map(chr, range(0x4E00, 0x9E00))) * 10
    for content in (
        {"content": page, "encoding": encoding},
        {"content": b"a" * 200_000, "encoding": encoding},
    ):
        with pytest.raises(MessageError, match=r"encoding|charset") as caught:
            sealed({"text": content})
        assert (caught.value.field or "").startswith("text")
    with pytest.raises(MessageError):
        sealed({"attachments": [{"content": page, "encoding": encoding}]})
    found = Found(b"Gr\xc3\xbc\xc3\x9fe", content_type=f"text/plain; charset={encoding}")
    assert "Grüße".encode() in bytes(sealed({"text": {"content": found}, "encoding": "8bit"}))
