"""Failover over real sockets: TLS, logins, a relay that stops in the middle of a batch, and a carrier as the last resort."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from mailpool import MemoryCarrier, create_transport
from mailpool.testing import Authority, ScriptedServer


async def test_a_relay_that_stops_and_one_with_the_wrong_password(authority: Authority) -> None:
    tls = authority.server_context("127.0.0.1")
    moody = ScriptedServer(tls=tls, auth={"me": "secret"})
    forgetful = ScriptedServer(tls=tls, auth={"me": "another"})
    steady = ScriptedServer(tls=tls, auth={"me": "secret"})
    last = MemoryCarrier()
    down: list[str] = []
    async with moody, forgetful, steady:
        transporter = create_transport(
            [*({"host": "127.0.0.1", "port": each.port} for each in (moody, forgetful, steady)), last],
            pool=True,
            auth=("me", "secret"),
            tls=authority.client_context(),
            max_connections=2,
        )
        transporter.on("relay_down", lambda name, error: down.append(name))

        async def source() -> AsyncIterator[dict[str, str]]:
            for number in range(300):
                if number == 100:
                    moody.refuse_connections(True)
                    await moody.disconnect()
                yield {
                    "from": "me@example.org",
                    "to": "you@example.org",
                    "text": "x",
                    "message_id": f"<{number}@example.org>",
                }

        async with transporter:
            outcomes = [outcome async for outcome in transporter.send_many(source())]
            stats = transporter.stats()
    assert len(outcomes) == 300
    assert all(outcome.ok for outcome in outcomes)
    copies = Counter(message.message_id for server in (moody, steady) for message in server.messages)
    copies.update(kept.message_id for kept in last.messages)
    for outcome in outcomes:
        assert outcome.result is not None
        count = copies[outcome.result.message_id]
        assert count == 1 or (count > 1 and outcome.result.maybe_duplicate)
    assert forgetful.messages == []
    assert {f"127.0.0.1:{moody.port}", f"127.0.0.1:{forgetful.port}"} <= set(down)
    assert stats.relays[2].sent > 100
    assert sum(relay.sent for relay in stats.relays) == stats.sent == 300
    await asyncio.sleep(0)
