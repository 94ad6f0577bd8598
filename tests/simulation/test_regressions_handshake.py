"""Once wrong, now proven: servers that say too much, and servers that let us in and then send us away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import Phase, ProtocolError, SendResult
from mailpool.testing import Authority, Fault, RawServer, ScriptedServer, close, extra, reply_then_close
from mailpool.testing.raw_server import RawStream

CLEAR = {"starttls": "never", "allow_cleartext_auth": True}
FLOOD = b"250 flood\r\n" * 100_000


@pytest.mark.rule("P-07")
@pytest.mark.rule("SRV-03")
@pytest.mark.parametrize("at", ["GREETING", "EHLO"])
def test_a_flood_of_replies_while_a_token_is_awaited_is_not_hoarded(play: Any, at: Any) -> None:
    def flood(incident: Any) -> None:
        incident.answer()
        incident.send(FLOOD)

    server = ScriptedServer(
        auth={"me": "token"}, mechanisms=["XOAUTH2"], faults=[Fault(at=at, connection=0, do=flood)]
    )

    async def provider() -> str:
        await asyncio.sleep(20)
        return "token"

    async def story(relay: Any) -> None:
        send = relay.send(0)
        await asyncio.sleep(10)
        assert relay.transporter.stats().bytes_received < len(FLOOD) // 10
        assert not server.connections[0].is_open
        assert isinstance(await relay.end(send), SendResult)

    play(story, server, auth={"user": "me", "access_token": provider}, max_connections=1, **CLEAR)


@pytest.mark.rule("P-07")
@pytest.mark.rule("P-19")
@pytest.mark.rule("SRV-03")
@pytest.mark.parametrize("at", ["GREETING", "EHLO", "AUTH"])
def test_a_reply_out_of_turn_costs_a_connection_and_no_message(play: Any, at: Any) -> None:
    server = ScriptedServer(
        auth={"me": "right"}, faults=[Fault(at=at, connection=0, do=extra("250 and again"))]
    )

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(3))
        assert all(isinstance(end, SendResult) for end in ends), ends
        assert relay.now < 10
        assert relay.transporter.stats().connection_failures == 1

    play(story, server, auth=("me", "right"), max_connections=1, **CLEAR)
    assert server.connections[0].messages == 0


@pytest.mark.rule("P-16")
@pytest.mark.rule("P-19")
@pytest.mark.rule("SRV-03")
@pytest.mark.parametrize("at", ["GREETING", "EHLO", "AUTH"])
def test_a_server_that_always_speaks_out_of_turn_fails_messages_for_now_only(play: Any, at: Any) -> None:
    server = ScriptedServer(
        auth={"me": "right"}, faults=[Fault(at=at, do=extra("250 and again"), times=None)]
    )

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(3))
        assert {type(end) for end in ends} == {ProtocolError}
        assert all(end.temporary and not end.may_have_been_delivered for end in ends)
        assert 29 < relay.now < 35, "they waited for a better connection"

    play(story, server, auth=("me", "right"), **CLEAR)
    assert server.messages == []


@pytest.mark.rule("P-19")
@pytest.mark.rule("SRV-07")
def test_a_relay_that_sends_everybody_away_at_mail_is_not_hammered(play: Any) -> None:
    no = Fault(at="MAIL", do=reply_then_close("421 4.3.2 not now"), times=None)
    server = ScriptedServer(faults=[no])

    async def story(relay: Any) -> None:
        sends = relay.burst(100)
        await asyncio.sleep(10)
        assert len(server.connections) < 30
        await asyncio.sleep(70)
        assert len(server.connections) < 60
        server.faults.clear()
        assert all(isinstance(end, SendResult) for end in await relay.ends(*sends))

    play(story, server, latency=0.01)
    assert len(server.messages) == 100


@pytest.mark.rule("P-07")
@pytest.mark.rule("P-14")
@pytest.mark.parametrize("at", ["EHLO", "AUTH"])
def test_a_last_reply_that_comes_with_the_end_of_the_connection(
    play: Any, authority: Authority, at: Any
) -> None:
    """Under TLS both are read at once. The message was given to a connection that was over, and waited for ever."""
    server = ScriptedServer(
        tls=authority.server_context("relay.example"),
        auth={"me": "right"} if at == "AUTH" else None,
        faults=[Fault(at=at, nth=2 if at == "EHLO" else 1, do=_answer_then_close)],
    )

    async def story(relay: Any) -> None:
        assert isinstance(await relay.end(relay.send(0)), SendResult)
        assert relay.transporter.stats().connection_failures == 1

    tls = {"tls": authority.client_context(), "starttls": "required"}
    play(story, server, auth=("me", "right") if at == "AUTH" else None, **tls)
    assert [connection.messages for connection in server.connections] == [0, 1]


def _answer_then_close(incident: Any) -> None:
    incident.answer()
    incident.close()


@pytest.mark.rule("LOG-01")
def test_an_echo_in_place_of_a_reply_tells_nothing_of_the_login(play: Any) -> None:
    """What is no reply is quoted in the error, but not while we log in."""

    def echo(incident: Any) -> None:
        incident.send(b"AUTH PLAIN AG1lAHNlY3JldA==\r\n")

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        assert isinstance(error, ProtocolError)
        assert "AG1l" not in f"{error!r} {vars(error)!r} {error.__cause__!r}"

    server = ScriptedServer(auth={"me": "secret"}, faults=[Fault(at="AUTH", times=None, do=echo)])
    play(story, server, auth=("me", "secret"), **CLEAR)


@pytest.mark.rule("P-16")
@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("how", ["close", "reset", "cut"])
def test_a_connection_that_is_lost_in_the_tls_handshake(
    play: Any, authority: Authority, turns: int, how: str
) -> None:
    """Where the end is an orderly one asyncio gives no transport and raises nothing, and that looked like a bug of ours."""

    async def leave(stream: RawStream) -> None:
        stream.send(b"220 hello\r\n")
        await stream.read_line()
        stream.send(b"250-relay.example\r\n250 STARTTLS\r\n")
        await stream.read_line()
        stream.expect_tls()
        stream.send(b"220 go on\r\n")
        stream.start_tls(authority.server_context("relay.example"), lambda _: None)
        for _ in range(turns):
            await asyncio.sleep(0)
        getattr(stream, how)()

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        assert error.temporary
        assert "AssertionError" not in str(error)

    play(story, RawServer(leave), tls=authority.client_context(), starttls="required", max_requeues=0)


@pytest.mark.rule("P-16")
@pytest.mark.parametrize(
    ("place", "phase"),
    [("CONNECT", Phase.GREETING), ("GREETING", Phase.GREETING), ("EHLO", Phase.EHLO), ("AUTH", Phase.AUTH)],
)
def test_a_connection_that_closes_in_the_handshake_says_in_which_phase(
    play: Any, place: Any, phase: Phase
) -> None:
    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        assert error.phase is phase
        assert str(phase) in str(error)
        assert str(Phase.QUEUE) not in str(error)

    server = ScriptedServer(faults=[Fault(at=place, do=close(), times=None)], auth={"me": "secret"})
    play(story, server, auth=("me", "secret"), allow_cleartext_auth=True, connection_wait=1)
