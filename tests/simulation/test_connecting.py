"""P-19: connections that cannot be made: what is tried again, how often, and who hears of it."""

from __future__ import annotations

import asyncio
import errno
from itertools import pairwise
from typing import Any

import pytest

from mailpool import (
    AuthenticationFailed,
    ConnectionFailed,
    Credentials,
    LookupFailed,
    Phase,
    SendResult,
    TimedOut,
)
from mailpool.testing import (
    Fault,
    ScriptedServer,
    close,
    extra,
    partial,
    raw,
    reply,
    reply_then_close,
    reset,
    stall,
)
from mailpool.transporter import Transporter

HOST, PORT = "relay.example", 25
CLEAR = {"starttls": "never", "allow_cleartext_auth": True}
ACCOUNTS = {"me": "right", "other": "right too"}


def auths(server: ScriptedServer) -> int:
    return sum(line.startswith("AUTH") for line in server.commands())


@pytest.mark.rule("P-19")
def test_p19_attempts_back_off_although_an_open_connection_goes_on(play: Any) -> None:
    server = ScriptedServer(latency=0.01)

    async def story(relay: Any) -> None:
        await relay.ends(relay.send(0))
        server.refuse_connections(True)
        ends = await relay.ends(*(relay.send(number) for number in range(1, 501)))
        assert all(isinstance(end, SendResult) for end in ends)
        # Four at once at first; then they go one by one, and wait. What is sent meanwhile says nothing about connecting.
        assert 3 <= server.refused_connections < 25

    play(story, server, max_messages=-1)


@pytest.mark.rule("P-19")
def test_p19_a_relay_restarting_for_three_seconds_costs_no_message(play: Any) -> None:
    server = ScriptedServer()

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(5))
        server.refuse_connections(True)
        await server.disconnect()
        sends = [relay.send(number) for number in range(5, 105)]
        await asyncio.sleep(3)
        assert server.refused_connections >= 3
        server.refuse_connections(False)
        ends = await relay.ends(*sends)
        assert all(isinstance(end, SendResult) and not end.maybe_duplicate for end in ends)
        assert relay.transporter.stats().requeued == 0
        # Full jitter after at most six failures: the next attempt is at most 3.2 s away.
        assert relay.now < 9

    play(story, server, latency=0.01, max_requeues=0)
    assert len(server.messages) == 105


