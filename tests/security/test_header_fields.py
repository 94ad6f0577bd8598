"""Nothing that one of the many fields holds can start a header, break out of its own, or cost more than its length."""

from __future__ import annotations

import contextlib
import datetime
import email.policy
import inspect
import re
import sys
from collections.abc import Callable
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailpool.errors import MessageError
from mailpool.message import seal

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
GOOD: dict[str, Any] = {"from": "a@x.example", "to": "b@y.example"}
EVENT = "BEGIN:VCALENDAR\nEND:VCALENDAR\n"
BREAKS = ["\r\n", "\r", "\n", "\r\n ", "\n\t", "\n\n", "\r\n\r\n", "\0"]


def octets(**fields: Any) -> bytes:
    return b"".join(seal(GOOD | fields, now=NOW, token=lambda: "0123").content.blocks())


def parsed(**fields: Any) -> EmailMessage:
    data = octets(**fields)
    assert max(map(len, data.split(b"\r\n"))) <= 998
    message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(data)
    for part in message.walk():
        assert not part.defects
    return message


def unfolded(name: str, **fields: Any) -> str:
    """The one header of this name as it is on the wire, unfolded."""
    head = octets(**fields).partition(b"\r\n\r\n")[0]
    assert all(line.strip() for line in head.split(b"\r\n"))
    lines = head.replace(b"\r\n ", b" ").decode().split("\r\n")
    values = [line.partition(": ")[2] for line in lines if line.lower().startswith(f"{name.lower()}:")]
    assert len(values) == 1
    return values[0]


EVIL_FIELDS: list[Callable[[str], dict[str, Any]]] = [
    lambda evil: {"x_mailer": evil},
    lambda evil: {"otp": {"code": evil, "origin": "https://x.example"}},
    lambda evil: {"otp": {"code": "1", "origin": f"https://x.example{evil}"}},
    lambda evil: {"auto_submitted": f"auto-generated{evil}"},
    lambda evil: {"base_boundary": evil},
    lambda evil: {"encoding": f"7bit{evil}"},
    lambda evil: {"text_encoding": f"Q{evil}"},
    lambda evil: {"text_format": f"flowed{evil}"},
    lambda evil: {"list": {"unsubscribe": f"https://x.example/{evil}"}},
    lambda evil: {"list": {"unsubscribe": f"a@x.example{evil}"}},
    lambda evil: {"list": {"help": {"url": "https://x.example/", "comment": evil}}},
    lambda evil: {"list": {"id": f"news.example{evil}"}},
    lambda evil: {"list": {"id": {"id": "news.example", "comment": evil}}},
    lambda evil: {"list": {"post": f"NO{evil}"}},
    lambda evil: {"list": {f"help{evil}": "https://x.example"}},
    lambda evil: {"calendar": {"content": EVENT, "method": f"REQUEST{evil}"}},
    lambda evil: {"calendar": {"content": EVENT, "filename": evil}},
    lambda evil: {"calendar": {"content": EVENT, "headers": {"X-A": evil}}},
    lambda evil: {"alternatives": [{"content_type": f"text/x{evil}", "content": "x"}]},
    lambda evil: {"alternatives": [{"content_type": f'text/x; a="{evil}"', "content": "x"}]},
    lambda evil: {"alternatives": [{"content_type": "text/x", "content": b"x", "encoding": evil}]},
    lambda evil: {"alternatives": [{"content_type": "text/x", "content": "x", "headers": {"X-A": evil}}]},
    lambda evil: {"attachments": [{"raw": f"X-A{evil}: b\n\nbody"}]},
]


@pytest.mark.rule("HDR-01")
@pytest.mark.rule("HDR-05")
@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize("number", range(len(EVIL_FIELDS)))
def test_a_line_break_in_any_field_is_refused(number: int, line_break: str) -> None:
    fields = EVIL_FIELDS[number](f"x{line_break}Evil: 1")
    with pytest.raises(MessageError) as caught:
        octets(**fields)
    assert caught.value.field
    assert str(caught.value).isprintable()


