"""P-24, P-19a: a relay that asks for less gets less, and messages that waiting saves do not fail."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import AuthenticationFailed, DeadlineExceeded, QuotaExceeded, Rate, SendResult, Throttled
from mailpool.testing import Fault, ScriptedServer, reply, reply_then_close
from mailpool.testing.providers import SocketLabs

CLEAR = {"starttls": "never", "allow_cleartext_auth": True}
TOO_FAST = "451 4.7.1 you are sending too fast"
TOO_MANY = "421 4.4.5 Too many connections"

pytestmark = pytest.mark.rule("P-24")


@pytest.mark.rule("P-19a")
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize("closes", [False, True])
def test_a_message_that_is_too_fast_is_kept(play: Any, received: Any, at: Any, closes: bool) -> None:
    said = "421 4.7.1 you are sending too fast" if closes else TOO_FAST
    server = ScriptedServer(faults=[Fault(at=at, do=(reply_then_close if closes else reply)(said), times=2)])

    async def story(relay: Any) -> None:
        relay.listen("throttled", "requeued")
        end = await relay.end(relay.send(0))
        assert isinstance(end, SendResult)
        assert end.attempts == 3
        assert not end.maybe_duplicate
        stats = relay.transporter.stats()
        assert (stats.throttled, stats.requeued, stats.failed) == (2, 0, 0)
        assert [type(error) for (error,) in relay.heard("throttled")] == [Throttled, Throttled]
        assert relay.heard("requeued") == []

    play(story, server, max_requeues=0)
    assert received(server) == ["0"]


@pytest.mark.rule("P-12")
def test_only_those_without_an_outcome_get_it_again(play: Any) -> None:
    server = ScriptedServer(
        faults=[
            Fault(at="RCPT", match="b@", do=reply(TOO_FAST), times=2),
            Fault(at="RCPT", match="c@", do=reply("550 5.1.1 nobody"), times=None),
        ]
    )

    async def story(relay: Any) -> None:
        end = await relay.end(relay.send(0, ["a@example.org", "b@example.org", "c@example.org"]))
        assert isinstance(end, SendResult)
        assert set(end.accepted) == {"a@example.org", "b@example.org"}
        assert end.rejected == ("c@example.org",)

    play(story, server)
    assert [message.recipients for message in server.messages] == [("a@example.org",), ("b@example.org",)]
    assert sum("c@" in line for line in server.commands()) == 1


@pytest.mark.rule("P-12")
def test_with_lmtp_only_the_recipient_concerned_gets_it_again(play: Any) -> None:
    server = ScriptedServer(lmtp=True, faults=[Fault(at="END", match="<b@", do=reply(TOO_FAST), times=1)])

    async def story(relay: Any) -> None:
        end = await relay.end(relay.send(0, ["a@example.org", "b@example.org"]))
        assert isinstance(end, SendResult)
        assert end.accepted == ("a@example.org", "b@example.org")

    play(story, server, port=24, lmtp=True)
    assert [message.recipients for message in server.messages] == [("a@example.org",), ("b@example.org",)]


def test_a_hint_is_obeyed_by_all(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="MAIL", do=reply(f"{TOO_FAST}; try again in 92 seconds"))])

    async def story(relay: Any) -> None:
        first = asyncio.ensure_future(relay.send(0))
        await asyncio.sleep(5)
        await relay.ends(first, *(relay.send(n) for n in range(1, 6)))
        assert min(message.time for message in server.messages) >= 92
        assert relay.now < 93

    play(story, server)


@pytest.mark.rule("P-19a")
@pytest.mark.parametrize("patience", [0, 10, 60])
def test_patience_ends(play: Any, patience: float) -> None:
    server = ScriptedServer(faults=[Fault(at="MAIL", do=reply(TOO_FAST), times=None)])

    async def story(relay: Any) -> None:
        relay.listen("throttled")
        ends = await relay.ends(*relay.burst(3))
        assert all(isinstance(end, Throttled) and end.temporary for end in ends)
        assert patience * 0.3 <= relay.now <= 3 * patience + 0.1
        assert relay.heard("throttled")

    play(story, server, max_throttle_wait=patience, max_connections=1)


@pytest.mark.rule("P-19a")
def test_a_deadline_ends_it_earlier(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="MAIL", do=reply(TOO_FAST), times=None)])

    async def story(relay: Any) -> None:
        assert isinstance(await relay.end(relay.send(0, deadline=7)), DeadlineExceeded)
        assert relay.now == pytest.approx(7, abs=0.1)

    play(story, server)


@pytest.mark.parametrize("seconds", [400, 4_000])
def test_a_hint_beyond_all_patience_is_told_at_once(play: Any, seconds: int) -> None:
    server = ScriptedServer(faults=[Fault(at="MAIL", do=reply(f"{TOO_FAST}, retry after {seconds} seconds"))])

    async def story(relay: Any) -> None:
        end = await relay.end(relay.send(0))
        assert isinstance(end, Throttled)
        assert end.retry_after == seconds
        assert relay.now < 1

    play(story, server)


# -- connecting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["GREETING", "EHLO", "AUTH"])
@pytest.mark.parametrize(
    "said",
    [TOO_MANY, "454 4.7.0 Too many login attempts", "450 too frequent connects", "550 Too many messages. Try again in 92 seconds."],
)  # fmt: skip
def test_being_turned_away_for_now_fails_nobody(play: Any, at: Any, said: str) -> None:
    if at == "EHLO" and said.startswith("550"):
        said = "450" + said[3:]  # a 5xx to EHLO asks for HELO
    server = ScriptedServer(auth={"u": "p"}, faults=[Fault(at=at, do=reply_then_close(said), times=6)])

    async def story(relay: Any) -> None:
        relay.listen("throttled")
        ends = await relay.ends(*relay.burst(20))
        assert all(isinstance(end, SendResult) for end in ends)
        assert relay.transporter.stats().throttled == len(relay.heard("throttled")) > 0

    # The relay is not down, and a login that comes too soon is no wrong one.
    play(
        story,
        server,
        auth=("u", "p"),
        connection_wait=5,
        auth_retry_after=3_000,
        max_throttle_wait=1_000,
        **CLEAR,
    )


@pytest.mark.rule("P-19")
def test_a_wrong_password_stays_one(play: Any) -> None:
    server = ScriptedServer(auth={"u": "p"})

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(5))
        assert all(isinstance(end, AuthenticationFailed) for end in ends)
        assert relay.now < 1

    play(story, server, auth=("u", "wrong"), **CLEAR)
    assert sum(line.startswith("AUTH") for line in server.commands()) == 1


def test_while_logins_are_too_many_the_first_refusal_is_heard_by_all(play: Any) -> None:
    """Five connections that are being opened do not ask five times."""
    server = ScriptedServer(
        auth={"u": "p"}, faults=[Fault(at="AUTH", do=reply("454 4.7.0 Too many login attempts"), times=1)]
    )

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(20))
        assert relay.transporter.stats().throttled == 1

    play(story, server, auth=("u", "p"), latency=0.02, **CLEAR)


def test_a_relay_that_never_lets_us_in_fails_messages_in_the_end(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="GREETING", do=reply_then_close(TOO_MANY), times=None)])

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(4))
        assert all(isinstance(end, Throttled) for end in ends)
        assert 100 <= relay.now <= 130

    play(story, server, max_throttle_wait=100, connection_wait=5)


@pytest.mark.rule("P-01")
@pytest.mark.parametrize("allowed", [1, 2, 4])
def test_connections_fall_to_what_is_taken_and_rise_again(play: Any, allowed: int) -> None:
    server = SocketLabs(connections=allowed, session=10**6)

    async def story(relay: Any) -> None:
        assert all(isinstance(end, SendResult) for end in await relay.ends(*relay.burst(100)))
        stats = relay.transporter.stats()
        assert stats.max_connections == stats.learnt[0].max_connections == allowed
        server.connections_allowed = 9
        for _ in range(40):
            await asyncio.sleep(30)
            await relay.ends(*relay.burst(30))
        assert relay.transporter.stats().max_connections == 5

    play(story, server, latency=0.02, max_connections=5, idle_timeout=1_000)


def test_an_open_surplus_is_closed(play: Any) -> None:
    """A relay that takes back what it had allowed: the refused connection goes, and those that are then too many."""
    server = ScriptedServer(
        faults=[Fault(at="MAIL", connection=4, do=reply("432 4.3.2 Concurrent connections limit exceeded"))]
    )

    async def story(relay: Any) -> None:
        assert all(isinstance(end, SendResult) for end in await relay.ends(*relay.burst(200)))
        await asyncio.sleep(1)
        assert relay.transporter.stats().connections == 4

    play(story, server, latency=0.02, max_connections=5, max_messages=-1)


# -- quotas ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("P-19a")
def test_a_quota_at_the_login_is_no_wrong_password(play: Any) -> None:
    said = "451 Authentication failed: Maximum credits exceeded, try again in 1 hour"
    server = ScriptedServer(auth={"u": "p"}, faults=[Fault(at="AUTH", do=reply_then_close(said), times=1)])

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(5))
        assert all(isinstance(end, QuotaExceeded) and end.retry_after == 3_600 for end in ends)
        end = await relay.end(relay.send(9))
        assert isinstance(end, QuotaExceeded)
        await asyncio.sleep(3_601)
        assert isinstance(await relay.end(relay.send(10)), SendResult)

    play(story, server, auth=("u", "p"), max_connections=1, **CLEAR)


# -- what is remembered ----------------------------------------------------------------------------------------------


def test_another_transporter_knows_what_was_learnt(play: Any) -> None:
    server = SocketLabs(connections=2)

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(100))
        refused = relay.transporter.stats().throttled
        assert refused > 0
        async with relay.another() as other:
            assert other.stats().learnt == relay.transporter.stats().learnt
            await relay.transporter.close()
            ends = await asyncio.gather(*(other.send_mail(relay.mail(n)) for n in range(100, 200)))
            assert len(ends) == 100
            assert other.stats().throttled == 0
            assert other.stats().max_connections == 2
        # Another host is another matter.
        stranger = relay.another(host="other.example")
        assert stranger.stats().learnt == ()
        await stranger.close()

    play(story, server, latency=0.02, idle_timeout=1_000)


def test_a_learnt_rate_stands_beside_ones_own(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="MAIL", do=reply(TOO_FAST), nth=20, times=1)])
    server.faults.add(Fault(at="MAIL", do=reply(TOO_FAST), nth=150, times=1))

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(200))
        stats = relay.transporter.stats()
        assert stats.rates[0] == Rate(100, per=1.0)
        assert len(stats.rates) == 2
        assert stats.learnt[0].rate is not None

    play(story, server, latency=0.02, rate="100/s")


def test_a_pool_that_was_never_throttled_has_learnt_nothing(play: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(300))
        stats = relay.transporter.stats()
        assert (stats.learnt, stats.throttled, stats.rates, stats.max_connections) == ((), 0, (), 5)

    play(story, latency=0.01)


# -- sessions --------------------------------------------------------------------------------------------------------


def test_a_relay_that_restarts_teaches_nothing(play: Any) -> None:
    """Its connections end together, and after equally many messages."""
    server = ScriptedServer()

    async def story(relay: Any) -> None:
        for number in range(4):
            batch = [asyncio.ensure_future(send) for send in relay.burst(100)]
            await asyncio.sleep(0.5 + number / 10)
            server.close_connections()
            assert all(isinstance(end, SendResult) for end in await relay.ends(*batch))
        assert relay.transporter.stats().learnt == ()

    play(story, server, latency=0.02, max_messages=-1)


def test_a_session_that_is_over_before_it_began_is_a_matter_of_pace(play: Any) -> None:
    """No storm of connections against a relay that always says so."""
    said = "452 4.7.0 Too many messages in this session"
    server = ScriptedServer(faults=[Fault(at="MAIL", do=reply(said), times=None)])

    async def story(relay: Any) -> None:
        await relay.end(relay.send(0))

    play(story, server, max_throttle_wait=100)
    assert len(server.connections) < 20


# -- drain and close -------------------------------------------------------------------------------------------------


@pytest.mark.rule("P-30")
def test_drain_waits_for_what_is_throttled(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="MAIL", do=reply(f"{TOO_FAST}; retry in 20 seconds"), times=2)])

    async def story(relay: Any) -> None:
        sends = relay.burst(3)
        assert await relay.transporter.drain(100) == []
        assert all(isinstance(end, SendResult) for end in await relay.ends(*sends))

    play(story, server, max_connections=1)


@pytest.mark.rule("P-27")
def test_a_throttled_message_can_be_cancelled(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="MAIL", do=reply(TOO_FAST), times=None)])

    async def story(relay: Any) -> None:
        send = asyncio.ensure_future(relay.send(0))
        await asyncio.sleep(5)
        send.cancel()
        with pytest.raises(asyncio.CancelledError):
            await send
        assert relay.transporter.stats().queued == 0

    play(story, server)


def test_one_message_that_is_always_put_off_holds_up_nobody(play: Any, received: Any) -> None:
    server = ScriptedServer(
        faults=[
            Fault(at="RCPT", match="slow@", do=reply("450 4.7.1 too many messages to this one"), times=None)
        ]
    )

    async def story(relay: Any) -> None:
        slow = asyncio.ensure_future(relay.send("slow", "slow@example.org"))
        ends = await relay.ends(*relay.burst(100))
        assert all(isinstance(end, SendResult) for end in ends)
        assert not slow.done()
        assert isinstance(await relay.end(slow), Throttled)

    play(story, server, latency=0.01)
