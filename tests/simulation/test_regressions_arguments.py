"""Once wrong, now proven: arguments that are wrong, content that cannot be read, and what is told about the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mailpool import (
    ConnectionFailed,
    Envelope,
    PoolClosed,
    QuotaExceeded,
    Sealed,
    SendError,
    SendResult,
    UsageError,
)
from mailpool.results import Phase
from mailpool.testing import Fault, ScriptedServer, close, reply, stall


class Unreadable:
    """Content whose source fails after its first block."""

    size = 1_000
    eight_bit = binary = utf8_headers = False

    def blocks(self) -> Iterator[bytes]:
        yield b"Subject: half of it\r\n\r\n"
        raise OSError("the disk has gone")


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-22")
def test_a_priority_that_is_no_number_harms_no_other_message(play: Any, received: Any) -> None:
    async def story(relay: Any) -> None:
        with pytest.raises(UsageError, match="priority"):
            relay.send(0, priority="high")
        ends = await relay.ends(relay.send(1), relay.send(2, priority=5), relay.send(3, priority=-5))
        assert all(isinstance(end, SendResult) for end in ends)

    assert sorted(received(play(story))) == ["1", "2", "3"]


@pytest.mark.parametrize("deadline", ["3", 0, -1, float("nan"), float("inf")])
def test_a_deadline_that_is_none_is_told_before_the_message_is_queued(
    play: Any, received: Any, deadline: Any
) -> None:
    async def story(relay: Any) -> None:
        with pytest.raises(UsageError, match="deadline"):
            relay.send(0, deadline=deadline)
        await asyncio.sleep(10)

    assert received(play(story)) == []


@pytest.mark.rule("DAT-07")
@pytest.mark.rule("P-14")
def test_content_that_cannot_be_read_fails_its_own_message_only(play: Any, received: Any) -> None:
    async def story(relay: Any) -> None:
        sealed = Sealed(Envelope("a@example.org", ["b@example.org"]), Unreadable(), "<bad@example.org>")
        sends = [relay.send(0), relay.transporter.send_mail(sealed), relay.send(2)]
        first, bad, last = await relay.ends(*sends)
        assert isinstance(first, SendResult)
        assert isinstance(last, SendResult)
        assert isinstance(bad, SendError)
        assert "disk" in str(bad)
        assert (bad.phase, bad.temporary, bad.attempts) == (Phase.CONTENT, False, 1)
        assert not bad.may_have_been_delivered

    assert received(play(story, max_connections=1, latency=0.01)) == ["0", "2"]


@pytest.mark.rule("P-19a")
def test_while_a_quota_is_used_up_that_is_what_messages_are_told(play: Any) -> None:
    words = "550 5.4.5 Daily user sending limit exceeded"
    server = ScriptedServer(faults=[Fault(at="END", do=reply(words))])

    async def story(relay: Any) -> None:
        assert isinstance(await relay.end(relay.send(0)), QuotaExceeded)
        server.refuse_connections(True)
        server.close_connections()
        other = relay.send(1, auth=("u", "p"))
        assert not isinstance(await relay.end(other), QuotaExceeded)
        assert isinstance(await relay.end(relay.send(2)), QuotaExceeded)

    play(
        story,
        server,
        latency=0.01,
        connection_wait=1,
        idle_timeout=3,
        starttls="never",
        allow_cleartext_auth=True,
    )


@pytest.mark.rule("P-06")
@pytest.mark.rule("P-18")
def test_a_server_that_says_421_and_takes_the_message_all_the_same_makes_it_uncertain(play: Any) -> None:
    server = ScriptedServer(
        capabilities=("PIPELINING", "CHUNKING"),
        faults=[Fault(at="RCPT", do=reply("421 4.3.2 bye"), nth=2)],
    )

    async def story(relay: Any) -> None:
        result = await relay.send(0, to=[f"r{n}@example.org" for n in range(3)])
        copies = [message for message in server.messages if message.message_id == "<0@example.org>"]
        assert len(copies) == 1 or result.maybe_duplicate

    play(story, server, latency=0.01, max_connections=1)


@pytest.mark.rule("P-29")
def test_what_a_cancelled_close_would_have_returned_the_next_one_returns(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=stall(None))])

    async def story(relay: Any) -> None:
        sends = relay.burst(4)
        await asyncio.sleep(1)
        closing = asyncio.ensure_future(relay.transporter.close(100))
        await asyncio.sleep(1)
        closing.cancel()
        await asyncio.wait([closing])
        ends = await relay.ends(*sends)
        unsent = await relay.transporter.close()
        lost = [f"<{n}@example.org>" for n, end in enumerate(ends) if isinstance(end, PoolClosed)]
        assert lost
        assert [sealed.message_id for sealed in unsent] == lost
        assert await relay.transporter.close() == []

    play(story, server, latency=0.01, max_connections=1)


@pytest.mark.rule("P-09")
def test_a_minimum_that_cannot_be_had_is_asked_for_with_patience(play: Any) -> None:
    async def story(relay: Any) -> None:
        assert isinstance(await relay.end(relay.send(0)), ConnectionFailed)
        before = relay.dials
        await asyncio.sleep(600)
        assert relay.dials - before < 100

    play(story, latency=0.01, min_connections=1, starttls="required", right=False)


@pytest.mark.rule("P-05")
def test_a_refused_rset_costs_a_connection_and_no_extension(play: Any) -> None:
    server = ScriptedServer(
        faults=[
            Fault(at="RCPT", do=reply("550 5.1.1 no"), times=3),
            Fault(at="RSET", do=reply("554 5.5.1 too many"), nth=2),
            Fault(at="MAIL", do=close(), nth=9),
        ]
    )

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(8))
        assert relay.transporter.stats().disabled == frozenset()

    play(story, server, latency=0.01, max_connections=1)
