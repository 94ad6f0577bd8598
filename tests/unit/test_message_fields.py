"""What the less usual fields make of a message: alternatives, events, lists, encodings, limits."""

from __future__ import annotations

import io
import sys
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from sealing import FROM_TO, NOW, TOKEN, octets, parsed, part_of, sealed, shape, text_of

from mailpool.errors import MessageError
from mailpool.message import Attachment, Message, seal

EVENT = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nSUMMARY:é\nEND:VCALENDAR\n"
GIF = "R0lGODlhAQABAAAAADs="


class TestAlternatives:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"amp": "a"}, "text/x-amp-html"),
            ({"watch_html": "w"}, "text/watch-html"),
            ({"html": "h", "amp": "a"}, ("multipart/alternative", ["text/x-amp-html", "text/html"])),
            (
                {"html": "h", "amp": "a", "text": "t", "watch_html": "w"},
                ("multipart/alternative", ["text/plain", "text/watch-html", "text/x-amp-html", "text/html"]),
            ),
            ({"calendar": EVENT}, ("multipart/mixed", ["text/calendar", "application/ics"])),
            (
                {"text": "t", "calendar": EVENT},
                ("multipart/mixed", [("multipart/alternative", ["text/plain", "text/calendar"]), "application/ics"]),
            ),
            (
                {"html": "h", "calendar": EVENT, "alternatives": [{"content_type": "text/x", "content": "x"}],
                 "attachments": [{"content": b"", "cid": "i"}, {"content": b""}]},
                ("multipart/mixed", [
                    ("multipart/alternative", [
                        ("multipart/related", ["text/html", "application/octet-stream"]), "text/calendar", "text/x",
                    ]),
                    "application/octet-stream", "application/ics",
                ]),
            ),
            (
                {"amp": "a", "attachments": [{"content": b"", "cid": "i"}]},
                ("multipart/mixed", ["text/x-amp-html", "application/octet-stream"]),
            ),
            ({"alternatives": [{"content_type": "image/png", "content": b"x"}]}, "image/png"),
            ({"alternatives": []}, "text/plain"),
            ({"text": "t", "alternatives": [{"raw": "Content-Type: text/x\n\n"}]},
             ("multipart/alternative", ["text/plain", "text/x"])),
            # The header of a raw part is never that of the message.
            ({"alternatives": [{"raw": "Content-Type: text/x\n\n"}]}, ("multipart/mixed", ["text/x"])),
            ({"html": {"raw": "Content-Type: text/html\n\n<p>"}, "attachments": [{"content": b"", "cid": "i"}]},
             ("multipart/related", ["text/html", "application/octet-stream"])),
        ],
    )  # fmt: skip
    def test_the_tree_is_as_deep_as_needed(self, fields: dict[str, Any], expected: Any) -> None:
        assert shape(parsed(sealed(**fields))) == expected

    def test_text_is_written_in_utf8_whatever_it_came_in(self) -> None:
        for alternative in (
            {"content_type": "text/markdown; charset=latin-1; variant=GFM", "content": b"\xe9"},
            {"content_type": "text/markdown; variant=GFM", "content": b"\xe9", "encoding": "latin-1"},
            {"content_type": "text/markdown; charset=latin-1; variant=GFM", "content": "é"},
            Attachment(content_type="text/markdown; variant=GFM", content="é"),
        ):
            part = part_of(sealed(text="t", alternatives=[alternative]), "text/markdown")
            assert part.get_param("variant") == "GFM"
            assert part.get_content_charset() == "utf-8"
            assert part.get_payload(decode=True) == "é".encode()
            assert "content-disposition" not in part

    def test_headers_of_a_part_are_its_own(self) -> None:
        alternative = {
            "content_type": "text/x",
            "content": "x",
            "headers": {"Content-Language": "de", "content-type": "evil/x"},
        }
        part = part_of(sealed(text="t", alternatives=[alternative]), "text/x")
        assert part["content-language"] == "de"
        assert part.get_all("content-type") == ['text/x; charset="utf-8"']

    @pytest.mark.parametrize(
        ("alternatives", "field"),
        [
            ("x", "alternatives"),
            ({"content": "x"}, "alternatives"),
            (5, "alternatives"),
            ([5], "alternatives[0]"),
            ([{"content": "x"}], "alternatives[0].content_type"),
            ([{"content_type": 5, "content": "x"}], "alternatives[0].content_type"),
            ([{"content_type": "text", "content": "x"}], "alternatives[0].content_type"),
            ([{"content_type": "multipart/x", "content": "x"}], "alternatives[0].content_type"),
            ([{"content_type": "message/rfc822", "content": "x"}], "alternatives[0].content_type"),
            ([{"content_type": "text/x"}], "alternatives[0]"),
            ([{"content_type": "text/x", "content": b"\xff"}], "alternatives[0]"),
            ([{"content_type": "text/x", "content": "x", "cid": "i"}], "cid"),
            ([{"content_type": "text/x", "content": "x", "contentTransferEncoding": "x"}], "contentTransferEncoding"),
            ([{"raw": "\n", "content": "x"}], "alternatives[0]"),
            ([{"raw": 5}], "alternatives[0].raw"),
            ([{"raw": ""}], "alternatives[0].raw"),
            ([{"raw": "X: y"}], "alternatives[0].raw"),
            ([{"raw": "no header\n\n"}], "alternatives[0].raw"),
            ([{"raw": " X: y\n\n"}], "alternatives[0].raw"),
            ([{"raw": "X: y\n \nZ: a\n\n"}], "alternatives[0].raw"),
            ([{"raw": "X : y\n\n"}], "alternatives[0].raw"),
            ([{"raw": "X: é\n\n"}], "alternatives[0].raw"),
            ([{"raw": "X: y\n\n\0"}], "alternatives[0].raw"),
            ([{"raw": "X: y\n\n" + "x" * 999}], "alternatives[0].raw"),
            ([{"raw": "Content-Transfer-Encoding: BINARY\n\nx"}], "alternatives[0].raw"),
        ],
    )  # fmt: skip
    def test_what_is_no_alternative(self, alternatives: Any, field: str) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(text="t", alternatives=alternatives)
        assert caught.value.field == field


