"""Once wrong, now proven: closing while something begins, while handlers are still to hear, and when it is cancelled."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from mailpool import DeadlineExceeded, PoolClosed, SendError, UsageError
from mailpool.testing import Fault, ScriptedServer, close, reply_then_close, stall

TWO = ["a@example.org", "b@example.org"]


def at_end(do: Any, **fault: Any) -> ScriptedServer:
    return ScriptedServer(faults=[Fault(at="END", do=do, **fault)])


@pytest.mark.rule("P-29")
@pytest.mark.rule("P-14")
@pytest.mark.parametrize("turns", range(6))
def test_close_ends_openings_that_have_hardly_begun(play: Any, turns: int) -> None:
    async def story(relay: Any) -> None:
        sends = relay.burst(3)
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await relay.transporter.close(1)
        assert {type(end) for end in await relay.ends(*sends)} == {PoolClosed}
        stats = relay.transporter.stats()
        assert (stats.connections, stats.opening, stats.queued) == (0, 0, 0)

    play(story)


@pytest.mark.rule("P-29")
@pytest.mark.rule("P-20a")
@pytest.mark.parametrize("connected", [True, False])
def test_an_async_error_handler_hears_of_each_message_before_close_returns(
    play: Any, connected: bool
) -> None:
    heard: list[str | None] = []

    async def story(relay: Any) -> None:
        async def told(error: SendError) -> None:
            await asyncio.sleep(0.1)
            heard.append(error.message_id)

        relay.transporter.on("error", told)
        await relay.send("first")
        await asyncio.sleep(1 if connected else 10)
        assert relay.transporter.stats().connections == connected
        for number in range(3):
            relay.transporter.send_soon(relay.mail(number))
        await relay.transporter.close()
        assert heard == ["<0@example.org>", "<1@example.org>", "<2@example.org>"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    play(story, rate="1/min", max_connections=1, idle_timeout=5)


@pytest.mark.rule("P-29")
@pytest.mark.rule("P-20a")
@pytest.mark.parametrize("connected", [True, False])
def test_what_a_slow_error_handler_has_not_heard_is_logged(play: Any, caplog: Any, connected: bool) -> None:
    heard: list[str | None] = []

    async def story(relay: Any) -> None:
        async def told(error: SendError) -> None:
            heard.append(error.message_id)
            await asyncio.sleep(5)

        relay.transporter.on("error", told)
        await relay.send("first")
        await asyncio.sleep(1 if connected else 10)
        for number in range(3):
            relay.transporter.send_soon(relay.mail(number))
        await relay.transporter.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert heard == ["<0@example.org>"]

    play(story, rate="1/min", max_connections=1, idle_timeout=5)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage().partition(":")[0] for record in errors] == ["a message was not sent"] * 2


@pytest.mark.rule("P-29")
@pytest.mark.rule("P-30")
@pytest.mark.rule("P-31")
@pytest.mark.parametrize("how", ["leaving the block", "drain"])
def test_a_cancelled_drain_closes_everything(play: Any, how: str) -> None:
    async def story(relay: Any) -> None:
        sends = []

        async def program() -> None:
            if how == "drain":
                sends.extend(relay.burst(6))
                await relay.transporter.drain()
            else:
                async with relay.transporter:
                    sends.extend(relay.burst(6))

        task = asyncio.ensure_future(program())
        await asyncio.sleep(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(1)
        assert relay.transporter.stats().connections == 0
        assert all(send.done() for send in sends)
        assert all(isinstance(end, SendError) for end in await relay.ends(*sends))

    play(story, at_end(stall(20), times=None), max_connections=2)


@pytest.mark.rule("P-12")
@pytest.mark.rule("P-29")
def test_what_close_returns_goes_to_nobody_twice(play: Any) -> None:
    async def story(relay: Any) -> None:
        send = relay.send(0, TWO)
        await asyncio.sleep(3)
        unsent = await relay.transporter.close(1)
        error = await relay.end(send)
        assert isinstance(error, PoolClosed)
        assert error.accepted == (TWO[0],)
        assert error.may_have_been_delivered
        async with relay.another(rate=None) as other:
            await relay.ends(*(other.send_mail(message) for message in unsent))

    server = play(story, max_recipients=1, rate="1/10s")
    assert [message.recipients for message in server.messages] == [("a@example.org",), ("b@example.org",)]
    assert len({message.message_id for message in server.messages}) == 1


@pytest.mark.rule("P-12")
@pytest.mark.rule("P-16")
@pytest.mark.parametrize("why", ["lost", "421", "deadline"])
def test_an_error_after_the_first_recipients_says_that_it_may_have_been_delivered(
    play: Any, why: str
) -> None:
    do = {"lost": close(), "421": reply_then_close("421 4.3.2 bye"), "deadline": stall(100)}[why]
    server = ScriptedServer(faults=[Fault(at="MAIL", message=1, do=do, times=None)])

    async def story(relay: Any) -> None:
        deadline = 5 if why == "deadline" else None
        error = await relay.end(relay.send(0, TWO, deadline=deadline))
        assert isinstance(error, DeadlineExceeded if why == "deadline" else SendError)
        assert error.accepted == (TWO[0],)
        assert error.may_have_been_delivered

    # The second transaction is the second on its connection; a replacement must not pass for the first.
    faults = [Fault(at="MAIL", connection=1, do=do, times=None)] if why != "deadline" else []
    server.faults.add(*faults)
    play(story, server, max_recipients=1, max_requeues=0)


@pytest.mark.rule("P-20a")
@pytest.mark.parametrize("how", ["close", "drain"])
def test_what_cannot_close_here_stays_open(play: Any, how: str) -> None:
    async def story(relay: Any) -> None:
        await relay.send(0)

        def elsewhere() -> None:
            with pytest.raises(UsageError, match="another event loop"):
                asyncio.run(getattr(relay.transporter, how)())

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert relay.transporter.is_idle()
        await relay.send(1)

    play(story)
