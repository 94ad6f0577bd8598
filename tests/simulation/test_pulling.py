"""P-21 and P-22: many messages, back-pressure, and their order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from mailpool import MessageError, PoolClosed, Rejected, SendResult
from mailpool.testing import Fault, ScriptedServer, close, reply, stall


class Counting:
    """A source that knows how far ahead of the outcomes it was pulled."""

    def __init__(self, relay: Any, count: int) -> None:
        self.relay = relay
        self.count = count
        self.pulled = 0
        self.ended = 0
        self.ahead = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in range(self.count):
            self.pulled += 1
            self.ahead = max(self.ahead, self.pulled - self.ended)
            yield self.relay.mail(number)

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        for item in iter(self):
            yield item


class OnlyAsync:
    """The asynchronous half of ``Counting``."""

    def __init__(self, source: Counting) -> None:
        self._source = source

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return aiter(self._source)


@pytest.mark.rule("P-21")
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("most", "depth"), [(1, 1), (3, 1), (2, 4)])
def test_p21_a_source_is_pulled_only_when_there_is_room(
    play: Any, most: int, depth: int, asynchronous: bool
) -> None:
    count = 3_000

    async def story(relay: Any) -> None:
        source = Counting(relay, count)
        async for outcome in relay.transporter.send_many(OnlyAsync(source) if asynchronous else iter(source)):
            assert outcome.ok
            assert isinstance(outcome.result, SendResult)
            assert outcome.message["message_id"] == outcome.result.message_id
            source.ended += 1
        assert source.ended == count
        # Waiting, on the wire (those whose end of data is unanswered, and the next envelope), those whose outcome is
        # about to be taken, and the one in hand.
        assert source.ahead <= most * depth + most * (depth + 1) + most + 2, source.ahead

    server = play(
        story, ScriptedServer(keep_content=False), latency=0.01, max_connections=most, pipeline_depth=depth
    )
    assert len(server.messages) == count


@pytest.mark.rule("P-21")
@pytest.mark.rule("DOS-05")
def test_p21_a_million_that_cannot_be_sent_are_not_pulled(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=stall(50), times=None)])

    async def story(relay: Any) -> None:
        source = Counting(relay, 1_000_000)
        sending = relay.transporter.send_many(iter(source))
        for _ in range(10):
            assert (await anext(sending)).ok
        assert source.pulled < 40
        await sending.aclose()
        await asyncio.sleep(100)
        assert source.pulled < 40

    play(story, server, latency=0.01, max_connections=3)


@pytest.mark.rule("P-21")
def test_p21_a_slow_consumer_holds_the_source_back(play: Any) -> None:
    async def story(relay: Any) -> None:
        source = Counting(relay, 100_000)
        sending = relay.transporter.send_many(iter(source))
        for number in range(20):
            await anext(sending)
            await asyncio.sleep(10)
            # Outcomes that nobody takes are kept, and not without bound.
            assert source.pulled - number < 250
        await sending.aclose()

    play(story, latency=0.001, max_connections=5)


@pytest.mark.rule("P-21")
def test_p21_no_message_ends_the_batch(play: Any) -> None:
    faults = [
        Fault(at="END", match=r"number 3\r", do=reply("550 5.7.1 no")),
        Fault(at="DATA", nth=6, do=close()),
    ]

    async def story(relay: Any) -> None:
        items: list[Any] = [relay.mail(number) for number in range(10)]
        items[5] = {"from": "nobody", "to": ""}
        items[7] = {"from": "a@example.org", "to": "b@example.org", "no_such_field": 1}
        outcomes = [outcome async for outcome in relay.transporter.send_many(items)]
        assert len(outcomes) == 10
        by_item = {items.index(outcome.message): outcome for outcome in outcomes}
        assert [n for n, outcome in sorted(by_item.items()) if not outcome.ok] == [3, 5, 7]
        assert isinstance(by_item[3].error, Rejected)
        assert isinstance(by_item[5].error, MessageError)
        assert isinstance(by_item[7].error, MessageError)
        assert by_item[5].result is None

    server = ScriptedServer(faults=faults)
    play(story, server, latency=0.01, max_connections=2)
    assert len(server.messages) == 7


@pytest.mark.rule("P-21")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_p21_a_source_that_raises_does_so_after_the_outcomes(play: Any, asynchronous: bool) -> None:
    async def story(relay: Any) -> None:
        def source() -> Iterator[Any]:
            for number in range(7):
                yield relay.mail(number)
            raise LookupError("the database is gone")

        async def asynchronous_source() -> AsyncIterator[Any]:
            for item in source():
                yield item

        sending = relay.transporter.send_many(asynchronous_source() if asynchronous else source())
        outcomes = [(await anext(sending)).ok for _ in range(7)]
        with pytest.raises(LookupError, match="the database is gone"):
            await anext(sending)
        assert outcomes == [True] * 7

    assert len(play(story, latency=0.01, max_connections=2).messages) == 7


@pytest.mark.rule("P-21")
def test_p21_leaving_early_cancels_what_is_not_sent(play: Any) -> None:
    async def story(relay: Any) -> None:
        source = Counting(relay, 10_000)
        sending = relay.transporter.send_many(iter(source))
        async for outcome in sending:
            assert outcome.ok
            break
        await sending.aclose()
        await asyncio.sleep(10)
        assert source.pulled < 12
        stats = relay.transporter.stats()
        assert (stats.queued, stats.in_flight) == (0, 0)
        # The transporter goes on.
        assert (await relay.send("after")).accepted

    server = play(story, latency=0.05, max_connections=2)
    assert len(server.messages) < 12


@pytest.mark.rule("P-21")
def test_p21_a_source_that_waits_holds_nothing_up(play: Any) -> None:
    async def story(relay: Any) -> None:
        async def source() -> AsyncIterator[Any]:
            for number in range(4):
                yield relay.mail(number)
                await asyncio.sleep(100)

        at = [relay.now async for outcome in relay.transporter.send_many(source())]
        assert [round(when) // 100 for when in at] == [0, 1, 2, 3]

    play(story, latency=0.01)


@pytest.mark.rule("P-21")
def test_p21_nothing_to_send_ends_at_once(play: Any) -> None:
    async def story(relay: Any) -> None:
        assert [outcome async for outcome in relay.transporter.send_many([])] == []

    play(story)


@pytest.mark.rule("P-21")
@pytest.mark.parametrize("way", ["close", "drain"])
def test_p21_closing_in_the_midst_ends_what_was_taken_and_leaves_the_rest(play: Any, way: str) -> None:
    async def story(relay: Any) -> None:
        source = Counting(relay, 300)
        outcomes = []
        sending = relay.transporter.send_many(iter(source))
        for _ in range(50):
            outcomes.append(await anext(sending))  # noqa: PERF401
        closing = asyncio.ensure_future(getattr(relay.transporter, way)())
        # There will never be room again: nobody pulls, and the loop that waits for more is told why.
        with contextlib.suppress(PoolClosed):
            while True:
                outcomes.append(await anext(sending))
        with pytest.raises(StopAsyncIteration):
            await anext(sending)
        await closing
        assert len(outcomes) == source.pulled < 80
        assert {type(outcome.error) for outcome in outcomes} <= {type(None), PoolClosed}
        assert way == "close" or all(outcome.ok for outcome in outcomes)

    play(story, latency=0.01, max_connections=2)


@pytest.mark.rule("P-21")
def test_p21_beyond_max_queue_the_awaitable_waits_its_turn(play: Any, received: Any) -> None:
    seen: list[int] = []

    async def story(relay: Any) -> None:
        sends = relay.burst(60)
        seen.append(relay.transporter.stats().queued)
        while not all(send.done() for send in sends):
            seen.append(relay.transporter.stats().queued)
            await asyncio.sleep(0.01)
        assert all(isinstance(end, SendResult) for end in await relay.ends(*sends))

    server = play(story, latency=0.02, max_connections=1, max_queue=5)
    assert max(seen) == 5
    assert received(server) == [str(n) for n in range(60)]


@pytest.mark.rule("P-21")
def test_p21_one_that_waits_to_be_queued_can_be_cancelled_or_closed(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=stall(5))])

    async def story(relay: Any) -> None:
        sends = [asyncio.ensure_future(send) for send in relay.burst(12)]
        await asyncio.sleep(1)
        sends[9].cancel()
        closing = asyncio.ensure_future(relay.transporter.close(30))
        ends = await relay.ends(*sends)
        unsent = await closing
        # The envelope of the second one was on its way behind the content of the first.
        assert isinstance(ends[0], SendResult)
        assert isinstance(ends[9], asyncio.CancelledError)
        assert all(isinstance(end, PoolClosed) for n, end in enumerate(ends) if n not in (0, 1, 9)), ends
        unsent_ids = [sealed.message_id for sealed in unsent if sealed.message_id != "<1@example.org>"]
        assert unsent_ids == [f"<{n}@example.org>" for n in range(2, 12) if n != 9]

    play(story, server, latency=0.01, max_connections=1, max_queue=4)


@pytest.mark.rule("P-22")
@pytest.mark.parametrize("pipelining", [True, False])
def test_p22_first_come_first_sent(play: Any, received: Any, capabilities: Any, pipelining: bool) -> None:
    async def story(relay: Any) -> None:
        sends = []
        for number in range(100):
            sends.append(relay.send(number))
            await asyncio.sleep(0.003 * (number % 3))
        await relay.ends(*sends)

    server = ScriptedServer(capabilities=capabilities(pipelining))
    play(story, server, latency=0.002, max_connections=1, max_messages=9)
    assert received(server) == [str(n) for n in range(100)]


@pytest.mark.rule("P-22")
def test_p22_by_several_connections_first_come_first_begun(play: Any) -> None:
    begun: list[str] = []
    note = Fault(at="MAIL", do=lambda incident: incident.answer(), times=None)
    server = ScriptedServer(faults=[note])

    async def story(relay: Any) -> None:
        await relay.ends(*(relay.send(n, **{"from": f"n{n:03}@example.org"}) for n in range(120)))
        begun.extend(line for line in server.commands() if line.startswith("MAIL"))

    play(story, server, latency=0.02, max_connections=4)
    numbers = [int(line[12:15]) for line in begun]
    assert all(abs(place - number) <= 4 for place, number in enumerate(numbers)), numbers


@pytest.mark.rule("P-22")
def test_p22_priority_passes_bulk(play: Any, received: Any) -> None:
    async def story(relay: Any) -> None:
        bulk = [relay.send(f"bulk{n}", priority=-1) for n in range(200)]
        await asyncio.sleep(1)
        urgent = [relay.send(f"urgent{n}", priority=1) for n in range(3)]
        usual = relay.send("usual")
        started = len(server.messages)
        await relay.ends(*urgent, usual)
        assert len(server.messages) - started <= 9
        await relay.ends(*bulk)

    server = ScriptedServer()
    play(story, server, latency=0.02, max_connections=1)
    order = received(server)
    special = [number for number in order if not number.startswith("bulk")]
    assert special == ["urgent0", "urgent1", "urgent2", "usual"]
    assert [n for n in order if n.startswith("bulk")] == [f"bulk{n}" for n in range(200)]


@pytest.mark.rule("P-22")
def test_p22_send_many_is_passed_by_single_messages(play: Any, received: Any) -> None:
    async def story(relay: Any) -> None:
        sending = relay.transporter.send_many(relay.mail(f"bulk{n}") for n in range(300))
        for _ in range(50):
            await anext(sending)
        before = len(server.messages)
        single = asyncio.ensure_future(relay.send("single"))
        async for _ in sending:
            if single.done():
                break
        assert len(server.messages) - before <= 8
        await sending.aclose()

    server = ScriptedServer()
    play(story, server, latency=0.02, max_connections=2)


@pytest.mark.rule("P-22")
@pytest.mark.parametrize("bulk_priority", [-1, -100])
def test_p22_bulk_does_not_starve_for_ever(play: Any, received: Any, bulk_priority: int) -> None:
    async def story(relay: Any) -> None:
        pending = [asyncio.ensure_future(relay.send(f"urgent{n}", priority=5)) for n in range(20)]
        bulk = asyncio.ensure_future(relay.send("bulk", priority=bulk_priority))
        number = 20
        while not bulk.done():
            # There is always something urgent that waits.
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            still = [send for send in pending if not send.done()]
            number += 20 - len(still)
            pending = still + [
                asyncio.ensure_future(relay.send(f"urgent{number + k}", priority=5))
                for k in range(20 - len(still))
            ]
            assert relay.now < 3_600, "starved for an hour"
        await relay.ends(*pending)

    # One message each second.
    play(story, latency=0.25, max_connections=1, rate="1/s")