class TestCalendar:
    def test_both_parts(self) -> None:
        result = sealed(
            text="t",
            calendar={"content": EVENT, "filename": "Einladung für Ann.ics", "headers": [("X-A", "1")]},
        )
        alternative, file = part_of(result, "text/calendar"), part_of(result, "application/ics")
        assert alternative.get_param("method") == "REQUEST"
        assert "content-disposition" not in alternative
        assert alternative.get_payload(decode=True) == EVENT.replace("\n", "\r\n").encode()
        assert file.get_payload(decode=True) == EVENT.replace("\n", "\r\n").encode()
        assert file.get_filename() == "Einladung für Ann.ics"
        assert file.get_content_disposition() == "attachment"
        assert alternative["x-a"] == file["x-a"] == "1"

    def test_headers_of_one_part_do_not_reach_the_other(self) -> None:
        headers = {"Content-Disposition": "attachment", "Content-Type": "evil/x", "X-A": "1"}
        result = sealed(calendar={"content": EVENT, "headers": iter(headers.items())})
        alternative, file = part_of(result, "text/calendar"), part_of(result, "application/ics")
        assert "content-disposition" not in alternative
        assert alternative["x-a"] == file["x-a"] == "1"
        assert file.get_all("content-disposition") == ['attachment; filename="invite.ics"']

    @pytest.mark.parametrize(
        ("given", "method"),
        [
            (EVENT, "REQUEST"),
            (EVENT.encode(), "REQUEST"),
            ({"content": EVENT.replace("REQUEST", "cancel\r")}, "CANCEL"),
            ({"content": EVENT, "method": "request"}, "REQUEST"),
            ({"content": "BEGIN:VCALENDAR\n"}, "PUBLISH"),
            ({"content": "BEGIN:VCALENDAR\n", "method": "counter"}, "COUNTER"),
            ({"content": "DESCRIPTION:a\n METHOD:X\nXMETHOD:Y\n"}, "PUBLISH"),
        ],
    )
    def test_the_method(self, given: Any, method: str) -> None:
        assert part_of(sealed(calendar=given), "text/calendar").get_param("method") == method

    def test_from_a_file_and_once(self, tmp_path: Path) -> None:
        file = tmp_path / "a.ics"
        file.write_text(EVENT, "utf-8")
        result = sealed(calendar={"path": file, "filename": None})
        assert part_of(result, "application/ics").get_filename() is None
        result = sealed(calendar={"content": (piece for piece in (EVENT[:9].encode(), EVENT[9:].encode()))})
        assert text_of(result, "text/calendar") == text_of(result, "application/ics") == EVENT

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            (5, "calendar"),
            (b"\xff", "calendar"),
            ({}, "calendar"),
            ({"content": EVENT, "method": "CANCEL"}, "calendar.method"),
            ({"content": EVENT, "method": "A B"}, "calendar.method"),
            ({"content": EVENT, "method": True}, "calendar.method"),
            ({"content": EVENT, "method": ""}, "calendar.method"),
            ({"content": EVENT, "filename": 5}, "calendar.filename"),
            ({"content": EVENT, "Method": "REQUEST"}, "Method"),
            ({"raw": EVENT}, "raw"),
        ],
    )
    def test_what_is_no_event(self, given: Any, field: str) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(calendar=given)
        assert caught.value.field == field


