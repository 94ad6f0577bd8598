"""Once wrong, found by a seed of ``make simulate``, now proven."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import (
    AuthenticationFailed,
    ConnectionFailed,
    DeliveryUncertain,
    LookupFailed,
    Phase,
    QuotaExceeded,
    SendResult,
)
from mailpool.errors import UnsupportedByServer
from mailpool.testing import Fault, ScriptedServer, deliver_then_close, reply, stall

PLAIN = ("SIZE 10485760",)


@pytest.mark.rule("P-09")
def test_p09_an_idle_connection_closes_when_the_last_message_could_not_be_begun(play: Any) -> None:
    """A message that the server cannot take is refused before a byte of it is written, on a connection that has
    just become free. Nobody looked at that connection again until the next message came."""
    server = ScriptedServer(capabilities=PLAIN)

    async def story(relay: Any) -> None:
        raw = b"Subject: 1\r\nMessage-ID: <1@example.org>\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n"
        does_not = {"raw": raw, "envelope": {"from": "from@example.org", "to": ["to@example.org"]}}
        send = relay.transporter.send_mail
        ends = await relay.ends(send(relay.mail(0)), send(does_not))
        assert [type(end) for end in ends] == [SendResult, UnsupportedByServer]
        await asyncio.sleep(10)
        assert relay.transporter.stats().connections == 0

    play(story, server, max_connections=1, idle_timeout=5)


@pytest.mark.rule("P-16")
@pytest.mark.rule("P-19a")
def test_p16_a_quota_tells_nobody_what_became_of_another_message(play: Any, received: Any) -> None:
    """Message 0 may have been delivered when the quota ends it at its second attempt. The others were never on the wire."""
    no_more = "550 5.4.5 Daily sending quota exceeded"
    server = ScriptedServer(
        faults=[
            Fault(at="END", do=deliver_then_close()),
            Fault(at="MAIL", do=reply(no_more), match="from@", nth=2),
        ],
        capabilities=PLAIN,
    )

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(3))
        ends.append(await relay.end(relay.send(3)))
        assert [type(end) for end in ends] == [QuotaExceeded] * 4
        assert [end.may_have_been_delivered for end in ends] == [True, False, False, False]
        assert [end.message_id for end in ends] == [f"<{number}@example.org>" for number in range(4)]

    assert received(play(story, server, max_connections=1)) == ["0"]


@pytest.mark.rule("P-31")
def test_p31_close_ends_after_one_was_cancelled_while_connections_were_being_cut(play: Any) -> None:
    """The first close had cut what was left and waited for it to be gone: cancelling that cancelled it for everybody."""
    server = ScriptedServer(faults=[Fault(at="END", do=stall())])

    async def story(relay: Any) -> None:
        send = asyncio.ensure_future(relay.send(0))
        await asyncio.sleep(1)
        closing = asyncio.ensure_future(relay.transporter.close(2))
        # A timer of the same moment that was set later: the connections have just been cut.
        await asyncio.sleep(0)
        await asyncio.sleep(2)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        assert await relay.transporter.close() == []
        assert isinstance(await relay.end(send), DeliveryUncertain)

    play(story, server)


@pytest.mark.rule("P-19")
@pytest.mark.rule("P-26")
@pytest.mark.parametrize("verb", ["EHLO", "AUTH"])
def test_p26_a_reply_that_came_while_the_program_blocked_the_loop_counts(play: Any, verb: str) -> None:
    """In the handshake a time-out that ended in the same moment came before the reply that was there: a login that had
    been refused counted as one that nobody answered, and was tried again."""
    server = ScriptedServer(auth={"me": "another"})

    async def story(relay: Any) -> None:
        loop: Any = asyncio.get_running_loop()
        end = asyncio.ensure_future(relay.end(relay.send(0)))
        while not any(line.startswith(verb) for line in server.commands()):
            await asyncio.sleep(0.1)
        loop._jumping.now += 30  # longer than every time-out, and the answer is under way
        assert isinstance(await end, AuthenticationFailed)
        assert relay.transporter.stats().connection_failures == 1

    clear = {"starttls": "never", "allow_cleartext_auth": True}
    play(story, server, latency=1.0, auth=("me", "wrong"), command_timeout=5, **clear)
    assert sum(line.startswith("AUTH") for line in server.commands()) == 1


@pytest.mark.rule("P-16")
@pytest.mark.rule("P-19")
def test_p19_who_is_refused_untried_is_told_why(play: Any) -> None:
    """… and not of another attempt to connect, begun before and failed since, for a reason that passes."""

    async def story(relay: Any) -> None:
        dials = iter(
            [
                (0.0, LookupFailed("no such host", phase=Phase.LOOKUP)),
                (0.5, ConnectionFailed("reset", phase=Phase.CONNECT, temporary=True)),
            ]
        )

        async def dial(*_: Any) -> None:
            seconds, error = next(dials)
            await asyncio.sleep(seconds)
            raise error

        relay.network.dial = dial
        assert {type(end) for end in await relay.ends(*relay.burst(2))} == {LookupFailed}
        await asyncio.sleep(0.7)
        error = await relay.end(relay.send(2))
        assert isinstance(error, LookupFailed)
        assert not error.temporary
        assert 0 < error.retry_after < 0.5

    play(story, max_connections=2)
