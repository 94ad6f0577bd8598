"""Binary parts (RFC 3030 §3): any octets arrive as they are, from memory and from sources."""

from __future__ import annotations

import asyncio
import datetime
import email.policy
from email.message import EmailMessage
from email.parser import BytesFeedParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpool import SendResult
from mailpool.message import seal
from mailpool.message.sources import MemorySource
from mailpool.options import parse_options
from mailpool.testing import MemoryNetwork, ScriptedServer, run_virtual
from mailpool.transporter import Transporter

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
TOKEN = "0123456789abcdef"
PIECES = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b".", b"\r\n.\r\n", b"\0", b"\xff", b"--", f"\r\n--=_0.{TOKEN}".encode(), b"--\r\n", b"\r\n\r\n",
     b"BDAT 5 LAST\r\n", b"RSET\r\n", b"Content-Type: text/html\r\n\r\n", b"x" * 1_200]
)  # fmt: skip
ANYTHING = st.lists(PIECES | st.binary(max_size=40), max_size=12).map(b"".join)


def part(content: bytes, *, streamed: bool, inline: bool = False) -> dict[str, Any]:
    return {
        "content": MemorySource(content) if streamed else content,
        "filename": "a.bin",
        "transfer_encoding": "binary",
        **({"cid": "a"} if inline else {}),
    }


def read(data: bytes) -> list[bytes]:
    """The contents of the attachments, by the standard library."""
    parser = BytesFeedParser(EmailMessage, policy=email.policy.default)
    parser.feed(data)
    found = [leaf for leaf in parser.close().walk() if leaf.get_filename() == "a.bin"]
    contents = [leaf.get_payload(decode=True) for leaf in found]
    return [content for content in contents if isinstance(content, bytes)]


@pytest.mark.rule("HDR-15")
@given(st.lists(st.tuples(ANYTHING, st.booleans(), st.booleans()), min_size=1, max_size=3), st.booleans())
def test_any_octets_are_read_as_they_were_given(parts: list[tuple[bytes, bool, bool]], chosen: bool) -> None:
    # What is streamed is looked through for a boundary that somebody chose; by chance it does not have one.
    parts = [(content, streamed and chosen, inline) for content, streamed, inline in parts]
    message = seal(
        {
            "from": "a@x.example",
            "to": "b@y.example",
            "html": "<p>é</p>",
            "attachments": [part(c, streamed=s, inline=i) for c, s, i in parts],
            "base_boundary": TOKEN if chosen else None,
        },
        now=NOW,
        token=lambda: "fedcba9876543210" if chosen else TOKEN,
    )
    data = bytes(message)
    assert len(data) == message.content.size
    assert message.content.binary
    # Inline parts come first.
    assert read(data) == [part[0] for part in sorted(parts, key=lambda part: not part[2])]


@pytest.mark.parametrize("depth", [1, 8])
@pytest.mark.parametrize("pipelining", [True, False])
@settings(max_examples=25)
@given(st.lists(st.tuples(ANYTHING, st.booleans()), min_size=1, max_size=10), st.integers(1, 300))
def test_any_octets_arrive_as_they_were_given(
    depth: int, pipelining: bool, contents: list[tuple[bytes, bool]], window: int
) -> None:
    capabilities = ("CHUNKING", "BINARYMIME", *(["PIPELINING"] if pipelining else []))
    server = ScriptedServer(capabilities=capabilities)

    async def main() -> None:
        network = MemoryNetwork(window=window * 100)
        network.listen("x.example", 25, server)

        async def connect(options: Any, connection: Any, context: Any) -> Any:
            return (await network.dial(options.host, options.effective_port, lambda: connection))[0]

        options = parse_options(host="x.example", port=25, pool=True, max_connections=1, pipeline_depth=depth)
        async with Transporter(options, connector=connect) as transporter:
            sends = [
                transporter.send_mail(
                    {
                        "from": "a@x.example",
                        "to": "b@y.example",
                        "attachments": [part(content, streamed=streamed)],
                    }
                )
                for content, streamed in contents
            ]
            ends = await asyncio.gather(*sends)
        assert all(isinstance(end, SendResult) and end.attempts == 1 for end in ends)

    run_virtual(main)
    assert not server.violations
    assert [read(message.content) for message in server.messages] == [[content] for content, _ in contents]
    assert {message.mail_parameters.get("BODY") for message in server.messages} == {"BINARYMIME"}
