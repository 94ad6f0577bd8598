"""LMTP (RFC 2033): after the end of the data each recipient has a reply of its own, and an outcome of its own."""

from __future__ import annotations

from typing import Any

import pytest

from mailpool import ConnectionFailed, Deferred, DeliveryUncertain, Outcome, Phase, Rejected, SendResult
from mailpool.testing import Fault, ScriptedServer, close, extra, raw, reply, reply_then_close

TO = ["ann@example.org", "bob@example.org", "eve@example.org"]
FULL = "552 5.2.2 mailbox full"
WAYS = [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")]
ways = pytest.mark.parametrize("offered", WAYS, ids=["plain", "pipelining", "chunking"])


def lmtp(offered: tuple[str, ...] = ("PIPELINING",), *faults: Fault, **options: Any) -> ScriptedServer:
    return ScriptedServer(
        lmtp=True, capabilities=(*offered, "SIZE 10485760", "8BITMIME"), faults=faults, **options
    )


@pytest.fixture(name="lplay")
def lplay_fixture(play: Any) -> Any:
    return lambda story, server, **options: play(story, server, port=24, lmtp=True, **options)


def who(server: ScriptedServer) -> list[tuple[str, str]]:
    return sorted((str(message.message_id), *message.recipients) for message in server.messages)


@ways
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("depth", [1, 5])
def test_every_recipient_has_its_own_reply(
    lplay: Any, offered: tuple[str, ...], pool: bool, depth: int
) -> None:
    server = lmtp(offered)

    async def story(relay: Any) -> None:
        for result in await relay.ends(*(relay.send(n, TO) for n in range(5))):
            assert result.accepted == tuple(TO)
            assert [str(one.reply) for one in result.recipients] == [f"250 2.0.0 <{to}> ok" for to in TO]
            assert {one.phase for one in result.recipients} == {Phase.END_OF_DATA}

    lplay(story, server, pool=pool, max_connections=2, pipeline_depth=depth, latency=0.01)
    assert who(server) == sorted((f"<{n}@example.org>", to) for n in range(5) for to in TO)
    said = {line.partition(" ")[0] for line in server.commands()}
    assert "LHLO" in said
    assert not said & {"EHLO", "HELO"}
    assert ("BDAT" in said) == ("CHUNKING" in offered)


@ways
def test_one_of_three_is_refused_after_the_content(lplay: Any, offered: tuple[str, ...]) -> None:
    server = lmtp(offered, Fault(at="END", match="<bob@", do=reply(FULL)))

    async def story(relay: Any) -> None:
        result = await relay.send(0, TO)
        assert result.accepted == (TO[0], TO[2])
        assert result.rejected == (TO[1],)
        bob = result.recipients[1]
        assert (bob.outcome, bob.phase, str(bob.reply)) == (Outcome.REJECTED, Phase.END_OF_DATA, FULL)
        assert result.reply.is_success
        assert result.attempts == 1
        assert (await relay.send(1, TO)).accepted == tuple(TO)

    lplay(story, server, max_connections=1)
    assert len(server.messages) == 5
    assert len(server.connections) == 1


@ways
@pytest.mark.parametrize(
    ("words", "kind"), [(["450 4.2.0 later", FULL, FULL], Deferred), ([FULL, FULL, FULL], Rejected)]
)
def test_all_are_refused_after_the_content(
    lplay: Any, offered: tuple[str, ...], words: list[str], kind: type[Exception]
) -> None:
    faults = [Fault(at="END", match=f"<{to}>", do=reply(text)) for to, text in zip(TO, words, strict=True)]
    server = lmtp(offered, *faults)

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0, TO))
        assert type(error) is kind
        assert [str(one.reply) for one in error.recipients] == words
        assert (await relay.send(1, TO)).accepted == tuple(TO)

    lplay(story, server, max_connections=1)
    assert len(server.connections) == 1


@ways
def test_who_is_refused_at_rcpt_is_owed_no_reply(lplay: Any, offered: tuple[str, ...]) -> None:
    nobody = Fault(at="RCPT", match="<bob@", do=reply("550 5.1.1 no such user"))
    server = lmtp(offered, nobody, Fault(at="END", match="<eve@", do=reply(FULL)))

    async def story(relay: Any) -> None:
        result = await relay.send(0, TO)
        assert result.accepted == (TO[0],)
        assert [one.phase for one in result.recipients] == [Phase.END_OF_DATA, Phase.RCPT, Phase.END_OF_DATA]
        assert (await relay.send(1, TO)).accepted == tuple(TO)

    lplay(story, server, max_connections=1)
    assert len(server.connections) == 1


