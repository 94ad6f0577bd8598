"""From fields to octets: what each field does, and what is refused by name."""

from __future__ import annotations

import datetime
import email.policy
from collections.abc import Mapping
from email.message import EmailMessage
from email.message import Message as LegacyMessage
from pathlib import Path
from typing import Any

import pytest
from sealing import octets, parsed, shape

from mailpool.address import Envelope, Mailbox
from mailpool.errors import AddressError, MessageError
from mailpool.message import Attachment, Message, Sealed, seal

NOW = datetime.datetime(2026, 1, 5, 9, 30, 7, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
TOKEN = "0123456789abcdef"
FROM_TO: dict[str, Any] = {"from": "Ann <a@x.example>", "to": "b@y.example"}


def sealed(message: Any = None, /, **fields: Any) -> Sealed:
    if message is None:
        message = FROM_TO | fields
    return seal(message, now=NOW, token=lambda: TOKEN)


def body(result: Sealed, kind: str) -> str:
    part = parsed(result).get_body((kind,))
    assert part is not None
    text: str = part.get_content()
    return text.replace("\r\n", "\n")


def test_a_small_message_octet_by_octet() -> None:
    result = sealed(subject="Hello", text="One\nTwo\n", cc="C <c@z.example>", reply_to="r@x.example")
    assert octets(result) == (
        b"From: Ann <a@x.example>\r\n"
        b"To: b@y.example\r\n"
        b"Cc: C <c@z.example>\r\n"
        b"Reply-To: r@x.example\r\n"
        b"Subject: Hello\r\n"
        b"Message-ID: <0123456789abcdef@x.example>\r\n"
        b"Date: Mon, 05 Jan 2026 09:30:07 +0100\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"One\r\nTwo\r\n"
    )
    assert result.envelope == Envelope("a@x.example", ["b@y.example", "c@z.example"])
    assert result.message_id == "<0123456789abcdef@x.example>"
    assert not result.content.eight_bit
    assert not result.content.utf8_headers


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "text/plain"),
        ({"text": ""}, "text/plain"),
        ({"html": "h"}, "text/html"),
        ({"text": "t", "html": "h"}, ("multipart/alternative", ["text/plain", "text/html"])),
        ({"attachments": [{"content": b"1"}]}, "application/octet-stream"),
        (
            {"text": "t", "attachments": [{"content": b"1"}]},
            ("multipart/mixed", ["text/plain", "application/octet-stream"]),
        ),
        (
            {"attachments": [{"content": b"1"}, {"content": "2"}]},
            ("multipart/mixed", ["application/octet-stream", "text/plain"]),
        ),
        (
            {"html": "h", "attachments": [{"content": b"1", "cid": "i", "filename": "i.png"}]},
            ("multipart/related", ["text/html", "image/png"]),
        ),
        (
            {"text": "t", "attachments": [{"content": b"1", "cid": "i", "filename": "i.png"}]},
            ("multipart/mixed", ["text/plain", "image/png"]),
        ),
        (
            {
                "text": "t",
                "html": "h",
                "attachments": [
                    {"content": b"1", "cid": "i", "filename": "i.gif"},
                    {"content": b"2", "filename": "a.pdf"},
                ],
            },
            (
                "multipart/mixed",
                [
                    (
                        "multipart/alternative",
                        ["text/plain", ("multipart/related", ["text/html", "image/gif"])],
                    ),
                    "application/pdf",
                ],
            ),
        ),
    ],
)
def test_the_tree_is_as_small_as_it_can_be(fields: dict[str, Any], expected: Any) -> None:
    assert shape(parsed(sealed(**fields))) == expected


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n", "7bit"),
        ("x" * 998, "7bit"),
        pytest.param("x" * 999, "quoted-printable", marks=pytest.mark.rule("DAT-06")),
        pytest.param("x" * 1_000_000, "quoted-printable", marks=pytest.mark.rule("DAT-06")),
        pytest.param("a\0b", "quoted-printable", marks=pytest.mark.rule("DAT-05")),
        ("mostly plain, with an é in it", "quoted-printable"),
        ("по-русски", "base64"),
        ("日本語" * 500, "base64"),
        (". leading dot\n.\n..\n", "7bit"),
        ("é\n.\n. \nand more\n", "quoted-printable"),
        ("ends in space \né ", "quoted-printable"),
    ],
)
def test_the_transfer_encoding_suits_the_text(text: str, encoding: str) -> None:
    result = sealed(text=text, html="<p>")
    part = parsed(result).get_body(("plain",))
    assert part is not None
    assert part["content-transfer-encoding"] == encoding
    assert part.get_content().replace("\r\n", "\n") == text
    assert max(map(len, octets(result).split(b"\r\n"))) <= 998
    assert octets(result).isascii()


