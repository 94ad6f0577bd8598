"""Bytes into replies: what is a reply, what is none, and what one may say."""

from __future__ import annotations

import pytest

from mailpool.results import Reply
from mailpool.smtp.replies import MAX_LINE, MAX_REPLY, ReplyParser


def parse(*chunks: bytes) -> tuple[list[Reply], str | None]:
    parser = ReplyParser()
    replies = [reply for chunk in chunks for reply in parser.feed(chunk)]
    return replies, parser.violation


class TestReplies:
    @pytest.mark.parametrize(
        ("data", "code", "lines"),
        [
            (b"250 ok\r\n", 250, ("ok",)),
            (b"250\r\n", 250, ("",)),
            (b"250 \r\n", 250, ("",)),
            (b"250-\r\n250 \r\n", 250, ("", "")),
            (b"250-one\r\n250-two\r\n250 three\r\n", 250, ("one", "two", "three")),
            # RFC 5321 §4.2: the last line may be the code alone.
            (b"250-one\r\n250\r\n", 250, ("one", "")),
            (b"200 lowest\r\n", 200, ("lowest",)),
            (b"599 highest\r\n", 599, ("highest",)),
            (b"250  two spaces \r\n", 250, (" two spaces ",)),
            (b"354-a-b 250 c\r\n354 d\r\n", 354, ("a-b 250 c", "d")),
        ],
    )
    def test_one(self, data: bytes, code: int, lines: tuple[str, ...]) -> None:
        replies, violation = parse(data)
        assert [(reply.code, reply.lines) for reply in replies] == [(code, lines)]
        assert violation is None

    def test_several_in_one_packet_keep_their_order(self) -> None:
        replies, violation = parse(b"250 a\r\n550-b\r\n550 c\r\n354 d\r\n")
        assert replies == [Reply.of("250 a"), Reply.of("550 b\n550 c"), Reply.of("354 d")]
        assert violation is None

    def test_nothing_is_a_reply_before_its_last_line_ends(self) -> None:
        parser = ReplyParser()
        assert parser.feed(b"250-a\r\n250 b\r") == []
        assert parser.has_leftover
        assert parser.feed(b"\n") == [Reply.of("250 a\n250 b")]
        assert not parser.has_leftover

    @pytest.mark.parametrize("rest", [b"2", b"250-a\r\n", b"250 a"])
    def test_what_belongs_to_no_reply_yet_is_left_over(self, rest: bytes) -> None:
        parser = ReplyParser()
        assert parser.feed(b"220 go ahead\r\n" + rest) == [Reply.of("220 go ahead")]
        assert parser.has_leftover

    @pytest.mark.rule("SRV-04")
    def test_one_byte_at_a_time(self) -> None:
        data = b"250-one\r\n250 two\r\n550 5.1.1 no\r\n"
        replies, violation = parse(*(data[i : i + 1] for i in range(len(data))))
        assert replies == [Reply.of("250 one\n250 two"), Reply.of("550 5.1.1 no")]
        assert violation is None

    @pytest.mark.rule("SRV-04")
    def test_a_bare_lf_ends_a_line(self) -> None:
        assert parse(b"250-a\n250 b\n") == ([Reply.of("250 a\n250 b")], None)


