"""What goes into DATA ends where the content ends, and nowhere before (SMTP smuggling)."""

from __future__ import annotations

from itertools import combinations

import pytest

from mailpool.content import BytesContent
from mailpool.errors import MessageError, UnsupportedByServer
from mailpool.message.raw import raw_content
from mailpool.smtp.capabilities import Capabilities
from mailpool.smtp.data import DotStuffer
from mailpool.smtp.transaction import prepare

SMUGGLING = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\r\n.\r\n",
    b"\n\n.\r\n",
    b"\r\n.\r\n",
    b"\r\n..\r\n",
    b"\r\n\x00.\r\n",
    b"\n.\r",
    b"\r.\n",
]
EVIL = [b"a" + ending + b"MAIL FROM:<admin@example.org>\r\n" for ending in SMUGGLING]


def stuff(*blocks: bytes) -> bytes:
    stuffer = DotStuffer()
    return b"".join(map(stuffer.feed, blocks)) + stuffer.finish()


def lines_of(content: bytes) -> list[bytes]:
    """The lines of any content, octet by octet: CRLF, CR and LF each end one."""
    lines, line, after_cr = [], bytearray(), False
    for octet in content:
        if octet == 10 and after_cr:
            after_cr = False
            continue
        after_cr = octet == 13
        if octet in (10, 13):
            lines.append(bytes(line))
            line.clear()
        else:
            line.append(octet)
    return [*lines, bytes(line)] if line else lines


def unstuff(wire: bytes) -> list[bytes]:
    """The lines that a strict server reads, which takes CRLF alone for a line end and the first lone dot for the end."""
    lines = []
    start = 0
    while True:
        end = wire.index(b"\r\n", start)
        line, start = wire[start:end], end + 2
        assert b"\r" not in line, "a bare CR"
        assert b"\n" not in line, "a bare LF"
        if line == b".":
            assert start == len(wire), "the data ended early"
            return lines
        if line.startswith(b"."):
            assert line.startswith(b".."), "a dot that was not doubled"
            line = line[1:]
        lines.append(line)


class TestSmuggling:
    @pytest.mark.rule("DAT-01")
    @pytest.mark.parametrize("content", EVIL)
    def test_the_data_ends_once(self, content: bytes) -> None:
        wire = stuff(content)
        assert unstuff(wire) == lines_of(content)
        assert wire.count(b"\r\n.\r\n") == 1
        assert wire.endswith(b"\r\n.\r\n")

    @pytest.mark.rule("DAT-02")
    @pytest.mark.parametrize("content", [e for e in EVIL if b"\x00" not in e])
    def test_the_same_for_raw_messages(self, content: bytes) -> None:
        sealed, _ = raw_content(b"Subject: x\r\n\r\n" + content, "raw")
        wire = stuff(*sealed.blocks())
        assert unstuff(wire) == [b"Subject: x", b"", *lines_of(content)]

    @pytest.mark.rule("DAT-04")
    @pytest.mark.parametrize("content", EVIL)
    def test_every_split(self, content: bytes) -> None:
        whole = stuff(content)
        head = content[:8]
        for cuts in (pair for n in (1, 2, 3) for pair in combinations(range(len(head) + 1), n)):
            parts = [content[a:b] for a, b in zip((0, *cuts), (*cuts, len(content)), strict=True)]
            assert stuff(*parts) == whole
        assert stuff(*(content[i : i + 1] for i in range(len(content)))) == whole
        # With nothing between any two octets, as a stream may do.
        assert stuff(*(part for i in range(len(content)) for part in (b"", content[i : i + 1], b""))) == whole

    @pytest.mark.rule("DAT-03")
    @pytest.mark.parametrize(
        ("content", "wire"),
        [
            (b"", b".\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b"..", b"...\r\n.\r\n"),
            (b".\r\n", b"..\r\n.\r\n"),
            (b".a\r\n.b\r\n", b"..a\r\n..b\r\n.\r\n"),
            (b"a.\r\n", b"a.\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r", b"a\r\n.\r\n"),
            (b"a\n", b"a\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b"a\r\n\r", b"a\r\n\r\n.\r\n"),
            (b"a\r\n\r\n", b"a\r\n\r\n.\r\n"),
            (b"\r", b"\r\n.\r\n"),
            (b"\n", b"\r\n.\r\n"),
            (b"\r\n", b"\r\n.\r\n"),
            (b"\r\r", b"\r\n\r\n.\r\n"),
            (b"\n.", b"\r\n..\r\n.\r\n"),
            (b"a\r.", b"a\r\n..\r\n.\r\n"),
        ],
    )
    def test_ends_and_beginnings(self, content: bytes, wire: bytes) -> None:
        assert stuff(content) == wire
        assert stuff(*(content[i : i + 1] for i in range(len(content)))) == wire

    @pytest.mark.parametrize("clean", [b"a\r\nb\r\n", b"a\r\n\r\nb", b"x" * 100_000 + b"\r\n"])
    def test_sealed_content_goes_out_as_it_is(self, clean: bytes) -> None:
        assert DotStuffer().feed(clean) == clean


class TestWhatASealGuarantees:
    """DAT-05 and DAT-06: checked when a message is sealed and when it meets a server, so that no octet is changed here."""

    @pytest.mark.rule("DAT-05")
    def test_nul(self) -> None:
        with pytest.raises(MessageError, match="NUL"):
            raw_content(b"Subject: x\r\n\r\na\x00b", "raw")

    @pytest.mark.rule("DAT-05")
    def test_eight_bit_without_8bitmime(self) -> None:
        content, _ = raw_content("Subject: x\r\n\r\ngrüße".encode(), "raw")
        with pytest.raises(UnsupportedByServer, match="8BITMIME"):
            prepare("a@example.org", ["b@example.org"], content, Capabilities.none())

    @pytest.mark.rule("DAT-05")
    def test_utf_8_header_without_smtputf8(self) -> None:
        content, _ = raw_content("Subject: grüße\r\n\r\nx".encode(), "raw")
        with pytest.raises(UnsupportedByServer, match="SMTPUTF8"):
            prepare("a@example.org", ["b@example.org"], content, Capabilities({"8BITMIME": ""}))

    @pytest.mark.rule("DAT-06")
    @pytest.mark.parametrize("length", [999, 1_000_000])
    def test_a_line_too_long(self, length: int) -> None:
        with pytest.raises(MessageError, match="998"):
            raw_content(b"Subject: x\r\n\r\n" + b"y" * length, "raw")

    @pytest.mark.rule("DAT-06")
    @pytest.mark.parametrize("line", [b"y" * 998, b"." + b"y" * 997])
    def test_the_longest_line(self, line: bytes) -> None:
        content, _ = raw_content(b"Subject: x\r\n\r\n" + line, "raw")
        assert unstuff(stuff(*content.blocks())) == [b"Subject: x", b"", line]

    @pytest.mark.rule("DAT-09")
    def test_the_size_declared_is_that_before_stuffing(self) -> None:
        """RFC 1870 §6.1. BDAT would send just these octets; it is not spoken yet."""
        content = BytesContent(b".a\r\n.b\r\n")
        line = prepare("a@example.org", ["b@example.org"], content, Capabilities({"SIZE": "1000"})).commands[
            0
        ]
        assert line == b"MAIL FROM:<a@example.org> SIZE=8\r\n"
        assert b"".join(content.blocks()) == b".a\r\n.b\r\n"
