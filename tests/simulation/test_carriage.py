"""What the carriage promises around any carrier, as the pool does: queue, rate, outcomes, cancellation, closing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from mailpool import (
    ConnectionFailed,
    DeadlineExceeded,
    Deferred,
    DeliveryUncertain,
    MessageError,
    Outcome,
    Phase,
    PoolClosed,
    QueueFull,
    QuotaExceeded,
    Rate,
    RecipientResult,
    Rejected,
    Reply,
    Sealed,
    SendResult,
    Throttled,
    Transporter,
    UsageError,
    all_accepted,
    create_transport,
)
from mailpool.testing import run_virtual


def now() -> float:
    return asyncio.get_running_loop().time()


class Script:
    """A carrier that takes ``takes`` seconds and then does what its script says: a result, an error, or a function."""

    name = "script"

    def __init__(self, *steps: Any, takes: float = 0.0) -> None:
        self.steps = list(steps)
        self.takes = takes
        self.begun: list[tuple[float, Sealed]] = []
        self.most_at_once = 0
        self.at_once = 0
        self.closed = 0

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        self.begun.append((now(), sealed))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.takes)
            step = self.steps.pop(0) if self.steps else None
            if isinstance(step, BaseException):
                raise step
            if callable(step):
                value = step(sealed)
                return await value if isinstance(value, Awaitable) else value
            return all_accepted(sealed) if step is None else step
        finally:
            self.at_once -= 1

    async def close(self) -> None:
        self.closed += 1

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.begun]

    @property
    def order(self) -> list[str]:
        return [sealed.message_id.strip("<>").partition("@")[0] for _, sealed in self.begun]


def mail(number: object, *to: str) -> dict[str, Any]:
    return {
        "from": "from@example.org",
        "to": list(to) or ["to@example.org"],
        "text": "x",
        "message_id": f"<{number}@example.org>",
    }


def throttled(retry_after: float | None = None) -> Throttled:
    return Throttled("too fast", phase=Phase.HANDOVER, temporary=True, retry_after=retry_after)


async def ends(*sends: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*sends, return_exceptions=True)


def play(carrier: Any, story: Callable[[Transporter], Awaitable[None]], **options: Any) -> None:
    """Run a story, close, and see that no task and no timer is left."""

    async def main() -> None:
        transporter = create_transport(carrier, **options)
        await story(transporter)
        await transporter.close()
        assert transporter.stats().connections == 0

    run_virtual(main, timers=True)


# -- queue and concurrency -------------------------------------------------------------------------------------------


@pytest.mark.rule("P-22")
@pytest.mark.parametrize("most", [1, 2, 5])
def test_first_come_first_served_and_never_more_at_once(most: int) -> None:
    carrier = Script(takes=1)

    async def story(transporter: Transporter) -> None:
        results = await ends(*[transporter.send_mail(mail(n)) for n in range(20)])
        assert [result.message_id for result in results] == [f"<{n}@example.org>" for n in range(20)]
        assert now() == pytest.approx(20 / most)

    play(carrier, story, max_connections=most)
    assert carrier.order == [str(n) for n in range(20)]
    assert carrier.most_at_once == most


@pytest.mark.rule("P-22")
def test_higher_priorities_pass_lower_ones() -> None:
    carrier = Script(takes=1)

    async def story(transporter: Transporter) -> None:
        bulk = [transporter.send_mail(mail(f"bulk{n}"), priority=-1) for n in range(3)]
        await asyncio.sleep(0.5)
        await ends(*bulk, transporter.send_mail(mail("urgent"), priority=1))

    play(carrier, story, max_connections=1)
    assert carrier.order == ["bulk0", "urgent", "bulk1", "bulk2"]


@pytest.mark.rule("P-20")
def test_room_is_fewer_waiting_than_connections() -> None:
    carrier = Script(takes=1)
    told: list[float] = []

    async def story(transporter: Transporter) -> None:
        transporter.on("idle", lambda: told.append(now()))
        await asyncio.sleep(0)
        assert transporter.is_idle()
        sends = [transporter.send_mail(mail(n)) for n in range(4)]
        assert not transporter.is_idle()  # four wait, none has begun
        await asyncio.sleep(0.1)
        assert transporter.stats().queued == 2
        assert not transporter.is_idle()
        await ends(*sends)
        assert transporter.is_idle()

    play(carrier, story, max_connections=2)
    assert told == [pytest.approx(0.0, abs=0.01), pytest.approx(1.0)]


@pytest.mark.rule("P-21")
def test_beyond_max_queue_a_message_waits_for_its_turn_or_is_refused() -> None:
    carrier = Script(takes=1)

    async def story(transporter: Transporter) -> None:
        sends = [transporter.send_mail(mail(n)) for n in range(3)]
        with pytest.raises(QueueFull):
            transporter.send_soon(mail("soon"))
        assert transporter.stats().held_back == 1
        assert all(isinstance(result, SendResult) for result in await ends(*sends))

    play(carrier, story, max_queue=2, max_connections=1)


@pytest.mark.rule("P-21")
def test_send_many_pulls_only_when_there_is_room() -> None:
    carrier = Script(takes=1)
    pulled = 0

    async def story(transporter: Transporter) -> None:
        def source() -> Any:
            nonlocal pulled
            for pulled in range(1, 51):
                yield mail(pulled)

        count = 0
        async for outcome in transporter.send_many(source()):
            assert outcome.ok
            count += 1
            assert pulled <= count + 3 * 3
        assert count == 50

    play(carrier, story, max_connections=3)


# -- rates -----------------------------------------------------------------------------------------------------------


def most_in_any_window(times: Sequence[float], per: float) -> int:
    return max(sum(1 for other in times if time <= other < time + per - 1e-9) for time in times)


@pytest.mark.rule("POL-04")
@pytest.mark.rule("P-23")
@pytest.mark.parametrize(("limit", "per"), [(1, 1.0), (3, 1.0), (14, 1.0), (5, 10.0)])
def test_never_more_than_the_limit_in_any_window(limit: int, per: float) -> None:
    carrier = Script(
        *[Rejected("no", phase=Phase.HANDOVER) if n % 3 == 0 else None for n in range(40)], takes=0.3
    )

    async def story(transporter: Transporter) -> None:
        await ends(*[transporter.send_mail(mail(n)) for n in range(40)])

    play(carrier, story, rate=Rate(limit, per), max_connections=5)
    assert len(carrier.times) == 40
    assert most_in_any_window(carrier.times, per) <= limit


@pytest.mark.rule("P-23")
def test_a_rate_by_recipients_counts_them_and_splits_a_message_that_is_too_large() -> None:
    carrier = Script()

    async def story(transporter: Transporter) -> None:
        many = [f"r{n}@example.org" for n in range(25)]
        result = await transporter.send_mail(mail(1, *many))
        assert result.accepted == tuple(many)
        assert result.attempts == 1
        assert now() == pytest.approx(2)

    play(carrier, story, rate="10 recipients/s")
    assert [len(sealed.envelope.recipients) for _, sealed in carrier.begun] == [10, 10, 5]


class Limited(Script):
    """What the other side allows now."""

    rates_every = 100.0

    def __init__(self, *answers: Any, takes: float = 0.0) -> None:
        super().__init__(takes=takes)
        self.answers = list(answers)
        self.asked: list[float] = []

    async def rates(self) -> Sequence[Rate]:
        self.asked.append(now())
        await asyncio.sleep(0.5)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return (Rate.parse(answer),)


@pytest.mark.rule("P-23")
def test_the_other_sides_rate_is_asked_before_the_first_message_and_again_later() -> None:
    carrier = Limited("2/s", "1/s")

    async def story(transporter: Transporter) -> None:
        await ends(*[transporter.send_mail(mail(n)) for n in range(4)])
        assert carrier.times == [pytest.approx(t) for t in (0.5, 0.5, 1.5, 1.5)]
        assert [str(rate) for rate in transporter.stats().rates] == ["1000/s", "2/s"]
        await asyncio.sleep(200)
        assert len(carrier.asked) == 1  # nobody asks for nothing
        await ends(*[transporter.send_mail(mail(n)) for n in range(4)])
        assert [str(rate) for rate in transporter.stats().rates] == ["1000/s", "1/s"]

    play(carrier, story, rate="1000/s")
    assert len(carrier.asked) == 2
    assert most_in_any_window(carrier.times, 1.0) <= 2


def test_mail_goes_out_when_the_other_side_does_not_tell_its_rate(caplog: pytest.LogCaptureFixture) -> None:
    carrier = Limited(ValueError("key: s3cret"))

    async def story(transporter: Transporter) -> None:
        assert (await transporter.send_mail(mail(1))).accepted

    play(carrier, story)
    assert "ValueError" in caplog.text
    assert "s3cret" not in caplog.text


def test_mail_goes_out_when_the_question_for_the_rate_hangs() -> None:
    class Silent(Script):
        async def rates(self) -> Sequence[Rate]:
            await asyncio.sleep(10**6)
            raise AssertionError

    async def story(transporter: Transporter) -> None:
        await transporter.send_mail(mail(1))
        assert now() == pytest.approx(10)

    play(Silent(), story)


# -- throttling ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("P-24")
def test_what_is_throttled_is_repeated_with_growing_pauses() -> None:
    carrier = Script(throttled(), throttled(), throttled(), None)
    events: list[Any] = []

    async def story(transporter: Transporter) -> None:
        transporter.on("requeued", lambda *details: events.append(details))
        transporter.on("throttled", lambda error: events.append(type(error).__name__))
        result = await transporter.send_mail(mail(1))
        assert result.attempts == 4
        assert transporter.stats().requeued == 3

    play(carrier, story)
    gaps = [later - earlier for earlier, later in zip(carrier.times, carrier.times[1:], strict=False)]
    assert 0.5 <= gaps[0] <= 1
    assert 1 <= gaps[1] <= 2
    assert 2 <= gaps[2] <= 4
    assert [event for event in events if event != "Throttled"] == [("<1@example.org>", n) for n in (1, 2, 3)]
    assert events.count("Throttled") == 3


@pytest.mark.rule("P-24")
def test_the_others_wait_too_and_retry_after_is_obeyed() -> None:
    carrier = Script(throttled(7), None, None)

    async def story(transporter: Transporter) -> None:
        first = transporter.send_mail(mail(1))
        await asyncio.sleep(0.1)
        await ends(first, transporter.send_mail(mail(2)))

    play(carrier, story)
    assert carrier.times == [0, pytest.approx(7), pytest.approx(7)]


@pytest.mark.rule("P-19a")
@pytest.mark.parametrize("patience", [0, 5, 30])
def test_throttling_is_borne_for_max_throttle_wait_at_most(patience: float) -> None:
    carrier = Script(*[throttled() for _ in range(100)])

    async def story(transporter: Transporter) -> None:
        with pytest.raises(Throttled) as caught:
            await transporter.send_mail(mail(1))
        assert now() <= patience
        assert caught.value.message_id == "<1@example.org>"
        assert caught.value.recipients[0].outcome is Outcome.THROTTLED

    play(carrier, story, max_throttle_wait=patience)
    assert (len(carrier.begun) > 1) == (patience > 0)


@pytest.mark.rule("P-19a")
def test_other_temporary_refusals_are_not_repeated() -> None:
    carrier = Script(Deferred("later", phase=Phase.HANDOVER, temporary=True))

    async def story(transporter: Transporter) -> None:
        with pytest.raises(Deferred):
            await transporter.send_mail(mail(1))

    play(carrier, story)
    assert len(carrier.begun) == 1


@pytest.mark.rule("P-19a")
def test_a_quota_fails_whoever_waits_until_it_is_over() -> None:
    error = QuotaExceeded("daily", phase=Phase.HANDOVER, temporary=True, retry_after=100)
    carrier = Script(error, takes=1)

    async def story(transporter: Transporter) -> None:
        outcomes = await ends(*[transporter.send_mail(mail(n)) for n in range(3)])
        assert [type(outcome) for outcome in outcomes] == [QuotaExceeded] * 3
        assert [outcome.message_id for outcome in outcomes] == [f"<{n}@example.org>" for n in range(3)]
        await asyncio.sleep(40)
        with pytest.raises(QuotaExceeded) as caught:
            await transporter.send_mail(mail(4))
        assert caught.value.retry_after == pytest.approx(60)
        await asyncio.sleep(60)
        assert (await transporter.send_mail(mail(5))).accepted

    play(carrier, story, max_connections=1)
    assert len(carrier.begun) == 2


@pytest.mark.rule("P-12")
def test_after_throttling_only_those_are_asked_again_who_have_no_outcome() -> None:
    some = throttled()
    some.recipients = (
        RecipientResult("a@example.org", Outcome.ACCEPTED, Phase.HANDOVER, Reply.of("250 ok")),
        RecipientResult("b@example.org", Outcome.THROTTLED, Phase.HANDOVER, None),
    )
    carrier = Script(some)

    async def story(transporter: Transporter) -> None:
        result = await transporter.send_mail(mail(1, "a@example.org", "b@example.org"))
        assert result.accepted == ("a@example.org", "b@example.org")

    play(carrier, story)
    assert [sealed.envelope.recipients for _, sealed in carrier.begun] == [
        ("a@example.org", "b@example.org"),
        ("b@example.org",),
    ]


# -- outcomes --------------------------------------------------------------------------------------------------------


class Strange(BaseException):
    """Not even an Exception."""


@pytest.mark.rule("P-14")
@pytest.mark.rule("POL-02")
@pytest.mark.parametrize(
    "step",
    [
        ValueError("token=s3cret"),
        OSError(5, "x"),
        asyncio.CancelledError(),
        Strange(),
        "no result",
        250,
        TimeoutError(),
    ],
    ids=repr,
)
def test_whatever_a_carrier_does_the_message_ends_and_the_next_goes_on(step: Any) -> None:
    carrier = Script(step)

    async def story(transporter: Transporter) -> None:
        with pytest.raises(DeliveryUncertain, match="may or may not") as caught:
            await transporter.send_mail(mail(1))
        assert caught.value.may_have_been_delivered
        assert "s3cret" not in str(caught.value)
        assert caught.value.recipients[0].outcome is Outcome.UNCERTAIN
        if isinstance(step, Exception):
            assert caught.value.__cause__ is step
        assert (await transporter.send_mail(mail(2))).accepted
        stats = transporter.stats()
        assert (stats.sent, stats.failed, stats.uncertain) == (1, 1, 1)

    play(carrier, story)


@pytest.mark.rule("P-14")
def test_a_deliver_that_is_no_coroutine_is_no_disaster() -> None:
    class Plain:
        def deliver(self, sealed: Sealed, /) -> Any:
            return all_accepted(sealed)

    async def story(transporter: Transporter) -> None:
        with pytest.raises(DeliveryUncertain, match="Plain raised TypeError"):
            await transporter.send_mail(mail(1))

    play(Plain(), story)


@pytest.mark.rule("P-16")
@pytest.mark.parametrize(
    "error",
    [
        Rejected("no", phase=Phase.HANDOVER, reply=Reply.of("550 5.1.1 no")),
        ConnectionFailed("gone", phase=Phase.CONNECT, temporary=True),
        MessageError("text: no", field="text"),
    ],
    ids=repr,
)
def test_errors_of_ours_come_as_they_are(error: Exception) -> None:
    async def story(transporter: Transporter) -> None:
        with pytest.raises(type(error), match=str(error)) as caught:
            await transporter.send_mail(mail(1))
        if not isinstance(error, MessageError):
            assert caught.value.message_id == "<1@example.org>"  # of a SendError

    play(Script(error), story)


@pytest.mark.rule("P-12")
@pytest.mark.rule("P-15")
def test_more_recipients_than_a_carrier_takes_come_in_several_calls_with_one_result() -> None:
    class Small(Script):
        max_recipients = 2

    rejected = Rejected("no", phase=Phase.HANDOVER, reply=Reply.of("550 5.1.1 no"))
    carrier = Small(None, rejected, None)

    async def story(transporter: Transporter) -> None:
        result = await transporter.send_mail(mail(1, *[f"{n}@example.org" for n in range(5)]))
        assert result.accepted == ("0@example.org", "1@example.org", "4@example.org")
        assert result.rejected == ("2@example.org", "3@example.org")
        assert result.attempts == 1
        assert [str(recipient.reply) for recipient in result.recipients[2:4]] == ["550 5.1.1 no"] * 2
        assert transporter.stats().sent == 1

    play(carrier, story)
    assert [len(sealed.envelope.recipients) for _, sealed in carrier.begun] == [2, 2, 1]


@pytest.mark.rule("P-15")
def test_all_refused_is_an_error_and_the_one_that_may_succeed_later_decides() -> None:
    class Small(Script):
        max_recipients = 1

    deferred = Deferred("later", phase=Phase.HANDOVER, temporary=True)
    carrier = Small(Rejected("no", phase=Phase.HANDOVER), deferred, Rejected("no", phase=Phase.HANDOVER))

    async def story(transporter: Transporter) -> None:
        with pytest.raises(Deferred, match="later") as caught:
            await transporter.send_mail(mail(1, *[f"{n}@example.org" for n in range(3)]))
        outcomes = [recipient.outcome for recipient in caught.value.recipients]
        assert outcomes == [Outcome.REJECTED, Outcome.DEFERRED, Outcome.REJECTED]

    play(carrier, story)


@pytest.mark.rule("P-15")
@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.ACCEPTED])
def test_a_result_in_which_nobody_is_accepted_is_an_error(outcome: Outcome) -> None:
    def refuse(sealed: Sealed) -> SendResult:
        result = all_accepted(sealed)
        result.recipients = (RecipientResult("to@example.org", outcome, Phase.HANDOVER, None),)
        return result

    async def story(transporter: Transporter) -> None:
        (error,) = await ends(transporter.send_mail(mail(1)))
        assert error.outcome is outcome
        assert error.temporary == (outcome not in (Outcome.REJECTED, Outcome.AUTH_FAILED))

    play(Script(refuse), story)


@pytest.mark.rule("P-15")
def test_a_recipient_that_a_result_does_not_name_is_uncertain() -> None:
    def forget(sealed: Sealed) -> SendResult:
        result = all_accepted(sealed)
        result.recipients = result.recipients[:1]
        return result

    async def story(transporter: Transporter) -> None:
        result = await transporter.send_mail(mail(1, "a@example.org", "b@example.org"))
        assert [recipient.outcome for recipient in result.recipients] == [Outcome.ACCEPTED, Outcome.UNCERTAIN]

    play(Script(forget), story)


def test_time_is_told() -> None:
    async def story(transporter: Transporter) -> None:
        results = await ends(*[transporter.send_mail(mail(n)) for n in range(2)])
        assert [result.waited for result in results] == [0, pytest.approx(3)]
        assert [result.took for result in results] == [pytest.approx(3)] * 2
        assert transporter.stats().waited.count == 2

    play(Script(takes=3), story, max_connections=1)


def test_other_logins_and_wrong_arguments_are_refused() -> None:
    async def story(transporter: Transporter) -> None:
        with pytest.raises(UsageError, match="script knows no logins"):
            transporter.send_mail(mail(1), auth=("me", "secret"))
        with pytest.raises(UsageError, match="priority"):
            transporter.send_mail(mail(1), priority="high")
        for deadline in (0, -1, float("inf"), "1"):
            with pytest.raises(UsageError, match="deadline"):
                transporter.send_mail(mail(1), deadline=deadline)

    play(Script(), story)


# -- callers that give up --------------------------------------------------------------------------------------------


@pytest.mark.rule("P-27")
def test_cancelling_one_that_waits_removes_it() -> None:
    carrier = Script(takes=1)

    async def story(transporter: Transporter) -> None:
        first, second, third = (asyncio.ensure_future(transporter.send_mail(mail(n))) for n in range(3))
        await asyncio.sleep(0.5)
        second.cancel()
        await ends(first, third)
        assert second.cancelled()

    play(carrier, story, max_connections=1)
    assert carrier.order == ["0", "2"]


@pytest.mark.rule("P-27")
@pytest.mark.rule("POL-08")
def test_cancelling_one_that_is_handed_over_stops_it() -> None:
    carrier = Script(takes=5)

    async def story(transporter: Transporter) -> None:
        send = asyncio.ensure_future(transporter.send_mail(mail(1)))
        await asyncio.sleep(1)
        send.cancel()
        with pytest.raises(asyncio.CancelledError):
            await send
        await transporter.send_mail(mail(2))
        assert now() == pytest.approx(6)  # its place was free at once
        assert transporter.stats().detached == 0

    play(carrier, story, max_connections=1)


@pytest.mark.rule("P-27")
def test_one_that_cannot_be_stopped_is_finished_and_told_of() -> None:
    class Thorough(Script):
        async def deliver(self, sealed: Sealed, /) -> SendResult:
            work = asyncio.ensure_future(super().deliver(sealed))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                return await work

    heard: list[Any] = []

    async def story(transporter: Transporter) -> None:
        transporter.on("detached", lambda *details: heard.append(details))
        send = asyncio.ensure_future(transporter.send_mail(mail(1)))
        await asyncio.sleep(1)
        send.cancel()
        with pytest.raises(asyncio.CancelledError):
            await send
        await asyncio.sleep(10)
        assert transporter.stats().detached == 1

    play(Thorough(takes=5), story)
    ((message_id, outcome),) = heard
    assert message_id == "<1@example.org>"
    assert isinstance(outcome, SendResult)


@pytest.mark.rule("P-26")
def test_a_deadline_holds_while_waiting_and_while_handed_over() -> None:
    carrier = Script(takes=10)

    async def story(transporter: Transporter) -> None:
        first, second = await ends(
            transporter.send_mail(mail(1), deadline=5), transporter.send_mail(mail(2), deadline=3)
        )
        assert now() == pytest.approx(5)
        assert isinstance(first, DeadlineExceeded)
        assert (first.phase, first.may_have_been_delivered) == (Phase.HANDOVER, True)
        assert isinstance(second, DeadlineExceeded)
        assert (second.phase, second.may_have_been_delivered) == (Phase.QUEUE, False)

    play(carrier, story, max_connections=1)
    assert carrier.order == ["1"]


@pytest.mark.rule("P-26")
def test_a_deadline_ends_the_patience_with_throttling() -> None:
    async def story(transporter: Transporter) -> None:
        with pytest.raises(DeadlineExceeded):
            await transporter.send_mail(mail(1))
        assert now() == pytest.approx(4)

    play(Script(*[throttled() for _ in range(50)]), story, deadline=4)


# -- closing ---------------------------------------------------------------------------------------------------------


@pytest.mark.rule("POL-01")
@pytest.mark.rule("P-28")
def test_sending_after_close_raises_at_once() -> None:
    carrier = Script()

    async def story(transporter: Transporter) -> None:
        await transporter.send_mail(mail(1))
        await transporter.close()
        with pytest.raises(PoolClosed):
            transporter.send_mail(mail(2))
        with pytest.raises(PoolClosed):
            transporter.send_soon(mail(2))
        assert not transporter.is_idle()

    play(carrier, story)
    assert carrier.closed == 1
    assert len(carrier.begun) == 1


@pytest.mark.rule("P-29")
def test_close_lets_finish_what_is_under_way_and_returns_the_rest() -> None:
    carrier = Script(takes=5)

    async def story(transporter: Transporter) -> None:
        sends = [transporter.send_mail(mail(n)) for n in range(3)]
        await asyncio.sleep(1)
        left = await transporter.close()
        assert [sealed.message_id for sealed in left] == ["<1@example.org>", "<2@example.org>"]
        outcomes = await ends(*sends)
        assert [type(outcome) for outcome in outcomes] == [SendResult, PoolClosed, PoolClosed]
        assert now() == pytest.approx(5)

    play(carrier, story, max_connections=1)
    assert carrier.closed == 1


@pytest.mark.rule("P-29")
def test_close_stops_what_takes_too_long() -> None:
    async def story(transporter: Transporter) -> None:
        send = transporter.send_mail(mail(1))
        await asyncio.sleep(1)
        assert await transporter.close(2) == []
        assert now() == pytest.approx(3)
        with pytest.raises(DeliveryUncertain):
            await send

    play(Script(takes=100), story)


@pytest.mark.rule("POL-02")
@pytest.mark.rule("P-14")
def test_a_carrier_that_does_not_stop_holds_nothing_up() -> None:
    class Stubborn:
        async def deliver(self, sealed: Sealed, /) -> SendResult:
            until = now() + 100
            while now() < until:
                try:
                    await asyncio.sleep(until - now())
                except asyncio.CancelledError:
                    continue
            return all_accepted(sealed)

        async def close(self) -> None:
            await asyncio.sleep(10**6)

    async def story(transporter: Transporter) -> None:
        send = transporter.send_mail(mail(1))
        await asyncio.sleep(1)
        await transporter.close(2)
        assert now() <= 6
        with pytest.raises(DeliveryUncertain, match="still being handed over"):
            await send
        await asyncio.sleep(200)  # its result, which comes now, disturbs nobody
        assert transporter.stats().failed == 1

    play(Stubborn(), story)


@pytest.mark.rule("POL-02")
def test_a_carrier_that_raises_when_closed_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Clumsy(Script):
        async def close(self) -> None:
            raise ValueError("s3cret")

    async def story(transporter: Transporter) -> None:
        send = transporter.send_mail(mail(1))
        assert [sealed.message_id for sealed in await transporter.close()] == ["<1@example.org>"]
        with pytest.raises(PoolClosed):
            await send

    with caplog.at_level(logging.WARNING):
        play(Clumsy(), story)
    assert "did not close well: ValueError" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.rule("POL-02")
def test_handlers_that_raise_break_nothing() -> None:
    async def story(transporter: Transporter) -> None:
        for event in ("idle", "requeued", "throttled", "detached", "error"):

            @transporter.on(event)
            def fail(*_: Any) -> None:
                raise ValueError

        transporter.send_soon(mail(0))
        results = await ends(*[transporter.send_mail(mail(n)) for n in range(5)])
        assert all(isinstance(result, SendResult) for result in results)
        await transporter.close()

    play(Script(Rejected("no", phase=Phase.HANDOVER), throttled(), throttled()), story)


@pytest.mark.rule("POL-03")
def test_close_while_messages_wait_for_the_rate_ends_them_all() -> None:
    async def story(transporter: Transporter) -> None:
        sends = [transporter.send_mail(mail(n)) for n in range(5)]
        await asyncio.sleep(1)
        assert len(await transporter.close()) == 4
        outcomes = await ends(*sends)
        assert [type(outcome) for outcome in outcomes] == [SendResult] + [PoolClosed] * 4

    play(Script(), story, rate="1/h")


@pytest.mark.rule("POL-14")
@pytest.mark.rule("P-30")
def test_drain_sends_what_is_queued_and_returns_what_it_could_not() -> None:
    carrier = Script(takes=1)

    async def story(transporter: Transporter) -> None:
        sends = [transporter.send_mail(mail(n)) for n in range(10)]
        left = await transporter.drain(4.5)
        assert len(left) == 5
        outcomes = await ends(*sends)
        assert [type(outcome) for outcome in outcomes] == [SendResult] * 5 + [PoolClosed] * 5
        assert all(outcome.temporary for outcome in outcomes[5:])

    play(carrier, story, max_connections=1)
    assert carrier.closed == 1


@pytest.mark.rule("P-30")
def test_drain_waits_for_what_is_throttled() -> None:
    async def story(transporter: Transporter) -> None:
        send = transporter.send_mail(mail(1))
        assert await transporter.drain() == []
        assert (await send).attempts == 3

    play(Script(throttled(), throttled(20)), story)


@pytest.mark.rule("P-12")
@pytest.mark.rule("P-29")
def test_what_close_returns_is_only_the_recipients_without_outcome() -> None:
    class Small(Script):
        max_recipients = 1

    async def story(transporter: Transporter) -> None:
        send = transporter.send_mail(mail(1, "a@example.org", "b@example.org"))
        await asyncio.sleep(0.5)
        (left,) = await transporter.close()
        assert left.envelope.recipients == ("b@example.org",)
        with pytest.raises(PoolClosed) as caught:
            await send
        assert caught.value.accepted == ("a@example.org",)
        assert caught.value.may_have_been_delivered

    play(Small(takes=1), story)


@pytest.mark.rule("P-31")
def test_closing_twice_at_the_same_time_and_cancelling_it_is_harmless() -> None:
    carrier = Script(takes=5)

    async def story(transporter: Transporter) -> None:
        sends = [transporter.send_mail(mail(n)) for n in range(2)]
        await asyncio.sleep(1)
        closing = asyncio.ensure_future(transporter.close())
        await asyncio.sleep(1)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        left = await transporter.close()
        assert [sealed.message_id for sealed in left] == ["<1@example.org>"]
        outcomes = await ends(*sends)
        assert [type(outcome) for outcome in outcomes] == [DeliveryUncertain, PoolClosed]
        assert now() == pytest.approx(2)

    play(carrier, story, max_connections=1)
    assert carrier.closed == 1
