"""``format=flowed``, line by line. Of the parsers that read the messages of other tests, only one knows it."""

from __future__ import annotations

import datetime
import email.policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest

from mailpool.errors import MessageError
from mailpool.message import Sealed, seal

NOW = datetime.datetime(2026, 1, 5, 9, 30, 7, tzinfo=datetime.UTC)
TOKEN = "0123456789abcdef"
FROM_TO: dict[str, Any] = {"from": "a@x.example", "to": "b@y.example"}


def sealed(**fields: Any) -> Sealed:
    return seal(FROM_TO | fields, now=NOW, token=lambda: TOKEN)


def octets(result: Sealed) -> bytes:
    return b"".join(result.content.blocks())


def parsed(result: Sealed) -> EmailMessage:
    message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(octets(result))
    for part in message.walk():
        assert not part.defects
    return message


def part_of(result: Sealed, kind: str) -> Any:
    found = [part for part in parsed(result).walk() if part.get_content_type() == kind]
    assert len(found) == 1
    return found[0]


def text_of(result: Sealed, kind: str = "text/plain") -> str:
    text: str = part_of(result, kind).get_payload(decode=True).decode()
    return text.replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short\n", "short\n"),
        ("a " * 50, ("a " * 37 + "a \n" + "a " * 11 + "a\n")),
        (" a\n>b\nFrom c\nFromd\n", "  a\n>b\n From c\nFromd\n"),
        ("trailing   \n-- \nsig", "trailing\n-- \nsig\n"),
        ("-- " + "x" * 80, "-- " + "x" * 80 + "\n"),
        ("> " + "w " * 40, "> " + "w " * 36 + "w \n> w w w\n"),
        (">>" + "w " * 40, ">>" + "w " * 36 + "w \n>> w w w\n"),
        ("x" * 200, "x" * 200 + "\n"),
        (".\n..\n", ".\n..\n"),
        ("", "\n"),
        ("\r\n\r", "\n\n"),
    ],
)
def test_lines(text: str, expected: str) -> None:
    result = sealed(text=text, text_format="flowed")
    assert part_of(result, "text/plain").get_param("format") == "flowed"
    assert text_of(result) == expected or text_of(result) == expected.removesuffix("\n")


@pytest.mark.parametrize("value", ["fixed", "", True, 5])
def test_what_is_no_format(value: Any) -> None:
    with pytest.raises(MessageError) as caught:
        sealed(html="x", text_format=value)
    assert caught.value.field == "text_format"