@pytest.mark.rule("HDR-01")
@pytest.mark.parametrize("number", range(len(EVIL_FIELDS)))
@given(text=st.text(st.sampled_from('a\r\n\0: @x<>()\\",;=\té\ud800\x0b\u2028%'), max_size=16))
@settings(max_examples=40)
def test_no_field_starts_a_header(number: int, text: str) -> None:
    try:
        message = parsed(text="t", **EVIL_FIELDS[number](text))
    except MessageError:
        return
    assert "evil" not in message
    known = {"from", "to", "message-id", "date", "mime-version", "content-type", "content-transfer-encoding"}
    more = {
        "x-mailer",
        "list-unsubscribe",
        "list-help",
        "list-id",
        "list-post",
        "auto-submitted",
        "otp-token",
    }
    assert {name.lower() for name in message} <= known | more


@pytest.mark.rule("HDR-03")
@pytest.mark.parametrize(
    "value",
    ["a\nb: c", "a\r\nb: c", "a\rb: c", "a\n.\nb", "a\n\n b", "a\r\n\r\nb", "\na", "a\n", "a\r\n ", "a\0", "é", "",
     " \n b", "a\n \n b", "x" * 999, "a\n " + "x" * 998, "a\x0bb", "a\x7f", "\ud800"],
)  # fmt: skip
def test_a_prepared_value_stays_in_its_header(value: str) -> None:
    with pytest.raises(MessageError) as caught:
        octets(headers={"X-A": {"prepared": value}})
    assert caught.value.field is None or "X-A" in str(caught.value)


@pytest.mark.rule("HDR-03")
@pytest.mark.parametrize(
    "value",
    [{"prepared": 5}, {"prepared": b"x"}, {"prepared": None}, {}, {"value": "x"}, {"prepared": "x", "y": 1}],
)
def test_what_is_no_prepared_value(value: Any) -> None:
    with pytest.raises(MessageError, match="prepared"):
        octets(headers={"X-A": value})


@pytest.mark.rule("HDR-03")
def test_a_prepared_value_is_sent_as_it_is() -> None:
    data = octets(headers={"X-A": ["plain", {"prepared": "v=1;  a\n\tb=c\r\n d"}]})
    assert b"X-A: plain\r\nX-A: v=1;  a\r\n\tb=c\r\n d\r\n" in data


@pytest.mark.rule("HDR-13")
@pytest.mark.parametrize("name", ["Subject", "From", "bcc", "Message-ID", "Date"])
def test_a_field_of_the_message_cannot_be_prepared(name: str) -> None:
    with pytest.raises(MessageError, match="prepared"):
        octets(headers={name: {"prepared": "x@y.example"}})


@pytest.mark.rule("HDR-04")
@pytest.mark.parametrize("bad", [*'<>()\\" \x7fé%', "\ud800", "%zz", "日本", ">, <https://evil.example/"])
def test_nothing_ends_a_url_of_a_list(bad: str) -> None:
    value = unfolded("List-Unsubscribe", list={"unsubscribe": f"https://x.example/a{bad}b?c={bad}d"})
    assert value.isascii()
    assert value.isprintable()
    assert value[0] == "<"
    assert value[-1] == ">"
    assert not set(value[1:-1]) & set('<>()\\" ')
    assert re.fullmatch(r"(?:[^%]|%[0-9A-F]{2})*", value)
    shown = bad.replace("\ud800", "\ufffd")
    assert unquote(value[1:-1]) == f"https://x.example/a{shown}b?c={shown}d"


