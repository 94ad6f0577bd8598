"""Once wrong, now proven: providers of tokens that misbehave, and passwords that stop working."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mailpool import AuthenticationFailed, Phase, SendResult, TimedOut
from mailpool.testing import Fault, ScriptedServer, reply, stall

CLEAR = {"starttls": "never", "allow_cleartext_auth": True}


def logins(server: ScriptedServer) -> int:
    return sum(line.startswith("AUTH") for line in server.commands())


def by_token() -> ScriptedServer:
    return ScriptedServer(auth={"me": "token"}, mechanisms=["XOAUTH2"])


def identity(provider: Callable[[], Any]) -> dict[str, Any]:
    return {"user": "me", "access_token": provider}


async def cancelled_refresh() -> None:
    """What a provider meets that awaits a refresh which somebody else has cancelled."""
    refresh = asyncio.ensure_future(asyncio.sleep(1))
    refresh.cancel()
    await refresh


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-19")
def test_a_token_provider_that_is_cancelled_is_asked_again_after_a_back_off(play: Any) -> None:
    asked: list[float] = []

    async def story(relay: Any) -> None:
        async def provider() -> str:
            asked.append(relay.now)
            if len(asked) < 5:
                await cancelled_refresh()
            return "token"

        sender = relay.another(auth=identity(provider), **CLEAR)
        send = sender.send_mail(relay.mail(0))
        await asyncio.wait([send], timeout=30)
        assert send.done(), "the message waits for ever"
        assert isinstance(send.result(), SendResult)
        assert sender.stats().connection_failures == 4
        assert len(set(asked)) == 5
        await sender.close()

    play(story, by_token(), max_connections=1)


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-19")
def test_a_token_provider_that_is_always_cancelled_fails_the_message(play: Any) -> None:
    server = by_token()

    async def story(relay: Any) -> None:
        sender = relay.another(auth=identity(cancelled_refresh), **CLEAR)
        send = sender.send_mail(relay.mail(0))
        await asyncio.wait([send], timeout=120)
        assert send.done(), "the message waits for ever"
        error = send.exception()
        assert isinstance(error, AuthenticationFailed)
        assert error.temporary
        assert len(server.connections) < 60
        await sender.close()

    play(story, server, latency=0.01)
    assert logins(server) == 0


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-26")
def test_a_token_provider_that_never_answers_ends_with_a_time_out(play: Any) -> None:
    async def story(relay: Any) -> None:
        sender = relay.another(auth=identity(asyncio.Event().wait), **CLEAR)
        sends = [sender.send_mail(relay.mail(number)) for number in range(3)]
        await asyncio.wait(sends, timeout=1_200)
        assert all(send.done() for send in sends), "the messages wait for ever"
        for send in sends:
            error = send.exception()
            assert isinstance(error, TimedOut)
            assert error.phase is Phase.AUTH
            assert error.temporary
        await sender.close()

    play(story, by_token())


@pytest.mark.rule("P-19")
@pytest.mark.rule("P-21")
def test_a_wrong_password_fails_also_those_in_front_of_the_door(play: Any) -> None:
    server = ScriptedServer(auth={"me": "right"})

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(8))
        assert {type(end) for end in ends} == {AuthenticationFailed}
        assert relay.now < 5
        assert relay.transporter.stats().held_back == 0

    play(story, server, auth=("me", "wrong"), max_queue=2, **CLEAR)
    assert logins(server) == 1


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-19")
def test_a_login_that_fails_after_the_server_has_gone_leaves_the_next_message_to_be_tried(play: Any) -> None:
    server = by_token()

    async def story(relay: Any) -> None:
        asked = 0

        async def provider() -> str:
            nonlocal asked
            asked += 1
            if asked == 1:
                await asyncio.sleep(2)
                raise RuntimeError("no token now")
            return "token"

        sender = relay.another(auth=identity(provider), **CLEAR)
        given_up, send = (sender.send_mail(relay.mail(number)) for number in range(2))
        await asyncio.sleep(1)
        assert server.open_connections == 2
        server.close_connections()
        await asyncio.sleep(0.5)
        given_up.cancel()
        assert isinstance(await relay.end(send), SendResult)
        assert relay.now < 10
        await sender.close()

    play(story, server, latency=0.01)


@pytest.mark.rule("P-19")
def test_a_password_that_was_changed_while_all_connections_were_lost_is_tried_once(play: Any) -> None:
    server = ScriptedServer(auth={"me": "right"}, faults=[Fault(at="MAIL", message=0, do=stall(1), times=5)])

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(5))
        assert logins(server) == 5
        server.auth = {"me": "another"}
        relay.network.cut()
        await asyncio.sleep(2)
        ends = await relay.ends(*relay.burst(5))
        assert {type(end) for end in ends} == {AuthenticationFailed}
        assert logins(server) == 5 + 1

    play(story, server, latency=0.01, auth=("me", "right"), **CLEAR)


@pytest.mark.rule("P-19")
def test_one_login_goes_ahead_after_all_connections_were_lost(play: Any) -> None:
    under_way = most = 0

    def counted(incident: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)

        def answer() -> None:
            nonlocal under_way
            under_way -= 1
            incident.answer()

        incident.hold(0.5, answer)

    server = ScriptedServer(auth={"me": "right"}, faults=[Fault(at="MAIL", do=stall(2), times=None)])

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(5))
        relay.network.cut()
        await asyncio.sleep(2)
        server.faults.add(Fault(at="AUTH", do=counted))
        server.faults.add(Fault(at="AUTH", nth=2, do=reply("535 5.7.8 revoked meanwhile"), times=None))
        ends = await relay.ends(*relay.burst(5))
        # The first login opened a connection, and the refusals of the others fail nobody.
        assert all(isinstance(end, SendResult) for end in ends)

    play(story, server, latency=0.01, auth=("me", "right"), **CLEAR)
    assert most == 1
