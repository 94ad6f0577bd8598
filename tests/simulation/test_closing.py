"""P-28 to P-31: closing and draining. Every story of this folder also ends with a close that leaves nothing."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

from mailpool import DeliveryUncertain, PoolClosed, Sealed, SendError, SendResult
from mailpool.testing import Fault, ScriptedServer, close, deliver_then_stall, reply, stall

CLEAR = {"starttls": "never", "allow_cleartext_auth": True}


def ids(unsent: list[Sealed]) -> list[str]:
    return [sealed.message_id.strip("<>").partition("@")[0] for sealed in unsent]


@pytest.mark.rule("P-29")
def test_p29_free_connections_quit_and_queued_messages_end_with_pool_closed(play: Any, received: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", message=1, do=stall(3), times=None)])

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(2))
        sends = [relay.send(number) for number in range(10, 30)]
        await asyncio.sleep(1)
        started = relay.now
        unsent = await relay.transporter.close()
        assert relay.now - started < 4
        ends = await relay.ends(*sends)
        sent = [str(n) for n, end in enumerate(ends, 10) if isinstance(end, SendResult)]
        assert {"10", "11"} <= set(sent)
        assert ids(unsent) == [str(n) for n in range(10, 30) if str(n) not in sent]
        closed = [end for end in ends if not isinstance(end, SendResult)]
        assert {type(end) for end in closed} == {PoolClosed}
        assert all(not end.may_have_been_delivered and end.message_id for end in closed)
        assert server.open_connections == 0

    play(story, server, latency=0.01, max_connections=2)
    assert all(record.quit_seen for record in server.connections)


@pytest.mark.rule("P-29")
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", "END"])
def test_p29_what_does_not_finish_in_time_is_cut_and_named_by_p18(play: Any, at: Any) -> None:
    server = ScriptedServer(faults=[Fault(at=at, do=stall())])

    async def story(relay: Any) -> None:
        send = relay.send(0)
        await asyncio.sleep(1)
        unsent = await relay.transporter.close(5)
        assert 6 <= relay.now <= 7.1
        error = await relay.end(send)
        assert isinstance(error, SendError)
        assert isinstance(error, DeliveryUncertain) == (at == "END")
        assert error.may_have_been_delivered == (at == "END")
        if at != "END":
            assert ids(unsent) == ["0"]

    play(story, server, latency=0.01)


@pytest.mark.rule("P-29")
def test_p29_a_taken_message_whose_reply_never_comes_is_uncertain(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=deliver_then_stall())])

    async def story(relay: Any) -> None:
        send = relay.send(0)
        await asyncio.sleep(1)
        await relay.transporter.close(2)
        assert isinstance(await relay.end(send), DeliveryUncertain)
        assert relay.transporter.stats().uncertain == 1

    play(story, server, latency=0.01)


STATES = {
    "connecting": [],
    "down": [],
    "greeting": [Fault(at="GREETING", do=stall(), times=None)],
    "ehlo": [Fault(at="EHLO", do=stall(), times=None)],
    "auth": [Fault(at="AUTH", do=stall(), times=None)],
    "requeue": [Fault(at="DATA", do=close(), times=None)],
    "greeting refused": [Fault(at="GREETING", do=reply("421 4.3.2 busy"), times=None)],
}


@pytest.mark.rule("P-29")
@pytest.mark.rule("POL-03")
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("way", ["close", "drain"])
def test_p29_closing_is_not_held_up_by_what_is_under_way(play: Any, state: str, way: str) -> None:
    server = ScriptedServer(faults=STATES[state], auth={"me": "right"})

    async def story(relay: Any) -> None:
        if state == "connecting":
            relay.network.black_hole("relay.example", 25)
        elif state == "down":
            relay.network.fail("relay.example", 25, OSError(errno.ENETUNREACH, "down"))
        sends = relay.burst(10)
        await asyncio.sleep(4)
        started = relay.now
        unsent = await (relay.transporter.close(3) if way == "close" else relay.transporter.drain(3))
        assert relay.now - started <= 15
        assert sorted(ids(unsent)) == sorted(str(n) for n in range(10))
        ends = await relay.ends(*sends)
        assert all(isinstance(end, SendError) and not end.may_have_been_delivered for end in ends)

    play(story, server, latency=0.01, auth=("me", "right"), max_connections=3, **CLEAR)
    assert server.messages == []


@pytest.mark.rule("P-29")
@pytest.mark.rule("POL-03")
def test_p29_messages_that_wait_for_the_rate_end_with_the_pool(play: Any) -> None:
    async def story(relay: Any) -> None:
        sends = relay.burst(30)
        await asyncio.sleep(2.5)
        unsent = await relay.transporter.close()
        assert relay.now < 4
        ends = await relay.ends(*sends)
        assert len(unsent) == sum(isinstance(end, PoolClosed) for end in ends) == 27

    play(story, latency=0.01, rate="1/s", max_connections=5)


@pytest.mark.rule("P-29")
def test_p29_what_is_returned_can_be_sent_by_another_transporter(play: Any, received: Any) -> None:
    async def story(relay: Any) -> None:
        sends = relay.burst(6)
        unsent = await relay.transporter.close()
        assert {type(end) for end in await relay.ends(*sends)} == {PoolClosed}
        assert ids(unsent) == [str(n) for n in range(6)]
        other = relay.another()
        for sealed in unsent:
            result = await other.send_mail(sealed)
            assert result.message_id == sealed.message_id
        await other.close()

    assert received(play(story, latency=0.01)) == [str(n) for n in range(6)]


@pytest.mark.rule("P-30")
def test_p30_drain_sends_what_is_queued(play: Any) -> None:
    async def story(relay: Any) -> None:
        sends = relay.burst(50)
        assert await relay.transporter.drain() == []
        assert all(send.done() for send in sends)
        assert all(isinstance(end, SendResult) for end in await relay.ends(*sends))
        assert server.open_connections == 0
        with pytest.raises(PoolClosed):
            relay.send(99)

    server = ScriptedServer()
    play(story, server, latency=0.01, max_connections=2, max_messages=7)
    assert len(server.messages) == 50


@pytest.mark.rule("P-30")
@pytest.mark.rule("POL-14")
def test_p30_drain_returns_what_it_could_not_send_in_time(play: Any, received: Any) -> None:
    async def story(relay: Any) -> None:
        sends = relay.burst(20)
        unsent = await relay.transporter.drain(5.5)
        assert relay.now <= 8
        ends = await relay.ends(*sends)
        assert [type(end) for end in ends] == [SendResult] * 6 + [PoolClosed] * 14
        assert ids(unsent) == [str(n) for n in range(6, 20)]

    server = play(story, latency=0.01, rate="1/s")
    assert received(server) == [str(n) for n in range(6)]


@pytest.mark.rule("P-30")
def test_p30_drain_repeats_what_is_lost_meanwhile(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="DATA", do=close(), times=4)])

    async def story(relay: Any) -> None:
        sends = relay.burst(10)
        assert await relay.transporter.drain(100) == []
        assert all(isinstance(end, SendResult) for end in await relay.ends(*sends))

    play(story, server, latency=0.01, max_connections=2)


@pytest.mark.rule("P-30")
def test_p30_leaving_the_block_drains_and_an_exception_closes(play: Any) -> None:
    async def story(relay: Any) -> None:
        async with relay.another() as transporter:
            sends = [transporter.send_mail(relay.mail(n)) for n in range(10)]
        assert all(isinstance(end, SendResult) for end in await relay.ends(*sends))
        sends = []

        async def fail() -> None:
            async with relay.another() as transporter:
                sends.extend(transporter.send_mail(relay.mail(n)) for n in range(10, 20))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert {type(end) for end in await relay.ends(*sends)} == {PoolClosed}
        async with relay.another():
            pass

    assert len(play(story, latency=0.01).messages) == 10


@pytest.mark.rule("P-31")
@pytest.mark.parametrize("first", ["close", "drain"])
@pytest.mark.parametrize("together", [True, False])
def test_p31_a_second_close_is_harmless(play: Any, first: str, together: bool) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=stall(3))])

    async def story(relay: Any) -> None:
        sends = relay.burst(10)
        await asyncio.sleep(1)
        begun = asyncio.ensure_future(getattr(relay.transporter, first)())
        if together:
            await asyncio.sleep(0.5)
        else:
            await begun
        second = await relay.transporter.close()
        unsent = [*await begun, *second]
        for _ in range(3):
            assert await relay.transporter.close() == []
            assert await relay.transporter.drain() == []
        ends = await relay.ends(*sends)
        lost = [str(n) for n, end in enumerate(ends) if not isinstance(end, SendResult)]
        # Each is returned to somebody.
        assert sorted({*ids(unsent)}) == sorted(lost)

    play(story, server, latency=0.01, max_connections=1)


@pytest.mark.rule("P-29")
def test_p29_closing_from_a_handler_or_a_callback(play: Any) -> None:
    async def story(relay: Any) -> None:
        transporter = relay.another()
        closing: list[Any] = []

        @transporter.on("connection_opened")
        async def stop(connection: object) -> None:
            closing.append(await transporter.close())

        sends = [transporter.send_mail(relay.mail(n)) for n in range(10)]
        ends = await relay.ends(*sends)
        assert all(isinstance(end, SendResult | PoolClosed) for end in ends)
        await asyncio.sleep(15)
        assert len(closing) == 1
        assert len(closing[0]) == sum(isinstance(end, PoolClosed) for end in ends)

    play(story, latency=0.01, max_connections=1)


@pytest.mark.rule("P-29")
def test_p29_a_cancelled_close_can_be_repeated(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=stall())])

    async def story(relay: Any) -> None:
        send = relay.send(0)
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(relay.transporter.close(600), 2)
        await relay.transporter.close(1)
        assert isinstance(await relay.end(send), SendError)
        assert server.open_connections == 0

    play(story, server)


@pytest.mark.rule("P-29")
def test_p29_min_connections_do_not_come_back(play: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.send(0)
        await asyncio.sleep(1)
        await relay.transporter.close()
        dials = relay.dials
        await asyncio.sleep(1_000)
        assert relay.dials == dials

    play(story, min_connections=3)