class TestText:
    @pytest.mark.parametrize("field", ["text", "html", "amp", "watch_html"])
    @pytest.mark.parametrize(
        "given", ["é", "é".encode(), bytearray("é".encode()), {"content": b"\xe9", "encoding": "latin-1"},
                  {"content": "w6k=", "encoding": "base64"}, {"content": "é"}]
    )  # fmt: skip
    def test_forms(self, field: str, given: Any) -> None:
        kind = {"text": "plain", "html": "html", "amp": "x-amp-html", "watch_html": "watch-html"}[field]
        assert text_of(sealed(**{field: given}), f"text/{kind}").rstrip() == "é"

    @pytest.mark.parametrize(
        "given", [5, True, [], {}, {"content": 5}, {"content": "x", "charset": "x"}, {"raw": "\n", "content": "x"},
                  {"content": b"\xff"}, {"content": b"x", "encoding": "no-such"}, {"content": b"x", "encoding": "a\0b"}]
    )  # fmt: skip
    @pytest.mark.parametrize("more", [{}, {"text_format": "flowed"}])
    def test_what_is_no_text(self, given: Any, more: dict[str, Any]) -> None:
        with pytest.raises(MessageError):
            sealed(text=given, **more)

    @pytest.mark.parametrize("encoding", ["7bit", "8bit", "quoted-printable", "base64"])
    def test_the_encoding_is_the_one_asked_for(self, encoding: str) -> None:
        result = sealed(text="plain\n.\n", html="h", encoding=encoding)
        assert text_of(result) == "plain\n.\n"
        expected = "7bit" if encoding == "8bit" else encoding
        assert part_of(result, "text/plain")["content-transfer-encoding"] == expected
        assert not result.content.eight_bit

    def test_8bit(self) -> None:
        result = sealed(text="é\n", html="h", encoding="8bit")
        assert result.content.eight_bit
        assert not result.content.utf8_headers
        assert part_of(result, "text/plain")["content-transfer-encoding"] == "8bit"
        assert text_of(result) == "é\n"

    @pytest.mark.parametrize(
        ("encoding", "text"),
        [
            ("7bit", "é"),
            ("7bit", "x" * 999),
            ("8bit", "é" * 500),
            ("8bit", "\0"),
            ("7bit", "a\0"),
            ("8bit", "x" * 999),
        ],
    )
    def test_what_cannot_be_sent_bare(self, encoding: str, text: str) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(text=text, encoding=encoding)
        assert caught.value.field == "text"

    @pytest.mark.parametrize("value", ["Binary", "", "QP", 7, True, b"7bit"])
    def test_what_is_no_encoding(self, value: Any) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(text="x", encoding=value)
        assert caught.value.field == "encoding"

    @pytest.mark.parametrize(
        ("given", "expected"), [("Q", "quoted-printable"), ("base64", "base64"), ("b", "base64")]
    )
    def test_the_preference_is_for_what_cannot_stay_as_it_is(self, given: str, expected: str) -> None:
        result = sealed(text="é", html="h", subject="é", to=[("é", "b@y.example")], text_encoding=given)
        assert part_of(result, "text/plain")["content-transfer-encoding"] == expected
        assert part_of(result, "text/html")["content-transfer-encoding"] == "7bit"
        assert octets(result).count(f"=?utf-8?{expected[0]}?".encode()) == 2
        assert parsed(result)["subject"] == "é"

    @pytest.mark.parametrize("value", ["", "x", 5, True, ["Q"]])
    def test_what_is_no_preference(self, value: Any) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(text="x", text_encoding=value)
        assert caught.value.field == "text_encoding"


