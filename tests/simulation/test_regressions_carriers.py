"""Defects of transports around carriers that were found: each was a hang, a loss or a lie."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from mailpool import (
    ConfigurationError,
    DeadlineExceeded,
    Deferred,
    DeliveryUncertain,
    Phase,
    QuotaExceeded,
    RecipientResult,
    Reply,
    Sealed,
    SendResult,
    Throttled,
    Transporter,
    all_accepted,
    create_transport,
)
from mailpool.testing import run_virtual


class Carrier:
    """Does what each of its steps says, and takes everything after the last."""

    name = "strange"

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        step = self.steps.pop(0) if self.steps else None
        if isinstance(step, BaseException):
            raise step
        return all_accepted(sealed) if step is None else step(sealed)


def mail(number: object, *to: str) -> dict[str, Any]:
    return {"from": "from@example.org", "to": list(to) or ["to@example.org"], "text": f"number {number}"}


def play(carrier: Any, story: Callable[[Transporter], Awaitable[None]], **options: Any) -> None:
    """Run a story, close, and see that no task, no timer and no error is left."""

    async def main() -> None:
        transporter = create_transport(carrier, **options)
        await story(transporter)
        await transporter.close()
        assert transporter.stats().in_flight == 0

    run_virtual(main, timers=True, timeout=200_000)


def throttled(retry_after: Any, **more: Any) -> Throttled:
    return Throttled("too fast", phase=Phase.HANDOVER, temporary=True, retry_after=retry_after, **more)


@pytest.mark.rule("P-14")
@pytest.mark.parametrize("asked", ["60", math.nan, -5, True, [1]], ids=repr)
def test_a_carrier_that_asks_for_a_strange_time_costs_no_outcome(asked: Any) -> None:
    async def story(transporter: Transporter) -> None:
        first, second = transporter.send_mail(mail(1)), transporter.send_mail(mail(2))
        assert isinstance(await first, SendResult)
        assert isinstance(await second, SendResult)
        carrier = transporter.carrier
        assert isinstance(carrier, Carrier)
        carrier.steps.append(QuotaExceeded("full", phase=Phase.HANDOVER, retry_after=asked))
        with pytest.raises(QuotaExceeded) as caught:
            await transporter.send_mail(mail(3))
        assert caught.value.retry_after is None
        await asyncio.sleep(61)
        await transporter.send_mail(mail(4))

    play(Carrier(throttled(asked)), story, max_connections=1)


@pytest.mark.rule("P-19a")
@pytest.mark.parametrize("asked", [3_600, 4_294_967_295, math.inf], ids=repr)
def test_while_a_carrier_wants_nothing_for_long_nobody_waits_longer_than_allowed(asked: Any) -> None:
    async def story(transporter: Transporter) -> None:
        begun = asyncio.get_running_loop().time()
        sends = [transporter.send_mail(mail(number), priority=number % 2) for number in range(20)]
        ends = await asyncio.gather(*sends, return_exceptions=True)
        assert {type(end) for end in ends} == {Throttled}
        assert asyncio.get_running_loop().time() <= begun + 300
        assert [end.attempts for end in ends].count(1) == 1
        last: Any = ends[-2]
        assert last.retry_after == min(asked, 86_400) - 300
        # It is not for ever: no number that somebody made up lasts longer than a day.
        await asyncio.sleep(86_400)
        await transporter.send_mail(mail("later"))

    play(Carrier(throttled(asked)), story, max_connections=1)


@pytest.mark.rule("P-24")
def test_without_patience_a_refusal_ends_those_that_wait_and_later_ones_go() -> None:
    async def story(transporter: Transporter) -> None:
        sends = [transporter.send_mail(mail(number)) for number in range(3)]
        ends = await asyncio.gather(*sends, return_exceptions=True)
        assert {type(end) for end in ends} == {Throttled}
        await asyncio.sleep(60)
        await transporter.send_mail(mail("later"))

    play(Carrier(throttled(None)), story, max_connections=1, max_throttle_wait=0)


def _of(*recipients: Any) -> Callable[[Sealed], SendResult]:
    return lambda sealed: SendResult(sealed.message_id, "a@example.org", recipients, Reply.of("250 ok"), 1)


def _none(sealed: Sealed) -> SendResult:
    nothing: Any = None
    return SendResult(sealed.message_id, "a@example.org", nothing, Reply.of("250 ok"), 1)


@pytest.mark.rule("P-14")
@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (_of("to@example.org"), DeliveryUncertain),
        (_none, DeliveryUncertain),
        (Deferred("no", phase=Phase.HANDOVER, recipients=("to@example.org",)), Deferred),
        (throttled(None, recipients="to@example.org"), SendResult),
    ],
    ids=["texts", "nothing", "texts in an error", "a text in an error"],
)
def test_a_result_without_proper_recipients_costs_no_outcome(step: Any, kind: Any) -> None:
    async def story(transporter: Transporter) -> None:
        sends = [transporter.send_mail(mail(number)) for number in range(2)]
        first, second = await asyncio.gather(*sends, return_exceptions=True)
        assert type(first) is kind
        assert isinstance(second, SendResult)
        assert all(isinstance(one, RecipientResult) for one in getattr(first, "recipients", ()))

    play(Carrier(step), story, max_connections=1)


@pytest.mark.rule("P-14")
def test_rates_that_are_none_hold_nothing_up() -> None:
    class Paced(Carrier):
        async def rates(self) -> Sequence[Any]:
            return ["10/s"]

    async def story(transporter: Transporter) -> None:
        await transporter.send_mail(mail(1))
        assert transporter.stats().rates == ()

    play(Paced(), story)


@pytest.mark.parametrize("most", ["5", -1, 2.5, True], ids=repr)
def test_a_carrier_with_a_strange_bound_of_recipients_is_refused(most: Any) -> None:
    class Bounded(Carrier):
        max_recipients = most

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="max_recipients of strange"):
            await create_transport(Bounded()).send_mail(mail(1, "a@example.org", "b@example.org"))

    run_virtual(main, timers=True, timeout=200_000)


@pytest.mark.rule("P-19a")
def test_a_hand_over_that_was_under_way_makes_nobody_wait_for_the_end_of_a_long_pause() -> None:
    class Slow(Carrier):
        async def deliver(self, sealed: Sealed, /) -> SendResult:
            if self.steps:
                raise self.steps.pop()
            await asyncio.sleep(5)
            return all_accepted(sealed)

    async def story(transporter: Transporter) -> None:
        first, second = transporter.send_mail(mail(1)), transporter.send_mail(mail(2))
        ends = await asyncio.gather(first, second, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["SendResult", "Throttled"]
        with pytest.raises(Throttled):
            await transporter.send_mail(mail(3))
        assert asyncio.get_running_loop().time() < 320

    play(Slow(throttled(7_200)), story, max_connections=2)


@pytest.mark.rule("P-16")
def test_a_deadline_does_not_hide_that_somebody_may_have_the_message() -> None:
    class Unsure(Carrier):
        max_recipients = 1

        async def deliver(self, sealed: Sealed, /) -> SendResult:
            if "a@example.org" in sealed.envelope.recipients:
                raise ValueError("nobody knows")
            raise throttled(10)

    async def story(transporter: Transporter) -> None:
        with pytest.raises(DeadlineExceeded) as caught:
            await transporter.send_mail(mail(1, "a@example.org", "b@example.org"), deadline=5)
        assert caught.value.may_have_been_delivered

    play(Unsure(), story)
