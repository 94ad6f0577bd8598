"""P-20 and P-20a: room, the event that tells of it, and plain functions."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import Any

import pytest

from mailpool import (
    ConfigurationError,
    MessageError,
    PoolClosed,
    QueueFull,
    Rejected,
    UsageError,
    create_transport,
)
from mailpool.testing import Fault, ScriptedServer, reply, run_virtual, stall

HOST, PORT = "relay.example", 25


@pytest.mark.rule("P-20")
@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize("depth", [1, 3])
def test_p20_idle_is_fewer_waiting_than_connections_times_depth(play: Any, most: int, depth: int) -> None:
    async def story(relay: Any) -> None:
        transporter = relay.transporter
        assert transporter.is_idle()
        sends = []
        for number in range(most * depth):
            assert transporter.is_idle()
            sends.append(relay.send(number))
        # None has a connection yet: all wait.
        assert transporter.stats().queued == most * depth
        assert not transporter.is_idle()
        await relay.ends(*sends)
        assert transporter.is_idle()

    play(story, latency=0.1, max_connections=most, pipeline_depth=depth)


@pytest.mark.rule("P-20")
def test_p20_what_is_on_the_wire_does_not_count(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=stall(100), times=2)])

    async def story(relay: Any) -> None:
        sends = relay.burst(2)
        assert not relay.transporter.is_idle()
        await asyncio.sleep(5)
        stats = relay.transporter.stats()
        assert (stats.queued, stats.in_flight, relay.transporter.is_idle()) == (0, 2, True)
        await relay.ends(*sends)

    play(story, server, latency=0.01, max_connections=2)


@pytest.mark.rule("P-20")
def test_p20_neither_drain_nor_close_leaves_room(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=stall(3))])

    async def story(relay: Any) -> None:
        send = relay.send(0)
        await asyncio.sleep(1)
        assert relay.transporter.is_idle()
        draining = asyncio.ensure_future(relay.transporter.drain())
        await asyncio.sleep(0)
        assert not relay.transporter.is_idle()
        await draining
        assert not relay.transporter.is_idle()
        assert (await send).accepted
        fresh = relay.another()
        await fresh.close()
        assert not fresh.is_idle()

    play(story, server)


@pytest.mark.rule("P-20")
@pytest.mark.parametrize("what", ["down", "slow", "rate"])
def test_p20_the_pull_loop_never_swallows_the_source(play: Any, what: str) -> None:
    """The user's loop of the docs: on idle, pull while there is room."""
    server = ScriptedServer(faults=[Fault(at="END", do=stall(10), times=None)] if what == "slow" else [])
    most_waiting: list[int] = [0]

    async def story(relay: Any) -> None:
        if what == "down":
            relay.network.fail(HOST, PORT, OSError(errno.ENETUNREACH, "down"))
        pulled = 0

        @relay.transporter.on("idle")
        def pull() -> None:
            nonlocal pulled
            while relay.transporter.is_idle() and pulled < 10_000:
                relay.transporter.send_soon(relay.mail(pulled))
                pulled += 1
                most_waiting[0] = max(most_waiting[0], relay.transporter.stats().queued)

        relay.transporter.on("error", lambda error: None)
        await asyncio.sleep(25)
        assert pulled >= 4
        # What was sent or is on the wire, and four that wait.
        stats = relay.transporter.stats()
        assert pulled <= stats.sent + stats.in_flight + stats.failed + 4
        assert pulled < 40
        await relay.transporter.close(1)

    play(story, server, latency=0.01, max_connections=4, rate="1/s" if what == "rate" else None)
    assert most_waiting[0] == 4


