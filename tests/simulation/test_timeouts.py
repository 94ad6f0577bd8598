"""P-26: each phase has its time, and a drip of bytes does not buy more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import DeadlineExceeded, DeliveryUncertain, Phase, SendError, SendResult, TimedOut
from mailpool.testing import Fault, ScriptedServer, drip, reply, stall

CLEAR = {"starttls": "never", "allow_cleartext_auth": True}
# RFC 5321 §4.5.3.2, and the greeting's own.
LEAST = {"GREETING": 30, "EHLO": 30, "AUTH": 30, "MAIL": 300, "RCPT": 300, "DATA": 120, "END": 600}
IN_MESSAGE = ["MAIL", "RCPT", "DATA", "END"]


def given_up(server: ScriptedServer) -> float:
    """How long the first connection lived, from the client's point of view."""
    record = server.connections[0]
    assert record.closed_by == "client"
    return record.closed_at - record.opened_at


@pytest.mark.rule("P-26")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("at", LEAST)
def test_p26_a_phase_gives_up_no_earlier_than_the_rfc_asks_and_not_never(
    play: Any, capabilities: Any, at: Any, pipelining: bool
) -> None:
    server = ScriptedServer(
        capabilities=capabilities(pipelining),
        auth={"me": "right"},
        faults=[Fault(at=at, connection=0, do=stall())],
    )

    async def story(relay: Any) -> None:
        result = await relay.send(0)
        assert result.maybe_duplicate == (at == "END")

    play(story, server, latency=0.01, auth=("me", "right"), connection_wait=3_000, **CLEAR)
    assert LEAST[at] <= given_up(server) <= 605
    if at == "GREETING":
        assert given_up(server) <= 31
    assert len(server.connections) == 2


@pytest.mark.rule("P-26")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("at", ["GREETING", *IN_MESSAGE])
def test_p26_patience_pays(play: Any, capabilities: Any, at: Any, pipelining: bool) -> None:
    faults = [Fault(at=at, do=stall(LEAST[at] - 1), times=3)]
    server = ScriptedServer(capabilities=capabilities(pipelining), faults=faults)

    async def story(relay: Any) -> None:
        for number in range(3):
            result = await relay.send(number)
            assert (result.attempts, result.maybe_duplicate) == (1, False)

    play(story, server, latency=0.01, idle_timeout=3_600)
    assert len(server.connections) == 1


@pytest.mark.rule("P-26")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("how", ["silence", "drip"])
@pytest.mark.parametrize("at", IN_MESSAGE)
def test_p26_command_timeout_bounds_the_whole_reply(
    play: Any, capabilities: Any, at: Any, how: str, pipelining: bool
) -> None:
    do = stall() if how == "silence" else drip(None, interval=3)
    server = ScriptedServer(capabilities=capabilities(pipelining), faults=[Fault(at=at, connection=0, do=do)])

    async def story(relay: Any) -> None:
        result = await relay.send(0)
        assert (result.attempts, result.maybe_duplicate) == (2, at == "END")

    play(story, server, latency=0.01, command_timeout=10)
    # A time-out for each of up to four replies of a group, and each but one came at once.
    assert 10 <= given_up(server) <= 11


@pytest.mark.rule("P-26")
@pytest.mark.rule("SRV-06")
@pytest.mark.parametrize("at", ["GREETING", "EHLO"])
def test_p26_a_drip_does_not_keep_the_handshake_alive(play: Any, at: Any) -> None:
    server = ScriptedServer(faults=[Fault(at=at, connection=0, do=drip(None, interval=4))])

    async def story(relay: Any) -> None:
        assert (await relay.send(0)).attempts == 1

    play(story, server, latency=0.01, greeting_timeout=10, command_timeout=10, connection_wait=100)
    assert 10 <= given_up(server) <= 11


@pytest.mark.rule("P-26")
@pytest.mark.parametrize("at", IN_MESSAGE)
def test_p26_a_drip_does_not_keep_a_phase_alive_by_default_either(play: Any, at: Any) -> None:
    server = ScriptedServer(
        faults=[Fault(at=at, connection=0, do=drip("250 2.0.0 " + "x" * 60, interval=50))]
    )

    async def story(relay: Any) -> None:
        assert isinstance(await relay.send(0), SendResult)

    play(story, server, latency=0.01)
    assert LEAST[at] <= given_up(server) <= 605


@pytest.mark.rule("P-26")
@pytest.mark.parametrize("at", IN_MESSAGE)
def test_p26_what_timed_out_says_where(play: Any, at: Any) -> None:
    server = ScriptedServer(faults=[Fault(at=at, do=stall(), times=None)], capabilities=("8BITMIME",))
    phase = {"MAIL": Phase.MAIL, "RCPT": Phase.RCPT, "DATA": Phase.DATA, "END": Phase.END_OF_DATA}[at]

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        assert isinstance(error, DeliveryUncertain if at == "END" else TimedOut)
        assert error.phase is phase
        assert error.reply is None
        assert error.may_have_been_delivered == (at == "END")

    play(story, server, command_timeout=5, max_requeues=0)


