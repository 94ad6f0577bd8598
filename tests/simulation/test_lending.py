"""P-01 to P-04 and P-13: when connections are opened, what may pass between messages, and how connections end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool.testing import Fault, ScriptedServer, close, extra, raw, reply, reply_then_close, reset, stall

CLEAR = {"starttls": "never", "allow_cleartext_auth": True}
IDENTITIES = {f"user{n}": "secret" for n in range(4)}


@pytest.mark.rule("P-01")
@pytest.mark.parametrize("latency", [0.0, 0.05])
@pytest.mark.parametrize(("most", "lifetime"), [(1, -1), (3, -1), (3, 2), (5, 1)])
def test_p01_bursts_never_open_more_than_max_connections(
    play: Any, most: int, lifetime: int, latency: float
) -> None:
    seen: list[int] = []

    async def story(relay: Any) -> None:
        watcher = asyncio.ensure_future(watch(relay))
        for _ in range(4):
            results = await relay.ends(*relay.burst(25))
            assert {type(result).__name__ for result in results} == {"SendResult"}
            await asyncio.sleep(0.3)
        watcher.cancel()

    async def watch(relay: Any) -> None:
        while True:
            seen.append(relay.transporter.stats().connections)
            await asyncio.sleep(0.01)

    server = play(story, latency=latency, max_connections=most, max_messages=lifetime)
    assert server.peak_connections <= most
    assert max(seen, default=0) <= most
    assert len(server.messages) == 100


@pytest.mark.rule("P-01")
def test_p01_a_burst_uses_all_connections_that_it_may(play: Any) -> None:
    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(50))

    assert play(story, latency=0.05, max_connections=4).peak_connections == 4


@pytest.mark.rule("P-01")
def test_p01_no_connection_without_need(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.transporter.stats()
        await asyncio.sleep(100)
        assert relay.dials == 0
        for number in range(10):
            await relay.send(number)
        assert relay.dials == 1

    server = play(story, latency=0.01)
    assert [record.messages for record in server.connections] == [10]


@pytest.mark.rule("P-01")
def test_p01_below_the_cap_nobody_waits_behind_a_slow_answer(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", connection=0, do=stall(100))])

    async def story(relay: Any) -> None:
        slow = asyncio.ensure_future(relay.send("slow"))
        await asyncio.sleep(1)
        ends = await relay.ends(*relay.burst(2))
        assert all(end.attempts == 1 for end in ends)
        assert relay.now < 5
        assert (await slow).attempts == 1

    play(story, server, latency=0.01, max_connections=3)


@pytest.mark.rule("P-01")
def test_p01_connections_that_fail_to_open_do_not_raise_the_bound(play: Any) -> None:
    faults = [Fault(at="GREETING", do=stall(5), nth=2, times=3), Fault(at="EHLO", do=close(), nth=3, times=4)]

    async def story(relay: Any) -> None:
        results = await relay.ends(*relay.burst(40))
        assert all(getattr(result, "accepted", ()) for result in results)

    server = play(story, ScriptedServer(faults=faults), latency=0.02, max_connections=3, max_messages=4)
    assert server.peak_connections <= 3


@pytest.mark.rule("P-02")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize("words", ["250 2.0.0 ok", "354 go on", "550 5.0.0 no"])
def test_p02_a_reply_too_many_is_given_to_no_other_message(
    play: Any, received: Any, capabilities: Any, at: Any, words: str, pipelining: bool
) -> None:
    # The second message is refused by the server: taking the surplus 250 for it would be a lie.
    faults = [
        Fault(at=at, do=extra(words)),
        Fault(at="END", match="Subject: number 1", do=reply("554 5.6.0 never"), times=None),
    ]
    server = ScriptedServer(capabilities=capabilities(pipelining), faults=faults)
    ends: list[Any] = []

    async def story(relay: Any) -> None:
        ends.extend(await relay.ends(*relay.burst(4)))

    play(story, server, latency=0.01, max_connections=1, right=False)
    accepted = {str(n) for n, end in enumerate(ends) if getattr(end, "accepted", ())}
    assert accepted - {"0"} == {"2", "3"}
    assert type(ends[1]).__name__ == "Rejected"
    assert ends[1].reply.code == 554
    # A refusal in the midst of its own commands may be taken for the first message's own, and for no other's.
    assert "0" in accepted or (words[:3] == "550" and ends[0].reply.code == 550 and at != "END")
    assert set(received(server)) >= accepted
    doubled = [number for number in accepted if received(server).count(number) > 1]
    assert all(ends[int(number)].maybe_duplicate for number in doubled)
    # Out of step: a connection that said too much is left.
    assert len(server.connections) >= 2


@pytest.mark.rule("P-02")
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", "END"])
def test_p02_a_reply_that_comes_late_is_given_to_nobody(play: Any, at: Any) -> None:
    server = ScriptedServer(faults=[Fault(at=at, do=stall(8))])

    async def story(relay: Any) -> None:
        first, second = relay.burst(2)
        result = await first
        assert result.attempts == 2
        assert result.maybe_duplicate == (at == "END")
        assert (await second).attempts <= 2
        await asyncio.sleep(20)
        assert (await relay.send(2)).attempts == 1

    play(story, server, latency=0.01, max_connections=1, command_timeout=5)
    assert server.connections[0].messages == 0
    assert server.connections[0].closed_by == "client"


@pytest.mark.rule("P-02")
@pytest.mark.parametrize("words", ["250 2.0.0 ok", "354 go on", "220 hello again"])
def test_p02_a_reply_while_nothing_was_asked_ends_the_connection(play: Any, words: str) -> None:
    server = ScriptedServer(
        faults=[Fault(at="IDLE", after=1, connection=0, do=raw(words.encode() + b"\r\n"))]
    )

    async def story(relay: Any) -> None:
        await relay.send(0)
        await asyncio.sleep(2)
        assert (await relay.send(1)).attempts == 1

    play(story, server, latency=0.01)
    assert [record.messages for record in server.connections] == [1, 1]


@pytest.mark.rule("P-03")
def test_p03_nothing_of_a_message_reaches_the_next(play: Any) -> None:
    raw_8bit = b"Subject: x\r\nMessage-ID: <raw@example.org>\r\n\r\n\xe4\xf6\r\n"

    async def story(relay: Any) -> None:
        await relay.ends(
            relay.send(0, to="jörg@example.org"),
            relay.transporter.send_mail({"raw": raw_8bit, "envelope": {"from": "", "to": "raw@example.org"}}),
            relay.send(2, to=["a@example.org", "b@example.org", "c@example.org"]),
            relay.send(3),
        )

    server = play(story, max_connections=1)
    first, second, third, fourth = server.messages
    assert len(server.connections) == 1
    assert "SMTPUTF8" in first.mail_parameters
    assert second.mail_parameters.get("BODY") == "8BITMIME"
    assert "SMTPUTF8" not in second.mail_parameters
    assert second.sender == ""
    for plain in (third, fourth):
        assert set(plain.mail_parameters) <= {"SIZE"}
        assert plain.sender == "from@example.org"
    assert third.recipients == ("a@example.org", "b@example.org", "c@example.org")
    assert fourth.recipients == ("to@example.org",)


@pytest.mark.rule("P-03")
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", "END"])
def test_p03_nothing_of_a_refused_message_reaches_the_next(play: Any, at: Any) -> None:
    server = ScriptedServer(faults=[Fault(at=at, do=reply("550 5.0.0 no"))])

    async def story(relay: Any) -> None:
        refused, taken = await relay.ends(
            relay.send(0, to="jörg@example.org"), relay.send(1, to="b@example.org")
        )
        assert type(refused).__name__ == "Rejected"
        assert taken.accepted == ("b@example.org",)

    play(story, server, max_connections=1)
    (message,) = server.messages
    assert message.recipients == ("b@example.org",)
    assert "SMTPUTF8" not in message.mail_parameters


def _login(user: str) -> tuple[str, str]:
    return (user, "secret")


@pytest.mark.rule("P-04")
@pytest.mark.rule("POL-13")
def test_p04_identities_never_share_a_connection_and_share_the_bound(play: Any, received: Any) -> None:
    server = ScriptedServer(auth=IDENTITIES)

    async def story(relay: Any) -> None:
        sends = [relay.send(f"{n % 4}-{n}", auth=_login(f"user{n % 4}")) for n in range(60)]
        results = await relay.ends(*sends)
        assert all(getattr(result, "accepted", ()) for result in results)

    play(story, server, latency=0.01, max_connections=3, **CLEAR)
    assert server.peak_connections <= 3
    assert len(server.messages) == 60
    assert all(
        m.user == f"user{number[0]}" for m, number in zip(server.messages, received(server), strict=True)
    )


@pytest.mark.rule("P-04")
def test_p04_the_longest_idle_connection_of_another_key_makes_room(play: Any) -> None:
    server = ScriptedServer(auth=IDENTITIES)

    async def story(relay: Any) -> None:
        await relay.send(0, auth=_login("user0"))
        await asyncio.sleep(1)
        await relay.send(1, auth=_login("user1"))
        await asyncio.sleep(1)
        await relay.send(2, auth=_login("user2"))
        assert [record.is_open for record in server.connections] == [False, True, True]

    play(story, server, latency=0.01, max_connections=2, **CLEAR)
    assert [record.user for record in server.connections] == ["user0", "user1", "user2"]
    assert server.connections[0].quit_seen
    assert server.peak_connections == 2


@pytest.mark.rule("P-13")
@pytest.mark.parametrize(
    "do",
    [
        stall(),
        close(),
        reset(),
        reply("500 5.5.2 what?"),
        raw(b"\xff\xfe\x00\r\n"),
        raw(b"22"),
        reply_then_close("421 4.3.2 me first"),
        extra("250 and more"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("why", ["close", "idle_timeout", "max_messages"])
def test_p13_quit_is_tried_for_a_second_and_its_failure_is_no_error(play: Any, do: Any, why: str) -> None:
    server = ScriptedServer(faults=[Fault(at="QUIT", do=do, times=None)])

    async def story(relay: Any) -> None:
        await relay.send(0)
        started = relay.now
        if why == "close":
            assert await relay.transporter.close() == []
            assert relay.now - started <= 1.3
        elif why == "idle_timeout":
            await asyncio.sleep(7)
            assert server.open_connections == 0
        assert why == "close" or (await relay.send(1)).attempts == 1

    options = {"idle_timeout": {"idle_timeout": 5}, "max_messages": {"max_messages": 1}}.get(why, {})
    play(story, server, latency=0.05, max_connections=1, **options)
    assert all(record.quit_seen for record in server.connections)
