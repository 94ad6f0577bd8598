"""P-12: what the server bounds, and what we bound ourselves: recipients and messages."""

from __future__ import annotations

from typing import Any

import pytest

from mailpool import Deferred, SendError, SendResult
from mailpool.testing import Fault, ScriptedServer, close, reply

USUAL = ("PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES")


def people(count: int, domains: int = 1) -> list[str]:
    return [f"r{n}@d{n % domains}.example" for n in range(count)]


def everybody(server: ScriptedServer) -> list[str]:
    return [recipient for message in server.messages for recipient in message.recipients]


@pytest.mark.rule("P-12")
@pytest.mark.rule("SRV-18")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("announced", "ours", "sizes"),
    [
        (3, None, [3, 3, 2]),
        (None, 3, [3, 3, 2]),
        (3, 5, [3, 3, 2]),
        (5, 3, [3, 3, 2]),
        (1, None, [1] * 8),
        (8, None, [8]),
    ],
)
def test_p12_recipients_beyond_the_bound_go_into_further_transactions(
    play: Any, announced: int | None, ours: int | None, sizes: list[int], pipelining: bool
) -> None:
    limits = () if announced is None else (f"LIMITS RCPTMAX={announced}",)
    server = ScriptedServer(capabilities=(*USUAL[0 if pipelining else 1 :], *limits))
    to = people(8)

    async def story(relay: Any) -> None:
        result = await relay.send(0, to)
        assert list(result.accepted) == to
        assert result.attempts == 1
        assert relay.transporter.stats().sent == 1

    play(story, server, latency=0.01, max_recipients=ours)
    assert [len(message.recipients) for message in server.messages] == sizes
    # The bound is kept to, and not found out by being refused.
    assert not [said for record in server.connections for said in record.replies if said.startswith("452")]
    assert everybody(server) == to
    assert len({message.content for message in server.messages}) == 1
    assert len(server.connections) == 1


@pytest.mark.rule("P-12")
@pytest.mark.rule("SRV-18")
@pytest.mark.parametrize("most", [1, 2])
def test_p12_domains_of_one_transaction_are_bounded(play: Any, most: int) -> None:
    server = ScriptedServer(capabilities=(*USUAL, f"LIMITS RCPTDOMAINMAX={most}"))
    to = people(12, domains=4)

    async def story(relay: Any) -> None:
        assert set((await relay.send(0, to)).accepted) == set(to)

    play(story, server)
    for message in server.messages:
        assert len({recipient.partition("@")[2] for recipient in message.recipients}) <= most
    assert sorted(everybody(server)) == sorted(to)


@pytest.mark.rule("P-12")
@pytest.mark.rule("SRV-18")
@pytest.mark.parametrize("refused", [False, True])
def test_p12_mailmax_counts_every_mail(play: Any, refused: bool) -> None:
    faults = [Fault(at="MAIL", do=reply("550 5.7.1 no"), match="SIZE", nth=2)] if refused else []
    server = ScriptedServer(capabilities=(*USUAL, "LIMITS MAILMAX=3"), faults=faults)

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(10))
        assert sum(isinstance(end, SendError) for end in ends) == refused
        assert all(getattr(end, "attempts", 1) == 1 for end in ends)

    play(story, server, latency=0.01, max_connections=1)
    counts = [sum(line.startswith("MAIL") for line in record.lines) for record in server.connections]
    assert max(counts) <= 3
    assert len(counts) <= 5


@pytest.mark.rule("P-12")
@pytest.mark.parametrize("mailmax", [1, 2])
def test_p12_the_transactions_of_one_message_may_need_several_connections(play: Any, mailmax: int) -> None:
    server = ScriptedServer(capabilities=(*USUAL, f"LIMITS MAILMAX={mailmax} RCPTMAX=2"))
    to = people(9)

    async def story(relay: Any) -> None:
        result = await relay.send(0, to)
        assert sorted(result.accepted) == sorted(to)
        assert not result.maybe_duplicate

    play(story, server, latency=0.01, max_connections=1, max_requeues=0)
    assert sorted(everybody(server)) == sorted(to)


TOO_MANY = ["452 4.5.3 Too many recipients", "552 5.5.3 Too many recipients", "552 Too many recipients"]