@pytest.mark.rule("DAT-01")
@pytest.mark.parametrize(
    "text",
    [
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r\n.\r",
        "\r.\r\n",
        "\r\n.\n",
        "\r\r\n.\r\n",
        "\n\n.\r\n",
        "a\rb",
        ".",
        "",
        "a\r",
        "a\n",
    ],
)
@pytest.mark.parametrize("more", ["", "é", "я" * 9])
def test_line_ends_are_crlf_and_nothing_else(text: str, more: str) -> None:
    result = sealed(text=text + more, html=text + more, attachments=[{"content": text}])
    rest = octets(result).replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest
    lines = (text + more).replace("\r\n", "\n").replace("\r", "\n")
    assert body(result, "plain") == lines
    assert body(result, "html") == lines


@pytest.mark.rule("DAT-03")
@pytest.mark.parametrize("text", ["no line end", "é no line end", "я", ""])
def test_the_last_line_ends_in_crlf(text: str) -> None:
    assert octets(sealed(text=text)).endswith(b"\r\n")


@pytest.mark.parametrize(
    ("field", "header", "value"),
    [
        ("subject", "Subject", "Grüße"),
        ("subject", "Subject", "a word " * 40),
        ("subject", "Subject", "=?utf-8?q?as_it_stands?="),
        ("subject", "Subject", " around "),
        ("subject", "Subject", "behind "),
        ("subject", "Subject", "tab\tin it"),
        ("subject", "Subject", "two  spaces   in " * 12 + "it"),
        pytest.param("subject", "Subject", "x" * 2000, marks=pytest.mark.rule("HDR-11")),
        pytest.param("subject", "Subject", "x" * 989, marks=pytest.mark.rule("HDR-11")),
        pytest.param("subject", "Subject", "x" * 988 + " y", marks=pytest.mark.rule("HDR-11")),
        pytest.param("subject", "Subject", "a" + " " * 1200 + "b", marks=pytest.mark.rule("HDR-11")),
        pytest.param("subject", "Subject", "é" * 400, marks=pytest.mark.rule("HDR-11")),
        pytest.param("subject", "Subject", 'a, b; <c@d> (e) "f" \\g' * 8, marks=pytest.mark.rule("HDR-11")),
    ],
)
def test_text_in_headers_comes_back(field: str, header: str, value: str) -> None:
    result = sealed(**{field: value})
    assert parsed(result)[header] == value
    assert b" \r\n" not in octets(result)  # a relay may drop white space there
    assert max(map(len, octets(result).split(b"\r\n"))) <= 998


@pytest.mark.rule("HDR-07")
@pytest.mark.parametrize(("given", "shown"), [("a\ud800b", "a\ufffdb"), ("\udc00\ud83d\ude00x", "\ufffd😀x")])
def test_lone_surrogates_are_replaced_and_their_neighbours_kept(given: str, shown: str) -> None:
    result = sealed(
        subject=given,
        text=given,
        html=given,
        to=[(given, "b@y.example")],
        headers={"X-A": given},
        attachments=[{"content": b"", "filename": given}],
    )
    message = parsed(result)
    assert message["subject"] == message["x-a"] == shown
    assert message["to"].addresses[0].display_name == shown
    assert body(result, "plain") == body(result, "html") == shown
    assert next(message.iter_attachments()).get_filename() == shown


@pytest.mark.rule("HDR-12")
@pytest.mark.parametrize("value", ["", " ", "\t \t"])
def test_a_header_without_text_is_left_out(value: str) -> None:
    data = octets(sealed(subject=value, headers={"X-Empty": value}))
    assert b"Subject" not in data
    assert b"X-Empty" not in data


class TestHeaders:
    @pytest.mark.parametrize(
        "headers",
        [
            {"X-A": "1", "X-B": ["2", 3]},
            [("X-A", "1"), ("X-B", "2"), ("X-B", 3)],
            (["X-A", 1], ["X-B", ["2", "3"]]),
            {"X-A": "1", " X-B ": ("2", "3"), "X-C": None},
        ],
    )
    def test_forms(self, headers: Any) -> None:
        message = parsed(sealed(headers=headers))
        assert message["x-a"] == "1"
        assert message.get_all("x-b") == ["2", "3"]
        assert "x-c" not in message

    @pytest.mark.parametrize(
        "headers", ["X: y", b"X", 5, [("X",)], {"X": b"1"}, {"X": 1.5}, {"X": True}, {"X": [None]}]
    )
    def test_what_are_no_headers(self, headers: Any) -> None:
        with pytest.raises(MessageError, match="headers"):
            sealed(headers=headers)

    @pytest.mark.rule("HDR-13")
    def test_what_is_said_twice_is_sent_once(self) -> None:
        names = ("From", "To", "Date", "Subject", "Message-ID", "Content-Type", "MIME-Version", "X-Priority")
        headers = {name.swapcase(): "z@evil.example" for name in names} | {
            "content-transfer-encoding": "binary"
        }
        message = parsed(sealed(subject="S", date=NOW, message_id="i@x", priority="high", headers=headers))
        for name in (*names, "Content-Transfer-Encoding"):
            assert len(message.get_all(name, [])) == 1, name
        assert "evil" not in message.as_string()

    def test_a_custom_header_stands_in_for_the_field(self) -> None:
        result = sealed(
            {
                "from": "a@x.example",
                "headers": {
                    "to": ["b@y.example", "c@y.example"],
                    "SUBJECT": "S",
                    "Date": "Mon, 05 Jan 2026 00:00:00 +0000",
                    "Message-Id": "<i@x>",
                },
            }
        )
        assert result.envelope.recipients == ("b@y.example", "c@y.example")
        assert result.message_id == "<i@x>"
        assert parsed(result)["date"].datetime == datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
        with pytest.raises(MessageError, match="2 times"):
            sealed(headers={"Subject": ["1", "2"]})

    @pytest.mark.rule("HDR-14")
    @pytest.mark.parametrize("name", ["Bcc", "bCC", "BCC ", " bcc\t"])
    def test_bcc_reaches_the_envelope_and_no_reader(self, name: str) -> None:
        result = sealed(headers={name: "hidden@y.example"})
        assert result.envelope.recipients == ("b@y.example", "hidden@y.example")
        assert b"hidden" not in octets(result)
        assert b"bcc" not in octets(result).lower()

    @pytest.mark.rule("HDR-13")
    def test_bcc_of_the_field_reaches_the_envelope_and_no_reader(self) -> None:
        result = sealed(bcc=[("H", "hidden@y.example")], headers={"Resent-Bcc": "hidden@z.example"})
        assert result.envelope.recipients == ("b@y.example", "hidden@y.example")
        assert b"hidden" not in octets(result)
        assert b"bcc" not in octets(result).lower()

    def test_a_long_name_of_a_header_still_folds(self) -> None:
        name = "X-" + "n" * 74
        message = parsed(sealed(headers={name: "é" * 100}))
        assert message[name] == "é" * 100


