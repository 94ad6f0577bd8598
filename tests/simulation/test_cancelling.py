"""P-27: a caller goes away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import Outcome, SendResult
from mailpool.testing import Fault, ScriptedServer, deliver_then_close, reply, stall

CLEAR = {"starttls": "never", "allow_cleartext_auth": True}


def outcome_of(told: Any) -> Outcome:
    """The event gives what the caller would have got."""
    return Outcome.ACCEPTED if isinstance(told, SendResult) else told.outcome


async def cancel(send: Any) -> None:
    """Cancel, and see that nothing else than that comes out."""
    task = asyncio.ensure_future(send)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert type(caught.value) is asyncio.CancelledError


@pytest.mark.rule("P-27")
@pytest.mark.rule("POL-08")
def test_p27_one_that_waits_is_removed(play: Any, received: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="DATA", do=stall(10))])

    async def story(relay: Any) -> None:
        sends = relay.burst(5)
        await asyncio.sleep(1)
        before = relay.transporter.stats().queued
        await cancel(sends[3])
        assert relay.transporter.stats().queued == before - 1
        results = await relay.ends(*sends[:3], sends[4])
        assert all(isinstance(result, SendResult) for result in results)

    play(story, server, latency=0.01, max_connections=1)
    assert received(server) == ["0", "1", "2", "4"]


@pytest.mark.rule("P-27")
@pytest.mark.rule("POL-08")
@pytest.mark.parametrize("at", ["never", "GREETING", "EHLO", "AUTH"])
def test_p27_while_connecting_the_message_is_removed_and_the_place_is_not_lost(
    play: Any, received: Any, at: Any
) -> None:
    faults = [] if at == "never" else [Fault(at=at, connection=0, do=stall(20))]
    server = ScriptedServer(faults=faults, auth={"me": "right"})

    async def story(relay: Any) -> None:
        if at == "never":
            relay.network.black_hole("relay.example", 25)
        send = relay.send(0)
        await asyncio.sleep(1)
        await cancel(send)
        assert relay.transporter.stats().queued == 0
        if at == "never":
            relay.network.listen("relay.example", 25, server)
        assert (await relay.send(1)).attempts == 1
        assert relay.now < 40

    play(story, server, latency=0.01, auth=("me", "right"), max_connections=1, connection_timeout=10, **CLEAR)
    assert received(server) == ["1"]


@pytest.mark.rule("P-27")
@pytest.mark.rule("POL-08")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA"])
def test_p27_alone_on_the_wire_the_connection_is_destroyed(
    play: Any, received: Any, capabilities: Any, at: Any, pipelining: bool
) -> None:
    server = ScriptedServer(
        capabilities=capabilities(pipelining), faults=[Fault(at=at, connection=0, do=stall(30))]
    )

    async def story(relay: Any) -> None:
        relay.listen("detached")
        send = relay.send(0)
        await asyncio.sleep(1)
        await cancel(send)
        started = relay.now
        result = await relay.send(1)
        assert (result.attempts, result.maybe_duplicate) == (1, False)
        assert relay.now - started < 1
        await asyncio.sleep(60)
        assert relay.events == []
        assert relay.transporter.stats().detached == 0

    play(story, server, latency=0.01, max_connections=1)
    assert received(server) == ["1"]
    assert server.connections[0].closed_by == "client"


@pytest.mark.rule("P-27")
@pytest.mark.rule("POL-08")
@pytest.mark.rule("DAT-07")
def test_p27_in_the_content_the_connection_is_destroyed_without_a_dot(play: Any, received: Any) -> None:
    server = ScriptedServer()

    async def story(relay: Any) -> None:
        server.faults.add(Fault(at="CONTENT", after=1_000, do=lambda incident: server.pause_reading()))
        send = relay.send(0, text="word\n" * 200_000)
        await asyncio.sleep(1)
        await cancel(send)
        server.resume_reading()
        assert (await relay.send(1)).attempts == 1

    play(story, server, latency=0.01, max_connections=1)
    assert received(server) == ["1"]


@pytest.mark.rule("P-27")
@pytest.mark.rule("POL-08")
@pytest.mark.parametrize(
    ("do", "outcome"),
    [
        (stall(20), Outcome.ACCEPTED),
        (lambda incident: incident.hold(20, lambda: incident.answer("550 5.7.1 no")), Outcome.REJECTED),
        (lambda incident: incident.hold(20, lambda: incident.answer("451 4.3.0 later")), Outcome.DEFERRED),
        (lambda incident: incident.hold(20, incident.close), Outcome.UNCERTAIN),
    ],
    ids=["taken", "refused", "deferred", "lost"],
)
def test_p27_after_the_end_of_data_it_is_finished_without_its_caller(
    play: Any, do: Any, outcome: Outcome
) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=do)])

    async def story(relay: Any) -> None:
        relay.listen("detached")
        send = relay.send(0)
        await asyncio.sleep(1)
        await cancel(send)
        assert relay.events == []
        await asyncio.sleep(25)
        ((message_id, told),) = relay.heard("detached")
        assert (message_id, outcome_of(told)) == ("<0@example.org>", outcome)
        stats = relay.transporter.stats()
        assert stats.detached == 1
        assert (stats.queued, stats.in_flight) == (0, 0)
        assert (await relay.send(1)).attempts == 1

    play(story, server, latency=0.01, max_connections=1, on_uncertain="fail")
    # It goes on where it can: nobody's caller makes a connection bad.
    assert len(server.connections) == (2 if outcome is Outcome.UNCERTAIN else 1)


@pytest.mark.rule("P-27")
@pytest.mark.rule("POL-08")
def test_p27_nobody_sends_again_what_nobody_waits_for(play: Any) -> None:
    def taken_and_gone(incident: Any) -> None:
        incident.hold(20, lambda: deliver_then_close()(incident))

    server = ScriptedServer(faults=[Fault(at="END", do=taken_and_gone)])

    async def story(relay: Any) -> None:
        relay.listen("detached")
        send = relay.send(0)
        await asyncio.sleep(1)
        await cancel(send)
        await asyncio.sleep(100)
        ((_, told),) = relay.heard("detached")
        # Sent again as on_uncertain says, or left in doubt: the outcome is told truly.
        assert outcome_of(told) is (Outcome.UNCERTAIN if len(server.messages) == 1 else Outcome.ACCEPTED)

    play(story, server, latency=0.01)


@pytest.mark.rule("P-27")
@pytest.mark.rule("POL-08")
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("wait", [0.07, 0.12, 0.17, 0.22, 1.0])
def test_p27_in_a_group_the_neighbours_are_never_uncertain(
    play: Any, received: Any, which: int, wait: float
) -> None:
    """The first one's end of data and the second one's envelope are on the wire together."""
    server = ScriptedServer(faults=[Fault(at="END", message=0, do=stall(5))])

    async def story(relay: Any) -> None:
        relay.listen("detached")
        sends = relay.burst(3)
        await asyncio.sleep(wait)
        await cancel(sends[which])
        others = [send for number, send in enumerate(sends) if number != which]
        results = await relay.ends(*others)
        assert all(isinstance(r, SendResult) and not r.maybe_duplicate for r in results), results
        assert relay.transporter.stats().uncertain == 0
        await asyncio.sleep(10)
        told = [(message_id, outcome_of(end)) for message_id, end in relay.heard("detached")]
        delivered = str(which) in received(server)
        # If it went out after all, somebody is told so.
        assert told == ([(f"<{which}@example.org>", Outcome.ACCEPTED)] if delivered else told)
        assert relay.transporter.stats().detached == len(told)

    play(story, server, latency=0.02, max_connections=1)
    assert {*received(server)} >= {"0", "1", "2"} - {str(which)}
    assert len(received(server)) == len({*received(server)})


@pytest.mark.rule("P-27")
@pytest.mark.rule("POL-08")
def test_p27_while_it_waits_for_a_requeue_it_is_removed(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="DATA", do=lambda incident: incident.close(), times=5)])

    async def story(relay: Any) -> None:
        send = relay.send(0)
        while relay.transporter.stats().requeued < 4:
            await asyncio.sleep(0.01)
        await cancel(send)
        await asyncio.sleep(0.5)
        stats = relay.transporter.stats()
        assert (stats.queued, stats.in_flight) == (0, 0)
        await asyncio.sleep(100)

    play(story, server, latency=0.001)
    assert server.messages == []


@pytest.mark.rule("P-27")
@pytest.mark.rule("POL-08")
def test_p27_wait_for_and_timeout_of_the_caller_work_as_usual(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="MAIL", do=stall(100), times=2)])

    async def story(relay: Any) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(relay.send(0), 3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await relay.send(1)
        assert relay.now < 7
        assert (await relay.send(2)).attempts == 1

    play(story, server, latency=0.01, max_connections=1)
    assert len(server.messages) == 1


@pytest.mark.rule("P-27")
@pytest.mark.rule("POL-08")
def test_p27_hundreds_cancelled_at_any_moment_leave_the_pool_whole(play: Any, received: Any) -> None:
    import random

    dice = random.Random(11)
    server = ScriptedServer(faults=[Fault(at="RCPT", do=reply("550 5.1.1 no"), probability=0.1, times=None)])

    async def story(relay: Any) -> None:
        told: list[tuple[str, Outcome]] = []
        relay.transporter.on(
            "detached", lambda message_id, outcome: told.append((message_id, outcome_of(outcome)))
        )
        sends = [asyncio.ensure_future(send) for send in relay.burst(400)]
        victims = dice.sample(range(400), 200)
        for victim in victims:
            await asyncio.sleep(dice.random() * 0.02)
            sends[victim].cancel()
        ends = await relay.ends(*sends)
        await asyncio.sleep(5)
        numbers = received(server)
        assert len(numbers) == len(set(numbers))
        detached = {
            message_id.strip("<>").partition("@")[0]
            for message_id, outcome in told
            if outcome == Outcome.ACCEPTED
        }
        for number, end in enumerate(ends):
            if isinstance(end, asyncio.CancelledError):
                assert (str(number) in numbers) == (str(number) in detached)
            else:
                assert (str(number) in numbers) == isinstance(end, SendResult)
                assert not getattr(end, "maybe_duplicate", False)
        stats = relay.transporter.stats()
        assert (stats.queued, stats.in_flight, stats.busy, stats.uncertain) == (0, 0, 0, 0)
        server.faults.clear()
        assert (await relay.send("after")).attempts == 1

    play(story, server, latency=0.01, max_connections=3, max_messages=20)
