"""Once wrong, now proven: callers that give up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import SendResult
from mailpool.pool.delivery import Delivery
from mailpool.testing import Fault, ScriptedServer, stall


@pytest.mark.rule("P-27")
@pytest.mark.rule("P-14")
def test_the_deadline_of_a_message_that_was_cancelled_on_the_wire_breaks_nothing(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=stall(5))])

    async def story(relay: Any) -> None:
        relay.listen("detached")
        send = relay.send(0, deadline=3)
        await asyncio.sleep(1)
        send.cancel()
        await asyncio.sleep(10)
        assert send.cancelled()
        [(message_id, outcome)] = relay.heard("detached")
        assert (message_id, type(outcome)) == ("<0@example.org>", SendResult)

    play(story, server)


@pytest.mark.rule("P-27")
@pytest.mark.rule("P-21")
@pytest.mark.rule("DOS-05")
@pytest.mark.parametrize("order", ["first come", "last come"])
def test_cancelling_does_not_search_the_queue(play: Any, monkeypatch: Any, order: str) -> None:
    compared = 0

    def counting(one: Delivery, other: object) -> bool:
        nonlocal compared
        compared += 1
        return one is other

    # Whoever searches a list for a message compares; nothing else about it is changed.
    monkeypatch.setattr(Delivery, "__eq__", counting, raising=False)

    async def story(relay: Any) -> None:
        relay.network.black_hole("relay.example", 25)
        sends = relay.burst(400)
        stats = relay.transporter.stats()
        assert (stats.queued, stats.held_back) == (200, 200)
        for send in sends if order == "first come" else reversed(sends):
            send.cancel()
        await asyncio.sleep(1)
        stats = relay.transporter.stats()
        assert (stats.queued, stats.held_back) == (0, 0)
        assert compared <= 4 * len(sends)

    play(story, max_queue=200)


@pytest.mark.rule("P-27")
@pytest.mark.rule("P-22")
def test_those_cancelled_in_front_of_the_door_are_passed_over(play: Any, received: Any) -> None:
    async def story(relay: Any) -> None:
        sends = relay.burst(12)
        for number in (3, 5, 6, 11):
            sends[number].cancel()
        left = [send for send in sends if not send.cancelled()]
        assert relay.transporter.stats().held_back == 6
        assert all(isinstance(end, SendResult) for end in await relay.ends(*left))
        assert relay.transporter.stats().held_back == 0

    server = play(story, max_queue=2, max_connections=1)
    assert received(server) == ["0", "1", "2", "4", "7", "8", "9", "10"]