class TestSender:
    def test_the_envelope_is_from_sender_if_given(self) -> None:
        result = sealed(sender="s@z.example")
        assert result.envelope.sender == "s@z.example"
        assert parsed(result)["sender"].address.addr_spec == "s@z.example"

    def test_several_authors_get_a_sender(self) -> None:
        result = sealed({"from": "a@x.example, c@x.example", "to": "b@y.example"})
        assert result.envelope.sender == "a@x.example"
        assert str(parsed(result)["sender"]) == "a@x.example"

    def test_only_one_can_send(self) -> None:
        with pytest.raises(MessageError, match="sender"):
            sealed(sender="s@z.example, t@z.example")

    @pytest.mark.parametrize(
        "fields", [{"to": "b@y"}, {"from": "", "to": "b@y"}, {"sender": "s@x", "to": "b@y"}]
    )
    def test_from_is_needed(self, fields: dict[str, Any]) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(fields)
        assert caught.value.field == "from"

    def test_a_recipient_is_needed(self) -> None:
        with pytest.raises(AddressError, match="no recipient"):
            sealed({"from": "a@x"})


class TestEnvelope:
    @pytest.mark.parametrize(
        ("envelope", "expected"),
        [
            (Envelope("e@x", ["f@x"]), Envelope("e@x", ["f@x"])),
            ({"from": "E <e@x>", "to": ["f@x", ("G", "g@x")]}, Envelope("e@x", ["f@x", "g@x"])),
            ({"from": "e@x", "to": "f@x", "cc": "g@x", "bcc": "h@x"}, Envelope("e@x", ["f@x", "g@x", "h@x"])),
            ({"from": ""}, Envelope("", ["b@y.example"])),
            ({"from": "<>"}, Envelope("", ["b@y.example"])),
            ({"from": None, "to": "f@x"}, Envelope("", ["f@x"])),
            ({"to": "f@x"}, Envelope("a@x.example", ["f@x"])),
            ({}, Envelope("a@x.example", ["b@y.example"])),
        ],
    )
    def test_it_overrides_the_header(self, envelope: Any, expected: Envelope) -> None:
        result = sealed(envelope=envelope)
        assert result.envelope == expected
        assert parsed(result)["to"] == "b@y.example"

    @pytest.mark.parametrize(
        "envelope",
        [
            "a@x",
            5,
            {"From": "a@x"},
            {"from": "a@x, b@x"},
            {"to": []},
            {"to": "root"},
            {"from": "a@x\r\n", "to": "b@x"},
        ],
    )
    def test_what_is_no_envelope(self, envelope: Any) -> None:
        with pytest.raises(MessageError):
            sealed(envelope=envelope)

    def test_no_header_is_needed_beside_it(self) -> None:
        result = sealed({"text": "x", "envelope": {"from": "", "to": "b@y"}})
        assert result.message_id == f"<{TOKEN}@localhost>"

    def test_utf8_addresses_make_utf8_headers(self) -> None:
        result = sealed(to="用户@例子.cn")
        assert result.envelope.utf8
        assert result.content.utf8_headers
        assert result.content.eight_bit
        assert "To: 用户@例子.cn\r\n".encode() in octets(result)

    def test_the_message_id_is_ascii_all_the_same(self) -> None:
        result = sealed({"from": "ä@münchen.example", "to": "b@y"})
        assert result.message_id == f"<{TOKEN}@xn--mnchen-3ya.example>"


