"""Once wrong with several relays, found by seeds of ``make simulate``, now proven."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mailpool import ConnectionFailed, DeadlineExceeded, DeliveryUncertain, PoolClosed, Transporter
from mailpool.testing import (
    Fault,
    MemoryNetwork,
    ScriptedServer,
    deliver_then_close,
    deliver_then_stall,
    run_virtual,
    stall,
)
from mailpool.transports.relays import plan_of


def play(
    story: Callable[[Transporter], Awaitable[None]], *servers: ScriptedServer | None, **options: Any
) -> None:
    """Run a story with relays at ``a.example`` and so on; ``None`` is one where nobody listens."""
    network = MemoryNetwork()
    entries = []
    for number, server in enumerate(servers):
        host = f"{'abc'[number]}.example"
        entries.append({"host": host})
        if server is None:
            network.fail(host, 25, ConnectionRefusedError("refused"))
        else:
            network.listen(host, 25, server)

    async def connect(options: Any, connection: Any, context: Any) -> Any:
        transport, _ = await network.dial(options.host, options.effective_port, lambda: connection)
        return transport

    async def main() -> None:
        plan, whole = plan_of(entries, "failover", None, False, {"port": 25, "pool": True, **options})
        transporter = Transporter(whole, connector=connect, plan=plan)
        await story(transporter)
        await transporter.close()

    run_virtual(main, timers=True)


def mail(number: int) -> dict[str, Any]:
    return {
        "from": "from@example.org",
        "to": "to@example.org",
        "text": f"body of {number}\n",
        "message_id": f"<{number}@example.org>",
    }


async def ends(sends: list[Any]) -> list[Any]:
    return await asyncio.gather(*sends, return_exceptions=True)


@pytest.mark.rule("P-18")
@pytest.mark.rule("P-29")
def test_p29_close_does_not_return_what_may_have_been_delivered() -> None:
    """It was about to move on to the next relay, which was closed as well: whoever sent again what was returned made a
    second copy."""
    server = ScriptedServer(faults=[Fault(at="END", do=deliver_then_stall())])

    async def story(transporter: Transporter) -> None:
        sends = [transporter.send_mail(mail(0))]
        await asyncio.sleep(1)
        assert await transporter.close(0.5) == []
        (end,) = await ends(sends)
        assert isinstance(end, DeliveryUncertain)
        assert end.may_have_been_delivered

    play(story, server, ScriptedServer())
    assert len(server.messages) == 1


@pytest.mark.rule("P-32")
def test_p32_a_relay_that_is_found_to_be_down_while_it_closes_has_nothing_to_give_back() -> None:
    """Five connections are cut, which is enough for the breaker; what waited had its outcome already."""

    async def story(transporter: Transporter) -> None:
        sends = [transporter.send_mail(mail(number)) for number in range(30)]
        await asyncio.sleep(1)
        assert len(await transporter.close(0.5)) == 30
        assert {type(end) for end in await ends(sends)} == {PoolClosed}
        stats = transporter.stats()
        assert stats.relays[0].health == "down"
        assert (stats.queued, stats.failed) == (0, 30)

    play(story, ScriptedServer(faults=[Fault(at="DATA", do=stall(), times=None)]), ScriptedServer())


@pytest.mark.rule("P-21")
@pytest.mark.rule("P-22")
def test_p21_the_door_opens_when_those_inside_are_given_up() -> None:
    async def story(transporter: Transporter) -> None:
        early: list[Any] = [transporter.send_mail(mail(number)) for number in range(2)]
        while transporter.stats().relays[0].health == "up":
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)
        late: Any = transporter.send_mail(mail(2))
        assert transporter.stats().held_back == 1
        seen: list[Any] = []
        early[1].add_done_callback(lambda _: seen.append(transporter.stats()))
        await asyncio.wait(early)
        assert not late.done()
        assert (seen[0].queued, seen[0].held_back) == (1, 0)
        late.cancel()
        await ends([*early, late])

    play(story, None, max_queue=1, connection_wait=10)


@pytest.mark.rule("P-15")
@pytest.mark.rule("P-26")
def test_p26_a_deadline_is_no_refusal_of_those_who_are_being_served() -> None:
    """The first recipient had it, the second was just being sent to, and the result said that the second was deferred."""
    server = ScriptedServer(faults=[Fault(at="END", nth=2, do=stall(5))])

    async def story(transporter: Transporter) -> None:
        message = {**mail(0), "to": ["a@example.org", "b@example.org", "c@example.org"]}
        (end,) = await ends([transporter.send_mail(message, deadline=2)])
        assert isinstance(end, DeadlineExceeded)
        assert end.may_have_been_delivered
        assert end.accepted == ("a@example.org",)
        await asyncio.sleep(10)

    play(story, server, ScriptedServer(), max_recipients=1)
    assert [message.recipients for message in server.messages][:2] == [("a@example.org",), ("b@example.org",)]


@pytest.mark.rule("P-16")
@pytest.mark.rule("P-19")
def test_p16_who_found_no_relay_is_not_told_what_became_of_another_message() -> None:
    """Of five messages it was not known whether they were delivered, which took the relay down; the last was never sent."""
    server = ScriptedServer(faults=[Fault(at="END", do=deliver_then_close(), times=5)])

    async def story(transporter: Transporter) -> None:
        early = await ends([transporter.send_mail(mail(number)) for number in range(5)])
        assert {type(end) for end in early} == {DeliveryUncertain}
        assert transporter.stats().relays[0].health == "down"
        server.refuse_connections(True)
        (late,) = await ends([transporter.send_mail(mail(5))])
        assert isinstance(late, ConnectionFailed)
        assert not late.may_have_been_delivered

    play(story, server, on_uncertain="fail", connection_wait=0.5)
    assert len(server.messages) == 5