class TestViolations:
    @pytest.mark.rule("SRV-02")
    @pytest.mark.parametrize(
        "line",
        [
            b"999 no such code",
            b"600 too high",
            b"199 too low",
            b"100 an answer that SMTP does not have",
            b"000 zero",
            b"25 short",
            b"2500 long",
            b"250x no mark",
            b"250\tno mark",
            b"250_no mark",
            b" 250 in front",
            b"hello",
            b"-250 a",
            b"+25 a",
            b"2 5 a",
            b"\xb2\xb5\xb0 digits of another kind",
            b"HTTP/1.1 400 Bad Request",
            b"* OK IMAP4rev1",
            b"\x16\x03\x01\x02\x00",
        ],
    )
    def test_no_code(self, line: bytes) -> None:
        replies, violation = parse(line + b"\r\n")
        assert replies == []
        assert violation is not None
        assert "expected a reply" in violation

    @pytest.mark.rule("SRV-02")
    @pytest.mark.parametrize(
        "data", [b"250-a\r\n251 b\r\n", b"250-a\r\n550-b\r\n", b"250-a\r\n250-b\r\n354 c\r\n"]
    )
    def test_mixed_codes(self, data: bytes) -> None:
        replies, violation = parse(data)
        assert replies == []
        assert violation is not None
        assert "mixes the codes 250 and" in violation

    @pytest.mark.rule("SRV-02")
    def test_a_reply_that_is_over_and_goes_on(self) -> None:
        """The first is a reply; what follows it begins another, and is never added to it."""
        parser = ReplyParser()
        assert parser.feed(b"250 a\r\n250-b\r\n") == [Reply.of("250 a")]
        assert parser.has_leftover

    @pytest.mark.rule("SRV-04")
    @pytest.mark.parametrize(
        "data",
        [b"\r\n250 a\r\n", b"\n", b"250-a\r\n\r\n250 b\r\n", b"\xef\xbb\xbf250 a\r\n", b"\x00250 a\r\n"],
        ids=["blank line", "lone LF", "blank inside", "BOM", "NUL"],
    )
    def test_stray_octets(self, data: bytes) -> None:
        replies, violation = parse(data)
        assert replies == []
        assert violation is not None

    @pytest.mark.rule("SRV-04")
    def test_a_bare_cr_ends_nothing(self) -> None:
        replies, violation = parse(b"250 a\r550 b\r\n")
        assert violation is None
        assert [(reply.code, reply.text) for reply in replies] == [(250, "a\\x0d550 b")]
        assert parse(b"250 a\r250 b\r") == ([], None)

    def test_replies_before_the_violation_are_handed_out_and_nothing_after_it(self) -> None:
        parser = ReplyParser()
        assert parser.feed(b"250 a\r\n251 b\r\nnonsense\r\n250 c\r\n") == [
            Reply.of("250 a"),
            Reply.of("251 b"),
        ]
        violation = parser.violation
        assert violation is not None
        assert "nonsense" in violation
        assert parser.feed(b"250 d\r\n") == []
        assert parser.violation == violation

    @pytest.mark.rule("SRV-05")
    def test_the_violation_is_safe_to_print_and_short(self) -> None:
        _, violation = parse(b"\x1b]0;title\x07" + b"x" * 5_000 + b"\r\n")
        assert violation is not None
        assert violation.isprintable()
        assert len(violation) < 400