class TestIdentity:
    @pytest.mark.parametrize("given", ["i@x", "<i@x>", " <i@x> "])
    def test_a_message_id_is_kept(self, given: str) -> None:
        assert sealed(message_id=given).message_id == "<i@x>"
        assert parsed(sealed(message_id=given))["message-id"] == "<i@x>"

    @pytest.mark.parametrize(
        "given", ["", "<>", "a b@x", "<a@x> <b@x>", "ä@x", "a@x>\r\n", "a@x\0", 5, "x" * 2000]
    )
    def test_what_is_no_message_id(self, given: Any) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(message_id=given)
        assert caught.value.field == "message_id"
        if given:
            with pytest.raises(MessageError):
                sealed(references=[given, "a\rb"])

    @pytest.mark.parametrize(
        "given", ["a@x b@x", "<a@x>\t<b@x>", "<a@x><b@x>", ["a@x", "<b@x>"], ("<a@x> b@x",)]
    )
    def test_references(self, given: Any) -> None:
        message = parsed(sealed(references=given, in_reply_to=given))
        assert message["references"] == message["in-reply-to"] == "<a@x> <b@x>"

    @pytest.mark.parametrize("given", [5, True, 1.5, b"<a@x>", [5], NOW])
    def test_what_are_no_references(self, given: Any) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(references=given)
        assert caught.value.field == "references"

    def test_many_references_fold(self) -> None:
        ids = [f"<{n:040}@x.example>" for n in range(50)]
        data = octets(sealed(references=ids))
        assert max(map(len, data.split(b"\r\n"))) <= 78
        assert parsed(sealed(references=ids))["references"] == " ".join(ids)

    @pytest.mark.parametrize("token", ["", "a b", "a\r\n", "x" * 49, "ä"])
    def test_a_token_must_be_one(self, token: str) -> None:
        with pytest.raises(ValueError, match="token"):
            seal(FROM_TO, now=NOW, token=lambda: token)


class TestDate:
    @pytest.mark.parametrize(
        ("given", "text"),
        [
            (datetime.datetime(2026, 2, 1, tzinfo=datetime.UTC), "Sun, 01 Feb 2026 00:00:00 +0000"),
            (
                NOW.astimezone(datetime.timezone(datetime.timedelta(hours=-3.5))),
                "Mon, 05 Jan 2026 05:00:07 -0330",
            ),
            ("2026-01-05T09:30:07+01:00", "Mon, 05 Jan 2026 09:30:07 +0100"),
            ("Mon, 5 Jan 2026 09:30:07 +0100", "Mon, 05 Jan 2026 09:30:07 +0100"),
            (None, "Mon, 05 Jan 2026 09:30:07 +0100"),
        ],
    )
    def test_dates(self, given: Any, text: str) -> None:
        assert f"Date: {text}\r\n".encode() in octets(sealed(date=given))

    @pytest.mark.parametrize(
        "given",
        [
            datetime.datetime(2026, 1, 1),
            "2026-01-01T00:00:00",
            "soon",
            "",
            5,
            datetime.date(2026, 1, 1),
            "x\r\nA: b",
        ],
    )
    def test_what_is_no_date(self, given: Any) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(date=given)
        assert caught.value.field == "date"


@pytest.mark.parametrize(
    ("priority", "number"), [("high", "1"), ("low", "5"), ("normal", None), (None, None)]
)
def test_priority(priority: str | None, number: str | None) -> None:
    message = parsed(sealed(priority=priority))
    assert message["x-priority"] == number
    assert message["importance"] == {"1": "high", "5": "low", None: None}[number]


def test_an_unknown_priority_is_refused() -> None:
    with pytest.raises(MessageError, match="urgent"):
        sealed(priority="urgent")


class TestFields:
    @pytest.mark.parametrize(
        ("wrong", "right"),
        [
            ("replyTo", "reply_to"),
            ("inReplyTo", "in_reply_to"),
            ("messageId", "message_id"),
            ("subjct", "subject"),
            ("Subject", "subject"),
            ("from_", "from"),
            ("Reply-To", "reply_to"),
            ("body", "text"),
            ("attachment", "attachments"),
        ],
    )
    def test_an_unknown_one_is_named_with_the_near_one(self, wrong: str, right: str) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(**{wrong: "x"})
        assert f"{right!r}" in str(caught.value)
        assert caught.value.field == wrong
        with pytest.raises(MessageError, match="defaults"):
            seal(FROM_TO, now=NOW, token=lambda: TOKEN, defaults={wrong: "x"})

    def test_a_message_object_is_the_same_as_a_mapping(self) -> None:
        message = Message(
            from_="Ann <a@x.example>",
            to=["b@y.example"],
            subject="S",
            text="t",
            attachments=[Attachment(content=b"1")],
        )
        fields = FROM_TO | {"subject": "S", "text": "t", "attachments": [{"content": b"1"}]}
        assert octets(sealed(message)) == octets(sealed(fields))

    def test_any_mapping_will_do(self) -> None:
        class Row(Mapping[str, Any]):
            def __getitem__(self, key: str) -> Any:
                return FROM_TO[key]

            def __iter__(self) -> Any:
                return iter(FROM_TO)

            def __len__(self) -> int:
                return len(FROM_TO)

        assert octets(sealed(Row())) == octets(sealed())

    @pytest.mark.parametrize("message", [None, 5, "text", [("from", "a@x")], b"From: a@x\r\n\r\n"])
    def test_what_is_no_message(self, message: Any) -> None:
        with pytest.raises(MessageError, match="mapping"):
            seal(message, now=NOW, token=lambda: TOKEN)

    @pytest.mark.parametrize("field", ["subject", "text", "html"])
    @pytest.mark.parametrize("value", [5, ["x"], b"\xff"])
    def test_text_must_be_text(self, field: str, value: Any) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(**{field: value})
        assert caught.value.field == field

    def test_utf8_octets_are_text(self) -> None:
        assert body(sealed(text="é".encode()), "plain") == "é"


