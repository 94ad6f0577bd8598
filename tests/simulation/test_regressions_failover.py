"""Defects of several relays as one transport."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mailpool import (
    DeadlineExceeded,
    Deferred,
    Phase,
    PoolClosed,
    QuotaExceeded,
    Reply,
    Sealed,
    SendResult,
    Throttled,
    Transporter,
    all_accepted,
    create_transport,
)
from mailpool.testing import run_virtual


class Relay:
    """A carrier: does what ``script`` says for each message."""

    def __init__(self, name: str, script: Callable[[Sealed], Awaitable[None]]) -> None:
        self.name = name
        self.script = script
        self.given: list[str] = []

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        self.given.append(number(sealed))
        await self.script(sealed)
        return all_accepted(sealed)


def number(sealed: Sealed) -> str:
    return sealed.message_id.strip("<>").partition("@")[0]


def mail(number: object, *to: str) -> dict[str, Any]:
    return {
        "from": "from@example.org",
        "to": list(to) or ["to@example.org"],
        "text": "x",
        "message_id": f"<{number}@example.org>",
    }


async def takes(sealed: Sealed) -> None:
    """Everything."""


def play(relays: list[Any], story: Callable[[Transporter], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        transporter = create_transport(relays, **options)
        await story(transporter)
        await transporter.close()
        assert all(relay.in_hand == 0 for relay in transporter.stats().relays)

    run_virtual(main, timers=True)


def now() -> float:
    return asyncio.get_running_loop().time()


async def out_of_quota(sealed: Sealed) -> None:
    raise QuotaExceeded("used up", phase=Phase.HANDOVER, temporary=True, retry_after=72_000)


@pytest.mark.rule("P-19")
@pytest.mark.rule("P-14")
def test_what_the_only_relay_that_is_up_refuses_does_not_wait_for_hours_for_the_others() -> None:
    async def but_one(sealed: Sealed) -> None:
        if number(sealed) == "sick":
            raise Deferred(
                "no room", phase=Phase.HANDOVER, reply=Reply.of("451 4.3.1 no room"), temporary=True
            )

    async def story(transporter: Transporter) -> None:
        await transporter.send_mail(mail("first"))
        assert [relay.health for relay in transporter.stats().relays] == ["down", "up"]
        begun = now()
        sick = transporter.send_mail(mail("sick"))
        with pytest.raises(Deferred, match="no room"):
            await sick
        assert now() - begun == pytest.approx(30)
        await transporter.send_mail(mail("healthy"))

    play([Relay("a", out_of_quota), Relay("b", but_one)], story)


@pytest.mark.rule("P-14")
def test_where_a_message_has_failed_is_asked_again_when_the_others_went_down_meanwhile() -> None:
    """It waits for the room of the second relay when that runs out of quota for hours."""

    async def throttles_one(sealed: Sealed) -> None:
        if number(sealed) == "unlucky" and now() < 9:
            raise Throttled("too fast", phase=Phase.HANDOVER, temporary=True)

    async def slow_and_then_out_of_quota(sealed: Sealed) -> None:
        await asyncio.sleep(10)
        await out_of_quota(sealed)

    async def story(transporter: Transporter) -> None:
        sends = [transporter.send_mail(mail(name)) for name in ("unlucky", "two", "three", "four")]
        ends = await asyncio.gather(*sends, return_exceptions=True)
        assert all(isinstance(end, SendResult) for end in ends), ends
        assert now() < 100

    first, second = Relay("a", throttles_one), Relay("b", slow_and_then_out_of_quota)
    play([first, second], story, strategy="round-robin", max_connections=1)


@pytest.mark.rule("P-15")
@pytest.mark.rule("P-16")
def test_a_deadline_that_passes_in_the_second_half_of_a_message_is_told_as_such() -> None:
    """A result would say of somebody who may have the message that nobody gave it to him."""

    async def hangs_at_the_second(sealed: Sealed) -> None:
        if "b@example.org" in sealed.envelope.recipients:
            await asyncio.sleep(1_000)

    async def story(transporter: Transporter) -> None:
        with pytest.raises(DeadlineExceeded) as caught:
            await transporter.send_mail(mail(1, "a@example.org", "b@example.org"), deadline=5)
        assert caught.value.may_have_been_delivered
        assert caught.value.accepted == ("a@example.org",)

    play([{"carrier": Relay("a", hangs_at_the_second), "max_recipients": 1}], story)


@pytest.mark.rule("P-32")
def test_what_a_relay_takes_from_somebody_who_gave_up_counts_as_sent_there() -> None:
    async def cannot_be_stopped(sealed: Sealed) -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            await asyncio.sleep(5)

    async def story(transporter: Transporter) -> None:
        pending = asyncio.ensure_future(transporter.send_mail(mail(1)))
        await asyncio.sleep(1)
        pending.cancel()
        await asyncio.sleep(10)
        stats = transporter.stats()
        assert (stats.sent, stats.failed, stats.detached) == (1, 0, 1)
        assert stats.relays[0].sent == 1

    play([Relay("a", cannot_be_stopped)], story)


def test_a_deadline_that_passes_while_the_loop_is_blocked_holds_for_a_message_that_moves_on() -> None:
    async def blocks(sealed: Sealed) -> None:
        loop: Any = asyncio.get_running_loop()
        if len(relay.given) == 1:
            loop._jumping.now += 100
            raise Throttled("too fast", phase=Phase.HANDOVER, temporary=True, retry_after=6)

    async def story(transporter: Transporter) -> None:
        with pytest.raises(DeadlineExceeded):
            await transporter.send_mail(mail(1), deadline=50)
        assert relay.given == ["1"]

    relay = Relay("a", blocks)
    play([relay], story)


@pytest.mark.rule("P-29")
@pytest.mark.rule("P-32")
def test_a_relay_that_goes_down_while_closing_recalls_nothing_twice() -> None:
    async def slowly_out_of_quota(sealed: Sealed) -> None:
        await asyncio.sleep(2)
        await out_of_quota(sealed)

    async def story(transporter: Transporter) -> None:
        sends = [transporter.send_mail(mail(name)) for name in range(6)]
        await asyncio.sleep(1)
        unsent = await transporter.close()
        ends = await asyncio.gather(*sends, return_exceptions=True)
        assert [type(end) for end in ends] == [QuotaExceeded] + [PoolClosed] * 5
        assert len(unsent) == 5
        assert transporter.stats().queued == 0

    play([Relay("a", slowly_out_of_quota)], story, max_connections=1)
