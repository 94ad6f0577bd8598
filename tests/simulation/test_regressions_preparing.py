"""Once wrong, now proven: hooks and contents of the user's that do what nobody expects while they are awaited."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mailpool import (
    Deferred,
    MessageError,
    Phase,
    Sealed,
    SendResult,
    UsageError,
    all_accepted,
    create_transport,
)
from mailpool.testing import run_virtual


async def cancels_something_else(_: object = None) -> Any:
    waiting = asyncio.ensure_future(asyncio.sleep(60))
    await asyncio.sleep(0)
    waiting.cancel()
    await waiting


class Content:
    """A content whose parts fail as they are told to."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.given = 0

    def __aiter__(self) -> Any:
        if self.at == "begin":
            raise KeyError("broken")
        return self

    async def __anext__(self) -> bytes:
        self.given += 1
        if self.at == "cancel":
            await cancels_something_else()
        if self.given > 2:
            raise StopAsyncIteration
        return b"x"

    async def aclose(self) -> None:
        if self.at == "end":
            raise KeyError("broken")


@pytest.mark.rule("P-14")
@pytest.mark.parametrize("stage", ["compose", "sealed"])
def test_a_hook_that_lets_out_a_cancellation_of_its_own_fails_its_message(play: Any, stage: str) -> None:
    async def story(relay: Any) -> None:
        relay.transporter.use(stage, cancels_something_else)
        error = await relay.end(relay.send(0))
        assert isinstance(error, MessageError)
        assert isinstance(error.__cause__, asyncio.CancelledError)
        # Nobody who pulls is taken for cancelled.
        outcomes = [one async for one in relay.transporter.send_many([relay.mail(1), relay.mail(2)])]
        assert [type(one.error) for one in outcomes] == [MessageError, MessageError]

    play(story)


@pytest.mark.rule("P-14")
@pytest.mark.parametrize("at", ["begin", "end", "cancel"])
def test_a_content_that_breaks_anywhere_fails_its_message(play: Any, at: str) -> None:
    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0, attachments=[{"content": Content(at)}]))
        assert isinstance(error, MessageError)
        assert error.__cause__ is not None
        assert isinstance(await relay.end(relay.send(1)), SendResult)

    play(story)


@pytest.mark.rule("P-14")
def test_a_content_without_end_that_never_waits_holds_up_nobody(play: Any) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while not stopped:
            yield b"x"

    stopped = False

    async def story(relay: Any) -> None:
        nonlocal stopped
        held = relay.send(0, attachments=[{"content": endless()}], deadline=60)
        others = [await relay.end(relay.send(number)) for number in range(1, 4)]
        assert [type(one) for one in others] == [SendResult] * 3
        # The clock of this test stands still while anything runs.
        stopped = True
        assert isinstance(await relay.end(held), SendResult)

    play(story)


@pytest.mark.rule("P-14")
def test_hooks_that_send_a_message_themselves_do_not_wait_for_each_other(play: Any, received: Any) -> None:
    async def story(relay: Any) -> None:
        @relay.transporter.use("sealed")
        async def keep_a_copy(sealed: Any) -> None:
            if not sealed.message_id.startswith("<copy"):
                await relay.send(
                    f"copy of {sealed.message_id[1:4]}", message_id=f"<copy{sealed.message_id[1:]}"
                )

        # More than are prepared at once.
        assert {type(end) for end in await relay.ends(*relay.burst(250))} == {SendResult}

    assert len(set(received(play(story)))) == 500


@pytest.mark.rule("P-14")
def test_a_hook_that_waits_for_drain_does_not_wait_for_itself(play: Any) -> None:
    async def story(relay: Any) -> None:
        @relay.transporter.use("compose")
        async def wait(fields: dict[str, Any]) -> None:
            if fields["subject"] == "number 0":
                await relay.transporter.drain()

        ends = await relay.ends(*relay.burst(3))
        assert isinstance(ends[0], UsageError)
        assert [type(end) for end in ends[1:]] == [SendResult] * 2
        # Nothing has ended by that.
        assert relay.transporter.is_idle()
        assert isinstance(await relay.end(relay.send(4)), SendResult)

    play(story, timeout=1_000)


@pytest.mark.rule("P-20")
@pytest.mark.parametrize(
    "options", [{"max_queue": 2, "max_connections": 1, "pipeline_depth": 8}, {"max_queue": 7, "rate": "1/s"}]
)
def test_who_pulls_while_there_is_room_never_finds_the_queue_full(play: Any, options: Any) -> None:
    waiting = list(range(60))

    async def story(relay: Any) -> None:
        relay.listen("error")

        @relay.transporter.use("sealed")
        async def look(sealed: Any) -> None:
            await asyncio.sleep(0.01)

        def pull() -> None:
            while waiting and relay.transporter.is_idle():
                relay.transporter.send_soon(relay.mail(waiting.pop()))

        relay.transporter.on("idle", pull)
        await asyncio.sleep(100)
        assert relay.heard("error") == []
        assert (waiting, relay.transporter.stats().sent) == ([], 60)

    play(story, latency=0.02, **options)


class Slow:
    """A way out that takes its time, and sometimes says "later"."""

    def __init__(self, refuses: float = 0.0) -> None:
        self._refuses = refuses
        self._dice = random.Random(3)

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        await asyncio.sleep(0.05)
        if self._dice.random() < self._refuses:
            raise Deferred("later", phase=Phase.HANDOVER, temporary=True)
        return all_accepted(sealed, "250 ok")


@pytest.mark.rule("P-20")
@pytest.mark.parametrize("strategy", ["failover", "round-robin"])
@pytest.mark.parametrize("options", [{"max_queue": 1}, {"max_queue": 4, "rate": "2/s"}])
def test_who_pulls_for_several_relays_never_finds_the_queue_full(
    strategy: str, options: dict[str, Any]
) -> None:
    waiting = list(range(60))
    failures: list[object] = []

    async def story() -> None:
        relays = [Slow(0.3), Slow(), Slow(0.1)]
        transporter = create_transport(relays, strategy=strategy, move_deferred=True, **options)
        transporter.on("error", failures.append)

        @transporter.use("sealed")
        async def look(sealed: Any) -> None:
            await asyncio.sleep(0.01)

        @transporter.on("idle")
        def pull() -> None:
            while waiting and transporter.is_idle():
                fields = {"from": "from@example.org", "to": "to@example.org", "text": str(waiting.pop())}
                transporter.send_soon(fields)

        async with transporter:
            await asyncio.sleep(100)
        assert (failures, waiting) == ([], [])
        assert transporter.stats().sent == 60

    run_virtual(story)