class TestDefaults:
    def seal(self, fields: Any, **defaults: Any) -> EmailMessage:
        return parsed(seal(fields, now=NOW, token=lambda: TOKEN, defaults=defaults))

    def test_they_fill_what_the_message_does_not_own(self) -> None:
        message = self.seal(
            FROM_TO | {"subject": "own", "cc": None}, subject="default", cc="c@x", reply_to="r@x"
        )
        assert message["subject"] == "own"
        assert message["cc"] is None
        assert message["reply-to"] == "r@x"
        assert self.seal(Message(to="b@y"), **{"from": "d@x"})["from"] == "d@x"

    def test_headers_are_merged_one_by_one(self) -> None:
        message = self.seal(
            FROM_TO | {"headers": {"x-a": "own"}}, headers={"X-A": "default", "X-B": "default"}
        )
        assert message.get_all("x-a") == ["own"]
        assert message["x-b"] == "default"

    def test_they_are_not_changed(self) -> None:
        defaults = {"headers": {"X-A": "1"}}
        fields = FROM_TO | {"headers": {"X-B": "2"}}
        seal(fields, now=NOW, token=lambda: TOKEN, defaults=defaults)
        assert defaults == {"headers": {"X-A": "1"}}
        assert fields["headers"] == {"X-B": "2"}


