"""BINARYMIME with real servers (RFC 3030): Dovecot's submission service takes it, Postfix and Exim do not offer it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from servers import NotAvailable
from servers.dovecot_submission import DovecotSubmission

import mailpool
from mailpool import SendResult, UnsupportedByServer
from mailpool.message.sources import LARGE
from mailpool.testing import Fault, ScriptedServer, reply

pytestmark = pytest.mark.interop

ANYTHING = bytes(range(256)) * 4 + b"\r\n.\r\nRSET\r\n.\r.\n\0" + b"x" * 3_000 + b"\r"


@asynccontextmanager
async def dovecot(*faults: Fault) -> AsyncIterator[tuple[DovecotSubmission, ScriptedServer]]:
    """A Dovecot, and the server to which it relays."""
    offered = ("PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME", "SIZE 104857600", "DSN")
    async with ScriptedServer(capabilities=offered, faults=faults) as relay:
        server = DovecotSubmission(relay.port)
        try:
            await asyncio.to_thread(server.__enter__)
        except NotAvailable as reason:
            pytest.skip(str(reason))
        try:
            yield server, relay
        finally:
            await asyncio.to_thread(server.__exit__)


def transporter_for(server: Any, **options: Any) -> mailpool.Transporter:
    return mailpool.create_transport(
        host=server.host,
        port=server.port,
        secure=False,
        auth={"user": server.username, "pass": server.password},
        pool=True,
        **options,
    )


def letter(number: int, content: bytes | Path, **fields: Any) -> dict[str, Any]:
    given = {"path": content} if isinstance(content, Path) else {"content": content}
    return {
        "from": f"sender{number}@example.org",
        "to": f"reader{number}@example.net",
        "message_id": f"<{number}@example.org>",
        "text": "See the file.\n",
        "attachments": [{**given, "filename": "a.bin", "transfer_encoding": "binary"}],
        **fields,
    }


def as_relayed(content: bytes) -> bytes:
    """Dovecot 2.3 takes every octet, and then writes CRLF for each LF, as for mail that is not binary."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", content)


def attached(message: EmailMessage) -> bytes:
    (part,) = message.iter_attachments()
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


@pytest.mark.parametrize(
    ("depth", "disable"), [(1, ()), (8, ()), (1, ("PIPELINING",))], ids=["1", "8", "step by step"]
)
async def test_dovecot_takes_every_octet(tmp_path: Path, depth: int, disable: Any) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(ANYTHING.replace(b"\n", b"\r\n") * (2 * LARGE // len(ANYTHING)))
    contents = [ANYTHING, b"", b"\r", b"\0\xff", large, ANYTHING.replace(b"\n", b"\r\n") * 9]
    async with dovecot() as (server, relay):
        async with transporter_for(
            server, max_connections=2, pipeline_depth=depth, disable=disable
        ) as transporter:
            offered = (await transporter.verify()).capabilities
            assert offered is not None
            assert offered.binarymime
            sends = [transporter.send_mail(letter(n, contents[n % len(contents)])) for n in range(30)]
            results = await asyncio.gather(*sends)
        assert [result.attempts for result in results] == [1] * 30, server.log()
        # It says how many octets it was given; another of its programs writes that down, some time later.
        while len(sizes := re.findall(r"relayed message: .*, size=(\d+)", server.log())) < 30:
            await asyncio.sleep(0.05)
        assert sorted(map(int, sizes)) == sorted(result.size for result in results)
        assert relay.violations == []
        assert len(relay.messages) == 30
        for message in relay.messages:
            number = int((message.message_id or "").strip("<>").partition("@")[0])
            content = contents[number % len(contents)]
            expected = content.read_bytes() if isinstance(content, Path) else content
            assert message.sender == f"sender{number}@example.org"
            assert message.mail_parameters["BODY"] == "BINARYMIME"
            assert attached(message.email) == as_relayed(expected)


async def test_what_dovecot_refuses_costs_no_other_message() -> None:
    refused = Fault(at="RCPT", match="no[0-9]+@", do=reply("550 5.1.1 no such user"), times=None)
    unwanted = Fault(at="END", match="<3@", do=reply("554 5.7.1 not wanted"))
    async with dovecot(refused, unwanted) as (server, relay):
        async with transporter_for(server, max_connections=1, pipeline_depth=8) as transporter:
            sends = [
                transporter.send_mail(
                    letter(
                        n, ANYTHING, to=[f"no{n}@example.net", *([f"yes{n}@example.net"] if n % 4 else [])]
                    )
                )
                for n in range(12)
            ]
            plain = transporter.send_mail(
                {"from": "a@example.org", "to": "b@example.net", "text": ".\n", "message_id": "<plain@b>"}
            )
            ends = await asyncio.gather(*sends, plain, return_exceptions=True)
        for number, end in enumerate(ends[:-1]):
            assert isinstance(end, SendResult) == bool(number % 4 and number != 3), (end, server.log())
            assert not getattr(end, "maybe_duplicate", False)
        assert isinstance(ends[-1], SendResult)
        arrived = {message.message_id: message for message in relay.messages}
        assert len(arrived) == len(relay.messages) == 9
        for number in (1, 2, 5, 6, 7, 9, 10, 11):
            message = arrived[f"<{number}@example.org>"]
            assert message.sender == f"sender{number}@example.org"
            assert attached(message.email) == as_relayed(ANYTHING)


@pytest.mark.parametrize("name", ["postfix", "exim"])
async def test_servers_that_do_not_offer_it_are_not_given_it(request: Any, name: str) -> None:
    server = request.getfixturevalue(name)
    async with mailpool.create_transport(
        host=server.host,
        port=server.port,
        secure=False,
        tls={"ca_file": str(server.ca_file)},
        auth={"user": server.username, "pass": server.password},
        pool=True,
        max_connections=1,
    ) as transporter:
        with pytest.raises(UnsupportedByServer, match="BINARYMIME"):
            await transporter.send_mail(letter(0, ANYTHING))
        coded = letter(1, ANYTHING)
        del coded["attachments"][0]["transfer_encoding"]
        assert (await transporter.send_mail(coded)).attempts == 1
        assert transporter.stats().handshakes == 1
