"""Messages gave up on a relay that was back, or that had not been down for long (P-19)."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from mailpool import ConnectionFailed, DeliveryUncertain, SendResult
from mailpool.testing import Fault, ScriptedServer, stall

WAIT = 30.0


@pytest.mark.rule("P-19")
@pytest.mark.parametrize("seconds", range(1, 29, 3))
@pytest.mark.parametrize("seed", range(5))
def test_p19_a_relay_that_is_back_before_messages_give_up_is_found(
    play: Any, seconds: int, seed: int
) -> None:
    """Whatever the dice say, somebody looks once more while there is time."""
    server = ScriptedServer()

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(5))
        random.seed(seed)
        server.refuse_connections(True)
        await server.disconnect()
        sends = [asyncio.ensure_future(relay.send(number)) for number in range(5, 25)]
        await asyncio.sleep(seconds)
        server.refuse_connections(False)
        assert all(isinstance(end, SendResult) for end in await relay.ends(*sends))

    play(story, server, latency=0.01, connection_wait=WAIT)


@pytest.mark.rule("P-19")
def test_p19_looking_once_more_is_no_storm(play: Any) -> None:
    server = ScriptedServer()

    async def story(relay: Any) -> None:
        server.refuse_connections(True)
        assert isinstance(await relay.end(relay.send(0)), ConnectionFailed)
        # Full jitter takes some eight, halving what is left as many again.
        assert server.refused_connections < 30

    play(story, server, latency=0.01, connection_wait=WAIT, max_connections=1)


@pytest.mark.rule("P-19")
def test_p19_what_failed_while_a_connection_was_open_shortens_no_patience(
    play: Any, received: Any, capabilities: Any
) -> None:
    """A relay that restarts in order takes nobody new first, and lets the others finish. It is down when they are gone."""
    server = ScriptedServer(
        capabilities=capabilities(False), faults=[Fault(at="END", message=1, do=stall(60))]
    )

    async def story(relay: Any) -> None:
        await relay.end(relay.send(0))
        server.refuse_connections(True)
        sends = [asyncio.ensure_future(relay.send(number)) for number in range(1, 4)]
        # One message is being answered slowly over the connection that is open; the others wait.
        await asyncio.sleep(19)
        assert server.refused_connections
        await server.disconnect()
        await asyncio.sleep(25)
        server.refuse_connections(False)
        first, *others = await relay.ends(*sends)
        assert isinstance(first, DeliveryUncertain)
        assert all(isinstance(other, SendResult) for other in others)

    options = {"connection_wait": WAIT, "command_timeout": 300, "on_uncertain": "fail", "max_connections": 2}
    play(story, server, latency=0.01, **options)
    assert received(server) == ["0", "2", "3"]