class TestCaps:
    @pytest.mark.rule("SRV-01")
    @pytest.mark.parametrize("chunk", [1_000, 65_536, 10_000_000])
    def test_a_line_without_end(self, chunk: int) -> None:
        parser = ReplyParser()
        fed = 0
        while parser.violation is None and fed < 10_000_000:
            parser.feed(b"250 "[: max(0, 4 - fed)] + b"x" * chunk)
            fed += chunk
        assert parser.violation is not None
        assert f"more than {MAX_LINE} octets" in parser.violation
        assert fed <= MAX_LINE + chunk
        assert not parser.has_leftover  # nothing of it is kept

    @pytest.mark.rule("SRV-01")
    @pytest.mark.parametrize("end", [b"\r\n", b"\n"])
    def test_the_longest_line(self, end: bytes) -> None:
        line = b"250 " + b"x" * (MAX_LINE - 4)
        assert parse(line + end)[1] is None
        replies, violation = parse(line + b"x" + end)
        assert replies == []
        assert violation is not None

    @pytest.mark.rule("SRV-01")
    @pytest.mark.parametrize("cut", [-1, -2, -3, 4, 5])
    def test_the_longest_line_wherever_it_is_cut(self, cut: int) -> None:
        line = b"250 " + b"x" * (MAX_LINE - 4) + b"\r\n"
        replies, violation = parse(line[:cut], line[cut:])
        assert violation is None
        assert len(replies) == 1

    @pytest.mark.rule("SRV-01")
    @pytest.mark.parametrize("text", [b"", b"x", b"x" * 4_000])
    def test_a_reply_without_end(self, text: bytes) -> None:
        parser = ReplyParser()
        line = b"250-" + text + b"\r\n"
        fed = 0
        while parser.violation is None and fed < 20 * MAX_REPLY:
            assert parser.feed(line) == []
            fed += len(line)
        assert parser.violation == f"a reply of more than {MAX_REPLY} octets"
        assert fed <= 2 * MAX_REPLY + MAX_LINE

    @pytest.mark.rule("SRV-01")
    def test_many_replies_are_no_long_reply(self) -> None:
        parser = ReplyParser()
        for _ in range(3 * MAX_REPLY // 4_000):
            assert len(parser.feed(b"250-" + b"x" * 2_000 + b"\r\n250 " + b"x" * 2_000 + b"\r\n")) == 1
        assert parser.violation is None


class TestText:
    @pytest.mark.rule("SRV-05")
    @pytest.mark.parametrize(
        ("raw", "text"),
        [
            ("grüße".encode(), "grüße"),
            ("grüße".encode("latin-1"), "grüße"),
            (b"\xff\xfe\x80", "ÿþ\\x80"),
            (b"\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
            (b"a\rb\x00c\x07d\x7f", "a\\x0db\\x00c\\x07d\\x7f"),
            (b"\x9b31m", "\\x9b31m"),  # CSI in one octet
            ("\x85 next line".encode(), "\\x85 next line"),
            (b"tab\there", "tab\\x09here"),
            ("日本 😀".encode(), "日本 😀"),
        ],
    )
    def test_decoded_and_escaped(self, raw: bytes, text: str) -> None:
        reply = Reply(550, (raw,))
        assert reply.text == text
        assert str(reply) == f"550 {text}"
        assert repr(reply) == f"<Reply 550 {text}>"

    @pytest.mark.rule("SRV-05")
    @pytest.mark.parametrize(
        "char", [*"\u2028\u2029", *map(chr, range(0x202A, 0x202F)), *"\u2066\u2067\u2068\u2069"]
    )
    def test_what_breaks_or_reorders_a_log_line(self, char: str) -> None:
        text = str(Reply(550, (f"no{char}250 accepted".encode(),)))
        assert char not in text
        assert len(text.splitlines()) == 1

    @pytest.mark.parametrize(
        ("text", "enhanced"),
        [
            ("250 2.1.0 ok", "2.1.0"),
            ("250 2.1.0", "2.1.0"),
            ("550 5.123.999\tno", "5.123.999"),
            ("550-5.1.1 no\n550 5.1.1 really", "5.1.1"),
            ("250 5.1.0 of another class", None),
            ("550 5.1.1x", None),
            ("550 5.1234.1 no", None),
            ("550 5.1.1.1 no", None),
            ("550 no 5.1.1", None),
            ("354 3.0.0 no such class", None),
            ("250", None),
        ],
    )
    def test_enhanced_code(self, text: str, enhanced: str | None) -> None:
        assert Reply.of(text).enhanced_code == enhanced

    @pytest.mark.parametrize(
        ("code", "classes"),
        [
            (250, "s"),
            (299, "s"),
            (354, ""),
            (399, ""),
            (400, "t"),
            (421, "t"),
            (499, "t"),
            (500, "p"),
            (599, "p"),
        ],
    )
    def test_classes(self, code: int, classes: str) -> None:
        reply = Reply(code, (b"",))
        found = "s" * reply.is_success + "t" * reply.is_temporary + "p" * reply.is_permanent
        assert found == classes

    def test_values(self) -> None:
        reply = Reply.of("250 a\n250 b")
        assert reply == Reply(250, (b"a", b"b"))
        assert hash(reply) == hash(Reply(250, (b"a", b"b")))
        assert reply != Reply.of("250 a")
        assert reply != Reply.of("251 a\n251 b")
        assert reply != "250 a"
        assert str(reply) == "250 a / b"
        assert str(Reply(250, (b"",))) == "250"
        assert Reply(250, ()).enhanced_code is None