@pytest.mark.rule("P-12")
@pytest.mark.rule("SRV-14")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("words", TOO_MANY)
def test_p12_too_many_recipients_sends_the_rest_later(play: Any, words: str, pipelining: bool) -> None:
    faults = [
        Fault(at="RCPT", message=0, match="r[4-9]@", do=reply(words), times=None),
        Fault(at="RCPT", message=1, match="r[89]@", do=reply(words), times=None),
    ]
    server = ScriptedServer(capabilities=USUAL[0 if pipelining else 1 :], faults=faults)
    to = people(10)

    async def story(relay: Any) -> None:
        result = await relay.send(0, to)
        assert list(result.accepted) == to
        assert result.rejected == ()
        assert result.attempts == 1

    play(story, server, latency=0.01, max_connections=1)
    assert [len(message.recipients) for message in server.messages] == [4, 4, 2]
    assert len(server.connections) == 1


@pytest.mark.rule("P-12")
@pytest.mark.parametrize("words", TOO_MANY)
def test_p12_too_many_said_to_the_first_recipient_ends(play: Any, words: str) -> None:
    server = ScriptedServer(faults=[Fault(at="RCPT", do=reply(words), times=None)])

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0, people(3)))
        assert isinstance(error, SendError)
        assert error.rejected == tuple(people(3))
        assert relay.now < 400

    play(story, server, latency=0.01, timeout=3_600)
    assert len(server.commands()) < 200


@pytest.mark.rule("P-12")
def test_p12_what_is_repeated_goes_only_to_those_without_outcome(play: Any) -> None:
    faults = [
        Fault(at="RCPT", match="r1@", do=reply("550 5.1.1 nobody")),
        Fault(at="MAIL", connection=0, message=1, do=close()),
        Fault(at="DATA", connection=1, message=1, do=close()),
    ]
    server = ScriptedServer(faults=faults)
    to = people(9)

    async def story(relay: Any) -> None:
        result = await relay.send(0, to)
        assert result.rejected == ("r1@d0.example",)
        assert result.recipients[1].reply.code == 550
        assert list(result.accepted) == [address for address in to if address != "r1@d0.example"]
        assert not result.maybe_duplicate

    play(story, server, latency=0.01, max_connections=1, max_recipients=3)
    assert sorted(everybody(server)) == sorted({*to} - {"r1@d0.example"})
    assert sum("r1@" in line for line in server.commands()) == 1
    assert sum("r0@" in line for line in server.commands()) == 1


@pytest.mark.rule("P-12")
@pytest.mark.parametrize("how", ["lost", "refused", "deferred"])
def test_p12_a_later_part_that_fails_is_told_with_what_was_accepted(play: Any, how: str) -> None:
    do = {"lost": close(), "refused": reply("554 5.6.0 no"), "deferred": reply("451 4.3.0 later")}[how]
    at = "DATA" if how == "lost" else "END"
    server = ScriptedServer(faults=[Fault(at=at, nth=2, do=do, times=None)])

    async def story(relay: Any) -> None:
        end = await relay.end(relay.send(0, people(4)))
        assert isinstance(end, (SendResult, SendError))
        assert list(end.accepted) == people(4)[:2]
        assert list(end.rejected) == people(4)[2:]
        assert [r.address for r in end.recipients] == people(4)

    play(story, server, max_recipients=2, max_requeues=0)
    assert everybody(server) == people(4)[:2]


@pytest.mark.rule("P-12")
def test_p12_a_thousand_recipients_cost_ten_transactions(play: Any) -> None:
    server = ScriptedServer(capabilities=(*USUAL, "LIMITS RCPTMAX=100"))

    async def story(relay: Any) -> None:
        assert len((await relay.send(0, people(1_000, 7))).accepted) == 1_000

    play(story, server, latency=0.01)
    assert len(server.messages) == 10


@pytest.mark.rule("P-12")
@pytest.mark.parametrize(
    "limits",
    ["LIMITS RCPTMAX=0 MAILMAX=0", "LIMITS RCPTMAX=x", "LIMITS", "LIMITS MAILMAX=-1", "LIMITS FOO=1"],
)
def test_p12_limits_that_make_no_sense_are_not_taken(play: Any, limits: str) -> None:
    # A server that announces nonsense and does not hold to it.
    words = f"250-scripted.example\n250-PIPELINING\n250 {limits}"
    server = ScriptedServer(faults=[Fault(at="EHLO", do=reply(words), times=None)])

    async def story(relay: Any) -> None:
        end = await relay.end(relay.send(0, people(3)))
        assert isinstance(end, (SendResult, Deferred))
        assert relay.now < 100

    play(story, server, latency=0.01, timeout=1_000, right=False)