class TestFromHTML:
    def test_text_is_made_where_there_is_none(self) -> None:
        result = sealed(html="<h1>Hé</h1><p>a <b>b</b></p><ul><li>c</ul>", text_from_html=True)
        assert text_of(result) == "Hé\n\na b\n\n  * c\n"
        assert text_of(sealed(html="<p>h", text="own\n", text_from_html=True)) == "own\n"
        assert shape(parsed(sealed(html="<p>h", text_from_html=False))) == "text/html"
        assert shape(parsed(sealed(amp="<p>h", text_from_html=True))) == "text/x-amp-html"

    @pytest.mark.parametrize("html", ["", " ", "<!-- x -->", "a\0\x08b", "\ud800", "<", "&#0;&#55296;"])
    def test_any_html_will_do(self, html: str) -> None:
        assert shape(parsed(sealed(html=html, text_from_html=True)))[1] == ["text/plain", "text/html"]

    def test_the_error_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "inscriptis", None)
        with pytest.raises(MessageError, match=r"pip install mailpool\[html\]"):
            sealed(html="h", text_from_html=True)

    @pytest.mark.parametrize("field", ["text_from_html", "attach_data_urls"])
    @pytest.mark.parametrize("value", [1, "yes", [], 0])
    def test_true_or_false(self, field: str, value: Any) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(html="h", **{field: value})
        assert caught.value.field == field

    def test_images_become_parts_each_of_them_once(self) -> None:
        html = (
            f"<p><img alt='>' src=\"data:image/gif;base64,{GIF}\"><IMG SRC = 'DATA:image/GIF;Base64,{GIF[:8]}\n{GIF[8:]}'/>"
            "<img src=data:image/svg+xml,%3Csvg/%3E><img src='https://x.example/a.png'><img src='data:text/html,x'>"
            "<image src='data:image/png,x'><a href='data:image/png,x'><img src='data:image/png'><img src>"
        )
        result = sealed(
            html=html, attach_data_urls=True, attachments=iter([{"content": b"", "filename": "own"}])
        )
        message = parsed(result)
        assert shape(message) == (
            "multipart/mixed",
            [("multipart/related", ["text/html", "image/gif", "image/svg+xml"]), "application/octet-stream"],
        )
        page = text_of(result, "text/html")
        gif, svg = part_of(result, "image/gif"), part_of(result, "image/svg+xml")
        assert page.count(f"cid:{gif['content-id'][1:-1]}") == 2
        assert page.count(f"=cid:{svg['content-id'][1:-1]}>") == 1
        assert page.count("data:image") == 3
        assert gif.get_payload(decode=True) == b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"
        assert svg.get_payload(decode=True) == b"<svg/>"
        assert gif.get_filename() == "image-1.gif"
        assert gif.get_content_disposition() == "inline"

    def test_images_stay_where_nobody_asked(self) -> None:
        html = f'<img src="data:image/gif;base64,{GIF}">\n'
        assert text_of(sealed(html=html), "text/html") == html