class TestAttachments:
    def one(self, **keys: Any) -> Any:
        return next(parsed(sealed(text="t", attachments=[keys])).iter_attachments())

    @pytest.mark.parametrize("size", [0, 1, 56, 57, 58, 57 * 512 - 1, 57 * 512, 57 * 512 + 1, 200_000])
    def test_octets_arrive_as_they_are(self, size: int) -> None:
        content = bytes(range(256)) * (size // 256) + bytes(size % 256)
        part = self.one(content=content)
        assert part.get_content() == content
        assert part["content-transfer-encoding"] == "base64"
        assert max(map(len, octets(sealed(attachments=[{"content": content}])).split(b"\r\n"))) <= 78

    @pytest.mark.parametrize("content", [bytearray(b"x"), memoryview(b"x"), b"x"])
    def test_what_holds_octets(self, content: Any) -> None:
        assert self.one(content=content).get_content() == b"x"

    def test_text_is_sent_in_utf8_with_its_own_line_ends(self) -> None:
        part = self.one(content="é\rя\n", filename="a.csv")
        assert part.get_content_type() == "text/csv"
        assert part.get_content_charset() == "utf-8"
        assert part.get_payload(decode=True) == "é\rя\n".encode()

    def test_a_path_is_read(self, tmp_path: Path) -> None:
        file = tmp_path / "Bericht für Ann.pdf"
        file.write_bytes(b"%PDF")
        part = self.one(path=file)
        assert part.get_content() == b"%PDF"
        assert part.get_filename() == file.name
        assert part.get_content_type() == "application/pdf"
        assert self.one(path=str(file), filename="other.txt").get_filename() == "other.txt"
        assert self.one(path=str(file), filename="").get_filename() is None

    @pytest.mark.parametrize(
        ("filename", "kind"),
        [
            ("a.png", "image/png"),
            ("a.tar.gz", "application/gzip"),
            ("a.ICS", "text/calendar"),
            ("a.unknown-ext", "application/octet-stream"),
        ],
    )
    def test_the_media_type_follows_the_name(self, filename: str, kind: str) -> None:
        assert self.one(content=b"x", filename=filename).get_content_type() == kind

    @pytest.mark.parametrize(
        "filename",
        [
            "plain.txt",
            "with space.txt",
            'q"u\\ote.txt',
            "Grüße.txt",
            "日本語" * 40 + ".txt",
            "a" * 300,
            "semi;colon='x'.txt",
            "=?utf-8?q?x?=.txt",
            "100%.txt",
            "*'star.txt",
            "tab\tesc\x1b.txt",
            "../../etc/passwd",
        ],
    )
    @pytest.mark.rule("HDR-05")
    def test_file_names_come_back(self, filename: str) -> None:
        assert self.one(content=b"x", filename=filename).get_filename() == filename

    def test_media_types_keep_their_parameters(self) -> None:
        part = self.one(content=b"x", content_type='Application/X-Y; name="a;b \\"c\\""; charset=iso-8859-1;')
        assert part.get_content_type() == "application/x-y"
        assert part.get_param("name") == 'a;b "c"'
        assert part.get_param("charset") == "iso-8859-1"

    def test_cid_and_disposition(self) -> None:
        part = self.one(content=b"x", cid="<logo@x>")
        assert part["content-id"] == "<logo@x>"
        assert part.get_content_disposition() == "inline"
        assert (
            self.one(content=b"x", cid="l", disposition="attachment").get_content_disposition()
            == "attachment"
        )
        assert self.one(content=b"x").get_content_disposition() == "attachment"

    def test_more_headers(self) -> None:
        part = self.one(content=b"x", headers={"Content-Description": "d", "content-type": "text/evil"})
        assert part["content-description"] == "d"
        assert part.get_all("content-type") == ["application/octet-stream"]

    def test_an_embedded_message_is_not_encoded(self) -> None:
        inner = octets(sealed(text="inner"))
        part = self.one(content=inner, content_type="message/rfc822")
        assert part["content-transfer-encoding"] == "7bit"
        assert part.get_content()["from"] == "Ann <a@x.example>"

    def test_an_embedded_8bit_message_needs_8bitmime(self) -> None:
        result = sealed(
            text="t", html="h", attachments=[{"content": "A: b\n\né", "content_type": "message/rfc822"}]
        )
        assert result.content.eight_bit
        assert not result.content.utf8_headers
        assert parsed(result)["content-transfer-encoding"] == "8bit"
        alone = sealed(attachments=[{"content": "A: b\n\né", "content_type": "message/rfc822"}])
        assert alone.content.eight_bit

    @pytest.mark.parametrize(
        ("attachment", "field"),
        [
            ({}, "attachments[0]"),
            ({"content": b"", "path": "x"}, "attachments[0]"),
            ({"content": 5}, "attachments[0].content"),
            ({"content": b"", "filename": 5}, "attachments[0].filename"),
            ({"content": b"", "filename": "a\r\nb"}, "attachments[0].filename"),
            ({"content": b"", "filename": "a\0b"}, "attachments[0].filename"),
            ({"content": b"", "content_type": "text"}, "attachments[0].content_type"),
            ({"content": b"", "content_type": "text/plain\r\nX: y"}, "attachments[0].content_type"),
            ({"content": b"", "content_type": 'text/plain; a="b\r\nX: y"'}, "attachments[0].content_type"),
            ({"content": b"", "content_type": "text/plain; a\r\nb=c"}, "attachments[0].content_type"),
            ({"content": b"", "content_type": "text/plain; =c"}, "attachments[0].content_type"),
            (
                {"content": b"", "content_type": "text/plain; " + "a" * 50 + "=c"},
                "attachments[0].content_type",
            ),
            ({"content": b"", "content_type": "multipart/mixed"}, "attachments[0].content_type"),
            ({"content": b"", "disposition": "inline\r\nX: y"}, "attachments[0].disposition"),
            ({"content": b"", "cid": "a b"}, "attachments[0].cid"),
            ({"content": b"", "cid": "a>\r\n"}, "attachments[0].cid"),
            ({"content": b"", "headers": {"X\r\nY": "z"}}, "attachments[0].headers"),
            ({"content": b"", "headers": {"X": "z\n"}}, "attachments[0].headers[X]"),
            ({"content": b"", "contentType": "text/plain"}, "contentType"),
            ({"content": b"\0", "content_type": "message/rfc822"}, "attachments[0].content"),
            ({"content": b"x" * 999, "content_type": "message/rfc822"}, "attachments[0].content"),
            ({"path": "no/such/file"}, "attachments[0].path"),
            ({"path": "a\0b"}, "attachments[0].path"),
            (b"octets", "attachments[0]"),
        ],
    )
    @pytest.mark.rule("HDR-05")
    def test_what_is_refused(self, attachment: Any, field: str) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(text="t", attachments=[attachment])
        assert caught.value.field == field

    @pytest.mark.parametrize("attachments", ["a", {"content": b""}, Attachment(content=b"")])
    def test_they_are_a_list(self, attachments: Any) -> None:
        with pytest.raises(MessageError, match="list"):
            sealed(attachments=attachments)


@pytest.mark.rule("HDR-15")
@pytest.mark.parametrize("field", ["text", "html"])
def test_a_boundary_never_occurs_in_a_part(field: str) -> None:
    body_text = f"--=_0.{TOKEN}\n--=_0.1.{TOKEN}--\n{TOKEN}\n--=_0.\n"
    result = sealed(**{"text": "t", "html": "h", field: body_text})
    assert shape(parsed(result)) == ("multipart/alternative", ["text/plain", "text/html"])
    assert body(result, "plain" if field == "text" else "html") == body_text


@pytest.mark.rule("HDR-15")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_no_nested_boundary_occurs_in_a_part(number: int) -> None:
    text = f"--=_{number}.{TOKEN}\n--=_{number}.{TOKEN}--\n"
    image, file = {"content": b"1", "cid": "i", "content_type": "image/png"}, {"content": b"2"}
    result = sealed(text=text, html=text, attachments=[image, file])
    assert body(result, "plain") == body(result, "html") == text


@pytest.mark.rule("HDR-11")
@pytest.mark.parametrize("name", ["a word " * 300, "x" * 2000, "é" * 2000, 'q"' * 600])
def test_a_long_name_is_folded(name: str) -> None:
    result = sealed(to=[(name, "b@y.example"), "c@y.example"])
    assert max(map(len, octets(result).split(b"\r\n"))) <= 76
    assert [address.addr_spec for address in parsed(result)["to"].addresses] == ["b@y.example", "c@y.example"]


@pytest.mark.rule("HDR-15")
def test_a_boundary_never_occurs_in_an_embedded_message() -> None:
    inner = octets(sealed(text="t", html="h"))
    outer = sealed(text="t", html="h", attachments=[{"content": inner, "content_type": "message/rfc822"}])
    part = next(parsed(outer).iter_attachments())
    assert shape(part.get_content()) == ("multipart/alternative", ["text/plain", "text/html"])


class TestRaw:
    ENVELOPE = {"from": "a@x", "to": "b@y"}  # noqa: RUF012

    def seal(self, raw: Any, **more: Any) -> Sealed:
        return sealed({"raw": raw, "envelope": self.ENVELOPE} | more)

    @pytest.mark.rule("DAT-02")
    @pytest.mark.parametrize(
        ("raw", "sent"),
        [
            (b"A: b\r\n\r\nc\r\n", b"A: b\r\n\r\nc\r\n"),
            ("A: b\n\nc", b"A: b\r\n\r\nc\r\n"),
            (b"A: b\r\rc\r", b"A: b\r\n\r\nc\r\n"),
            (b"A: b\n\n\n.\n\r.\r\r\n.\r\r\n", b"A: b\r\n\r\n\r\n.\r\n\r\n.\r\n\r\n.\r\n\r\n"),
            (bytearray(b"A: b\r\n"), b"A: b\r\n"),
            ("Bcc: h@x\n\n", b"Bcc: h@x\r\n\r\n"),
        ],
    )
    def test_only_line_ends_change(self, raw: Any, sent: bytes) -> None:
        assert octets(self.seal(raw)) == sent

    @pytest.mark.parametrize(
        ("raw", "identity"),
        [
            ("message-id: <i@x>\n\n", "<i@x>"),
            ("A: b\nMessage-ID:\n <i@x>\n\n", "<i@x>"),
            ("A: b\n\nMessage-ID: <i@x>\n", ""),
            ("A: b\n\n", ""),
        ],
    )
    def test_its_message_id_is_read(self, raw: str, identity: str) -> None:
        assert self.seal(raw).message_id == identity

    def test_what_a_server_must_offer_is_seen(self) -> None:
        assert not self.seal("A: b\n\nc").content.eight_bit
        body_only = self.seal("A: b\n\né").content
        assert (body_only.eight_bit, body_only.utf8_headers) == (True, False)
        header = self.seal("A: é\n\nb").content
        assert (header.eight_bit, header.utf8_headers) == (True, True)

    @pytest.mark.parametrize(
        "raw",
        [
            "",
            b"",
            5,
            pytest.param(b"A: b\0\r\n", marks=pytest.mark.rule("DAT-05")),
            pytest.param(b"x" * 999, marks=pytest.mark.rule("DAT-06")),
            pytest.param(b"A: b\n\n" + b"x" * 1_000_000 + b"\n", marks=pytest.mark.rule("DAT-06")),
        ],
    )
    def test_what_is_refused(self, raw: Any) -> None:
        with pytest.raises(MessageError) as caught:
            self.seal(raw)
        assert caught.value.field == "raw"

    @pytest.mark.rule("DAT-06")
    def test_998_octets_pass(self) -> None:
        assert self.seal(b"x" * 998).content.size == 1000

    def test_it_needs_a_whole_envelope_and_nothing_else(self) -> None:
        for fields in (
            {"raw": "A: b\n\n"},
            {"raw": "A: b\n\n", "envelope": {"to": "b@y"}},
            {"raw": "A: b\n\n", "envelope": {"from": "a@x"}},
            {"raw": "A: b\n\n", "envelope": self.ENVELOPE, "subject": "S"},
        ):
            with pytest.raises(MessageError):
                sealed(fields)
        result = sealed(Message(raw="A: b\n\n", envelope=Envelope("", ["b@y"])))
        assert result.envelope == Envelope("", ["b@y"])


class TestStdlib:
    def message(self, **headers: Any) -> EmailMessage:
        message = EmailMessage()
        for name, value in ({"From": "Ann <a@x.example>", "To": "b@y.example"} | headers).items():
            message[name.replace("_", "-")] = value
        message.set_content("Grüße\n")
        return message

    def test_the_envelope_is_from_the_header_and_bcc_goes(self) -> None:
        message = self.message(Cc="C <c@y>", Bcc="h@y", Sender="s@z", Subject="Grüße", Resent_Bcc="i@y")
        result = sealed(message)
        assert result.envelope == Envelope("s@z", ["b@y.example", "c@y", "h@y"])
        assert b"bcc" not in octets(result).lower()
        assert message["bcc"] == "h@y"
        assert parsed(result)["subject"] == "Grüße"
        assert body(result, "plain") == "Grüße\n"

    def test_what_is_missing_is_added_once(self) -> None:
        result = sealed(self.message())
        assert parsed(result)["message-id"] == result.message_id == f"<{TOKEN}@x.example>"
        assert parsed(result)["date"].datetime == NOW
        given = sealed(self.message(Message_ID="<i@x>", Date=NOW))
        assert given.message_id == "<i@x>"
        assert len(parsed(given).get_all("date", [])) == len(parsed(given).get_all("message-id", [])) == 1

    def test_it_is_seven_bit_with_crlf(self) -> None:
        result = sealed(self.message())
        assert not result.content.eight_bit
        assert octets(result).isascii()
        assert b"\n" not in octets(result).replace(b"\r\n", b"")

    def test_names_with_commas_stay_one_recipient(self) -> None:
        message = self.message(
            Cc='"Çole, Ann" <c@y>, ' + ", ".join(f'"Ünit {n}, X" <u{n}@y>' for n in range(20))
        )
        result = sealed(message)
        assert len(result.envelope.recipients) == 22
        assert [a.addr_spec for a in parsed(result)["cc"].addresses] == list(result.envelope.recipients[1:])

    def test_utf8_addresses(self) -> None:
        result = sealed(self.message(Cc="用户@例子.cn"))
        assert result.content.utf8_headers
        assert result.envelope.utf8

    def test_an_international_domain_is_written_in_ascii(self) -> None:
        result = sealed(self.message(Cc="Ünit <c@münchen.example>", Reply_To="r@münchen.example"))
        assert parsed(result)["cc"].addresses[0].addr_spec == "c@xn--mnchen-3ya.example"
        assert parsed(result)["cc"].addresses[0].display_name == "Ünit"
        assert parsed(result)["reply-to"].addresses[0].addr_spec == "r@xn--mnchen-3ya.example"
        assert result.envelope.recipients == ("b@y.example", "c@xn--mnchen-3ya.example")
        assert octets(result).isascii()

    def test_an_utf8_address_in_reply_to_alone(self) -> None:
        result = sealed(self.message(Reply_To="用户@例子.cn"))
        assert result.content.utf8_headers
        assert "用户@例子.cn".encode() in octets(result)

    @pytest.mark.rule("ADR-10")
    def test_a_header_that_would_change_on_the_way_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fold = email.policy.EmailPolicy.fold
        monkeypatch.setattr(
            email.policy.EmailPolicy,
            "fold",
            lambda self, name, value: fold(self, name, value if self.utf8 else "z@evil"),
        )
        with pytest.raises(MessageError, match="From"):
            sealed(self.message())

    @pytest.mark.rule("ADR-05")
    def test_a_recipient_that_the_stdlib_would_lose_is_an_error(self) -> None:
        with pytest.raises(AddressError):
            sealed(self.message(Cc="a@x b@y"))

    def test_a_legacy_message(self) -> None:
        message = LegacyMessage()
        message["From"] = "=?utf-8?q?J=C3=BC?= <a@x>"
        message["To"] = "b@y,\n c@y"
        message["Bcc"] = "h@y"
        message.set_payload("text\n")
        result = sealed(message)
        assert result.envelope == Envelope("a@x", ["b@y", "c@y", "h@y"])
        assert b"h@y" not in octets(result)

    @pytest.mark.rule("HDR-01")
    @pytest.mark.parametrize(
        "value", ["x\nEvil: y", "x\r\nEvil: y", "x\rEvil: y", "x\n\nbody", "x\n \nEvil: y", "x\n", "x\0"]
    )
    def test_a_legacy_header_cannot_start_another(self, value: str) -> None:
        message = LegacyMessage()
        message["From"], message["To"], message["X"] = "a@x", "b@y", value
        with pytest.raises(MessageError, match="'X'"):
            sealed(message)

    def test_who_it_is_from_and_to_is_needed(self) -> None:
        message = EmailMessage()
        message["To"] = "b@y"
        with pytest.raises(MessageError, match="From"):
            sealed(message)
        message = EmailMessage()
        message["From"] = "a@x"
        with pytest.raises(AddressError, match="no recipient"):
            sealed(message)


def test_content_does_not_depend_on_how_the_recipient_is_given() -> None:
    forms = [
        "Bob <b@y>",
        Mailbox("Bob", "b@y"),
        ("Bob", "b@y"),
        {"name": "Bob", "address": "b@y"},
        ["Bob <b@y>"],
    ]
    assert len({octets(sealed(to=form)) for form in forms}) == 1


@pytest.mark.parametrize(
    ("name", "value"), [("Bcc", "c@z.example"), ("resent-BCC", "c@z.example"), ("X-A", 17)]
)
def test_a_further_header_shows_no_hidden_recipient_and_is_text(name: str, value: Any) -> None:
    with pytest.raises(MessageError) as caught:
        sealed(text="x").with_header(name, value)
    assert caught.value.field == name
