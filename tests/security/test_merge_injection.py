"""Whatever a row holds: no header, no recipient, no command and no part comes of it."""

from __future__ import annotations

import datetime
import email.policy
from email.message import EmailMessage
from email.parser import BytesParser

import pytest

from mailpool.errors import MessageError
from mailpool.message import MailMerge, Merged

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
BREAKS = ["\r\n", "\r", "\n", "\r\n ", "\n\t", "\n\n", "\r\n\r\n", "\0"]
LETTER = MailMerge(
    {
        "from": "News <n@x.example>",
        "subject": "News for {v}",
        "text": "Dear {v},\n\nhello",
        "html": '<p title="{v}">Dear {v}</p>',
    }
)
TAGGED = MailMerge({"from": "n@x.example", "text": "t", "headers": {"X-Tag": "tag {v}", "X-Other": "o"}})


def octets(merged: Merged) -> bytes:
    return b"".join(merged.sealed(now=NOW, token=lambda: "0123456789abcdef").content.blocks())


def parsed(merged: Merged) -> EmailMessage:
    return BytesParser(EmailMessage, policy=email.policy.default).parsebytes(octets(merged))


@pytest.mark.rule("HDR-01")
@pytest.mark.parametrize("letter", [LETTER, TAGGED])
@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize("start", ["x", "é", ""])
def test_a_value_starts_no_header(letter: MailMerge, line_break: str, start: str) -> None:
    merged = letter.fill(to="a@y.example", v=f"{start}{line_break}Bcc: evil@z.example")
    with pytest.raises(MessageError) as caught:
        octets(merged)
    assert caught.value.field in ("subject", "headers[X-Tag]")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("char", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x1b", "\x7f"])
def test_other_line_separators_are_never_raw_in_a_header(char: str) -> None:
    head = octets(LETTER.fill(to="a@y.example", v=f"a{char}b")).partition(b"\r\n\r\n")[0]
    assert char.encode() not in head
    assert len(parsed(LETTER.fill(to="a@y.example", v=f"a{char}b")).items()) == 7


@pytest.mark.rule("HDR-10")
@pytest.mark.parametrize(
    "name",
    [
        "<b@evil.example>",
        "b@evil.example,",
        'x" <b@evil.example>, "',
        "(",
        "\\",
        "a: b;",
        "\u202eevil",
        "=?utf-8?q?=0d=0a?=",
    ],
)
def test_a_name_cannot_become_an_address(name: str) -> None:
    merged = LETTER.fill(to=(name, "a@y.example"), v="v")
    sealed = merged.sealed(now=NOW, token=lambda: "0123456789abcdef")
    assert sealed.envelope.recipients == ("a@y.example",)
    assert [address.addr_spec for address in parsed(merged)["to"].addresses] == ["a@y.example"]


@pytest.mark.rule("INJ-03")
@pytest.mark.parametrize("char", [*map(chr, range(32)), "\x7f", "\r\n"])
def test_a_control_character_in_an_address_is_refused(char: str) -> None:
    evil = f"a{char}@y.example"
    for merged in (
        LETTER.fill(to=("n", evil), v="v"),
        LETTER.fill(to="b@y.example", envelope={"from": ("", evil)}, v="v"),
        LETTER.fill(to="b@y.example", envelope={"to": [("", evil)]}, v="v"),
    ):
        with pytest.raises(MessageError):
            octets(merged)


@pytest.mark.parametrize(
    "value", ["\n.\n", "\r\n.\r\nMAIL FROM:<x>", "--=_0.0123456789abcdef--", "</p><script>", '" x="', "<!--"]
)
def test_a_value_stays_in_its_part(value: str) -> None:
    letter = MailMerge({"from": "n@x.example", "text": "Dear {v}", "html": '<p title="{v}">{v}</p>'})
    message = parsed(letter.fill(to="a@y.example", v=value))
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    text, page = (part.get_payload(decode=True).decode() for part in message.iter_parts())
    assert text.replace("\r\n", "\n") == f"Dear {value}".replace("\r\n", "\n")
    assert page.count("<") == 2
    assert page.count('"') == 2
