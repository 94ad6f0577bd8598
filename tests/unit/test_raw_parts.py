"""MIME parts that the caller wrote. Parsers differ on what they make of a part without a type, as some are here."""

from __future__ import annotations

import datetime
import email.policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest

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


def shape(part: Any) -> Any:
    kind = part.get_content_type()
    return (kind, [shape(child) for child in part.iter_parts()]) if part.is_multipart() else kind


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
            ({"attachments": [{"raw": "\nplain"}]}, ("multipart/mixed", ["text/plain"])),
            ({"text": {"raw": "\nplain"}}, ("multipart/mixed", ["text/plain"])),
            ({"text": "t", "attachments": [{"raw": 'Content-Type: multipart/x; boundary=b\n\n--b\n\nx\n--b--\n'}]},
             ("multipart/mixed", ["text/plain", ("multipart/x", ["text/plain"])])),
    ],
)  # fmt: skip
def test_the_header_of_a_raw_part_is_never_that_of_the_message(fields: dict[str, Any], expected: Any) -> None:
    assert shape(parsed(sealed(**fields))) == expected


def test_a_raw_part_with_octets_above_127_needs_8bitmime() -> None:
    result = sealed(text="t", attachments=[{"raw": "Content-Transfer-Encoding: 8bit\n\né\r."}])
    assert result.content.eight_bit
    assert parsed(result)["content-transfer-encoding"] == "8bit"
    assert octets(result).replace(b"\r\n", b"").find(b"\r") == -1
