"""MIME parts that the caller wrote. Parsers differ on what they make of a part without a type, as some are here."""

from __future__ import annotations

from typing import Any

import pytest
from sealing import octets, parsed, sealed, shape


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