@pytest.mark.rule("P-26")
def test_p26_a_server_that_stops_reading_is_given_up_after_its_time(play: Any) -> None:
    server = ScriptedServer()

    async def story(relay: Any) -> None:
        server.faults.add(Fault(at="CONTENT", after=1_000, do=lambda incident: server.pause_reading()))
        send = asyncio.ensure_future(relay.send(0, text="word\n" * 200_000))
        await asyncio.sleep(170)
        assert relay.transporter.stats().in_flight == 1
        assert relay.dials == 1
        await asyncio.sleep(440)
        assert relay.dials >= 2  # to a server that reads nothing from anybody
        server.resume_reading()
        result = await send
        assert (result.attempts, result.maybe_duplicate) == (2, False)

    play(story, server, latency=0.01, connection_wait=3_000)


@pytest.mark.rule("P-26")
def test_p26_a_slow_reader_is_no_dead_one(play: Any) -> None:
    server = ScriptedServer()

    async def story(relay: Any) -> None:
        async def read_now_and_then() -> None:
            while True:
                server.pause_reading()
                await asyncio.sleep(100)
                server.resume_reading()
                await asyncio.sleep(0.015)

        slow = asyncio.ensure_future(read_now_and_then())
        result = await relay.send(0, text="word\n" * 200_000)
        assert (result.attempts, result.maybe_duplicate) == (1, False)
        assert relay.now > 605
        slow.cancel()
        server.resume_reading()

    # A megabyte in blocks of some 100 kB, each after a hundred seconds: far more than 600 s, and never 180 s for one.
    play(story, server, latency=0.01, window=16_384)


@pytest.mark.rule("P-26")
@pytest.mark.parametrize("way", ["option", "argument"])
@pytest.mark.parametrize("at", [None, "GREETING", "MAIL", "RCPT", "DATA", "END"])
def test_p26_a_deadline_ends_a_message_wherever_it_is(play: Any, at: Any, way: str) -> None:
    server = ScriptedServer(faults=[Fault(at=at, do=stall(), times=None)] if at else [])

    async def story(relay: Any) -> None:
        if at is None:
            relay.network.black_hole("relay.example", 25)
        error = await relay.end(relay.send(0, **({"deadline": 7} if way == "argument" else {})))
        assert isinstance(error, DeadlineExceeded | DeliveryUncertain)
        assert error.may_have_been_delivered == (at == "END")
        assert error.temporary
        assert 6.9 <= relay.now <= 7.5
        await relay.transporter.close(1)

    play(story, server, latency=0.01, **({"deadline": 7} if way == "option" else {}))


@pytest.mark.rule("P-26")
def test_p26_a_deadline_ends_a_message_that_waits(play: Any) -> None:
    async def story(relay: Any) -> None:
        ends = await relay.ends(*(relay.send(n, deadline=3.5) for n in range(10)))
        assert all(isinstance(end, SendResult) for end in ends[:4])
        assert {type(end) for end in ends[4:]} == {DeadlineExceeded}
        assert all(end.attempts == 0 and not end.may_have_been_delivered for end in ends[4:])
        assert relay.now <= 3.6
        await asyncio.sleep(100)
        assert len(server.messages) == 4

    server = ScriptedServer()
    play(story, server, latency=0.01, rate="1/s")


@pytest.mark.rule("P-26")
def test_p26_a_deadline_does_not_harm_the_neighbour_on_the_connection(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=stall(20))])

    async def story(relay: Any) -> None:
        first, second = relay.send(0), relay.send(1, deadline=5)
        error = await relay.end(second)
        assert isinstance(error, SendError)
        result = await first
        assert (result.attempts, result.maybe_duplicate) == (1, False)

    play(story, server, latency=0.01, max_connections=1)


@pytest.mark.rule("P-26")
def test_p26_a_bound_in_milliseconds_is_asked_about(play: Any) -> None:
    from mailpool import ConfigurationError
    from mailpool.options import parse_options

    for name in (
        "dns_timeout",
        "connection_timeout",
        "greeting_timeout",
        "socket_timeout",
        "command_timeout",
        "idle_timeout",
    ):
        with pytest.raises(ConfigurationError, match="milliseconds"):
            parse_options(host="relay.example", **{name: 30_000})


@pytest.mark.rule("P-26")
def test_p26_rejections_after_a_long_wait_are_still_rejections(play: Any) -> None:
    def slow_no(incident: Any) -> None:
        incident.hold(250, lambda: incident.answer("550 5.7.1 no"))

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        assert error.reply.code == 550
        assert (await relay.send(1)).attempts == 1

    server = ScriptedServer(faults=[Fault(at="RCPT", do=slow_no), Fault(at="NOOP", do=reply("250 ok"))])
    play(story, server, latency=0.01, idle_timeout=3_600)
    assert len(server.connections) == 1
