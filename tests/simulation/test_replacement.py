"""P-08 to P-11: how long connections live, and who notices when one has died."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from mailpool import SendResult
from mailpool.options import parse_options
from mailpool.testing import Fault, ScriptedServer, close, raw, reply, reset


def mails(record: Any) -> int:
    return sum(line.upper().startswith("MAIL") for line in record.lines)


@pytest.mark.rule("P-08")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(("lifetime", "most"), [(1, 1), (3, 1), (7, 4)])
def test_p08_no_connection_carries_more_than_max_messages(
    play: Any, capabilities: Any, lifetime: int, most: int, pipelining: bool
) -> None:
    server = ScriptedServer(capabilities=capabilities(pipelining))

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(60))
        assert all(isinstance(end, SendResult) and end.attempts == 1 for end in ends)

    play(story, server, latency=0.01, max_connections=most, max_messages=lifetime)
    assert max(map(mails, server.connections)) <= lifetime
    assert server.peak_connections <= most
    assert all(record.quit_seen for record in server.connections)


@pytest.mark.rule("P-08")
def test_p08_without_a_bound_one_connection_carries_all(play: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(1_000))

    assert len(play(story, max_connections=1, max_messages=-1).connections) == 1


def overlaps(server: ScriptedServer) -> int:
    """How many connections were followed by one that was open before they closed."""
    return sum(later.opened_at < earlier.closed_at for earlier, later in pairwise(server.connections))


@pytest.mark.rule("P-08")
@pytest.mark.parametrize("announced", [False, True])
def test_p08_the_next_connection_is_there_before_the_old_one_ends(play: Any, announced: bool) -> None:
    # One message after the other, as fast as they are answered; connections for three messages each.
    limits = ("LIMITS MAILMAX=3",) if announced else ()
    server = ScriptedServer(capabilities=("PIPELINING", *limits))

    async def story(relay: Any) -> None:
        for number in range(30):
            assert (await relay.send(number)).attempts == 1

    play(story, server, latency=0.05, max_connections=2, **({} if announced else {"max_messages": 3}))
    assert len(server.connections) >= 10
    assert server.peak_connections == 2
    # Two round trips for each message, and never three whole ones more for a new connection.
    assert max(later.time - earlier.time for earlier, later in pairwise(server.messages)) < 0.45


@pytest.mark.rule("P-08")
def test_p08_also_when_the_rate_is_what_messages_wait_for(play: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(30))

    server = play(story, latency=0.01, max_connections=2, max_messages=3, rate="1/s")
    assert overlaps(server) >= 5
    assert server.peak_connections == 2


@pytest.mark.rule("P-08")
def test_p08_max_age_is_replaced_ahead_too(play: Any) -> None:
    async def story(relay: Any) -> None:
        while relay.now < 200:
            await relay.send(relay.now)

    server = play(story, latency=0.05, max_connections=2, max_messages=-1, max_age=20)
    assert len(server.connections) >= 9
    assert overlaps(server) >= len(server.connections) - 3


@pytest.mark.rule("P-08")
def test_p08_at_the_cap_lifetimes_are_jittered(play: Any) -> None:
    least_open: list[int] = []

    async def story(relay: Any) -> None:
        sends = asyncio.ensure_future(relay.ends(*relay.burst(1_500)))
        await asyncio.sleep(2)
        while relay.transporter.stats().queued > 10:
            stats = relay.transporter.stats()
            least_open.append(stats.busy + stats.idle)
            await asyncio.sleep(0.01)
        await sends

    server = play(story, latency=0.05, max_connections=5, max_messages=100)
    first = [record.messages for record in server.connections[:5]]
    assert len(set(first)) >= 4, first
    assert max(first) <= 100
    assert server.peak_connections == 5
    assert min(least_open) >= 3


@pytest.mark.rule("P-09")
@pytest.mark.rule("POL-12")
def test_p09_an_idle_connection_is_closed_with_quit(play: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(3))
        await asyncio.sleep(50)
        await relay.send(3)
        await asyncio.sleep(200)

    server = play(story, latency=0.01, max_connections=3)
    for record in server.connections:
        assert record.quit_seen
        last = max(m.time for m in server.messages if m.connection == record.index)
        assert 60 <= record.closed_at - last <= 61
    assert {record.messages for record in server.connections} == {1, 2}


@pytest.mark.rule("P-09")
def test_p09_a_preset_carries_its_own_time() -> None:
    assert parse_options(service="SES").idle_timeout == 8
    assert parse_options(service="SES", idle_timeout=20).idle_timeout == 20


@pytest.mark.rule("P-09")
def test_p09_min_connections_stay_without_noop(play: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(4))
        await asyncio.sleep(5_000)
        assert server.open_connections == 2
        assert relay.transporter.stats().idle == 2

    server = ScriptedServer()
    play(story, server, latency=0.01, max_connections=4, min_connections=2)
    assert not any(line.startswith("NOOP") for line in server.commands())
    assert len(server.connections) == 4


@pytest.mark.rule("P-09")
def test_p09_min_connections_are_there_from_first_use(play: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.send(0)
        await asyncio.sleep(10)
        assert server.open_connections == 3

    server = ScriptedServer()
    play(story, server, latency=0.01, min_connections=3)


@pytest.mark.rule("P-09")
@pytest.mark.parametrize("do", [close(), reset(), raw(b"421 4.4.2 idle\r\n", close())], ids=repr)
def test_p09_min_connections_are_replaced_with_back_off(play: Any, do: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="IDLE", after=0.5, do=do, times=None)])

    async def story(relay: Any) -> None:
        await relay.send(0)
        await asyncio.sleep(600)
        # With full jitter from 0.1 to 30 s there are some 40; without back-off there would be 1,200.
        assert 8 <= len(server.connections) <= 200
        server.faults.clear()
        await asyncio.sleep(60)
        assert server.open_connections == 1

    play(story, server, latency=0.01, min_connections=1)


@pytest.mark.rule("P-10")
def test_p10_connections_opened_together_do_not_close_together(play: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(5))
        await asyncio.sleep(250)

    server = play(story, latency=0.01, max_connections=5, min_connections=5, max_age=100, idle_timeout=3_000)
    ages = sorted(record.closed_at - record.opened_at for record in server.connections[:5])
    assert ages[-1] <= 110
    assert ages[0] >= 50
    assert min(b - a for a, b in pairwise(ages)) > 0
    assert ages[-1] - ages[0] > 1


@pytest.mark.rule("P-10")
def test_p10_a_message_on_the_wire_outlives_the_age(play: Any) -> None:
    async def story(relay: Any) -> None:
        result = await relay.send(0, text="word\n" * 100_000)
        assert (result.attempts, result.maybe_duplicate) == (1, False)

    # Some 500 kB through a window of 16 KiB at half a second: the message takes longer than the connection's age.
    server = play(story, latency=0.5, window=16_384, max_age=5)
    assert server.messages[0].time > 6


@pytest.mark.rule("P-11")
def test_p11_no_noop_before_messages(play: Any) -> None:
    async def story(relay: Any) -> None:
        for number, pause in enumerate((0, 0.5, 5, 50, 55)):
            await asyncio.sleep(pause)
            await relay.send(number)

    server = play(story)
    assert not any(line.startswith("NOOP") for line in server.commands())
    assert len(server.connections) == 1


@pytest.mark.rule("P-11")
@pytest.mark.rule("POL-12")
def test_p11_check_after_asks_for_a_noop(play: Any) -> None:
    async def story(relay: Any) -> None:
        for number, pause in enumerate((0, 2, 10, 1, 7)):
            await asyncio.sleep(pause)
            await relay.send(number)

    server = play(story, check_after=5)
    (record,) = server.connections
    verbs = [line.partition(" ")[0] for line in record.lines]
    assert [verb for verb in verbs if verb in ("NOOP", "MAIL")] == [
        "MAIL",
        "MAIL",
        "NOOP",
        "MAIL",
        "MAIL",
        "NOOP",
        "MAIL",
    ]


@pytest.mark.rule("P-11")
@pytest.mark.rule("P-14")
def test_a_connection_that_has_just_been_opened_is_not_asked_before_its_first_message(play: Any) -> None:
    """Asked, it was older than ``max_age`` when it answered: one connection after the other was opened for nothing."""

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(3))
        assert relay.transporter.stats().sent == 3

    server = play(story, latency=0.3, check_after=0, max_age=0.5, max_connections=1, timeout=1_000)
    assert len(server.connections) == 3


@pytest.mark.rule("P-11")
def test_an_idle_connection_that_never_had_a_message_is_asked(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.transporter.stats()
        await asyncio.sleep(10)
        await relay.send(0)

    server = play(story, check_after=0, min_connections=1)
    assert [line.partition(" ")[0] for line in server.commands()][1:3] == ["NOOP", "MAIL"]


@pytest.mark.rule("P-11")
@pytest.mark.rule("POL-05")
@pytest.mark.parametrize("idle", [0.0, 0.5, 2, 50])
@pytest.mark.parametrize("do", [close(), reset(), reply("421 4.4.2 gone")], ids=repr)
@pytest.mark.parametrize("at", ["MAIL", "NOOP"])
def test_p11_a_dead_reused_connection_costs_no_error_and_no_requeue(
    play: Any, at: Any, do: Any, idle: float
) -> None:
    faults = [Fault(at=at, connection=0, message=1 if at == "MAIL" else 0, do=do)]
    server = ScriptedServer(faults=faults)

    async def story(relay: Any) -> None:
        await relay.send(0)
        await asyncio.sleep(idle)
        result = await relay.send(1)
        assert not result.maybe_duplicate
        assert relay.transporter.stats().requeued == 0

    check = {"check_after": 0.0} if at == "NOOP" else {}
    play(story, server, latency=0.01, max_connections=1, max_requeues=0, **check)
    assert [record.messages for record in server.connections] == [1, 1]


@pytest.mark.rule("P-11")
@pytest.mark.parametrize("quiet", [True, False])
def test_p11_all_idle_connections_may_be_dead(play: Any, quiet: bool) -> None:
    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(3))
        await asyncio.sleep(30)
        if quiet:
            # As behind a firewall that forgets: nothing arrives, and nobody is told.
            relay.network.silence()
        else:
            server.faults.add(*(Fault(at="MAIL", connection=n, do=close()) for n in range(3)))
        ends = await relay.ends(*(relay.send(number) for number in range(10, 16)))
        assert all(isinstance(end, SendResult) and not end.maybe_duplicate for end in ends), ends
        assert relay.transporter.stats().requeued == 0

    server = ScriptedServer()
    if quiet:
        with pytest.raises(AssertionError, match="connections are left open"):  # the server was told nothing
            play(story, server, latency=0.01, max_connections=3, max_requeues=0, command_timeout=5)
    else:
        play(story, server, latency=0.01, max_connections=3, max_requeues=0)
    assert len(server.messages) == 9


@pytest.mark.rule("P-11")
@pytest.mark.parametrize("do", [close(), reset(), reply("421 4.4.2 gone")], ids=repr)
def test_p11_one_message_may_meet_all_the_dead_connections(play: Any, do: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(3))
        await asyncio.sleep(30)
        server.faults.add(*(Fault(at="MAIL", connection=n, do=do) for n in range(3)))
        result = await relay.send("single")
        assert not result.maybe_duplicate
        assert relay.transporter.stats().requeued == 0

    server = ScriptedServer()
    play(story, server, latency=0.01, max_connections=3, max_requeues=0)
    assert len(server.messages) == 4


@pytest.mark.rule("P-11")
def test_p11_a_fresh_connection_that_dies_is_counted(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="MAIL", connection=0, do=close())])

    async def story(relay: Any) -> None:
        await relay.send(0)
        assert relay.transporter.stats().requeued == 1

    play(story, server)


@pytest.mark.rule("P-11")
def test_p11_no_end_of_data_before_the_first_reply_after_a_pause(play: Any) -> None:
    server = ScriptedServer(capabilities=("PIPELINING", "CHUNKING", "8BITMIME", "SIZE 1000000"))

    async def story(relay: Any) -> None:
        for number in range(3):
            await relay.send(number)
            await asyncio.sleep(1.5)

    play(story, server, latency=0.05, max_connections=1)
    assert len(server.connections) == 1
    for message in server.messages[1:]:
        assert message.end_turn > message.mail_turn


@pytest.mark.rule("P-08")
@pytest.mark.rule("P-10")
@pytest.mark.rule("POL-12")
@pytest.mark.parametrize("max_age", [2, 5, 60])
def test_p10_a_young_connection_has_no_heir_yet(play: Any, max_age: float) -> None:
    async def story(relay: Any) -> None:
        for number in range(3):
            await relay.send(number)
        assert relay.transporter.stats().handshakes == 1

    play(story, latency=0.01, max_age=max_age)