@pytest.mark.rule("HDR-04")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("HTTPS://x.example/%20%2f?a=b&c", "HTTPS://x.example/%20%2f?a=b&c"),
        ("mailto:a@x.example?subject=Ab meldung", "mailto:a@x.example?subject=Ab%20meldung"),
        ("ftp://x.example", "ftp://x.example"),
        ("a+b@x.example", "mailto:a+b@x.example"),
        ("a&b?c=d%/#@x.example", "mailto:a%26b%3Fc%3Dd%25%2F%23@x.example"),
        ("ä@münchen.example", "mailto:%C3%A4@xn--mnchen-3ya.example"),
        ("https://münchen.example:81/ü", "https://xn--mnchen-3ya.example:81/%C3%BC"),
        ("https://u@münchen.example", "https://u@xn--mnchen-3ya.example"),
    ],
)
def test_urls_of_a_list(given: str, expected: str) -> None:
    assert unfolded("List-Help", list={"help": given}) == f"<{expected}>"


@pytest.mark.rule("HDR-04")
@pytest.mark.parametrize(
    "given",
    ["", "x.example", "javascript:alert(1)", "//x.example", "data:,x", "https://", "mailto:", "a@x b@y", "a@x, b@y",
     5, True, [], [5], [[]], {"comment": "x"}, {"url": 5}, {"url": "https://x/", "comment": 5}, {"uri": "https://x/"},
     "https://x.example/" + "x" * 900, b"https://x.example/"],
)  # fmt: skip
def test_what_is_no_url_of_a_list(given: Any) -> None:
    with pytest.raises(MessageError) as caught:
        octets(list={"help": given})
    assert caught.value.field


@pytest.mark.rule("HDR-04")
@given(comment=st.text(max_size=200))
@example(comment="a) b")
@example(comment="(a")
@example(comment="a\\")
@settings(max_examples=200)
def test_a_comment_stays_a_comment(comment: str) -> None:
    try:
        value = unfolded(
            "List-Help", list={"help": {"url": "https://x.example/", "comment": comment}}, text="t"
        )
    except MessageError:
        assert any(char in comment for char in "\r\n\0")
        return
    rest = value.removeprefix("<https://x.example/>")
    depth = 0
    position = 0
    while position < len(rest):  # RFC 5322 §3.2.2, by hand
        char = rest[position]
        if char == "\\":
            position += 1
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        else:
            assert depth == 1 or char == " "
        assert depth in (0, 1)
        position += 1
    assert depth == 0


