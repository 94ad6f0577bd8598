"""Messages sealed at a fixed time with fixed boundaries, and read back by the standard library, which finds no defect."""

from __future__ import annotations

import datetime
import email.policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from mailpool.message import Sealed, seal

NOW = datetime.datetime(2026, 1, 5, 9, 30, 7, tzinfo=datetime.UTC)
TOKEN = "0123456789abcdef"
FROM_TO: dict[str, Any] = {"from": "a@x.example", "to": "b@y.example"}


def sealed(message: Any = None, /, **fields: Any) -> Sealed:
    return seal(FROM_TO | fields if message is None else message, now=NOW, token=lambda: TOKEN)


def octets(result: Sealed) -> bytes:
    data = b"".join(result.content.blocks())
    assert len(data) == result.content.size
    assert data.endswith(b"\r\n")
    return data


def parsed(result: Sealed) -> EmailMessage:
    message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(octets(result))
    for part in message.walk():
        assert not part.defects
    return message


def shape(part: Any) -> Any:
    """The type of a part, and of those in it."""
    kind = part.get_content_type()
    return (kind, [shape(child) for child in part.iter_parts()]) if part.is_multipart() else kind


def part_of(result: Sealed, kind: str) -> Any:
    """The only part of this type."""
    found = [part for part in parsed(result).walk() if part.get_content_type() == kind]
    assert len(found) == 1
    return found[0]


def text_of(result: Sealed, kind: str = "text/plain") -> str:
    text: str = part_of(result, kind).get_payload(decode=True).decode()
    return text.replace("\r\n", "\n")