class TestHeaders:
    def test_a_list(self) -> None:
        result = sealed(
            list={
                "id": {"id": "<news.x.example>", "comment": "News, weekly"},
                "unsubscribe": [{"url": "https://x.example/u?t=1", "comment": "at once"}, "u@x.example"],
                "one_click": True, "subscribe": "s@x.example", "owner": ("o@x.example",), "post": "no",
                "help": "mailto:h@x.example", "archive": "http://x.example/",
            }
        )  # fmt: skip
        message = parsed(result)
        shown = {
            name: " ".join(str(value).split()) for name, value in message.items() if name.startswith("List-")
        }
        assert shown == {
            "List-ID": '"News, weekly" <news.x.example>',
            "List-Help": "<mailto:h@x.example>",
            "List-Unsubscribe": "<https://x.example/u?t=1> (at once), <mailto:u@x.example>",
            "List-Subscribe": "<mailto:s@x.example>",
            "List-Post": "NO",
            "List-Owner": "<mailto:o@x.example>",
            "List-Archive": "<http://x.example/>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ("https://x.example", "list"),
            ([], "list"),
            ({"unsubscribed": "x"}, "unsubscribed"),
            ({"one_click": True}, "list.one_click"),
            ({"one_click": True, "unsubscribe": "u@x.example"}, "list.one_click"),
            ({"one_click": True, "unsubscribe": "http://x.example"}, "list.one_click"),
            ({"one_click": 1, "unsubscribe": "https://x.example"}, "list.one_click"),
            ({"id": "news"}, "list.id"),
            ({"id": "a b.c"}, "list.id"),
            ({"id": "a..b"}, "list.id"),
            ({"id": "é.b"}, "list.id"),
            ({"id": "a." + "b" * 255}, "list.id"),
            ({"id": 5}, "list.id"),
            ({"id": True}, "list.id"),
            ({"id": {"comment": "x"}}, "list.id"),
            ({"post": False}, "list.post"),
        ],
    )
    def test_what_is_no_list(self, given: Any, field: str) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(list=given)
        assert caught.value.field == field

    def test_no_one_click_unless_asked(self) -> None:
        assert "list-unsubscribe-post" not in parsed(
            sealed(list={"unsubscribe": "https://x.example", "one_click": False})
        )

    def test_one_liners(self) -> None:
        message = parsed(
            sealed(
                otp={"code": "731946", "origin": "https://x.example"},
                auto_submitted="auto-notified",
                x_mailer="Grüße 1.0",
            )
        )
        assert message["otp-token"] == '"731946"; origin="https://x.example"'
        assert message["auto-submitted"] == "auto-notified"
        assert message["x-mailer"] == "Grüße 1.0"

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"otp": "731946"}, "otp"),
            ({"otp": {"code": 731946, "origin": "https://x"}}, "otp.code"),
            ({"otp": {"code": "", "origin": "https://x"}}, "otp.code"),
            ({"otp": {"code": 'a"b', "origin": "https://x"}}, "otp.code"),
            ({"otp": {"code": "1"}}, "otp.origin"),
            ({"otp": {"code": "1", "origin": "x.example"}}, "otp.origin"),
            ({"otp": {"code": "1", "origin": "http://x.example"}}, "otp.origin"),
            ({"otp": {"code": "1", "origin": "https://x.example/"}}, "otp.origin"),
            ({"otp": {"code": "1", "origin": "https://X.example"}}, "otp.origin"),
            ({"otp": {"code": "1", "origin": "https://x", "url": ""}}, "url"),
            ({"auto_submitted": True}, "auto_submitted"),
            ({"auto_submitted": "yes"}, "auto_submitted"),
            ({"auto_submitted": ["no"]}, "auto_submitted"),
            ({"x_mailer": True}, "x_mailer"),
            ({"priority": True}, "priority"),
            ({"priority": ["high"]}, "priority"),
            ({"base_boundary": ""}, "base_boundary"),
            ({"base_boundary": "a b"}, "base_boundary"),
            ({"base_boundary": "é"}, "base_boundary"),
            ({"base_boundary": "x" * 49}, "base_boundary"),
            ({"base_boundary": 5}, "base_boundary"),
        ],
    )
    def test_what_is_none_of_them(self, fields: dict[str, Any], field: str) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(**fields)
        assert caught.value.field == field