@pytest.mark.rule("P-19")
@pytest.mark.parametrize(
    ("fault", "phase"),
    [
        (None, Phase.CONNECT),
        (Fault(at="GREETING", do=close(), times=None), Phase.GREETING),
        (Fault(at="GREETING", do=reset(), times=None), Phase.GREETING),
        (Fault(at="GREETING", do=reply_then_close("421 4.3.2 busy"), times=None), Phase.GREETING),
        (Fault(at="EHLO", do=close(), times=None), Phase.EHLO),
        (Fault(at="EHLO", do=partial("250-half", 6), times=None), Phase.EHLO),
        (Fault(at="EHLO", do=reply("421 4.3.2 busy"), times=None), Phase.EHLO),
        (Fault(at="AUTH", do=close(), times=None), Phase.AUTH),
        (Fault(at="AUTH", do=reply("454 4.7.0 temporary"), times=None), Phase.AUTH),
        (Fault(at="AUTH", do=reply("421 4.7.0 too many"), times=None), Phase.AUTH),
        (Fault(at="AUTH", do=raw(b"rubbish\r\n"), times=None), Phase.AUTH),
    ],
    ids=lambda x: f"{x.at} {x.do!r}" if isinstance(x, Fault) else "",
)
def test_p19_messages_wait_connection_wait_from_the_first_failure(
    play: Any, fault: Fault | None, phase: Phase
) -> None:
    server = ScriptedServer(faults=[fault] if fault else [], auth=ACCOUNTS)

    async def story(relay: Any) -> None:
        if fault is None:
            relay.network.fail(HOST, PORT, ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
        at: list[float] = []
        sends = [asyncio.ensure_future(send) for send in relay.burst(20)]
        for send in sends:
            send.add_done_callback(lambda _: at.append(relay.now))
        ends = await relay.ends(*sends)
        assert all(isinstance(end, ConnectionFailed | AuthenticationFailed) for end in ends), ends
        assert {end.phase for end in ends} == {phase}
        assert all(end.temporary and not end.may_have_been_delivered and end.attempts == 0 for end in ends)
        assert all(29.9 <= when <= 31 for when in at), at
        assert {end.message_id for end in ends} == {f"<{n}@example.org>" for n in range(20)}

    play(story, server, latency=0.01, auth=("me", "right"), max_requeues=0, **CLEAR)
    assert server.messages == []


@pytest.mark.rule("P-19")
def test_p19_attempts_back_off_and_come_one_at_a_time_when_the_relay_is_down(play: Any) -> None:
    tries: list[tuple[float, int]] = []
    server = ScriptedServer()

    async def story(relay: Any) -> None:
        network_dial = relay.network.dial
        relay.network.fail(HOST, PORT, ConnectionRefusedError(errno.ECONNREFUSED, "refused"))

        async def dial(*arguments: Any) -> Any:
            tries.append((relay.now, relay.transporter.stats().opening))
            return await network_dial(*arguments)

        relay.network.dial = dial
        sends = relay.burst(50)
        await asyncio.sleep(5)
        assert relay.transporter.stats().relay_is_down
        assert relay.transporter.stats().connection_failures >= 3
        await relay.ends(*sends)

    play(story, server, latency=0.05, connection_wait=300, max_connections=5)
    failed_at = [when for when, _ in tries]
    # 0.1 s doubling to 30 s with full jitter: some 25 in 300 s. Without back-off there would be thousands.
    assert 10 <= len(tries) <= 80, len(tries)
    # Three in a row have failed at the latest when the first burst is over; then there is one at a time.
    assert all(opening <= 1 for _, opening in tries[8:]), tries
    assert max(later - earlier for earlier, later in pairwise(failed_at)) <= 31


@pytest.mark.rule("P-19")
def test_p19_a_relay_that_is_up_again_is_used_at_once_and_not_called_down(play: Any) -> None:
    async def story(relay: Any) -> None:
        server.refuse_connections(True)
        sends = relay.burst(30)
        await asyncio.sleep(2)
        assert relay.transporter.stats().relay_is_down
        server.refuse_connections(False)
        await relay.ends(*sends)
        assert not relay.transporter.stats().relay_is_down
        assert server.peak_connections > 1

    server = ScriptedServer()
    play(story, server, latency=0.05)


@pytest.mark.rule("P-19")
def test_p19_a_success_ends_the_row_of_failures(play: Any) -> None:
    server = ScriptedServer()

    async def story(relay: Any) -> None:
        server.refuse_connections(True)
        sends = relay.burst(3)
        await asyncio.sleep(2)
        server.refuse_connections(False)
        await relay.ends(*sends)
        await asyncio.sleep(100)
        # All have closed in peace: the relay is up, and a burst may open as many as it needs at once.
        assert (relay.transporter.stats().connections, relay.transporter.stats().relay_is_down) == (0, False)
        sends = relay.burst(20)
        await asyncio.sleep(0)
        assert relay.transporter.stats().opening == 5
        await relay.ends(*sends)

    play(story, server, latency=0.05)


@pytest.mark.rule("P-07")
@pytest.mark.rule("P-19")
@pytest.mark.parametrize("at", ["GREETING", "EHLO"])
@pytest.mark.parametrize("words", ["250 2.0.0 ok", "220 hello again", "550 5.0.0 no"])
def test_p19_one_surplus_reply_in_the_handshake_costs_that_connection_only(
    play: Any, at: Any, words: str
) -> None:
    """Without STARTTLS it is a mistake of one connection, and none of the things that time cannot mend."""
    server = ScriptedServer(faults=[Fault(at=at, do=extra(words))])

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(5))
        assert all(isinstance(end, SendResult) for end in ends), ends

    play(story, server, latency=0.01, max_connections=1, right=False)
    assert server.connections[0].messages == 0


