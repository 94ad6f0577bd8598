"""Once wrong, now proven: handlers that are cancelled, and handlers that are taken away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool.testing import Fault, ScriptedServer, stall


@pytest.mark.rule("P-20")
@pytest.mark.rule("P-33")
def test_an_idle_handler_that_ends_cancelled_is_called_again(play: Any, received: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=stall(1), times=None)])
    source = iter(range(20))

    async def story(relay: Any) -> None:
        calls = 0

        @relay.transporter.on("idle")
        async def pull() -> None:
            nonlocal calls
            calls += 1
            while relay.transporter.is_idle() and (number := next(source, None)) is not None:
                relay.transporter.send_soon(relay.mail(number))
            if calls == 2:
                # Something of the user's own is cancelled while he waits for it; room appears meanwhile.
                own = asyncio.ensure_future(asyncio.sleep(1_000))
                asyncio.get_running_loop().call_later(2, own.cancel)
                await own

        await asyncio.sleep(200)

    play(story, server, max_connections=1)
    assert received(server) == [str(number) for number in range(20)]


@pytest.mark.rule("P-33")
@pytest.mark.parametrize("slow", [True, False])
def test_a_handler_taken_away_is_not_called_for_what_waited(play: Any, slow: bool) -> None:
    async def story(relay: Any) -> None:
        calls = 0
        others: list[Any] = []

        async def once(_: Any) -> None:
            nonlocal calls
            calls += 1
            if slow:
                await asyncio.sleep(1)
            relay.transporter.off("connection_opened", once)
            await asyncio.sleep(1)

        relay.transporter.on("connection_opened", once)
        relay.transporter.on("connection_opened", others.append)
        await relay.ends(*relay.burst(5))
        await asyncio.sleep(20)
        assert calls == 1
        assert len(others) == 5

    play(story, max_connections=5)


@pytest.mark.rule("P-33")
def test_a_handler_taken_away_before_its_first_call_is_never_called(play: Any) -> None:
    async def story(relay: Any) -> None:
        calls: list[Any] = []
        second = calls.append

        def first(_: Any) -> None:
            # The call of the second is due by now.
            relay.transporter.off("connection_opened", second)

        relay.transporter.on("connection_opened", first)
        relay.transporter.on("connection_opened", second)
        await relay.send(0)
        await asyncio.sleep(1)
        assert calls == []

    play(story)


@pytest.mark.rule("P-33")
def test_a_method_can_be_taken_away(play: Any) -> None:
    class Heard(list[Any]):
        def told(self, *details: Any) -> None:
            self.append(details)

    async def story(relay: Any) -> None:
        heard = Heard()
        # Each access makes another object of the same method.
        relay.transporter.on("connection_opened", heard.told)
        relay.transporter.off("connection_opened", heard.told)
        await relay.send(0)
        await asyncio.sleep(1)
        assert heard == []

    play(story)


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-29")
def test_a_handler_that_asks_a_cancelled_future_does_not_hold_up_the_close(play: Any) -> None:
    async def story(relay: Any) -> None:
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        for event in ("connection_opened", "connection_closed", "idle", "clear"):
            relay.transporter.on(event, lambda *_: cancelled.result())
        await relay.ends(*relay.burst(5))

    play(story)
