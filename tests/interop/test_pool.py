"""The pool against real servers: 1,000 messages, counted on the server's side."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import mailpool

pytestmark = pytest.mark.interop

SERVERS = [
    "aiosmtpd",
    "aiosmtpd_starttls",
    "smtp_sink",
    "postfix",
    "exim",
    "node_smtp_server",
    "node_smtp_server_tls",
]
MESSAGES = 1_000
CONNECTIONS = 5
PER_CONNECTION = 100


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def transporter_for(server: Any, **options: Any) -> mailpool.Transporter:
    """As secure as the server can be: STARTTLS and the login are mailpool's own choice then."""
    options = {"pool": True, "max_connections": CONNECTIONS, "max_messages": PER_CONNECTION, **options}
    return mailpool.create_transport(
        host=server.host,
        port=server.port,
        secure=server.tls == "implicit",
        tls={"ca_file": str(server.ca_file)},
        auth={"user": server.username, "pass": server.password} if server.requires_auth else None,
        **options,
    )


def letter(number: int, to: str = "reader@example.net") -> dict[str, Any]:
    return {
        "from": "Newsletter <news@example.org>",
        "to": to,
        "message_id": f"<{number}@example.org>",
        "subject": f"Issue {number} – grüße",
        "text": f"Hello,\n.\n..\nthis is number {number}.\n",
        "html": f"<p>Hello, this is <b>number {number}</b>.</p>",
    }


@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_a_thousand_messages_over_five_connections(server: Any) -> None:
    async with transporter_for(server) as transporter:
        outcomes = [
            outcome async for outcome in transporter.send_many(letter(number) for number in range(MESSAGES))
        ]
        stats = transporter.stats()
    errors = [outcome.error for outcome in outcomes if not outcome.ok]
    assert errors == []
    assert len(outcomes) == MESSAGES
    deliveries = await asyncio.to_thread(server.wait_for_deliveries, MESSAGES)
    assert sorted(deliveries) == sorted((f"<{n}@example.org>", "reader@example.net") for n in range(MESSAGES))
    # Not a login for each message: a tenth of a hundred, and what the spread of the first lives adds.
    assert MESSAGES // PER_CONNECTION <= stats.handshakes <= MESSAGES // PER_CONNECTION + CONNECTIONS
    assert stats.requeued == stats.uncertain == 0
    assert stats.disabled == frozenset()


@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_without_pipelining_the_outcome_is_the_same(server: Any) -> None:
    async with transporter_for(server, disable={"PIPELINING"}) as transporter:
        results = await asyncio.gather(*(transporter.send_mail(letter(number)) for number in range(50)))
    assert all(result.accepted == ("reader@example.net",) for result in results)
    deliveries = await asyncio.to_thread(server.wait_for_deliveries, 50)
    assert len(set(deliveries)) == len(deliveries) == 50


@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_a_refused_message_costs_no_connection_and_hurts_no_other(server: Any) -> None:
    """Too large for every server that has a limit, and between two others on the same connection (P-05)."""
    async with transporter_for(server, max_connections=1) as transporter:
        report = await transporter.verify()
        limit = report.capabilities.size
        if limit is not None and limit <= 64 * 1024 * 1024:
            with pytest.raises(mailpool.UnsupportedByServer, match=str(limit)):
                await transporter.send_mail({**letter(0), "text": "x" * limit})
        sends = [transporter.send_mail(letter(number)) for number in (1, 2)]
        assert [result.accepted for result in await asyncio.gather(*sends)] == [("reader@example.net",)] * 2
        assert transporter.stats().handshakes == 1
    assert len(await asyncio.to_thread(server.wait_for_deliveries, 2)) == 2


@pytest.mark.parametrize("server", [name for name in SERVERS if name != "smtp_sink"], indirect=True)
async def test_a_wrong_password_is_told_as_such(server: Any) -> None:
    transporter = transporter_for(server)
    wrong = mailpool.create_transport(
        transporter.options, auth={"user": server.username, "pass": "not-the-secret"}
    )
    sends = [wrong.send_mail(letter(number)) for number in range(20)]
    errors = await asyncio.gather(*sends, return_exceptions=True)
    assert {type(error) for error in errors} == {mailpool.AuthenticationFailed}
    assert "not-the-secret" not in str(errors[0])
    assert wrong.stats().connection_failures == 1
    await wrong.close()
    assert server.deliveries() == []


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
