"""The pool against real servers, beyond the scenarios: TLS, PIPELINING, what verify tells."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scenarios import letter, transporter_for
from servers.catalogue import SERVERS

import mailpool

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_without_pipelining_the_outcome_is_the_same(server: Any) -> None:
    async with transporter_for(server, disable={"PIPELINING"}) as transporter:
        results = await asyncio.gather(*(transporter.send_mail(letter(number)) for number in range(50)))
    assert all(result.accepted == ("reader@example.net",) for result in results)
    deliveries = await asyncio.to_thread(server.wait_for_deliveries, 50)
    assert len(set(deliveries)) == len(deliveries) == 50


@pytest.mark.parametrize("server", ["postfix", "node_smtp_server_tls", "aiosmtpd"], indirect=True)
async def test_an_unknown_authority_is_not_trusted(server: Any) -> None:
    transporter = mailpool.create_transport(
        host=server.host,
        port=server.port,
        secure=server.tls == "implicit",
        auth={"user": server.username, "pass": server.password},
        starttls="auto" if server.tls == "implicit" else "required",
        pool=True,
    )
    with pytest.raises(mailpool.TLSFailed, match="not trusted"):
        await transporter.send_mail(letter(0))
    await transporter.close()
    assert server.deliveries() == []


@pytest.mark.parametrize(
    "server", ["postfix", "node_smtp_server_tls", "aiosmtpd", "aiosmtpd_starttls"], indirect=True
)
async def test_tls_sessions_are_resumed(server: Any) -> None:
    """Each connection carries one message, so that there are many handshakes; all but the first ones are short."""
    async with transporter_for(server, max_connections=1, max_messages=1) as transporter:
        for number in range(5):
            await transporter.send_mail(letter(number))
        stats = transporter.stats()
    assert stats.handshakes == 5
    assert stats.tls_resumed >= 3


@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_verify_tells_what_the_server_offers(server: Any) -> None:
    transporter = transporter_for(server)
    report = await transporter.verify()
    assert report.capabilities.pipelining == server.pipelining
    assert (report.tls_version is not None) == (server.tls is not None)
    assert (report.mechanism is not None) == server.requires_auth
    assert sum(report.timings.values()) == report.total > 0
    await transporter.close()


@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_content_arrives_as_it_was_written(server: Any) -> None:
    """A megabyte that is refused by nobody, in blocks, among small ones."""
    async with transporter_for(server, max_connections=1) as transporter:
        large = {**letter(7), "attachments": [{"filename": "noise.bin", "content": bytes(range(256)) * 4096}]}
        sends = [transporter.send_mail(message) for message in (letter(6), large, letter(8))]
        results = await asyncio.gather(*sends)
    assert [result.message_id for result in results] == [
        "<6@example.org>",
        "<7@example.org>",
        "<8@example.org>",
    ]
    deliveries = await asyncio.to_thread(server.wait_for_deliveries, 3)
    assert sorted(delivery.message_id for delivery in deliveries) == [
        "<6@example.org>",
        "<7@example.org>",
        "<8@example.org>",
    ]