@pytest.mark.rule("DOS-04")
@pytest.mark.parametrize("char", [*'<>()[]%@:/?#&\\ "', "https://", "%%2", "@x", "é"])
def test_a_list_of_any_length_ends(char: str) -> None:
    """Half a megabyte each: anything that looks at a pair of characters would take hours."""
    evil = char * (500_000 // len(char))
    for value in (
        {"help": f"https://x.example/{evil}"},
        {"help": evil},
        {"id": evil},
        {"id": {"id": "a.b", "comment": evil}},
        {"help": {"url": "https://x.example/", "comment": evil}},
    ):
        with contextlib.suppress(MessageError):
            parsed(list=value)


@pytest.mark.rule("HDR-06")
@pytest.mark.parametrize(
    "name", ["a\r\nb", "a\nb", "a;b", "a=b", "a b", "a\0", "é", "a\x7f", "a:b", '"a"', "", "(a)", "a" * 41]
)
def test_the_name_of_a_parameter_is_a_token(name: str) -> None:
    for field, value in (("attachments", {"content": b""}), ("alternatives", {"content": "x"})):
        kind = f'text/x; {name}="v"'
        with pytest.raises(MessageError) as caught:
            octets(text="t", **{field: [value | {"content_type": kind}]})
        assert caught.value.field == f"{field}[0].content_type"


@pytest.mark.rule("HDR-07")
def test_lone_surrogates_in_every_field() -> None:
    bad = "a\ud800b"
    data = octets(
        text=bad, html=bad, amp=bad, watch_html=bad, calendar={"content": bad, "filename": bad, "headers": {"X-A": bad}},
        alternatives=[{"content_type": f'text/x; a="{bad}"', "content": bad}, {"raw": f"X-A: b\n\n{bad}"}],
        x_mailer=bad, list={"id": {"id": "a.b", "comment": bad}, "help": {"url": f"https://x/{bad}", "comment": bad}},
        text_format="flowed", attach_data_urls=True, text_encoding="B", subject=bad,
    )  # fmt: skip
    assert b"\xed\xa0" not in data
    message = parsed(x_mailer="\ud83d\ude00\ud800x", text_encoding="Q")
    assert message["x-mailer"] == "😀\ufffdx"


@pytest.mark.rule("HDR-08")
@pytest.mark.parametrize(
    "result",
    [
        "X\r\nEvil: 1",
        "X-Other",
        "",
        " ",
        None,
        5,
        b"X-A",
        "X-A:",
        "X-A ",
        "X-A\n",
        "Bcc",
        "X-\u212a",
        ["X-A"],
    ],
)
def test_a_function_that_spells_names_can_only_change_their_case(result: Any) -> None:
    with pytest.raises(MessageError) as caught:
        octets(headers={"X-A": "v"}, normalize_header_key=lambda name: result if name == "X-A" else name)
    assert caught.value.field == "normalize_header_key"


@pytest.mark.rule("HDR-08")
@pytest.mark.parametrize("function", [5, "lower", True, lambda name: 1 / 0, lambda: "x"])
def test_what_is_no_function_that_spells_names(function: Any) -> None:
    with pytest.raises(MessageError) as caught:
        octets(normalize_header_key=function)
    assert caught.value.field == "normalize_header_key"


@pytest.mark.rule("HDR-08")
def test_names_are_spelt_as_the_function_says() -> None:
    data = octets(
        subject="word " * 40, headers={"x-a": {"prepared": "b\n C: d"}}, normalize_header_key=str.upper
    )
    names = [
        line.partition(b":")[0] for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n") if line[:1] != b" "
    ]
    assert b"SUBJECT" in names
    assert b"CONTENT-TRANSFER-ENCODING" in names
    assert names == [name.upper() for name in names]
    assert b"\r\n C: d\r\n" in data


@pytest.mark.rule("HDR-11")
@pytest.mark.parametrize("words", [None, "Q", "B"])
@given(text=st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=300))
@settings(max_examples=60)
def test_words_of_either_encoding_come_back(words: str | None, text: str) -> None:
    message = parsed(subject=text, x_mailer=text, headers={"X-A": text}, text="t", text_encoding=words)
    for name in ("subject", "x-mailer", "x-a"):
        assert (message[name] or "") == (text if text.strip(" \t") else "")


@pytest.mark.rule("HDR-12")
@pytest.mark.parametrize("blank", ["", " ", "\t \t"])
def test_a_field_of_white_space_makes_no_header(blank: str) -> None:
    data = octets(x_mailer=blank, list={"help": {"url": "https://x/", "comment": blank}})
    assert b"X-Mailer" not in data
    assert b"List-Help: <https://x/>\r\n" in data


@pytest.mark.rule("HDR-13")
def test_a_header_that_a_field_says_is_not_said_twice() -> None:
    names = [
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "Auto-Submitted",
        "X-Mailer",
        "OTP-Token",
        "List-ID",
    ]
    message = parsed(
        list={"id": "a.b", "unsubscribe": "https://x.example/", "one_click": True}, auto_submitted="auto-replied",
        x_mailer="m", otp={"code": "1", "origin": "https://x.example"},
        headers={name.swapcase(): "evil" for name in names},
    )  # fmt: skip
    for name in names:
        assert len(message.get_all(name, [])) == 1
        assert "evil" not in message[name]


@pytest.mark.rule("HDR-14")
def test_the_parts_say_nothing_of_hidden_recipients() -> None:
    data = octets(
        bcc="hidden@z.example",
        text="t",
        html="h",
        list={"help": "a@x.example"},
        normalize_header_key=str.lower,
    )
    assert b"hidden" not in data
    assert b"bcc" not in data.lower()


@pytest.mark.rule("HDR-15")
def test_a_boundary_that_is_given_and_occurs_in_a_part_is_changed() -> None:
    text = "--=_0.mine\r\n--=_0.mine--\r\n"
    message = parsed(text=text, html="h", base_boundary="mine", attachments=[{"raw": f"X-A: b\n\n{text}"}])
    assert [part.get_content_type() for part in message.walk()].count("text/plain") == 2
    assert message.get_body(("plain",)).get_content() == text