@pytest.mark.rule("P-20")
def test_p20_idle_is_emitted_soon_after_first_use(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.listen("idle")
        assert relay.events == []
        send = relay.send(0)
        assert relay.events == []
        await asyncio.sleep(0.001)
        assert relay.events == [("idle", ())]
        await send
        await asyncio.sleep(100)
        assert relay.events == [("idle", ())]

    play(story, latency=0.05, max_connections=3)


@pytest.mark.rule("P-20")
def test_p20_idle_is_emitted_each_time_that_room_appears(play: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.send("first")
        relay.listen("idle")
        await asyncio.sleep(1)
        relay.events.clear()
        for times in range(1, 6):
            ends = relay.ends(*relay.burst(6))
            await ends
            await asyncio.sleep(1)
            assert len(relay.heard("idle")) == times
        await relay.send("no-change")
        await asyncio.sleep(1)
        assert len(relay.heard("idle")) == 5

    play(story, latency=0.01, max_connections=2)


@pytest.mark.rule("P-20")
def test_p20_a_late_handler_is_called_soon_if_there_is_room_and_only_it(play: Any) -> None:
    calls: list[str] = []

    async def story(relay: Any) -> None:
        relay.transporter.on("idle", lambda: calls.append("early"))
        await relay.send(0)
        await asyncio.sleep(1)
        before = calls.count("early")
        relay.transporter.on("idle", lambda: calls.append("late"))
        assert "late" not in calls
        await asyncio.sleep(0.001)
        assert (calls.count("early"), calls.count("late")) == (before, 1)
        sends = relay.burst(3)
        relay.transporter.on("idle", lambda: calls.append("later"))
        await asyncio.sleep(0.001)
        assert "later" not in calls
        await relay.ends(*sends)
        await asyncio.sleep(1)
        assert calls.count("later") == 1

    play(story, latency=0.05, max_connections=1)


@pytest.mark.rule("P-20")
@pytest.mark.parametrize("asynchronous", [True, False])
def test_p20_a_handler_is_never_reentered(play: Any, asynchronous: bool) -> None:
    running, most, calls = 0, 0, 0

    async def story(relay: Any) -> None:
        async def slow() -> None:
            nonlocal running, most, calls
            running, calls = running + 1, calls + 1
            most = max(most, running)
            await asyncio.sleep(10)
            running -= 1

        def nested() -> None:
            nonlocal running, most, calls
            running, calls = running + 1, calls + 1
            most = max(most, running)
            if calls < 5:
                # Takes all room, and room appears only later.
                relay.burst(3)
            running -= 1

        relay.transporter.on("idle", slow if asynchronous else nested)
        if asynchronous:
            await asyncio.sleep(1)
            for _ in range(4):
                await relay.ends(*relay.burst(5))
            assert calls == 1
            await asyncio.sleep(10)
            assert calls == 2
            await asyncio.sleep(30)
            assert calls == 2
        else:
            await asyncio.sleep(30)
            assert calls == 5

    play(story, latency=0.01, max_connections=2)
    assert most == 1


@pytest.mark.rule("P-20")
def test_p20_an_async_pull_loop_moves_everything(play: Any) -> None:
    source = list(range(500))

    async def story(relay: Any) -> None:
        sends: list[Any] = []

        @relay.transporter.on("idle")
        async def pull() -> None:
            while source and relay.transporter.is_idle():
                sends.append(relay.send(source.pop(0)))
                await asyncio.sleep(0)

        while len(sends) < 500:
            await asyncio.sleep(0.1)
            assert relay.now < 300
        await relay.ends(*sends)

    server = play(story, latency=0.05, max_connections=3)
    assert len(server.messages) == 500


@pytest.mark.rule("P-20a")
def test_p20a_fields_are_checked_and_the_place_is_taken_before_it_returns(play: Any, received: Any) -> None:
    async def story(relay: Any) -> None:
        for send in (relay.transporter.send_mail, relay.transporter.send_soon):
            with pytest.raises(MessageError) as caught:
                send({"from": "a@example.org", "to": "no address"})
            assert caught.value.field == "to"
        assert relay.transporter.stats().queued == 0
        last = None
        for number in range(3):
            last = relay.send(number)  # the first two are not awaited
            assert relay.transporter.stats().queued == number + 1
        relay.transporter.send_soon(relay.mail(3))
        assert relay.transporter.stats().queued == 4
        await last
        await asyncio.sleep(1)

    server = play(story, latency=0.01, max_connections=1)
    assert received(server) == ["0", "1", "2", "3"]


@pytest.mark.rule("P-20a")
@pytest.mark.parametrize("listened", [True, False])
def test_p20a_send_soon_reports_failure_by_event_or_log(play: Any, caplog: Any, listened: bool) -> None:
    server = ScriptedServer(faults=[Fault(at="RCPT", do=reply("550 5.1.1 nobody"))])

    async def story(relay: Any) -> None:
        if listened:
            relay.listen("error")
        assert relay.transporter.send_soon(relay.mail(0)) is None
        await asyncio.sleep(1)
        if listened:
            ((error,),) = relay.heard("error")
            assert isinstance(error, Rejected)
            assert error.message_id == "<0@example.org>"

    play(story, server)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == (0 if listened else 1)
    if not listened:
        assert errors[0].name.startswith("mailpool")
        assert errors[0].message_id == "<0@example.org>"


@pytest.mark.rule("P-20a")
def test_p20a_create_transport_needs_no_loop_and_sending_does() -> None:
    transporter = create_transport(host="relay.example", port=25, pool=True)
    assert transporter.is_idle()
    calls: list[int] = []
    transporter.on("idle", lambda: calls.append(1))
    with pytest.raises(UsageError, match="loop"):
        transporter.send_mail({"from": "a@example.org", "to": "b@example.org"})
    with pytest.raises(UsageError, match="loop"):
        transporter.send_soon({"from": "a@example.org", "to": "b@example.org"})
    with pytest.raises(ConfigurationError):
        transporter.on("no such event", print)


@pytest.mark.rule("P-20a")
@pytest.mark.rule("POL-11")
def test_p20a_another_loop_is_told_so_clearly() -> None:
    transporter = create_transport(host="relay.example", port=25, pool=True)

    async def first() -> None:
        transporter.stats()

    async def second() -> None:
        for use in (
            lambda: transporter.send_mail({"from": "a@example.org", "to": "b@example.org"}),
            lambda: transporter.send_soon({"from": "a@example.org", "to": "b@example.org"}),
            transporter.stats,
        ):
            with pytest.raises(UsageError, match="loop"):
                use()

    run_virtual(first)
    run_virtual(second)


@pytest.mark.rule("P-21")
def test_p21_send_soon_raises_when_the_queue_is_full(play: Any) -> None:
    async def story(relay: Any) -> None:
        for number in range(7):
            relay.transporter.send_soon(relay.mail(number))
        with pytest.raises(QueueFull):
            relay.transporter.send_soon(relay.mail(7))
        await asyncio.sleep(2)
        relay.transporter.send_soon(relay.mail(8))
        await asyncio.sleep(1)

    assert len(play(story, latency=0.01, max_connections=2, max_queue=7).messages) == 8


@pytest.mark.rule("P-28")
@pytest.mark.rule("POL-01")
def test_p28_after_close_sending_raises_at_once(play: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.send(0)
        closing = asyncio.ensure_future(relay.transporter.close())
        await asyncio.sleep(0)
        for _ in range(2):
            with pytest.raises(PoolClosed):
                relay.transporter.send_mail(relay.mail(1))
            with pytest.raises(PoolClosed):
                relay.transporter.send_soon(relay.mail(1))
            await closing
        fresh = relay.another()
        await fresh.close()
        with pytest.raises(PoolClosed):
            fresh.send_mail(relay.mail(2))

    play(story, latency=0.01)
