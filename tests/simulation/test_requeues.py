"""P-18: a connection is lost in the midst of a message."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from mailpool import ConnectionFailed, DeliveryUncertain, Rejected, SendError, SendResult
from mailpool.testing import (
    Fault,
    ScriptedServer,
    close,
    deliver_then_close,
    deliver_then_reset,
    deliver_then_stall,
    partial,
    reply,
    reset,
)

BEFORE_END = ["MAIL", "RCPT", "DATA", "CONTENT"]
LOST_AFTER_END = [close(), reset(), partial("250 2.0.0 ok", 2), partial("250 2.0.0 ok", 11)]
TAKEN_AFTER_END = [deliver_then_close(), deliver_then_reset(), deliver_then_stall()]


@pytest.mark.rule("P-18")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("do", [close(), reset()], ids=repr)
@pytest.mark.parametrize("at", BEFORE_END)
@pytest.mark.parametrize("most", [0, 1, 3, -1])
def test_p18_before_the_end_of_data_a_message_is_requeued_up_to_max_requeues(
    play: Any, capabilities: Any, most: int, at: Any, do: Any, pipelining: bool
) -> None:
    times = 6 if most < 0 else None
    server = ScriptedServer(
        capabilities=capabilities(pipelining),
        faults=[Fault(at=at, do=do, times=times, after=1_000 if at == "CONTENT" else 0)],
    )

    async def story(relay: Any) -> None:
        relay.listen("requeued")
        # Long enough for the end of the data not to be written when the connection breaks in the content.
        end = await relay.end(relay.send(0, text="word\n" * 60_000))
        requeues = 6 if most < 0 else most
        assert end.attempts == requeues + 1
        assert relay.transporter.stats().requeued == requeues
        await asyncio.sleep(0)
        assert relay.heard("requeued") == [("<0@example.org>", n) for n in range(1, requeues + 1)]
        if most < 0:
            assert isinstance(end, SendResult)
            assert not end.maybe_duplicate
        else:
            assert isinstance(end, ConnectionFailed)
            assert end.temporary
            assert not end.may_have_been_delivered
            assert not isinstance(end, DeliveryUncertain)

    # max_duplicates has no say here.
    play(story, server, latency=0.01, max_requeues=most, max_duplicates=0)
    assert len(server.messages) == (1 if most < 0 else 0)


@pytest.mark.rule("P-18")
@pytest.mark.parametrize("do", [*LOST_AFTER_END, *TAKEN_AFTER_END], ids=repr)
@pytest.mark.parametrize("most", [1, 3])
def test_p18_after_the_end_of_data_a_message_is_sent_again_and_marked(play: Any, do: Any, most: int) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=do, times=most)])

    async def story(relay: Any) -> None:
        result = await relay.send(0)
        assert isinstance(result, SendResult)
        assert (result.attempts, result.maybe_duplicate) == (most + 1, True)
        assert relay.transporter.stats().sent == 1

    play(story, server, latency=0.01, max_duplicates=most, max_requeues=1)
    copies = most + 1 if do in TAKEN_AFTER_END else 1
    assert [message.message_id for message in server.messages] == ["<0@example.org>"] * copies
    assert len({message.content for message in server.messages}) == 1


@pytest.mark.rule("P-18")
@pytest.mark.rule("POL-06")
@pytest.mark.rule("SRV-13")
@pytest.mark.parametrize("do", [*LOST_AFTER_END, *TAKEN_AFTER_END], ids=repr)
@pytest.mark.parametrize(
    ("options", "attempts"),
    [
        ({"on_uncertain": "fail"}, 1),
        ({"on_uncertain": "fail", "max_duplicates": 9}, 1),
        ({"max_duplicates": 0}, 1),
        ({"max_requeues": 0}, 1),
        ({"max_requeues": 0, "max_duplicates": 5}, 1),
        ({}, 2),
        ({"max_requeues": 1}, 2),
        ({"max_requeues": 9}, 2),
        ({"max_requeues": 1, "max_duplicates": 3}, 4),
    ],
    ids=repr,
)
def test_p18_doubt_that_may_not_be_repeated_is_raised(
    play: Any, do: Any, options: Any, attempts: int
) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=do, times=None)])

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        assert isinstance(error, DeliveryUncertain)
        assert error.may_have_been_delivered
        assert error.attempts == attempts
        assert error.message_id == "<0@example.org>"
        assert error.phase == "end of data"
        assert relay.transporter.stats().uncertain >= 1
        assert relay.transporter.stats().sent == 0

    play(story, server, latency=0.01, **options)
    assert len(server.messages) == (attempts if do in TAKEN_AFTER_END else 0)


@pytest.mark.rule("P-18")
def test_p18_a_plain_requeue_does_not_use_up_the_duplicate_nor_the_reverse(play: Any) -> None:
    faults = [Fault(at="DATA", do=close()), Fault(at="END", do=close())]

    async def story(relay: Any) -> None:
        result = await relay.send(0)
        assert (result.attempts, result.maybe_duplicate) == (3, True)

    play(story, ScriptedServer(faults=faults), latency=0.01, max_requeues=1)


@pytest.mark.rule("P-18")
@pytest.mark.parametrize("then", ["refused", "lost"])
def test_p18_a_doubt_stays_when_a_later_attempt_fails(play: Any, then: str) -> None:
    do = reply("554 5.6.0 no") if then == "refused" else close()
    faults = [Fault(at="END", do=deliver_then_close()), Fault(at="DATA", nth=2, do=do, times=None)]

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        assert isinstance(error, Rejected if then == "refused" else SendError)
        assert error.may_have_been_delivered

    play(story, ScriptedServer(faults=faults), latency=0.01, max_requeues=1, max_duplicates=1)


@pytest.mark.rule("P-18")
def test_p18_the_first_requeue_goes_to_the_front(play: Any, received: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="DATA", match=None, nth=2, do=close())])

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(8))

    play(story, server, latency=0.01, max_connections=1)
    assert received(server) == [str(n) for n in range(8)]


@pytest.mark.rule("P-18")
def test_p18_later_requeues_wait_longer_and_block_nobody(play: Any, received: Any) -> None:
    async def story(relay: Any) -> None:
        poison = asyncio.ensure_future(relay.send("poison", text="word\n" * 60_000))
        others = await relay.ends(*relay.burst(30))
        assert all(isinstance(end, SendResult) for end in others)
        assert relay.now < 10
        assert not poison.done()
        stats = relay.transporter.stats()
        assert stats.queued + stats.in_flight == 1
        assert (await poison).attempts == 11

    server = ScriptedServer(
        faults=[Fault(at="CONTENT", match="number poison", after=1_000, do=close(), times=10)]
    )
    play(story, server, latency=0.01, max_connections=2)
    begun = sorted(record.closed_at for record in server.connections if not record.quit_seen)
    assert len(begun) == len(server.faults.struck) == 10
    waits = [later - earlier for earlier, later in pairwise(begun)]
    assert waits[0] < 1
    for wait, most in zip(waits[1:], (1, 2, 4, 8, 16, 32, 60, 60), strict=True):
        assert wait <= most * 1.5 + 1, waits
    assert 20 < sum(waits) < 280, waits
    assert received(server)[-1] == "poison"


@pytest.mark.rule("P-18")
@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize("at", ["MAIL", "CONTENT", "END"])
def test_p18_a_message_that_kills_connections_travels_alone(play: Any, at: Any, most: int) -> None:
    """After its second loss nobody else is on its connection when that dies."""
    match = "FROM:<poison@" if at == "MAIL" else "number poison"
    after = 1_000 if at == "CONTENT" else 0
    server = ScriptedServer(faults=[Fault(at=at, match=match, after=after, do=close(), times=None)])
    ends: list[Any] = []

    async def story(relay: Any) -> None:
        fields = {"from": "poison@example.org"} if at == "MAIL" else {}
        text = "word\n" * 60_000 if at == "CONTENT" else "short"
        sends = [relay.send("poison", text=text, **fields)]
        for wave in range(40):
            sends += [relay.send(f"{wave}-{n}") for n in range(4)]
            await asyncio.sleep(0.5)
        ends.extend(await relay.ends(*sends))

    play(story, server, latency=0.02, max_connections=most, max_requeues=6, max_duplicates=6)
    assert isinstance(ends[0], SendError)
    assert all(isinstance(end, SendResult) and not end.maybe_duplicate for end in ends[1:])
    # The first two losses could take a neighbour in the same group of commands with them; no later one may.
    assert sum(end.attempts - 1 for end in ends[1:]) <= 2
    # At MAIL a connection that was used before counts as dead (P-11), and the message is not to blame for it yet.
    deaths = len(server.faults.struck)
    assert deaths == 7 or (at == "MAIL" and deaths == 8)


@pytest.mark.rule("P-18")
def test_p18_neighbours_in_a_group_are_judged_one_by_one(play: Any, received: Any) -> None:
    """The content of the first and the envelope of the second leave in one write, and the connection dies."""
    server = ScriptedServer(faults=[Fault(at="END", connection=0, do=deliver_then_close())])

    async def story(relay: Any) -> None:
        first, second, third = await relay.ends(*relay.burst(3))
        assert isinstance(first, DeliveryUncertain)
        assert (second.attempts, second.maybe_duplicate) == (2, False)
        assert (third.attempts, third.maybe_duplicate) == (1, False)

    play(story, server, latency=0.05, max_connections=1, on_uncertain="fail")
    assert received(server) == ["0", "1", "2"]


@pytest.mark.rule("P-18")
def test_p18_an_answer_that_came_before_the_end_counts(play: Any, received: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="MAIL", connection=0, message=1, do=close())])

    async def story(relay: Any) -> None:
        first, second = await relay.ends(*relay.burst(2))
        assert (first.attempts, first.maybe_duplicate) == (1, False)
        assert (second.attempts, second.maybe_duplicate) == (2, False)

    play(story, server, latency=0.05, max_connections=1)
    assert received(server) == ["0", "1"]
