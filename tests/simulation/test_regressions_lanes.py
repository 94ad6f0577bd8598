"""Once wrong, now proven: several identities, a full queue, and what is remembered of each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import PoolClosed, QuotaExceeded, SendResult
from mailpool.testing import Fault, ScriptedServer, reply

CLEAR = {"starttls": "never", "allow_cleartext_auth": True}
NO_MORE = "550 5.4.5 Daily sending quota exceeded"


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-04")
@pytest.mark.rule("P-21")
def test_a_message_in_front_of_the_door_is_not_lost_when_other_identities_come(
    play: Any, received: Any
) -> None:
    server = ScriptedServer(auth={"x": "secret", "y": "secret", "z": "secret"}, auth_required=False)

    async def story(relay: Any) -> None:
        sends = [relay.send("own")]
        sends += [relay.send(user, auth=(user, "secret")) for user in ("x", "y", "z")]
        assert relay.transporter.stats().held_back == 3
        _, waiting = await asyncio.wait(sends, timeout=3_600)
        assert not waiting, "messages wait for ever"
        assert all(isinstance(end, SendResult) for end in await relay.ends(*sends))

    play(story, server, max_queue=1, **CLEAR)
    assert [message.user for message in server.messages] == [None, "x", "y", "z"]


@pytest.mark.rule("P-19a")
def test_a_quota_is_remembered_when_other_identities_come(play: Any) -> None:
    server = ScriptedServer(
        auth={"x": "secret", "y": "secret"}, faults=[Fault(at="MAIL", match="from@", do=reply(NO_MORE))]
    )

    async def story(relay: Any) -> None:
        x, y = ("x", "secret"), ("y", "secret")
        assert isinstance(await relay.end(relay.send(0, auth=x)), QuotaExceeded)
        await asyncio.sleep(10)
        assert relay.transporter.stats().connections == 0
        await relay.send(1, auth=y)
        before = len(server.commands())
        assert isinstance(await relay.end(relay.send(2, auth=x)), QuotaExceeded)
        assert len(server.commands()) == before, "it was tried"

    play(story, server, idle_timeout=1, **CLEAR)


@pytest.mark.rule("P-19")
def test_a_back_off_is_remembered_when_other_identities_come(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.network.fail("relay.example", 25, ConnectionRefusedError("refused"))

        async def tried(auth: tuple[str, str]) -> None:
            send = relay.send(0, auth=auth)
            await asyncio.sleep(0.05)
            send.cancel()

        own = 0
        for number in range(20):
            before = relay.dials
            for _ in range(5):
                await tried(("x", "secret"))
            own += relay.dials - before
            await tried((f"another {number}", "secret"))
        # 100 messages in 6 s: the attempts double their distance from 0.1 s on, with jitter.
        assert own < 15

    play(story, **CLEAR)


@pytest.mark.rule("P-19a")
@pytest.mark.rule("P-21")
def test_a_quota_used_up_fails_also_those_in_front_of_the_door(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="MAIL", do=reply(NO_MORE), times=None)])

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(8))
        assert {type(end) for end in ends} == {QuotaExceeded}
        assert relay.now < 5

    play(story, server, max_queue=2, max_connections=1)
    assert sum(line.startswith("MAIL") for line in server.commands()) == 1


@pytest.mark.rule("P-20")
@pytest.mark.rule("P-21")
def test_there_is_no_room_beyond_a_max_queue_that_is_small(play: Any) -> None:
    async def story(relay: Any) -> None:
        taken = 0
        while relay.transporter.is_idle() and taken < 100:
            relay.transporter.send_soon(relay.mail(taken))
            taken += 1
            await asyncio.sleep(0)
        assert taken < 10
        stats = relay.transporter.stats()
        assert (stats.queued, stats.held_back) == (2, 0)

    play(story, max_queue=2, max_connections=5, rate="1/s")


@pytest.mark.rule("P-19a")
@pytest.mark.rule("P-29")
def test_a_quota_used_up_while_the_pool_closes_is_told_once(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=reply(NO_MORE), times=None)])

    async def story(relay: Any) -> None:
        sends = relay.burst(4)
        while not relay.transporter.stats().in_flight:
            await asyncio.sleep(0.1)
        unsent = await relay.transporter.close(10)
        assert [type(end) for end in await relay.ends(*sends)] == [QuotaExceeded, *[PoolClosed] * 3]
        assert len(unsent) == 3
        assert relay.transporter.stats().queued == 0

    play(story, server, max_connections=1, latency=0.5)
