"""Once wrong, now proven: batches, their sources, and what one bad message does to the others."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from mailpool import SendResult
from mailpool.pool.delivery import Delivery


@pytest.mark.rule("P-21")
def test_a_small_max_queue_keeps_the_source_unread(play: Any) -> None:
    pulled = 0

    async def story(relay: Any) -> None:
        def source() -> Iterator[dict[str, Any]]:
            nonlocal pulled
            for number in range(1_000):
                pulled += 1
                yield relay.mail(number)

        async with contextlib.aclosing(relay.transporter.send_many(source())) as outcomes:
            async for outcome in outcomes:
                assert isinstance(outcome.result, SendResult)
                break
        assert pulled < 10

    play(story, max_queue=2, max_connections=5, rate="1/s")


@pytest.mark.rule("P-21")
@pytest.mark.rule("P-29")
def test_leaving_a_batch_closes_its_source_before_it_returns(play: Any) -> None:
    closed: list[str] = []

    async def story(relay: Any) -> None:
        async def source() -> AsyncIterator[dict[str, Any]]:
            try:
                for number in range(100):
                    yield relay.mail(number)
            finally:
                closed.append("begun")
                await asyncio.sleep(1)
                closed.append("ended")

        async with contextlib.aclosing(relay.transporter.send_many(source())) as outcomes:
            async for _ in outcomes:
                break
        assert closed == ["begun", "ended"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    play(story)


@pytest.mark.rule("P-21")
@pytest.mark.rule("P-14")
@pytest.mark.parametrize(
    "changes",
    [
        {"attachments": 5},
        {"attachments": [5]},
        {"alternatives": 5},
        {"headers": 5},
        {"headers": {"X-Own": ...}},
        {"to": ...},
        {"text": ...},
        {"date": 5},
        {"envelope": 5},
        {"raw": 5},
        {5: 6},
        None,
    ],
    ids=repr,
)
def test_one_bad_message_ends_alone(play: Any, received: Any, changes: dict[Any, Any] | None) -> None:
    async def story(relay: Any) -> None:
        bad = None if changes is None else {**relay.mail("bad"), **changes}
        items = [relay.mail(0), bad, relay.mail(1), relay.mail(2)]
        outcomes = [outcome async for outcome in relay.transporter.send_many(items)]
        assert len(outcomes) == len(items)
        assert [outcome.message for outcome in outcomes if outcome.error is not None] == [bad]

    server = play(story, max_connections=1)
    assert received(server) == ["0", "1", "2"]


def test_a_message_that_has_ended_leaves_nothing_to_the_garbage_collector(play: Any) -> None:
    async def story(relay: Any) -> None:
        gc.collect()
        gc.disable()
        try:
            await relay.ends(*(relay.send(f"no-cycle-{number}") for number in range(50)))
            await asyncio.sleep(1)
            left = [thing for thing in gc.get_objects() if isinstance(thing, Delivery)]
            left = [delivery for delivery in left if "no-cycle" in delivery.message_id]
        finally:
            gc.enable()
        assert left == []

    play(story)
