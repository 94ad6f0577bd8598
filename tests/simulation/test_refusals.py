"""P-05: what is refused fails alone, and the connection goes on. What a refusal says: P-15 to P-17, P-19a."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import Deferred, Outcome, Phase, QuotaExceeded, Rejected, SendError, SendResult, Throttled
from mailpool.testing import Fault, ScriptedServer, reply

PLACES = {"MAIL": Phase.MAIL, "RCPT": Phase.RCPT, "DATA": Phase.DATA, "END": Phase.END_OF_DATA}


@pytest.mark.rule("P-05")
@pytest.mark.rule("P-16")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    "words", ["550 5.7.1 not you", "451 4.3.0 not now", "501 what", "554 5.0.0 -", "450 4.2.1 busy"]
)
@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_p05_a_refused_message_fails_alone_and_keeps_its_connection(
    play: Any, received: Any, capabilities: Any, at: str, words: str, pipelining: bool, which: int
) -> None:
    server = ScriptedServer(
        capabilities=capabilities(pipelining), faults=[Fault(at=at, message=which, do=reply(words))]
    )

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(3))
        error = ends.pop(which)
        assert all(isinstance(end, SendResult) and end.attempts == 1 for end in ends)
        assert isinstance(error, Rejected if words[0] == "5" else Deferred)
        assert error.phase is PLACES[at]
        assert str(error.reply) == words
        assert error.temporary == (words[0] == "4")
        assert error.may_have_been_delivered is False
        assert error.message_id == f"<{which}@example.org>"
        assert error.attempts == 1
        assert error.rejected == ("to@example.org",)
        assert error.accepted == ()

    play(story, server, latency=0.01, max_connections=1)
    assert len(server.connections) == 1
    assert sorted(received(server)) == sorted({"0", "1", "2"} - {str(which)})
    # A rejected MAIL leaves nothing to reset; refused recipients leave a transaction open.
    assert all(not answer.startswith("503") for answer in server.connections[0].replies if at != "MAIL")


@pytest.mark.rule("P-05")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("at", PLACES)
def test_p05_a_hundred_refused_messages_cost_no_reconnect(
    play: Any, capabilities: Any, at: str, pipelining: bool
) -> None:
    server = ScriptedServer(
        capabilities=capabilities(pipelining),
        faults=[Fault(at=at, do=reply("550 5.7.1 no"), probability=0.5, seed=3, times=None)],
    )

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(200))
        refused = [end for end in ends if isinstance(end, Rejected)]
        assert len(refused) == len(server.faults.struck) > 50
        assert len(server.messages) == 200 - len(refused)

    play(story, server, latency=0.01, max_connections=2, max_messages=-1)
    assert len(server.connections) == 2


@pytest.mark.rule("P-05")
@pytest.mark.rule("DAT-12")
def test_p05_content_asked_for_without_recipients_keeps_in_step(play: Any) -> None:
    server = ScriptedServer(
        faults=[
            Fault(at="RCPT", message=0, do=reply("550 5.1.1 no such user"), times=None),
            Fault(at="DATA", message=0, do=reply("354 go on then")),
        ]
    )

    async def story(relay: Any) -> None:
        refused, taken = await relay.ends(relay.send(0, to=["a@example.org", "b@example.org"]), relay.send(1))
        assert isinstance(refused, Rejected)
        assert refused.reply.code == 550
        assert taken.attempts == 1

    play(story, server, latency=0.01, max_connections=1)
    assert len(server.connections) == 1
    assert len(server.messages) == 1


@pytest.mark.rule("P-05")
def test_p05_a_refused_reset_does_not_harm_the_next_message(play: Any, received: Any) -> None:
    server = ScriptedServer(
        faults=[
            Fault(at="RCPT", message=0, do=reply("550 5.1.1 no")),
            Fault(at="RSET", do=reply("451 4.0.0 cannot reset")),
        ]
    )

    async def story(relay: Any) -> None:
        refused, taken = await relay.ends(*relay.burst(2))
        assert isinstance(refused, Rejected)
        assert isinstance(taken, SendResult)

    play(story, server, latency=0.01, max_connections=1, right=False)
    assert received(server) == ["1"]


@pytest.mark.rule("P-15")
@pytest.mark.parametrize("pipelining", [True, False])
def test_p15_a_result_lists_each_recipient_with_its_reply(
    play: Any, capabilities: Any, pipelining: bool
) -> None:
    server = ScriptedServer(
        capabilities=capabilities(pipelining),
        faults=[
            Fault(at="RCPT", match="bad@", do=reply("550 5.1.1 no such user"), times=None),
            Fault(at="RCPT", match="busy@", do=reply("450 4.2.1 mailbox busy"), times=None),
            Fault(at="RCPT", match="else@", do=reply("251 2.1.5 will forward"), times=None),
            Fault(at="END", do=reply("250 2.0.0 Ok: queued as 4F1C2")),
        ],
    )
    to = [f"{name}@example.org" for name in ("good", "bad", "else", "busy")]

    async def story(relay: Any) -> None:
        result = await relay.send(0, to=to)
        assert isinstance(result, SendResult)
        assert result.message_id == "<0@example.org>"
        assert result.sender == "from@example.org"
        assert result.accepted == (to[0], to[2])
        assert result.rejected == (to[1], to[3])
        assert [r.address for r in result.recipients] == to
        assert [r.outcome for r in result.recipients] == [
            Outcome.ACCEPTED, Outcome.REJECTED, Outcome.ACCEPTED, Outcome.DEFERRED
        ]  # fmt: skip
        assert [r.reply.code for r in result.recipients] == [250, 550, 250, 450]
        assert [r.phase for r in result.recipients] == [
            Phase.END_OF_DATA, Phase.RCPT, Phase.END_OF_DATA, Phase.RCPT
        ]  # fmt: skip
        assert result.recipients[1].reply.enhanced_code == "5.1.1"
        assert result.response == "250 2.0.0 Ok: queued as 4F1C2"
        assert result.size == server.messages[0].size
        assert (result.attempts, result.maybe_duplicate) == (1, False)
        assert result.took > 0

    play(story, server, latency=0.01)
    assert server.messages[0].recipients == (to[0], to[2])


@pytest.mark.rule("P-15")
@pytest.mark.parametrize(
    ("answers", "kind", "temporary"),
    [
        (("550 5.1.1 a", "550 5.1.1 b"), Rejected, False),
        (("450 4.2.1 a", "450 4.2.1 b"), Deferred, True),
        (("550 5.1.1 a", "450 4.2.1 b"), Deferred, True),
        (("450 4.2.1 a", "550 5.1.1 b"), Deferred, True),
    ],
)
def test_p15_all_recipients_refused_is_an_error_that_lists_them(
    play: Any, answers: tuple[str, str], kind: type[SendError], temporary: bool
) -> None:
    faults = [Fault(at="RCPT", match=f"r{n}@", do=reply(words)) for n, words in enumerate(answers)]
    server = ScriptedServer(faults=faults)

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0, to=["r0@example.org", "r1@example.org"]))
        assert isinstance(error, kind)
        assert (error.phase, error.temporary) == (Phase.RCPT, temporary)
        assert [str(r.reply) for r in error.recipients] == list(answers)
        assert error.rejected == ("r0@example.org", "r1@example.org")
        assert not error.may_have_been_delivered

    play(story, server)
    assert server.messages == []


@pytest.mark.rule("P-15")
@pytest.mark.parametrize("words", ["354 what", "220 hello", "334 more?", "199 early"])
def test_p15_only_a_2xx_that_belongs_there_makes_a_result(play: Any, words: str) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=reply(words), times=None)])

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        if isinstance(error, SendResult):
            assert words[0] == "2"  # RFC 5321 §4.2.1: the first digit tells
        else:
            assert error.may_have_been_delivered

    play(story, server, max_requeues=0, right=False)


@pytest.mark.rule("P-17")
@pytest.mark.parametrize(
    ("at", "words", "kind", "outcome"),
    [
        ("END", "550 5.7.1 spam", Rejected, Outcome.REJECTED),
        ("END", "451 4.3.0 try later", Deferred, Outcome.DEFERRED),
        ("END", "454 4.7.0 Throttling failure: Maximum sending rate exceeded.", Throttled, Outcome.THROTTLED),
        ("END", "454 4.7.0 Throttling failure: Daily message quota exceeded.", QuotaExceeded, Outcome.QUOTA),
        ("MAIL", "454 4.7.0 Throttling failure: Daily message quota exceeded.", QuotaExceeded, Outcome.QUOTA),
    ],
)
def test_p17_each_refusal_has_its_class(play: Any, at: str, words: str, kind: Any, outcome: Outcome) -> None:
    server = ScriptedServer(faults=[Fault(at=at, do=reply(words), times=None)])

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        assert type(error) is kind
        assert error.outcome is outcome
        assert error.reply.code == int(words[:3])
        assert error.temporary == (kind is not Rejected)

    play(story, server, max_throttle_wait=0)


@pytest.mark.rule("P-19a")
@pytest.mark.parametrize("at", PLACES)
def test_p19a_a_deferral_is_not_repeated_by_the_pool(play: Any, at: str) -> None:
    server = ScriptedServer(faults=[Fault(at=at, do=reply("451 4.3.0 later"))])

    async def story(relay: Any) -> None:
        started = relay.now
        error = await relay.end(relay.send(0))
        assert type(error) is Deferred
        assert error.attempts == 1
        assert relay.now - started < 1
        await asyncio.sleep(1_000)
        assert server.messages == []
        assert relay.transporter.stats().requeued == 0

    play(story, server, latency=0.01)


@pytest.mark.rule("P-19a")
def test_p19a_a_quota_used_up_fails_the_queue_too_at_once(play: Any) -> None:
    words = "452 4.7.0 Daily message quota exceeded, try again in 3600 seconds"
    server = ScriptedServer(faults=[Fault(at="MAIL", nth=3, do=reply(words), times=None)])

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(50))
        assert [type(end) for end in ends] == [SendResult] * 2 + [QuotaExceeded] * 48
        assert {end.retry_after for end in ends[2:]} == {3_600.0}
        assert relay.now < 5

    play(story, server, latency=0.01, max_connections=1)
    # One or two were under way when it was said.
    assert sum(line.startswith("MAIL") for line in server.commands()) <= 5
