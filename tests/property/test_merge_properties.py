"""A letter that is filled in is, octet for octet, the message with the values in its fields."""

from __future__ import annotations

import datetime
import html
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailpool.errors import MessageError
from mailpool.message import MailMerge, Markup, Sealed, seal
from mailpool.message.encoding import encoded_text
from mailpool.message.merge.pattern import Pattern
from mailpool.message.merge.text_part import TextPart, Values

NOW = datetime.datetime(2026, 1, 5, 9, 30, 7, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
TOKEN = "0123456789abcdef"
NAMES = ["name", "Ort", "first name"]

LITERALS = st.one_of(
    st.text("ab .=\t\r\n{}é-_", max_size=30),
    st.text(max_size=40),
    st.builds(
        lambda text, times: text * times, st.text("ab é=\n.", min_size=1, max_size=30), st.integers(1, 60)
    ),
    st.sampled_from([TOKEN, "\r", "\n", " ", ".", "=", "\0", "\ud800", "{name}", "a" * 990]),
)
VALUES = st.one_of(
    st.text("abc 1-.", max_size=20),
    st.text(max_size=20),
    st.sampled_from(
        ["", ".", " ", "\n", "\r", "x" * 998, TOKEN, "é" * 300, "{name}", "<b>&\"'</b>", "\ud800", "\t"]
    ),
)
# What is written, piece by piece: literal text, or the number of a name.
PIECES = st.lists(st.one_of(LITERALS, st.integers(0, len(NAMES) - 1)), max_size=7)
WORDS = st.lists(st.one_of(st.text('ab é,=?_"<', max_size=30), st.integers(0, len(NAMES) - 1)), max_size=5)
FILES = st.lists(
    st.fixed_dictionaries(
        {"content": st.binary(max_size=80)},
        optional={
            "filename": st.text("ab é.", max_size=10),
            "cid": st.just("a@b"),
            "content_type": st.sampled_from(["image/png", "message/rfc822", "text/plain"]),
        },
    ),
    max_size=2,
)


def pattern(pieces: list[str | int]) -> str:
    return "".join(
        "{" + NAMES[piece] + "}" if isinstance(piece, int) else piece.replace("{", "{{").replace("}", "}}")
        for piece in pieces
    )


def filled(pieces: list[str | int], values: dict[str, str]) -> str:
    return "".join(values[NAMES[piece]] if isinstance(piece, int) else piece for piece in pieces)


def outcome(make: Any) -> tuple[Any, ...]:
    try:
        sealed: Sealed = make()
    except MessageError as error:
        return type(error), error.field, str(error)
    content = sealed.content
    return (
        b"".join(content.blocks()),
        content.eight_bit,
        content.utf8_headers,
        content.crlf_only,
        sealed.envelope,
        sealed.message_id,
    )


@given(
    subject=st.none() | WORDS,
    text=st.none() | PIECES,
    page=st.none() | PIECES,
    header=st.none() | WORDS,
    files=st.none() | FILES,
    to=st.sampled_from(
        [
            "b@y.example",
            "Bo Ö <B@Y.example>",
            ("B, C", "b@y.example"),
            "b@y, c@z",
            "é@y.example",
            "broken",
            [],
            None,
        ]
    ),
    more=st.fixed_dictionaries(
        {},
        optional={
            "cc": st.sampled_from(["c@z.example", "b@y.example"]),
            "bcc": st.just("Hidden <h@z.example>"),
            "from": st.just("é@x.example"),
            "sender": st.just("s@x.example"),
            "reply_to": st.just("r@x.example"),
            "to": st.just("all@y.example"),
            "date": st.just("Mon, 05 Jan 2026 00:00:00 +0000"),
            "in_reply_to": st.just("<a@b>"),
            "priority": st.just("high"),
            "list": st.just({"unsubscribe": "https://x.example/", "one_click": True}),
            "recipient_limit": st.sampled_from([1, 9]),
            "text_encoding": st.just("B"),
            "attach_data_urls": st.just(True),
            "envelope": st.sampled_from(
                [
                    {"from": "bounce@x.example"},
                    {"from": "", "to": "e@y.example"},
                    {"size": 500},
                    {"use_8bitmime": True},
                ]
            ),
        },
    ),
    own=st.fixed_dictionaries(
        {},
        optional={
            "cc": st.just("own@z.example"),
            "reply_to": st.just("own@x.example"),
            "envelope": st.sampled_from([{"from": "bounce+7@x.example"}, {"from": "no address"}]),
        },
    ),
    defaults=st.sampled_from(
        [None, {"headers": {"X-Default": "d"}, "cc": "d@z.example"}, {"text": "default"}]
    ),
    values=st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)),
)
@settings(max_examples=400, deadline=None)
def test_filling_in_is_composing(
    subject: Any,
    text: Any,
    page: Any,
    header: Any,
    files: Any,
    to: Any,
    more: dict[str, Any],
    own: dict[str, Any],
    defaults: Any,
    values: dict[str, str],
) -> None:
    fields: dict[str, Any] = {"from": "Ann <a@x.example>", **more}
    if files is not None:
        fields["attachments"] = files
    letter = dict(fields)
    for key, pieces in (("subject", subject), ("text", text), ("html", page)):
        if pieces is not None:
            letter[key] = pattern(pieces)
            escaped = {name: html.escape(value) for name, value in values.items()}
            fields[key] = filled(pieces, escaped if key == "html" else values)
    if header is not None:
        letter["headers"] = [("X-Any", pattern(header)), ("X-Static", "s")]
        fields["headers"] = [("X-Any", filled(header, values)), ("X-Static", "s")]
    fields |= own
    if to is not None:
        fields["to"] = to
    given: dict[str, Any] = {
        "now": NOW,
        "token": lambda: TOKEN,
        "hostname": "h.example",
        "defaults": defaults,
    }
    merge = MailMerge(letter)
    for _ in range(2):  # the second one finds everything prepared
        assert outcome(lambda: merge.fill(values, to=to, **own).sealed(**given)) == outcome(
            lambda: seal(fields, **given)
        )
    assert outcome(lambda: seal(merge.fill(values, to=to, **own).fields(), **given)) == outcome(
        lambda: seal(fields, **given)
    )


@given(PIECES, st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)))
@example(pieces=["a\r", 0, "\nb"], values=dict.fromkeys(NAMES, ""))
@example(pieces=["a", 0], values=dict.fromkeys(NAMES, "x" * 998))
@example(pieces=["a", 0, "\n", 1], values={"name": " ", "Ort": ".", "first name": ""})
@example(pieces=["é" + "a" * 74, 0, "\n"], values=dict.fromkeys(NAMES, "b"))
@settings(max_examples=1000, deadline=None)
def test_a_part_in_pieces_is_encoded_as_one(pieces: list[str | int], values: dict[str, str]) -> None:
    encoding, body = encoded_text(filled(pieces, values))
    bare, octets = TextPart(Pattern(pattern(pieces), "text", "text")).encoded(Values(values))
    assert octets == f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body
    assert bare == (encoding == "7bit")


@given(VALUES.filter(str.isprintable))
@pytest.mark.rule("HDR-01")
def test_no_value_is_markup_unless_it_says_so(value: str) -> None:
    letter = MailMerge({"from": "a@x.example", "to": "b@y.example", "html": "<p>{v}</p>"})
    assert letter.fill(v=value).fields()["html"] == f"<p>{html.escape(value)}</p>"
    assert letter.fill(v=Markup(value)).fields()["html"] == f"<p>{value}</p>"
