"""FIL-01: what a message may read is decided before any carrier sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailpool import (
    FileCarrier,
    JSONCarrier,
    MemoryCarrier,
    MessageError,
    SendmailCarrier,
    StreamCarrier,
    create_transport,
)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("s3cret")
    return path


@pytest.mark.rule("FIL-01")
@pytest.mark.parametrize("way", ["json", "sendmail", "memory", "file", "stream"])
async def test_fil_01_no_carrier_sees_a_message_that_may_not_read(
    way: str, secret: Path, tmp_path: Path
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("it has been given the message")

    class Never:
        write = never

    carrier: Any = {
        "json": JSONCarrier(never),
        "sendmail": SendmailCarrier("/no/such/program"),
        "memory": MemoryCarrier(),
        "file": FileCarrier(tmp_path / "out"),
        "stream": StreamCarrier(Never()),
    }[way]
    async with create_transport(carrier, access="none") as transporter:
        with pytest.raises(MessageError):
            await transporter.send_mail(
                {
                    "from": "a@example.org",
                    "to": "b@example.org",
                    "text": "x",
                    "attachments": [{"path": str(secret)}],
                }
            )
        assert transporter.stats().took.count == 0
    assert not (tmp_path / "out").exists()
