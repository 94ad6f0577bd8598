"""A token server over HTTPS, a mail server that takes only tokens, and the pool between them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from running import running
from servers import NodeSmtpServer
from servers.token_server import TokenServer

import mailpool
from mailpool.testing import Authority

pytestmark = pytest.mark.interop


@pytest.fixture
def server(authority: Authority) -> Iterator[NodeSmtpServer]:
    """One whose password is a token."""
    server = NodeSmtpServer(authority)
    server.password = "ya29.a-token_as/they+look=="
    yield from running(server)


async def test_a_thousand_messages_with_tokens_of_which_the_first_is_refused(
    server: NodeSmtpServer, authority: Authority
) -> None:
    right = {"token": {"access_token": server.password}}
    async with TokenServer(authority.server_context("127.0.0.1"), {}, right) as tokens:
        heard: list[tuple[str, float | None]] = []
        transporter = mailpool.create_transport(
            host=server.host, port=server.port, tls={"ca_file": str(server.ca_file)}, pool=True, max_connections=5,
            max_messages=50, auth_method="XOAUTH2",
            auth={
                "user": server.username, "token_url": tokens.url, "client_id": "app", "refresh_token": "r",
                "ca_file": str(server.ca_file),
            },
        )  # fmt: skip
        transporter.on("token", lambda *details: heard.append(details))
        async with transporter:
            sends = [
                transporter.send_mail(
                    {"from": "a@example.org", "to": "b@example.net", "message_id": f"<{number}@example.org>", "text": "x"}
                )
                for number in range(1_000)
            ]  # fmt: skip
            await asyncio.gather(*sends)
            assert transporter.stats().handshakes > 5
            assert (await transporter.verify()).mechanism == "XOAUTH2"
    assert len(tokens.forms) == 2
    assert [user for user, _ in heard] == [server.username] * 2
    assert len(server.wait_for_deliveries(1_000)) == 1_000
    assert server.duplicates() == []
