"""wire.md: how many round trips and writes a message costs, counted by the server."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from mailpool import SendResult
from mailpool.testing import Fault, ScriptedServer, reply

RTT = 0.2


def turns(record: Any) -> list[list[str]]:
    """The groups of commands after the handshake and before QUIT."""
    groups = [turn.commands for turn in record.turns]
    assert groups[0] == ["EHLO"]
    assert groups[-1] == ["QUIT"]
    return groups[1:-1]


@pytest.mark.rule("P-05")
@pytest.mark.parametrize("count", [1, 2, 10, 99])
def test_wire_with_pipelining_n_messages_cost_n_plus_one_round_trips(play: Any, count: int) -> None:
    async def story(relay: Any) -> None:
        started = relay.now
        ends = await relay.ends(*relay.burst(count))
        assert all(isinstance(end, SendResult) for end in ends)
        # Dialling, greeting and EHLO cost one each.
        assert relay.now - started == pytest.approx((3 + count + 1) * RTT)

    server = play(story, latency=RTT / 2, max_connections=1, max_messages=-1)
    (record,) = server.connections
    groups = turns(record)
    assert len(groups) == count + 1
    assert groups[0] == ["MAIL", "RCPT", "DATA"]
    assert groups[1:-1] == [["END", "MAIL", "RCPT", "DATA"]] * (count - 1)
    assert groups[-1] == ["END"]
    # One write for each group.
    assert record.writes == len(record.turns)


@pytest.mark.rule("P-05")
@pytest.mark.parametrize("disabled", [True, False])
def test_wire_without_pipelining_a_message_costs_four(play: Any, capabilities: Any, disabled: bool) -> None:
    server = ScriptedServer(capabilities=capabilities(disabled))

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(10))

    play(story, server, latency=RTT / 2, max_connections=1, disable={"PIPELINING"} if disabled else set())
    (record,) = server.connections
    assert turns(record) == [["MAIL"], ["RCPT"], ["DATA"], ["END"]] * 10
    assert record.writes == len(record.turns)


@pytest.mark.rule("P-05")
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", "END"])
def test_wire_a_refused_message_costs_no_round_trip_more(play: Any, at: Any) -> None:
    server = ScriptedServer(faults=[Fault(at=at, message=4, do=reply("550 5.7.1 no"))])

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(10))
        assert sum(isinstance(end, SendResult) for end in ends) == 9

    play(story, server, latency=RTT / 2, max_connections=1)
    (record,) = server.connections
    assert len(turns(record)) <= 11
    assert record.writes == len(record.turns)


@pytest.mark.rule("P-05")
def test_wire_many_recipients_go_in_few_groups(play: Any) -> None:
    async def story(relay: Any) -> None:
        for number in range(3):
            await relay.send(number, [f"r{n}@example.org" for n in range(40)])

    server = play(story, latency=RTT / 2)
    (record,) = server.connections
    assert len(turns(record)) == 6


@pytest.mark.rule("P-05")
def test_wire_one_after_the_other_costs_two(play: Any) -> None:
    async def story(relay: Any) -> None:
        for number in range(10):
            await relay.send(number)

    server = play(story, latency=RTT / 2)
    (record,) = server.connections
    assert turns(record) == [["MAIL", "RCPT", "DATA"], ["END"]] * 10
    assert record.writes == len(record.turns)


@pytest.mark.rule("P-23")
def test_wire_pipelining_is_no_way_around_the_rate(play: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(10))

    server = play(story, latency=RTT / 2, max_connections=1, rate="1/s")
    starts = [turn.started_at for turn in server.connections[0].turns if "MAIL" in turn.commands]
    assert len(starts) == 10
    assert all(later - earlier >= 1 - 1e-6 for earlier, later in pairwise(starts))


@pytest.mark.rule("P-18")
def test_wire_auth_costs_one_round_trip(play: Any) -> None:
    server = ScriptedServer(auth={"me": "right"}, mechanisms=["PLAIN"])

    async def story(relay: Any) -> None:
        await relay.send(0)

    play(story, server, latency=RTT / 2, auth=("me", "right"), starttls="never", allow_cleartext_auth=True)
    assert [turn.commands for turn in server.connections[0].turns][:3] == [
        ["EHLO"],
        ["AUTH"],
        ["MAIL", "RCPT", "DATA"],
    ]


@pytest.mark.rule("P-02")
def test_wire_a_large_content_streams_and_stays_in_step(play: Any) -> None:
    async def story(relay: Any) -> None:
        sends = [relay.send(n, text="word\n" * 150_000) for n in range(4)]
        ends = await relay.ends(*sends)
        assert all(isinstance(end, SendResult) and end.attempts == 1 for end in ends)

    server = play(story, latency=RTT / 2, max_connections=1, window=16_384)
    assert len(server.connections) == 1
    assert len(server.messages) == 4
    assert len({message.size for message in server.messages}) == 1
