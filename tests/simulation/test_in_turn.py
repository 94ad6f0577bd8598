"""A server that announces PIPELINING and refuses what comes behind the end of a message, as Haraka does since 3.3.4."""

from __future__ import annotations

from typing import Any

import pytest

from mailpool import Rejected, SendResult
from mailpool.testing import Fault, ScriptedServer, reply

GROUP = ["MAIL", "RCPT", "DATA"]


def strict(words: str, **how: Any) -> ScriptedServer:
    """Answers so where MAIL stands behind the end of another message in one turn. For one connection at a time."""

    def ahead(line: str) -> bool:
        return "END" in server.connections[-1].turns[-1].commands

    server = ScriptedServer(faults=[Fault(at="MAIL", match=ahead, do=reply(words), times=None)], **how)
    return server


def groups(record: Any) -> list[list[str]]:
    """What came together, after the handshake and before QUIT."""
    return [turn.commands for turn in record.turns][1:-1]


@pytest.mark.rule("P-03")
@pytest.mark.rule("P-05")
@pytest.mark.parametrize(
    "words", ["503 Bad sequence of commands - pipelined after end of DATA", "500 5.5.1 half a line is none"]
)
def test_p05_the_message_begins_again_in_its_turn_and_so_do_all_that_follow(
    play: Any, received: Any, words: str
) -> None:
    server = strict(words)

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(20))
        assert all(isinstance(end, SendResult) and end.attempts == 1 for end in ends)
        stats = relay.transporter.stats()
        assert (stats.requeued, stats.uncertain, stats.disabled) == (0, 0, frozenset())

    play(story, server, latency=0.01, max_connections=1, max_messages=10)
    assert received(server) == [str(number) for number in range(20)]
    # It was told once, and later connections know it.
    assert len(server.faults.struck) == 1
    first, *others = server.connections
    assert groups(first)[:4] == [GROUP, ["END", *GROUP], GROUP, ["END"]]
    for record in others:
        assert groups(record) == [GROUP, ["END"]] * record.messages


@pytest.mark.rule("P-05")
def test_p05_behind_a_message_that_is_refused_it_is_the_same(play: Any, received: Any) -> None:
    server = strict("503 5.5.1 not yet")
    server.faults.add(Fault(at="END", message=0, do=reply("554 5.7.1 no such words here")))

    async def story(relay: Any) -> None:
        refused, *others = await relay.ends(*relay.burst(3))
        assert isinstance(refused, Rejected)
        assert refused.reply.code == 554
        assert all(isinstance(other, SendResult) for other in others)

    play(story, server, latency=0.01, max_connections=1)
    assert received(server) == ["1", "2"]
    assert len(server.connections) == 1


@pytest.mark.rule("P-05")
def test_p05_more_recipients_than_are_written_at_once(play: Any, received: Any) -> None:
    server = strict("503 5.5.1 not yet", capabilities=("PIPELINING", "SIZE 10485760"))
    everyone = [f"r{number}@example.org" for number in range(250)]

    async def story(relay: Any) -> None:
        _, many, _ = await relay.ends(relay.send(0), relay.send(1, everyone), relay.send(2))
        assert list(many.accepted) == everyone

    play(story, server, latency=0.01, max_connections=1)
    assert received(server) == ["0", "1", "2"]


@pytest.mark.rule("P-05")
@pytest.mark.rule("P-16")
def test_p05_who_says_it_in_turn_as_well_means_it(play: Any, received: Any) -> None:
    faults = [Fault(at="MAIL", match="second@", do=reply("503 5.5.1 say something else first"), times=None)]

    async def story(relay: Any) -> None:
        mails = [relay.mail(n, **({"from": "second@example.org"} if n == 1 else {})) for n in range(3)]
        first, refused, last = await relay.ends(*(relay.transporter.send_mail(mail) for mail in mails))
        assert isinstance(refused, Rejected)
        assert refused.reply.code == 503
        assert first.attempts == last.attempts == 1

    server = play(story, ScriptedServer(faults=faults), latency=0.01, max_connections=1)
    assert received(server) == ["0", "2"]
    assert len(server.connections) == 1


@pytest.mark.rule("P-05")
@pytest.mark.rule("P-18")
def test_p05_the_connection_ends_before_its_turn(play: Any, received: Any) -> None:
    """Nothing was taken of it: it goes elsewhere, and nothing is in doubt."""
    server = strict("503 5.5.1 not yet")
    server.faults.add(Fault(at="MAIL", nth=3, do=reply("421 4.3.2 going down")))

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(3))
        assert all(isinstance(end, SendResult) and not end.maybe_duplicate for end in ends)

    play(story, server, latency=0.01, max_connections=1)
    assert sorted(received(server)) == ["0", "1", "2"]
    assert len(server.connections) == 2