@pytest.mark.rule("P-19")
def test_p19_a_message_that_comes_while_the_relay_is_down_ends_too(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.network.fail(HOST, PORT, OSError(errno.EHOSTUNREACH, "no route"))
        for number in range(12):
            relay.transporter.send_soon(relay.mail(number))
            await asyncio.sleep(10)
        started = relay.now
        error = await relay.end(relay.send(99))
        assert isinstance(error, ConnectionFailed)
        assert relay.now - started <= 31
        await asyncio.sleep(40)
        stats = relay.transporter.stats()
        assert (stats.queued, stats.failed) == (0, 13)

    play(story, latency=0.01)


@pytest.mark.rule("P-19")
def test_p19_nobody_dials_when_nobody_waits(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.network.fail(HOST, PORT, OSError(errno.EHOSTUNREACH, "no route"))
        await relay.end(relay.send(0))
        before = relay.dials
        await asyncio.sleep(3_600)
        assert relay.dials <= before + 1

    play(story)


@pytest.mark.rule("P-19")
def test_p19_a_black_hole_is_a_time_out(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.network.black_hole(HOST, PORT)
        error = await relay.end(relay.send(0))
        assert isinstance(error, TimedOut)
        assert error.temporary
        assert 10 <= relay.now <= 42

    play(story, connection_timeout=10)


@pytest.mark.rule("P-19")
def test_p19_an_unknown_host_fails_all_at_once(play: Any) -> None:
    server = ScriptedServer()

    async def story(relay: Any) -> None:
        dials: list[float] = []

        async def connector(options: Any, connection: Any, context: Any) -> Any:
            dials.append(relay.now)
            await asyncio.sleep(0.5)
            raise LookupFailed("no such host", phase=Phase.LOOKUP)

        transporter = Transporter(relay.transporter.options, connector=connector)
        ends = await relay.ends(*(transporter.send_mail(relay.mail(n)) for n in range(50)))
        assert {type(end) for end in ends} == {LookupFailed}
        assert {end.phase for end in ends} == {Phase.LOOKUP}
        assert relay.now < 2
        assert len(dials) <= 5
        await transporter.close()

    play(story, server)


@pytest.mark.rule("P-19")
@pytest.mark.parametrize(
    "words", ["535 5.7.8 no", "534 5.7.9 stronger please", "530 5.7.0 no", "504 5.5.4 not that"]
)
@pytest.mark.parametrize("pipelining", [True, False])
def test_p19_a_wrong_password_is_tried_once(
    play: Any, capabilities: Any, pipelining: bool, words: str
) -> None:
    server = ScriptedServer(
        auth=ACCOUNTS,
        capabilities=capabilities(pipelining),
        faults=[Fault(at="AUTH", do=reply(words), times=None)],
    )

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(100))
        assert {type(end) for end in ends} == {AuthenticationFailed}
        assert {(end.phase, end.reply.code, end.temporary) for end in ends} == {
            (Phase.AUTH, int(words[:3]), False)
        }
        assert auths(server) == 1
        assert relay.now < 2

    play(story, server, latency=0.05, max_connections=5, auth=("me", "wrong"), **CLEAR)


@pytest.mark.rule("P-19")
def test_p19_no_login_is_tried_again_for_auth_retry_after(play: Any) -> None:
    server = ScriptedServer(auth=ACCOUNTS)

    async def story(relay: Any) -> None:
        assert isinstance(await relay.end(relay.send(0)), AuthenticationFailed)
        for _ in range(58):
            await asyncio.sleep(1)
            started = relay.now
            ends = await relay.ends(*relay.burst(3))
            assert {type(end) for end in ends} == {AuthenticationFailed}
            assert relay.now - started < 0.5
            assert auths(server) == 1
        # Another identity is none of its business.
        assert isinstance(await relay.end(relay.send("other", auth=("other", "right too"))), SendResult)
        await asyncio.sleep(5)
        server.auth["me"] = "wrong"
        assert isinstance(await relay.end(relay.send(2)), SendResult)
        assert auths(server) == 3

    play(story, server, latency=0.01, auth=("me", "wrong"), **CLEAR)


@pytest.mark.rule("P-19")
@pytest.mark.parametrize(
    "do", [close(), reset(), stall(), reply("454 4.7.0 later"), reply_then_close("421 4.7.0 x")], ids=repr
)
def test_p19_a_login_that_broke_is_no_wrong_password(play: Any, do: Any) -> None:
    server = ScriptedServer(auth=ACCOUNTS, faults=[Fault(at="AUTH", do=do, times=2)])

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(10))
        assert all(isinstance(end, SendResult) for end in ends), ends
        assert relay.now < 20

    play(story, server, latency=0.01, auth=("me", "right"), command_timeout=5, max_connections=2, **CLEAR)


@pytest.mark.rule("P-19")
@pytest.mark.parametrize("second", ["right", "still-wrong"])
def test_p19_a_refused_token_is_refreshed_once(play: Any, second: str) -> None:
    server = ScriptedServer(auth={"me": "right"}, mechanisms=["XOAUTH2"])
    asked: list[float] = []

    async def story(relay: Any) -> None:
        async def token() -> str:
            asked.append(relay.now)
            await asyncio.sleep(0.2)
            return "stale" if len(asked) == 1 else second

        transporter = relay.another(auth=Credentials("me", access_token=token))
        ends = await relay.ends(*(transporter.send_mail(relay.mail(n)) for n in range(100)))
        if second == "right":
            assert all(isinstance(end, SendResult) for end in ends)
        else:
            assert {type(end) for end in ends} == {AuthenticationFailed}
            assert len(asked) == 2
            assert auths(server) == 2
        await transporter.close()

    play(story, server, latency=0.02, max_connections=5, **CLEAR)


@pytest.mark.rule("P-19")
@pytest.mark.rule("TLS-01")
@pytest.mark.parametrize("options", [{"auth": ("me", "right")}, {"starttls": "required"}], ids=repr)
def test_tls01_without_the_tls_it_needs_nothing_is_said(play: Any, options: Any) -> None:
    server = ScriptedServer(auth=ACCOUNTS, auth_required=False)

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(5))
        assert {type(end).__name__ for end in ends} == {"TLSFailed"}
        assert relay.now < 40

    play(story, server, latency=0.01, **options)
    verbs = {line.partition(" ")[0] for line in server.commands()}
    assert verbs <= {"EHLO", "QUIT"}
