"""wire.md with CHUNKING: how many round trips, writes and connections messages cost, counted by the server."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from mailpool import Rejected, SendResult
from mailpool.testing import Fault, ScriptedServer, reply

RTT = 0.2
CHUNKING = ("PIPELINING", "CHUNKING", "SIZE 10485760", "8BITMIME")
ENVELOPE = ["MAIL", "RCPT"]
END = ["BDAT", "END"]
COUNT = 97


def turns(record: Any) -> list[list[str]]:
    """The groups of commands after the handshake and before QUIT."""
    groups = [turn.commands for turn in record.turns]
    assert groups[0] == ["EHLO"]
    assert groups[-1] == ["QUIT"]
    return groups[1:-1]


def needed(count: int, depth: int) -> int:
    return -(-count // depth)


def groups_of(count: int, depth: int) -> list[list[str]]:
    """What ``count`` messages look like: ends as many as the depth, and one envelope ahead, an RSET between."""
    groups = []
    for first in range(0, count, depth):
        here = min(depth, count - first)
        # The first envelope was written with the group before it.
        group = [*([] if first else ENVELOPE), *END]
        group += ["RSET", *ENVELOPE, *END] * (here - 1)
        groups.append(group + (["RSET", *ENVELOPE] if first + depth < count else []))
    return groups


@pytest.mark.rule("P-05")
@pytest.mark.parametrize("depth", [1, 2, 8, 32])
def test_wire_chunking_as_many_messages_a_round_trip_as_the_depth(play: Any, depth: int) -> None:
    server = ScriptedServer(capabilities=CHUNKING)

    async def story(relay: Any) -> None:
        started = relay.now
        ends = await relay.ends(*relay.burst(COUNT))
        assert all(isinstance(end, SendResult) for end in ends)
        # Dialling, greeting and EHLO cost one each.
        assert relay.now - started == pytest.approx((3 + needed(COUNT, depth)) * RTT)

    play(story, server, latency=RTT / 2, max_connections=1, max_messages=-1, pipeline_depth=depth)
    (record,) = server.connections
    assert turns(record) == groups_of(COUNT, depth)
    # One write for each group, and each message under way is one that was announced.
    assert record.writes == len(record.turns) == needed(COUNT, depth) + 2
    assert all(message.chunked for message in server.messages)


@pytest.mark.rule("P-05")
@pytest.mark.parametrize("depth", [1, 8, 32])
def test_wire_chunking_without_it_the_depth_changes_nothing(play: Any, depth: int) -> None:
    async def story(relay: Any) -> None:
        started = relay.now
        await relay.ends(*relay.burst(COUNT))
        assert relay.now - started == pytest.approx((3 + COUNT + 1) * RTT)

    server = ScriptedServer(capabilities=CHUNKING)
    play(
        story,
        server,
        latency=RTT / 2,
        max_connections=1,
        max_messages=-1,
        pipeline_depth=depth,
        disable={"CHUNKING"},
    )
    (record,) = server.connections
    assert len(turns(record)) == COUNT + 1
    assert record.writes == len(record.turns)
    assert not any(message.chunked for message in server.messages)


@pytest.mark.rule("P-05")
@pytest.mark.parametrize("depth", [1, 8, 32])
def test_wire_chunking_one_after_the_other_costs_one_round_trip(play: Any, depth: int) -> None:
    server = ScriptedServer(capabilities=CHUNKING)

    async def story(relay: Any) -> None:
        await relay.send("first")
        for number in range(10):
            started = relay.now
            await relay.send(number)
            assert relay.now - started == pytest.approx(RTT)

    play(story, server, latency=RTT / 2, max_connections=1, pipeline_depth=depth)
    (record,) = server.connections
    assert turns(record) == [[*ENVELOPE, *END]] * 11
    assert record.writes == len(record.turns)


@pytest.mark.rule("P-05")
@pytest.mark.rule("P-15")
@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("depth", [1, 8, 32])
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "END"])
def test_wire_chunking_five_percent_refused_cost_nothing(
    play: Any, received: Any, at: Any, depth: int, keeps: bool
) -> None:
    match = {"MAIL": r"from\d*[05]@", "RCPT": r"to\d*[05]@", "END": r"number \d*[05]\r"}[at]
    server = ScriptedServer(
        capabilities=CHUNKING,
        keeps_sender_after_bdat=keeps,
        faults=[Fault(at=at, match=match, do=reply("550 5.1.1 no such user"), times=None)],
    )

    def refused(number: int) -> bool:
        return number % 20 == 0

    async def story(relay: Any) -> None:
        names = [n * 10 if refused(n) else n * 10 + 1 for n in range(200)]
        sends = [relay.send(n, f"to{n}@example.org", **{"from": f"from{n}@example.org"}) for n in names]
        started = relay.now
        ends = await relay.ends(*sends)
        assert relay.now - started == pytest.approx((3 + needed(200, depth)) * RTT)
        for number, end in enumerate(ends):
            assert isinstance(end, Rejected if refused(number) else SendResult)
            assert end.attempts == 1

    play(
        story,
        server,
        latency=RTT / 2,
        max_connections=1,
        max_messages=-1,
        pipeline_depth=depth,
        right=False,
    )
    (record,) = server.connections
    # Where a refusal is the last of a group with nothing behind it, its RSET goes out with the next one.
    assert len(turns(record)) == needed(200, depth)
    assert record.writes == len(record.turns)
    assert len(server.messages) == 190
    assert [message.sender for message in server.messages] == [
        f"from{n}@example.org" for n in received(server)
    ]
    assert [message.recipients for message in server.messages] == [
        (f"to{n}@example.org",) for n in received(server)
    ]


@pytest.mark.rule("P-05")
@pytest.mark.parametrize("depth", [1, 8])
def test_wire_chunking_some_of_many_recipients_refused_cost_nothing(play: Any, depth: int) -> None:
    """Each message has 20 recipients, and one of them is refused: 5 %."""
    server = ScriptedServer(
        capabilities=CHUNKING,
        faults=[Fault(at="RCPT", match="<r7@", do=reply("550 5.1.1 no such user"), times=None)],
    )
    to = [f"r{n}@example.org" for n in range(20)]

    async def story(relay: Any) -> None:
        started = relay.now
        ends = await relay.ends(*(relay.send(number, to) for number in range(40)))
        assert relay.now - started == pytest.approx((3 + needed(40, depth)) * RTT)
        assert all(end.rejected == ("r7@example.org",) and len(end.accepted) == 19 for end in ends)

    play(story, server, latency=RTT / 2, max_connections=1, pipeline_depth=depth)
    (record,) = server.connections
    assert record.writes == len(record.turns) == needed(40, depth) + 2
    assert {len(message.recipients) for message in server.messages} == {19}


@pytest.mark.rule("P-02")
@pytest.mark.rule("P-03")
@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 8])
def test_wire_chunking_the_second_sender_is_the_second_sender(play: Any, depth: int, keeps: bool) -> None:
    """All recipients of the first are refused, the second is in the same write, and the server keeps what it has."""
    server = ScriptedServer(
        capabilities=CHUNKING,
        keeps_sender_after_bdat=keeps,
        faults=[Fault(at="RCPT", match="refused", do=reply("550 5.1.1 no"), times=None)],
    )

    async def story(relay: Any) -> None:
        first = relay.send(
            1, ["refused1@example.org", "refused2@example.org"], **{"from": "boss@example.org"}
        )
        second = relay.send(2, "reader@example.org", **{"from": "me@example.org"})
        refused, taken = await relay.ends(first, second)
        assert isinstance(refused, Rejected)
        assert len(refused.rejected) == 2
        assert taken.accepted == ("reader@example.org",)

    play(story, server, latency=RTT / 2, max_connections=1, pipeline_depth=depth)
    (message,) = server.messages
    assert (message.sender, message.recipients) == ("me@example.org", ("reader@example.org",))
    assert message.message_id == "<2@example.org>"
    (record,) = server.connections
    ahead = [*END] if depth > 1 else []
    assert turns(record)[0] == ["MAIL", "RCPT", "RCPT", *END, "RSET", *ENVELOPE, *ahead]


@pytest.mark.rule("P-11")
@pytest.mark.parametrize("depth", [1, 8])
@pytest.mark.parametrize(("pause", "careful"), [(0.5, False), (1.5, True), (60, True)])
def test_wire_chunking_after_an_idle_second_the_end_waits_for_mail(
    play: Any, depth: int, pause: float, careful: bool
) -> None:
    server = ScriptedServer(capabilities=CHUNKING)

    async def story(relay: Any) -> None:
        await relay.send("first")
        await asyncio.sleep(pause)
        started = relay.now
        await relay.ends(*relay.burst(depth))
        assert relay.now - started == pytest.approx((2 if careful else 1) * RTT)

    play(
        story,
        server,
        latency=RTT / 2,
        max_connections=1,
        pipeline_depth=depth,
        idle_timeout=600,
        check_after=None,
    )
    (record,) = server.connections
    more = ["RSET", *ENVELOPE, *END] * (depth - 1)
    after = [ENVELOPE, [*END, *more]] if careful else [[*ENVELOPE, *END, *more]]
    assert turns(record) == [[*ENVELOPE, *END], *after]
    assert len(server.messages) == depth + 1


@pytest.mark.rule("P-23")
@pytest.mark.parametrize("depth", [1, 8])
def test_wire_chunking_is_no_way_around_the_rate(play: Any, depth: int) -> None:
    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(10))

    server = ScriptedServer(capabilities=CHUNKING)
    play(story, server, latency=RTT / 2, max_connections=1, rate="1/s", pipeline_depth=depth)
    starts = [turn.started_at for turn in server.connections[0].turns if "MAIL" in turn.commands]
    assert [
        turn.commands.count("MAIL") for turn in server.connections[0].turns if "MAIL" in turn.commands
    ] == [1] * 10
    assert all(later - earlier >= 1 - 1e-6 for earlier, later in pairwise(starts))


@pytest.mark.rule("P-20")
@pytest.mark.parametrize("depth", [1, 8])
def test_wire_chunking_over_five_connections(play: Any, depth: int) -> None:
    server = ScriptedServer(capabilities=CHUNKING)

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(400))

    play(story, server, latency=RTT / 2, max_connections=5, max_messages=-1, pipeline_depth=depth)
    assert len(server.connections) == 5
    assert sum(len(turns(record)) for record in server.connections) <= needed(400, depth) + 5
    assert all(record.writes == len(record.turns) for record in server.connections)