@pytest.mark.rule("HDR-16")
def test_many_of_everything_take_linear_time() -> None:
    count = 5_000
    data = octets(
        headers={"X-A": [{"prepared": "x"}] * count, "X-B": [str(n) for n in range(count)]},
        alternatives=({"content_type": "text/x", "content": "y"} for _ in range(count)),
        attachments=({"raw": "X: y\n\nz"} for _ in range(count)),
        list={"help": ["https://x.example/"] * count}, normalize_header_key=str.lower,
    )  # fmt: skip
    assert data.count(b"text/x;") == count
    assert data.count(b"\r\nX: y\r\n") == count


@pytest.mark.rule("HDR-16")
def test_the_tree_is_never_deeper_than_three_levels() -> None:
    message = parsed(
        text="t", html="<img src='data:image/png;base64,AAAA'>", amp="a", calendar=EVENT, attach_data_urls=True,
        attachments=[{"content": b""}], alternatives=[{"content_type": "text/x", "content": ""}],
    )  # fmt: skip

    def depth(part: Any) -> int:
        return 1 + max(map(depth, part.iter_parts())) if part.is_multipart() else 0

    assert depth(message) == 3


@pytest.mark.rule("HDR-16")
def test_html_that_is_nested_without_end_is_text_or_an_error() -> None:
    with contextlib.suppress(MessageError):
        octets(html="<div><ul><li><table><tr><td>" * 20_000 + "x", text_from_html=True)


@pytest.mark.rule("HDR-16")
def test_html_that_is_nested_too_deep_to_be_read_is_an_error() -> None:
    depth = len(inspect.stack())
    limit = sys.getrecursionlimit()
    pytest.importorskip("inscriptis")
    octets(html="<p>x", text_from_html=True)  # what is imported at the first use needs a deep stack, too
    try:
        sys.setrecursionlimit(depth + 80)
        with pytest.raises(MessageError) as caught:
            octets(html="<div>" * 200 + "x", text_from_html=True)
    finally:
        sys.setrecursionlimit(limit)
    assert caught.value.field == "text_from_html"


@pytest.mark.rule("INJ-07")
@pytest.mark.parametrize(
    "size",
    [
        "1\r\nRCPT TO:<x@y>",
        "100 BODY=8BITMIME",
        "100",
        -1,
        1e99,
        1.5,
        float("nan"),
        float("inf"),
        True,
        False,
        b"1",
        [1],
    ],
)
def test_the_size_in_an_envelope_is_a_number_of_octets(size: Any) -> None:
    for fields in ({"text": "t"}, {"raw": "A: b\n\nc", "from": None, "to": None}):
        with pytest.raises(MessageError) as caught:
            octets(**fields, envelope={"from": "a@x", "to": "b@y", "size": size})
        assert caught.value.field == "envelope.size"


@pytest.mark.rule("INJ-07")
@pytest.mark.parametrize("value", ["7BIT\r\nRCPT TO:<x@y>", "true", 1, 0, [], b""])
def test_8bitmime_in_an_envelope_is_true_or_false(value: Any) -> None:
    with pytest.raises(MessageError) as caught:
        octets(text="t", envelope={"use_8bitmime": value})
    assert caught.value.field == "envelope.use_8bitmime"


