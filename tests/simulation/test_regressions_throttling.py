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