class TestLimits:
    @pytest.mark.parametrize("limit", [True, False, 0, -1, 1.5, "2"])
    def test_what_is_no_number_of_recipients(self, limit: Any) -> None:
        with pytest.raises(MessageError) as caught:
            sealed(recipient_limit=limit)
        assert caught.value.field == "recipient_limit"

    def test_it_counts_everyone_once(self) -> None:
        people = {"to": "b@y.example, c@y.example", "cc": "b@y.example", "bcc": "d@y.example"}
        assert len(sealed(recipient_limit=3, **people).envelope.recipients) == 3
        with pytest.raises(MessageError, match="3 recipients, and 2"):
            sealed(recipient_limit=2, **people)

    def test_a_default_holds_for_messages_of_every_kind(self) -> None:
        standard = EmailMessage()
        standard["From"] = "a@x.example"
        standard["To"] = "b@y.example, c@y.example"
        envelope = {"from": "a@x.example", "to": ["b@y.example", "c@y.example"]}
        raw = {"raw": "A: b\n\n", "envelope": envelope}
        for message in (standard, raw, FROM_TO | {"envelope": envelope}, Message(envelope=envelope)):
            for limit, fits in ((1, False), (2, True)):
                if fits:
                    assert seal(message, now=NOW, token=lambda: TOKEN, defaults={"recipient_limit": limit})
                    continue
                with pytest.raises(MessageError, match="2 recipients"):
                    seal(message, now=NOW, token=lambda: TOKEN, defaults={"recipient_limit": limit})
        with pytest.raises(MessageError, match="2 recipients"):
            sealed(raw | {"recipient_limit": 1})

    def test_the_size_in_the_envelope(self) -> None:
        size = sealed(text="t").content.size
        assert sealed(text="t", envelope={"size": size}).content.size == size
        with pytest.raises(MessageError, match=rf"{size} octets, and {size - 1}"):
            sealed(text="t", envelope={"size": size - 1})

    def test_8bitmime_in_the_envelope(self) -> None:
        result = sealed(text="é " * 100, html="p", envelope={"use_8bitmime": True})
        assert result.content.eight_bit
        assert part_of(result, "text/plain")["content-transfer-encoding"] == "8bit"
        long_lines = sealed(text="é" * 1000, envelope={"use_8bitmime": True})
        assert not long_lines.content.eight_bit
        assert not sealed(text="é", envelope={"use_8bitmime": False}).content.eight_bit
        with pytest.raises(MessageError, match="use_8bitmime"):
            sealed(text="é", encoding="8bit", envelope={"use_8bitmime": False})


@pytest.mark.parametrize("field", ["attachments", "alternatives"])
@pytest.mark.parametrize("given", [5, True, "x", b"x", {"content": "x"}, NOW, [5], ["x"], [None]])
def test_what_is_no_list_of_parts(field: str, given: Any) -> None:
    with pytest.raises(MessageError) as caught:
        sealed(**{field: given})
    assert caught.value.field in (field, f"{field}[0]")