@pytest.mark.rule("DOS-01")
@pytest.mark.parametrize(
    "html",
    [
        '<img src="data:' * 100_000,
        "<img src='data:" * 100_000,
        "<img src=data:" * 100_000,
        '<img src="data:image/png;' + ";" * 10_000_000 + '">',
        '<img src="data:' + "x" * 10_000_000 + '">',
        "<img " + "a=b " * 500_000,
        "<img " + "a " * 500_000 + ">",
        "<img " + "/" * 1_000_000,
        "<img " + " " * 1_000_000 + "=",
        "<img a" + " " * 1_000_000,
        ("<img a" + " " * 1_000) * 1_000,
        "<img \"'" * 200_000,
        "<img ==" * 200_000,
        '<img a="' + "<img b='" * 200_000,
        '<img src="' + "&#" * 1_000_000 + '">',
        '<img src="data:&#x' + "&" * 1_000_000 + '">',
        "<IMG/" * 300_000,
    ],
    ids=lambda html: html[:16],
)
def test_images_in_html_are_found_in_linear_time(html: str) -> None:
    """Up to ten megabytes: a search that starts over for each tag would not end while the test may run."""
    data = octets(html=html, attach_data_urls=True)
    assert b"cid:" not in data


@pytest.mark.rule("DOS-01")
def test_many_images_take_linear_time() -> None:
    html = "".join(f"<img src='data:image/png,{n}'>" for n in range(5_000)) * 2
    data = octets(html=html, attach_data_urls=True)
    assert data.count(b"\r\nContent-ID:") == 5_000
    assert data.count(b"data:image") == 0


@pytest.mark.rule("FIL-08")
@pytest.mark.parametrize(
    "uri", ["data:image/png;base64,!!!!", "data:image/png;base64,AAAAA", "data:image/png;base64,A"]
)
def test_an_image_that_cannot_be_decoded_is_an_error(uri: str) -> None:
    with pytest.raises(MessageError) as caught:
        octets(html=f'<img src="{uri}">', attach_data_urls=True)
    assert caught.value.field == "html"


@pytest.mark.rule("FIL-01")
@pytest.mark.parametrize(
    "fields",
    [
        {"amp": {"path": "{file}"}},
        {"watch_html": {"path": "{file}"}},
        {"text": {"raw": {"path": "{file}"}}},
        {"calendar": {"path": "{file}"}},
        {"alternatives": [{"content_type": "text/x", "path": "{file}"}]},
        {"alternatives": [{"content_type": "image/png", "path": "{file}"}]},
        {"alternatives": [{"raw": {"path": "{file}"}}]},
        {"attachments": [{"raw": {"path": "{file}"}}]},
        {"html": {"path": "{file}"}, "attach_data_urls": True},
        {"html": {"path": "{file}"}, "text_from_html": True},
        {"text": {"path": "{file}"}, "text_format": "flowed"},
    ],
)
def test_no_field_reads_a_file_where_none_may(fields: dict[str, Any], tmp_path: Any) -> None:
    from mailpool import Access

    file = tmp_path / "file"
    file.write_bytes(b"X: y\n\nsecret")

    def with_path(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: with_path(item) for key, item in value.items()}
        if isinstance(value, list):
            return [with_path(item) for item in value]
        return str(file) if value == "{file}" else value

    fields = GOOD | with_path(fields)
    assert seal(fields, now=NOW, token=lambda: "0").content
    with pytest.raises(MessageError, match="not allowed"):
        seal(fields, now=NOW, token=lambda: "0", access=Access.of("none"))


@pytest.mark.parametrize("name", ["href", "path"])
@pytest.mark.parametrize(
    "field", ["text", "html", "amp", "watch_html", "calendar", "alternatives", "raw part"]
)
def test_no_field_leads_to_a_url_unless_that_is_allowed(field: str, name: str) -> None:
    where = {name: "http://127.0.0.1/"}
    fields: dict[str, Any] = {
        "alternatives": {"alternatives": [{"content_type": "text/x"} | where]},
        "raw part": {"attachments": [{"raw": where}]},
    }.get(field, {field: where})
    with pytest.raises(MessageError, match="URLs are not allowed"):
        octets(**fields)


@pytest.mark.rule("LOG-01")
@pytest.mark.parametrize("code", ["secret code!", "geheim\r\n", 731946])
def test_a_one_time_code_is_in_no_error(code: Any) -> None:
    with pytest.raises(MessageError) as caught:
        octets(otp={"code": code, "origin": "https://x.example"})
    assert str(code)[:6] not in str(caught.value)