@ways
def test_all_are_refused_at_rcpt(lplay: Any, offered: tuple[str, ...]) -> None:
    server = lmtp(offered, Fault(at="RCPT", do=reply("550 5.1.1 no such user"), times=3))

    async def story(relay: Any) -> None:
        assert type(await relay.end(relay.send(0, TO))) is Rejected
        assert (await relay.send(1, TO)).accepted == tuple(TO)

    lplay(story, server, max_connections=1)
    assert len(server.connections) == 1
    assert not [line for line in server.commands() if line.startswith("BDAT")][1:]


@pytest.mark.rule("SRV-16")
@ways
@pytest.mark.parametrize("lost", [raw(b""), close()], ids=repr)
def test_srv16_fewer_replies_than_recipients_leave_the_rest_uncertain(
    lplay: Any, offered: tuple[str, ...], lost: Any
) -> None:
    server = lmtp(offered, Fault(at="END", match="<(bob|eve)@", do=lost, times=None))

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0, TO))
        assert isinstance(error, DeliveryUncertain)
        assert error.accepted == (TO[0],)
        assert [one.outcome for one in error.recipients] == [Outcome.ACCEPTED, *[Outcome.UNCERTAIN] * 2]

    lplay(story, server, on_uncertain="fail", command_timeout=5)
    assert who(server) == [("<0@example.org>", TO[0])]


@pytest.mark.rule("SRV-16")
@pytest.mark.rule("P-12")
@ways
def test_srv16_only_those_without_an_outcome_are_tried_again(lplay: Any, offered: tuple[str, ...]) -> None:
    server = lmtp(
        offered,
        Fault(at="END", match="<ann@", do=reply(FULL)),
        Fault(at="END", match="<eve@", do=close()),
    )

    async def story(relay: Any) -> None:
        result = await relay.send(0, TO)
        assert [one.outcome for one in result.recipients] == [
            Outcome.REJECTED,
            Outcome.ACCEPTED,
            Outcome.ACCEPTED,
        ]
        assert (result.attempts, result.maybe_duplicate) == (2, True)

    lplay(story, server)
    assert who(server) == [("<0@example.org>", TO[1]), ("<0@example.org>", TO[2])]


@ways
def test_421_to_one_recipient_ends_the_connection_and_not_the_outcomes_before(
    lplay: Any, offered: tuple[str, ...]
) -> None:
    server = lmtp(offered, Fault(at="END", match="<bob@", do=reply_then_close("421 4.3.2 going down")))

    async def story(relay: Any) -> None:
        result = await relay.send(0, TO)
        assert result.accepted == tuple(TO)
        # In order, so nobody after the first has it: that is no duplicate.
        assert (result.attempts, result.maybe_duplicate) == (2, False)

    lplay(story, server)
    assert who(server) == [("<0@example.org>", to) for to in TO]


@pytest.mark.rule("SRV-16")
@ways
def test_srv16_more_replies_than_recipients_end_the_connection_and_no_message(
    lplay: Any, offered: tuple[str, ...]
) -> None:
    server = lmtp(offered, Fault(at="END", match="<eve@", do=extra("250 2.0.0 <nobody> ok"), times=None))

    async def story(relay: Any) -> None:
        ends = await relay.ends(*(relay.send(n, TO) for n in range(3)))
        assert all(isinstance(end, SendResult) and end.accepted == tuple(TO) for end in ends), ends
        assert not any(end.maybe_duplicate for end in ends)

    lplay(story, server, max_connections=1)
    assert len(server.messages) == 9
    assert len(server.connections) == 3


@pytest.mark.rule("SRV-16")
def test_srv16_content_that_nobody_is_to_have_is_not_begun(lplay: Any) -> None:
    server = lmtp(
        ("PIPELINING",),
        Fault(at="RCPT", do=reply("550 5.1.1 no such user"), times=3),
        Fault(at="DATA", do=reply("354 go on")),
    )

    async def story(relay: Any) -> None:
        first, second = await relay.ends(relay.send(0, TO), relay.send(1, TO))
        assert type(first) is Rejected
        assert second.accepted == tuple(TO)

    lplay(story, server, max_connections=1)
    assert len(server.connections) == 2


def test_a_server_of_smtp_is_told_by_its_refusal_of_lhlo(lplay: Any) -> None:
    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        assert isinstance(error, ConnectionFailed)
        assert "LHLO" in str(error)

    lplay(story, ScriptedServer(), connection_wait=1.0)


@ways
def test_many_recipients_and_a_large_message(lplay: Any, offered: tuple[str, ...]) -> None:
    to = [f"r{n}@example.org" for n in range(250)]
    full = Fault(at="END", match=r"^<r\d*7@", do=reply(FULL), times=None)
    server = lmtp(offered, full, keep_content=False)

    async def story(relay: Any) -> None:
        result = await relay.send(0, to, attachments=[{"filename": "x", "content": b"x" * 600_000}])
        assert result.rejected == tuple(address for address in to if "7@" in address)

    lplay(story, server, max_recipients=100)
    assert len(server.messages) == 225