def test_a_boundary_with_8bit_in_it_asks_for_nothing() -> None:
    result = sealed(text="t", html="h", base_boundary="x8bit")
    assert b'boundary="=_0.x8bit"' in octets(result)
    assert not result.content.eight_bit


def test_the_same_fields_give_the_same_octets() -> None:
    tokens = iter(["1" * 32, "2" * 32])
    fields = FROM_TO | {"text": "t", "html": "h", "date": NOW, "message_id": "i@x", "base_boundary": "B" * 48}
    first, second = (octets(seal(fields, now=NOW, token=lambda: next(tokens))) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("watchHtml", "watch_html"), ("icalEvent", "calendar"), ("attachDataUrls", "attach_data_urls"),
        ("baseBoundary", "base_boundary"), ("textEncoding", "text_encoding"), ("xMailer", "x_mailer"),
        ("maxRecipients", "recipient_limit"), ("max_recipients", "recipient_limit"), ("alternative", "alternatives"),
        ("normalizeHeaderKey", "normalize_header_key"), ("listUnsubscribe", "list"), ("autoSubmitted", "auto_submitted"),
    ],
)  # fmt: skip
def test_names_from_elsewhere_lead_to_ours(wrong: str, right: str) -> None:
    with pytest.raises(MessageError, match=f"did you mean '{right}'"):
        sealed(**{wrong: "x"})


def test_a_message_object_has_all_the_fields() -> None:
    fields = FROM_TO | {"calendar": EVENT, "list": {"help": "h@x.example"}, "text": "t", "encoding": "base64"}
    message = Message(
        from_="a@x.example",
        to="b@y.example",
        calendar=EVENT,
        list_={"help": "h@x.example"},
        text="t",
        encoding="base64",
    )
    assert octets(sealed(message)) == octets(sealed(fields))


def test_defaults_may_have_any_field() -> None:
    defaults = {
        "list": {"unsubscribe": "https://x.example/", "one_click": True},
        "headers": {"X-A": {"prepared": "b"}},
    }
    data = octets(seal(FROM_TO | {"headers": {"X-B": "c"}}, now=NOW, token=lambda: TOKEN, defaults=defaults))
    assert b"One-Click" in data
    assert b"X-A: b\r\nX-B: c\r\n" in data


@pytest.mark.parametrize(
    "defaults",
    [
        {"attachments": ({"content": b"x"} for _ in range(2))},
        {"headers": iter([("X-A", "b")])},
        {"text": io.BytesIO(b"x")},
        {"alternatives": map(dict, [[]])},
    ],
)
def test_a_default_that_only_the_first_message_would_get_is_refused(defaults: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match="only once"):
        seal(FROM_TO, now=NOW, token=lambda: TOKEN, defaults=defaults)


@pytest.mark.rule("HDR-11")
@pytest.mark.parametrize("kind", ["text/" + "a" * 128, "a" * 2_000 + "/x"])
def test_a_media_type_that_no_line_holds_is_refused(kind: str) -> None:
    for fields in (
        {"attachments": [{"content": b"x", "content_type": kind}]},
        {"alternatives": [{"content": "x", "content_type": kind}]},
    ):
        with pytest.raises(MessageError, match="not a media type"):
            sealed(FROM_TO | fields)
    longest = f"{'a' * 127}/{'b' * 127}"
    assert longest.encode() in octets(
        sealed(FROM_TO | {"attachments": [{"content": b"x", "content_type": longest}]})
    )


@pytest.mark.rule("LOG-01")
def test_no_secret_of_a_message_is_in_its_repr() -> None:
    attachment = Attachment(
        href="https://user:s3cret@example.org/?token=s3cret", http_headers={"Authorization": "Bearer s3cret"}
    )
    message = Message(otp={"code": "s3cret", "origin": "https://example.org"}, attachments=[attachment])
    assert "s3cret" not in repr(message)
