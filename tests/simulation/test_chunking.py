"""wire.md with CHUNKING: transactions in flight together, an RSET between, and nobody's message under another's name."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from mailpool import DeliveryUncertain, Rejected, SendError, SendResult
from mailpool.testing import Fault, ScriptedServer, close, deliver_then_close, reply, reply_then_close

CHUNKING = ("PIPELINING", "CHUNKING", "SIZE 10485760", "8BITMIME")


def numbered(relay: Any, count: int) -> list[Any]:
    """Each from a sender and to a recipient of its own."""
    return [relay.send(n, f"to{n}@example.org", **{"from": f"from{n}@example.org"}) for n in range(count)]


def envelopes_are_right(server: ScriptedServer, received: Any) -> None:
    for number, message in zip(received(server), server.messages, strict=True):
        assert message.sender == f"from{number}@example.org"
        assert message.recipients == (f"to{number}@example.org",)


@pytest.mark.rule("P-02")
@pytest.mark.rule("P-03")
@pytest.mark.rule("P-05")
@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 8])
@pytest.mark.parametrize(
    ("at", "words"),
    [("MAIL", "550 5.7.1 no"), ("RCPT", "550 5.1.1 no"), ("RCPT", "450 4.2.1 x"), ("END", "554 5.6.0 no")],
)
def test_chunking_what_is_refused_leaves_nothing_to_the_next(
    play: Any, received: Any, at: Any, words: str, depth: int, keeps: bool
) -> None:
    match = {"MAIL": r"from[258]@", "RCPT": r"to[258]@", "END": r"number [258]\r"}[at]
    server = ScriptedServer(
        capabilities=CHUNKING,
        keeps_sender_after_bdat=keeps,
        faults=[Fault(at=at, match=match, do=reply(words), times=None)],
    )

    async def story(relay: Any) -> None:
        ends = await relay.ends(*numbered(relay, 12))
        refused = [n for n, end in enumerate(ends) if not isinstance(end, SendResult)]
        assert refused == [2, 5, 8]
        assert all(
            ends[n].reply.code == int(words[:3]) and not ends[n].may_have_been_delivered for n in refused
        )
        assert all(end.attempts == 1 for end in ends)

    play(story, server, latency=0.05, max_connections=1, pipeline_depth=depth, right=False)
    assert len(server.connections) == 1
    envelopes_are_right(server, received)
    assert len(server.messages) == 9


@pytest.mark.rule("P-06")
@pytest.mark.rule("P-18")
@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("which", [0, 2, 5])
@pytest.mark.parametrize("how", ["lost", "taken and lost", "421"])
def test_chunking_each_of_those_in_flight_is_judged_by_itself(
    play: Any, received: Any, how: str, which: int, depth: int
) -> None:
    do = {"lost": close(), "taken and lost": deliver_then_close(), "421": reply_then_close("421 4.3.2 bye")}[
        how
    ]
    faults = [Fault(at="END", connection=0, message=which, do=do)]
    server = ScriptedServer(capabilities=CHUNKING, faults=faults)
    ends: list[Any] = []

    async def story(relay: Any) -> None:
        ends.extend(await relay.ends(*numbered(relay, 12)))

    play(story, server, latency=0.05, max_connections=1, pipeline_depth=depth, on_uncertain="fail")
    copies = Counter(received(server))
    assert max(copies.values()) == 1
    for number, end in enumerate(ends):
        if isinstance(end, SendResult):
            assert not end.maybe_duplicate
            assert copies[str(number)] == 1
        else:
            # A 421 in place of a reply leaves no doubt about what follows it.
            assert isinstance(end, DeliveryUncertain)
            assert how != "421"
            assert which <= number < which + depth
    assert isinstance(ends[which], SendResult) == (how == "421")
    envelopes_are_right(server, received)


@pytest.mark.rule("P-11")
@pytest.mark.parametrize("do", [close(), reply_then_close("421 4.4.2 idle")], ids=repr)
def test_chunking_a_dead_reused_connection_is_never_in_doubt(play: Any, do: Any) -> None:
    server = ScriptedServer(capabilities=CHUNKING, faults=[Fault(at="MAIL", connection=0, message=1, do=do)])

    async def story(relay: Any) -> None:
        await relay.send(0)
        await asyncio.sleep(5)
        result = await relay.send(1)
        assert not result.maybe_duplicate
        assert relay.transporter.stats().requeued == 0

    play(
        story, server, latency=0.05, max_connections=1, max_requeues=0, pipeline_depth=8, on_uncertain="fail"
    )
    assert len(server.messages) == 2


@pytest.mark.rule("P-15")
def test_chunking_an_accepted_end_after_a_refused_mail_is_uncertain(play: Any) -> None:
    """The server takes a message whose MAIL it refused: nobody can know under which name."""

    def refuse_and_go_on(incident: Any) -> None:
        incident.say("550 5.7.1 no")
        incident.conclude("250 2.1.0 ok")

    server = ScriptedServer(capabilities=CHUNKING, faults=[Fault(at="MAIL", message=1, do=refuse_and_go_on)])

    async def story(relay: Any) -> None:
        ends = await relay.ends(*numbered(relay, 4))
        assert isinstance(ends[1], SendError)
        # Told before the content was written, it is a refusal; afterwards it is in doubt, and never a success.
        assert isinstance(ends[1], Rejected | DeliveryUncertain)
        delivered = any(message.sender == "from1@example.org" for message in server.messages)
        assert ends[1].may_have_been_delivered or not delivered
        # The connection is destroyed; what had its end of data on it is in doubt too, and what was before is not.
        assert isinstance(ends[0], SendResult)
        assert all(isinstance(end, SendResult | DeliveryUncertain) for end in ends[2:])

    play(story, server, latency=0.05, max_connections=1, pipeline_depth=8, on_uncertain="fail", right=False)
    assert len(server.connections) <= 2


@pytest.mark.rule("P-27")
@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize("wait", [0.31, 0.36, 0.41, 0.46, 0.51])
def test_chunking_a_caller_that_goes_harms_no_neighbour(
    play: Any, received: Any, which: int, wait: float
) -> None:
    server = ScriptedServer(capabilities=CHUNKING)

    async def story(relay: Any) -> None:
        relay.listen("detached")
        sends = [asyncio.ensure_future(send) for send in numbered(relay, 6)]
        await asyncio.sleep(wait)
        sends[which].cancel()
        ends = await relay.ends(*sends)
        others = [end for n, end in enumerate(ends) if n != which]
        assert all(isinstance(end, SendResult) and not end.maybe_duplicate for end in others), ends
        await asyncio.sleep(5)
        told = [message_id for message_id, _ in relay.heard("detached")]
        if isinstance(ends[which], asyncio.CancelledError):
            assert (str(which) in received(server)) == (f"<{which}@example.org>" in told)

    play(story, server, latency=0.05, max_connections=1, pipeline_depth=3)
    assert len(received(server)) == len({*received(server)})
    envelopes_are_right(server, received)


@pytest.mark.rule("P-05")
def test_chunking_costs_no_more_round_trips_than_data(play: Any) -> None:
    server = ScriptedServer(capabilities=CHUNKING)

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(20))

    play(story, server, latency=0.1, max_connections=1)
    assert len(server.connections[0].turns) <= 1 + 21 + 1
