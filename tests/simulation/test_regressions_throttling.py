"""Defects around relays that ask for less."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import SendResult, Throttled
from mailpool.testing import Fault, ScriptedServer, reply


@pytest.mark.rule("P-24")
@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("MAIL", "450 4.7.0 too many messages, slow down"),
        ("END", "451 4.7.0 too many messages, slow down"),
        ("MAIL", "421 4.7.0 too many connections"),
        ("GREETING", "421 4.7.0 too many connections"),
        ("MAIL", "450 4.7.1 slow down, try again in 300 seconds"),
    ],
)
def test_without_patience_one_refusal_does_not_end_everything_that_comes_later(
    play: Any, at: Any, said: str
) -> None:
    async def story(relay: Any) -> None:
        assert isinstance(await relay.end(relay.send("first")), Throttled)
        await asyncio.sleep(400)
        ends = await relay.ends(*relay.burst(3))
        assert all(isinstance(end, SendResult) for end in ends), ends

    play(story, ScriptedServer(faults=[Fault(at=at, do=reply(said))]), max_throttle_wait=0)


@pytest.mark.rule("P-24")
@pytest.mark.parametrize("asked", ["0 seconds", "1 ms"])
def test_a_server_that_wants_nothing_and_says_at_once_is_not_asked_without_pause(
    play: Any, asked: str
) -> None:
    async def story(relay: Any) -> None:
        end = await relay.end(relay.send(1))
        assert isinstance(end, Throttled)
        assert end.attempts < 40

    said = f"450 too fast, try again in {asked}"
    play(story, ScriptedServer(faults=[Fault(at="MAIL", do=reply(said), times=None)]))


@pytest.mark.rule("P-19a")
def test_what_was_on_its_way_when_a_long_pause_began_makes_nobody_wait_for_its_end(play: Any) -> None:
    def slowly(incident: Any) -> None:
        incident.hold(5, incident.answer)

    async def story(relay: Any) -> None:
        slow, refused = relay.send("slow"), relay.send("refused")
        await asyncio.sleep(10)
        waits = relay.send("waits")
        assert isinstance(await relay.end(slow), SendResult)
        assert isinstance(await relay.end(refused), Throttled)
        assert isinstance(await relay.end(waits), Throttled)
        assert relay.now < 320

    faults = [
        Fault(at="END", match="slow", do=slowly),
        Fault(at="END", match="refused", do=reply("450 4.7.0 too fast, try again in 20 hours")),
    ]
    play(story, ScriptedServer(faults=faults))


@pytest.mark.rule("P-19a")
def test_where_no_connection_is_let_in_for_hours_nobody_waits_for_hours(play: Any) -> None:
    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(3))
        assert all(isinstance(end, SendResult) for end in ends)
        await asyncio.sleep(60)  # the one that was let in was idle for too long
        begun = relay.now
        assert isinstance(await relay.end(relay.send("later")), Throttled)
        assert relay.now - begun < 301

    refusal = reply("421 4.7.0 too many logins, try again in 20 hours")
    faults = [Fault(at="GREETING", do=refusal, nth=2, times=None)]
    play(story, ScriptedServer(faults=faults), idle_timeout=10, latency=0.1)
