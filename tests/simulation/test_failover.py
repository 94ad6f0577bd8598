"""Several relays as one transport: one of three fails in the middle of a batch, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mailpool import (
    ConnectionFailed,
    DeadlineExceeded,
    Deferred,
    DeliveryUncertain,
    PoolClosed,
    Rejected,
    SendError,
    SendResult,
    Throttled,
    Transporter,
)
from mailpool.testing import (
    Fault,
    MemoryNetwork,
    ScriptedServer,
    close,
    deliver_then_close,
    deliver_then_reset,
    deliver_then_stall,
    partial,
    raw,
    reply,
    reply_then_close,
    reset,
    run_virtual,
    stall,
)
from mailpool.testing.faults import Incident
from mailpool.transports.relays import plan_of

PORT = 25


class Relays:
    """What a story is given: some scripted servers a, b, c …, a transporter over all of them, and its events."""

    def __init__(self, servers: list[ScriptedServer], latency: float, options: dict[str, Any]) -> None:
        self.servers = servers
        self.network = MemoryNetwork(latency)
        self.names = [f"{'abcdefg'[number]}.example" for number in range(len(servers))]
        for name, server in zip(self.names, servers, strict=True):
            self.network.listen(name, PORT, server)
        how = {
            name: options.pop(name) for name in ("strategy", "weights", "move_deferred") if name in options
        }
        each = options.pop("each", [{} for _ in servers])
        entries = [{"host": name, **more} for name, more in zip(self.names, each, strict=True)]
        plan, whole = plan_of(
            entries,
            how.get("strategy", "failover"),
            how.get("weights"),
            how.get("move_deferred", False),
            {"port": PORT, "pool": True, **options},
        )
        self.transporter = Transporter(whole, connector=self._connect, plan=plan)
        self.events: list[tuple[float, str, str]] = []
        for event in ("relay_down", "relay_up"):
            self.transporter.on(
                event, lambda name, *_, event=event: self.events.append((self.now, event, name))
            )

    async def _connect(self, options: Any, connection: Any, context: Any) -> Any:
        async with asyncio.timeout(options.connection_timeout):
            transport, _ = await self.network.dial(options.host, options.effective_port, lambda: connection)
        return transport

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def send(self, number: object, *to: str, **keywords: Any) -> Awaitable[SendResult]:
        message = {
            "from": "from@example.org",
            "to": list(to) or ["to@example.org"],
            "text": f"body of {number}\n",
            "message_id": f"<{number}@example.org>",
        }
        return self.transporter.send_mail(message, **keywords)

    async def end(self, *sends: Awaitable[Any]) -> list[Any]:
        return await asyncio.gather(*sends, return_exceptions=True)

    def heard(self, event: str) -> list[str]:
        return [name for _, found, name in self.events if found == event]

    def told(self, number: int) -> Any:
        """The statistics of one relay."""
        return self.transporter.stats().relays[number]


def play(
    story: Callable[[Relays], Awaitable[None]],
    *servers: ScriptedServer,
    latency: float = 0.0,
    closes: bool = True,
    **options: Any,
) -> None:
    """Run a story, close, and see that neither task nor timer nor connection is left."""
    random.seed(77)

    async def main() -> None:
        relays = Relays(list(servers), latency, options)
        await story(relays)
        if closes:
            await relays.transporter.close()
        await asyncio.sleep(5 * latency + 2)
        assert [server.open_connections for server in servers] == [0] * len(servers)

    run_virtual(main, timeout=86_400.0, timers=True)


def numbers(server: ScriptedServer) -> list[str]:
    return [(message.message_id or "").strip("<>").partition("@")[0] for message in server.messages]


def copies(*servers: ScriptedServer) -> Counter[tuple[str, str]]:
    return Counter(
        (number, recipient)
        for server in servers
        for number, message in zip(numbers(server), server.messages, strict=True)
        for recipient in message.recipients
    )


# -- which relay -----------------------------------------------------------------------------------------------------


def test_in_order_the_first_gets_everything() -> None:
    a, b = ScriptedServer(), ScriptedServer()

    async def story(relays: Relays) -> None:
        ends = await relays.end(*[relays.send(n) for n in range(50)])
        assert all(isinstance(end, SendResult) and end.attempts == 1 for end in ends)
        assert relays.told(0).sent == 50
        assert relays.told(1).given == 0
        assert relays.told(1).health == "up"

    play(story, a, b, latency=0.01)
    assert len(a.messages) == 50
    assert b.connections == []


@pytest.mark.parametrize("weights", [None, (1, 1, 2), (5, 1, 1)])
def test_turns_follow_the_weights(weights: tuple[int, ...] | None) -> None:
    servers = [ScriptedServer() for _ in range(3)]

    async def story(relays: Relays) -> None:
        for n in range(70):
            await relays.send(n)

    play(story, *servers, strategy="round-robin", weights=weights)
    shares = weights or (1, 1, 1)
    for server, weight in zip(servers, shares, strict=True):
        assert abs(len(server.messages) - 70 * weight / sum(shares)) <= 1


def test_the_least_busy_gets_the_next() -> None:
    slow = ScriptedServer(faults=[Fault(at="DATA", do=stall(20), times=None)])
    fast = ScriptedServer()

    async def story(relays: Relays) -> None:
        sends = []
        for n in range(40):
            sends.append(relays.send(n))
            await asyncio.sleep(0.1)
        assert relays.told(0).in_hand <= 2
        assert relays.told(1).sent >= 37
        await relays.transporter.close(0)
        await relays.end(*sends)

    play(story, slow, fast, strategy="least-busy", latency=0.01, closes=False)


def test_each_relay_keeps_its_own_limits() -> None:
    a, b = ScriptedServer(), ScriptedServer()

    async def story(relays: Relays) -> None:
        await relays.end(*[relays.send(n) for n in range(60)])
        assert relays.now >= 2
        assert relays.transporter.stats().max_connections == 5

    play(
        story, a, b, strategy="round-robin", latency=0.05,
        each=[{"max_connections": 2, "rate": "10/s"}, {"max_connections": 3, "rate": "10/s"}],
    )  # fmt: skip
    assert (a.peak_connections, b.peak_connections) <= (2, 3)
    assert len(a.messages) + len(b.messages) == 60


# -- one of three fails in mid-batch ---------------------------------------------------------------------------------

BATCH = 1_000


def killed(relays: Relays, victim: int) -> None:
    server = relays.servers[victim]
    server.refuse_connections(True)
    for client in relays.network.clients:
        if client.get_extra_info("peername")[0] == relays.names[victim]:
            client.cut()


def hung(relays: Relays, victim: int) -> None:
    server = relays.servers[victim]
    for at in ("MAIL", "RCPT", "DATA", "EHLO", "GREETING"):
        server.faults.add(Fault(at=at, do=stall(), times=None))
    server.faults.add(Fault(at="END", do=deliver_then_stall(), times=None))


def answering_421(relays: Relays, victim: int) -> None:
    server = relays.servers[victim]
    for at in ("MAIL", "END"):
        server.faults.add(Fault(at=at, do=reply_then_close("421 4.3.2 going down"), times=None))


def lying_about_pipelining(relays: Relays, victim: int) -> None:
    """What comes together with another command is thrown away. It never stops doing that."""
    server = relays.servers[victim]

    def swallow(connection: int) -> Any:
        def act(incident: Incident) -> None:
            if len(server.connections[connection].turns[-1].commands) > 1:
                incident.conclude("550 5.5.1 never mind")
            else:
                incident.answer()

        return act

    for connection in range(40):
        for at in ("RCPT", "DATA"):
            server.faults.add(Fault(at=at, do=swallow(connection), connection=connection, times=None))


def mended(relays: Relays, victim: int, trouble: Any) -> None:
    if trouble is not lying_about_pipelining:
        relays.servers[victim].faults.clear()
    relays.servers[victim].refuse_connections(False)


@pytest.mark.parametrize(
    "trouble", [killed, hung, answering_421, lying_about_pipelining], ids=lambda t: t.__name__
)
@pytest.mark.parametrize("strategy", ["failover", "round-robin"])
@pytest.mark.rule("P-14")
def test_one_of_three_fails_in_mid_batch(trouble: Any, strategy: str) -> None:
    servers = [ScriptedServer() for _ in range(3)]
    ends: list[Any] = []
    sent_at: list[float] = []

    async def story(relays: Relays) -> None:
        async def source() -> Any:
            for n in range(BATCH):
                if n == BATCH // 5:
                    trouble(relays, 0)
                if n == BATCH * 3 // 5:
                    mended(relays, 0, trouble)
                # As fast as there is room, and slow enough that the trouble lasts.
                await asyncio.sleep(0.1)
                yield {
                    "from": "from@example.org", "to": "to@example.org", "text": "x", "message_id": f"<{n}@example.org>",
                }  # fmt: skip

        async for outcome in relays.transporter.send_many(source()):
            ends.append((outcome.message["message_id"].strip("<>").partition("@")[0], outcome))
            sent_at.append(relays.now)
        # Nothing is tried for its own sake: it is up again when a message has been there.
        await asyncio.sleep(60)
        await relays.end(*[relays.send(f"after{n}") for n in range(9)])
        # The story in numbers, and in events.
        told = relays.told(0)
        stats = relays.transporter.stats()
        assert stats.sent == BATCH + 9
        assert sum(relay.sent for relay in stats.relays) == stats.sent
        assert told.went_down >= 1
        assert told.last_error
        assert told.moved_on >= 1
        assert relays.heard("relay_down")[0] == "a.example:25"
        assert relays.heard("relay_up") == ["a.example:25"] * told.went_down
        assert told.health == "up"
        assert told.pool.disabled == ({"PIPELINING"} if trouble is lying_about_pipelining else set())
        assert not stats.relay_is_down
        assert [relay.went_down for relay in stats.relays[1:]] == [0, 0]

    play(story, *servers, strategy=strategy, latency=0.01, command_timeout=120)
    assert len(ends) == BATCH
    got = copies(*servers)
    for number, outcome in ends:
        count = got[number, "to@example.org"]
        assert outcome.ok, outcome.error
        assert count >= 1
        assert count == 1 or outcome.result.maybe_duplicate, number
    # The batch takes 100 s, and 30 s of silence go by before a relay counts as hung; the messages that it had on the wire
    # take their time-out longer.
    assert sum(when > 140 for when in sent_at) <= 20


# -- what moves on, and what stays -----------------------------------------------------------------------------------

AUTH = {"auth": ("me", "right"), "starttls": "never", "allow_cleartext_auth": True}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(at="GREETING", do=reply("554 go away"), times=None),
        Fault(at="GREETING", do=reply_then_close("421 busy"), times=None),
        Fault(at="EHLO", do=close(), times=None),
        Fault(at="MAIL", do=reply_then_close("421 4.3.2 bye"), times=None),
        Fault(at="RCPT", do=close(), times=None),
        Fault(at="DATA", do=close(), times=None),
        Fault(at="MAIL", do=reply("530 5.7.0 login first"), times=None),
        Fault(at="MAIL", do=reply("451 4.3.0 disk trouble"), times=None),
        Fault(at="RCPT", do=reply("452 4.3.1 no space"), times=None),
        Fault(at="END", do=reply("451 4.7.0 too many messages, slow down"), times=None),
        Fault(at="END", do=reply("550 5.4.5 daily sending quota exceeded"), times=None),
    ],
    ids=lambda fault: f"{fault.at} {fault.do!r}",
)
@pytest.mark.rule("P-14")
def test_what_is_the_relays_fault_moves_on(fault: Fault) -> None:
    a, b = ScriptedServer(faults=[fault]), ScriptedServer()

    async def story(relays: Relays) -> None:
        ends = await relays.end(*[relays.send(n) for n in range(10)])
        assert all(isinstance(end, SendResult) and not end.maybe_duplicate for end in ends), ends
        assert relays.told(0).moved_on >= 1
        assert relays.told(1).sent == 10
        assert relays.transporter.stats().sent == 10
        assert relays.transporter.stats().failed == 0

    play(story, a, b, latency=0.01)
    assert a.messages == []
    assert sorted(numbers(b)) == sorted(str(n) for n in range(10))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(at="MAIL", do=reply("550 5.7.1 no"), times=None), Rejected),
        (Fault(at="RCPT", do=reply("550 5.1.1 nobody"), times=None), Rejected),
        (Fault(at="END", do=reply("554 5.6.0 spam"), times=None), Rejected),
        (Fault(at="RCPT", do=reply("450 4.2.0 greylisted"), times=None), Deferred),
    ],
    ids=lambda x: repr(x.do) if isinstance(x, Fault) else "",
)
@pytest.mark.rule("P-05")
def test_what_is_said_about_the_message_stays(fault: Fault, kind: Any) -> None:
    a, b = ScriptedServer(faults=[fault]), ScriptedServer()

    async def story(relays: Relays) -> None:
        ends = await relays.end(*[relays.send(n) for n in range(10)])
        assert {type(end) for end in ends} == {kind}
        assert {end.attempts for end in ends} == {1}
        assert all(len(end.recipients) == 1 for end in ends)
        assert relays.told(0).health == "up"
        assert relays.told(1).given == 0

    play(story, a, b)


def test_with_move_deferred_whatever_is_refused_for_now_moves_on() -> None:
    a, b = (
        ScriptedServer(faults=[Fault(at="RCPT", do=reply("450 4.2.0 greylisted"), times=None)]),
        ScriptedServer(),
    )

    async def story(relays: Relays) -> None:
        result = await relays.send(1)
        assert result.attempts == 2
        assert relays.told(0).health == "up"

    play(story, a, b, move_deferred=True)


@pytest.mark.rule("P-12")
def test_only_recipients_without_an_outcome_move_on() -> None:
    a = ScriptedServer(
        faults=[
            Fault(at="RCPT", match="later@", do=reply("451 4.3.0 try elsewhere"), times=None),
            Fault(at="RCPT", match="nobody@", do=reply("550 5.1.1 no such user"), times=None),
        ]
    )
    b = ScriptedServer()
    ends: list[SendResult] = []

    async def story(relays: Relays) -> None:
        ends.append(await relays.send(1, "first@example.org", "later@example.org", "nobody@example.org"))

    play(story, a, b)
    (end,) = ends
    assert end.accepted == ("first@example.org", "later@example.org")
    assert end.rejected == ("nobody@example.org",)
    assert end.attempts == 2
    assert [message.recipients for message in a.messages] == [("first@example.org",)]
    assert [message.recipients for message in b.messages] == [("later@example.org",)]
    assert a.messages[0].content == b.messages[0].content


@pytest.mark.rule("P-12")
def test_a_list_in_parts_of_which_some_are_accepted_goes_on_elsewhere() -> None:
    a = ScriptedServer(faults=[Fault(at="MAIL", nth=3, do=reply_then_close("421 bye"), times=None)])
    b = ScriptedServer()
    to = [f"r{n}@example.org" for n in range(10)]

    async def story(relays: Relays) -> None:
        end = await relays.send(1, *to)
        assert end.accepted == tuple(to)
        assert not end.maybe_duplicate

    play(story, a, b, max_recipients=2, each=[{"max_connections": 1}, {}])
    assert copies(a, b) == Counter({("1", address): 1 for address in to})
    assert copies(a)


@pytest.mark.rule("P-18")
@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, True),
        ({"on_uncertain": "fail"}, False),
        ({"max_duplicates": 0}, False),
        ({"max_requeues": 0}, False),
    ],
)
def test_what_may_have_been_delivered_is_repeated_only_as_allowed(
    options: dict[str, Any], sent: bool
) -> None:
    a, b = ScriptedServer(faults=[Fault(at="END", do=deliver_then_close())]), ScriptedServer()

    async def story(relays: Relays) -> None:
        (end,) = await relays.end(relays.send(1))
        if sent:
            assert end.maybe_duplicate
            assert end.attempts == 2
        else:
            assert isinstance(end, DeliveryUncertain)
            assert end.may_have_been_delivered
        assert relays.transporter.stats().uncertain == 1

    play(story, a, b, **options)
    assert copies(a, b)["1", "to@example.org"] == 1 + sent


@pytest.mark.rule("P-18")
def test_the_copies_are_bounded_over_all_relays_together() -> None:
    servers = [
        ScriptedServer(faults=[Fault(at="END", do=deliver_then_close(), times=None)]) for _ in range(3)
    ]

    async def story(relays: Relays) -> None:
        (end,) = await relays.end(relays.send(1))
        assert isinstance(end, DeliveryUncertain)

    play(story, *servers, max_duplicates=1)
    assert copies(*servers)["1", "to@example.org"] == 2


@pytest.mark.rule("P-18")
def test_the_requeues_are_bounded_over_all_relays_together() -> None:
    servers = [ScriptedServer(faults=[Fault(at="DATA", do=close(), times=None)]) for _ in range(3)]

    async def story(relays: Relays) -> None:
        (end,) = await relays.end(relays.send(1))
        assert isinstance(end, ConnectionFailed)
        assert end.attempts == 3
        assert not end.may_have_been_delivered

    play(story, *servers, max_requeues=2)


# -- all of them down ------------------------------------------------------------------------------------------------


@pytest.mark.rule("P-19")
def test_messages_wait_for_the_relay_that_comes_back_first() -> None:
    a, b = ScriptedServer(), ScriptedServer()

    async def story(relays: Relays) -> None:
        a.refuse_connections(True)
        b.refuse_connections(True)
        sends = [asyncio.ensure_future(relays.send(n)) for n in range(30)]
        await asyncio.sleep(10)
        assert relays.transporter.stats().relay_is_down
        assert not relays.transporter.is_idle()
        b.refuse_connections(False)
        ends = await relays.end(*sends)
        assert all(isinstance(end, SendResult) for end in ends)
        assert relays.now < 30

    play(story, a, b)
    assert len(b.messages) == 30


@pytest.mark.rule("P-19")
def test_they_fail_after_connection_wait_and_later_ones_are_tried_again() -> None:
    a, b = ScriptedServer(), ScriptedServer()

    async def story(relays: Relays) -> None:
        a.refuse_connections(True)
        b.refuse_connections(True)
        ends = await relays.end(*[relays.send(n) for n in range(30)])
        assert all(isinstance(end, ConnectionFailed) and end.temporary for end in ends)
        assert all(end.attempts == 0 and end.recipients == () for end in ends)
        assert {end.message_id for end in ends} == {f"<{n}@example.org>" for n in range(30)}
        assert 30 <= relays.now <= 62
        # Nothing is dead for ever: each is asked again, and by itself.
        for _ in range(3):
            tried = a.refused_connections + b.refused_connections
            await relays.end(relays.send("more"))
            assert a.refused_connections + b.refused_connections > tried
        a.refuse_connections(False)
        await asyncio.sleep(60)
        assert (await relays.send("last")).attempts == 1
        assert relays.heard("relay_up") == ["a.example:25"]

    play(story, a, b, latency=0.01)
    assert numbers(a) == ["last"]


@pytest.mark.rule("P-20")
def test_a_source_is_not_swallowed_while_all_are_down_and_is_pulled_again_by_itself() -> None:
    a, b = ScriptedServer(), ScriptedServer()
    pulled = 0

    async def story(relays: Relays) -> None:
        a.refuse_connections(True)
        b.refuse_connections(True)

        async def source() -> Any:
            nonlocal pulled
            for n in range(500):
                pulled += 1
                yield {
                    "from": "f@example.org",
                    "to": "t@example.org",
                    "text": "x",
                    "message_id": f"<{n}@x.example>",
                }

        async def run() -> list[Any]:
            return [outcome async for outcome in relays.transporter.send_many(source())]

        running = asyncio.ensure_future(run())
        await asyncio.sleep(20)
        assert pulled <= 25
        a.refuse_connections(False)
        outcomes = await running
        assert all(outcome.ok for outcome in outcomes)
        assert len(outcomes) == 500

    play(story, a, b, latency=0.01)


def test_a_wrong_password_takes_one_relay_down_and_is_not_tried_again_soon() -> None:
    a = ScriptedServer(auth={"me": "other"})
    b = ScriptedServer(auth={"me": "right"})

    async def story(relays: Relays) -> None:
        for n in range(20):
            await relays.send(n)
            await asyncio.sleep(1)
        assert relays.told(0).health == "down"
        assert "535" in (relays.told(0).last_error or "")
        assert "right" not in repr(relays.transporter.stats())

    play(story, a, b, **AUTH)
    assert sum(line.startswith("AUTH") for line in a.commands()) <= 2
    assert len(b.messages) == 20


def test_a_wrong_login_of_one_message_harms_no_relay() -> None:
    a = ScriptedServer(auth={"me": "right"})
    b = ScriptedServer(auth={"me": "right", "other": "fine"})

    async def story(relays: Relays) -> None:
        assert (await relays.send(1, auth=("other", "fine"))).attempts == 1
        await relays.send(2)
        assert relays.told(0).health == "up"

    play(story, a, b, **AUTH)
    assert numbers(a) == ["2"]
    assert [(message.user, numbers(b)) for message in b.messages] == [("other", ["1"])]


# -- callers that give up, and the end -------------------------------------------------------------------------------


@pytest.mark.rule("P-27")
def test_cancelling_takes_a_message_out_wherever_it_waits() -> None:
    a, b = ScriptedServer(), ScriptedServer()

    async def story(relays: Relays) -> None:
        a.refuse_connections(True)
        b.refuse_connections(True)
        sends = [asyncio.ensure_future(relays.send(n)) for n in range(20)]
        await asyncio.sleep(5)
        for send in sends[::2]:
            send.cancel()
        a.refuse_connections(False)
        ends = await relays.end(*sends)
        assert [isinstance(end, asyncio.CancelledError) for end in ends] == [True, False] * 10

    play(story, a, b)
    assert sorted(map(int, numbers(a) + numbers(b))) == list(range(1, 20, 2))


@pytest.mark.rule("P-27")
def test_a_message_that_is_written_goes_on_without_its_caller() -> None:
    a, b = ScriptedServer(faults=[Fault(at="END", do=stall(5))]), ScriptedServer()

    async def story(relays: Relays) -> None:
        told: list[Any] = []
        relays.transporter.on("detached", lambda *details: told.append(details))
        send = asyncio.ensure_future(relays.send(1))
        await asyncio.sleep(1)
        send.cancel()
        await asyncio.sleep(10)
        ((message_id, outcome),) = told
        assert message_id == "<1@example.org>"
        assert isinstance(outcome, SendResult)
        stats = relays.transporter.stats()
        assert (stats.sent, stats.failed, stats.detached) == (1, 0, 1)

    play(story, a, b)


def test_a_deadline_holds_over_all_relays() -> None:
    a, b = ScriptedServer(), ScriptedServer()

    async def story(relays: Relays) -> None:
        a.refuse_connections(True)
        b.refuse_connections(True)
        (end,) = await relays.end(relays.send(1, deadline=7))
        assert isinstance(end, DeadlineExceeded)
        assert not end.may_have_been_delivered
        assert relays.now == pytest.approx(7)

    play(story, a, b)


@pytest.mark.rule("P-29")
@pytest.mark.parametrize("down", [False, True])
def test_closing_returns_what_was_not_sent(down: bool) -> None:
    a, b = ScriptedServer(faults=[Fault(at="END", do=stall(3), times=None)]), ScriptedServer()

    async def story(relays: Relays) -> None:
        for server in (a, b):
            server.refuse_connections(down)
        sends = [relays.send(n) for n in range(30)]
        await asyncio.sleep(1)
        unsent = await relays.transporter.close(10)
        ends = await relays.end(*sends)
        failed = [end for end in ends if isinstance(end, PoolClosed)]
        assert [sealed.message_id for sealed in unsent] == [end.message_id for end in failed]
        assert len(failed) == (30 if down else 20)
        assert all(isinstance(end, SendResult | PoolClosed) for end in ends)
        with pytest.raises(PoolClosed):
            relays.send("late")
        assert await relays.transporter.close() == []

    play(story, a, b, closes=False)


@pytest.mark.rule("P-30")
def test_draining_sends_what_is_queued() -> None:
    a, b = ScriptedServer(), ScriptedServer()

    async def story(relays: Relays) -> None:
        a.refuse_connections(True)
        sends = [relays.send(n) for n in range(100)]
        assert await relays.transporter.drain() == []
        assert all(isinstance(end, SendResult) for end in await relays.end(*sends))

    play(story, a, b, closes=False)


def test_throttled_everywhere_is_repeated_for_max_throttle_wait() -> None:
    servers = [
        ScriptedServer(faults=[Fault(at="MAIL", do=reply("451 4.7.0 too many messages"), times=None)])
        for _ in range(2)
    ]

    async def story(relays: Relays) -> None:
        (end,) = await relays.end(relays.send(1))
        assert isinstance(end, Throttled)
        assert end.attempts >= 4
        assert 20 <= relays.now <= 90

    play(story, *servers, max_throttle_wait=20)


def test_errors_of_a_relay_do_not_hide_the_errors_of_messages() -> None:
    async def story(relays: Relays) -> None:
        ends = await relays.end(relays.send(1), relays.send(2, "nobody@example.org"))
        assert isinstance(ends[0], SendResult)
        assert isinstance(ends[1], SendError)

    bad = Fault(at="RCPT", match="nobody@", do=reply("550 5.1.1 no such user"), times=None)
    play(
        story, ScriptedServer(faults=[Fault(at="EHLO", do=close(), times=None)]), ScriptedServer(faults=[bad])
    )


# -- random stories --------------------------------------------------------------------------------------------------

ANYWHERE = [
    close(), reset(), raw(b"\x80 rubbish\r\n"), reply_then_close("421 4.3.2 bye"), partial("250 2.0.0 fine", 6), stall(),
    stall(2), reply("451 4.3.0 later"), reply("550 5.7.1 no"), reply("451 4.7.0 slow down"), reply("535 5.7.8 who?"),
]  # fmt: skip
AT_END = [deliver_then_close(), deliver_then_reset(), deliver_then_stall(), close(), reset()]


def misfortune(dice: random.Random) -> list[Fault]:
    made = [
        Fault(
            at=dice.choice(("GREETING", "EHLO", "MAIL", "RCPT", "DATA", "END", "RSET")),
            do=dice.choice(ANYWHERE),
            probability=dice.choice((0.02, 0.1, 0.5)),
            seed=dice.randrange(10**6),
            times=None,
        )
        for _ in range(dice.choice((0, 1, 4)))
    ]
    return made + [
        Fault(at="END", do=do, probability=0.03, seed=dice.randrange(10**6), times=None) for do in AT_END
    ]


@pytest.mark.rule("P-14")
@pytest.mark.parametrize("seed", range(80))
def test_whatever_happens_to_relays_every_outcome_is_true(seed: int) -> None:
    dice = random.Random(seed)
    servers = [ScriptedServer(faults=misfortune(dice)) for _ in range(dice.choice((1, 2, 3)))]
    options = {
        "strategy": dice.choice(("failover", "round-robin", "least-busy")),
        "move_deferred": dice.random() < 0.3,
        "max_connections": dice.choice((1, 2, 5)),
        "max_messages": dice.choice((1, 4, 100)),
        "max_requeues": dice.choice((-1, -1, 0, 2)),
        "max_duplicates": dice.choice((0, 1, 2)),
        "on_uncertain": dice.choice(("requeue", "fail")),
        "max_recipients": dice.choice((None, 1)),
        "pool": dice.random() < 0.8,
        "command_timeout": 5,
        "greeting_timeout": 5,
        "max_throttle_wait": 5,
    }
    closes = dice.random() < 0.2
    ends: list[Any] = []
    cancelled: set[int] = set()

    async def story(relays: Relays) -> None:
        async def outages() -> None:
            while True:
                await asyncio.sleep(dice.random() * 10)
                server = dice.choice(servers)
                server.refuse_connections(True)
                if dice.random() < 0.5:
                    for client in relays.network.clients[-3:]:
                        client.cut()
                await asyncio.sleep(dice.random() * 20)
                server.refuse_connections(False)

        weather = asyncio.ensure_future(outages())
        sends = []
        for number in range(80):
            to = [f"a{number}@example.org", f"b{number}@example.org"][: dice.choice((1, 2))]
            deadline = 10 if dice.random() < 0.05 else None
            sends.append(asyncio.ensure_future(relays.send(number, *to, deadline=deadline)))
            if dice.random() < 0.3:
                await asyncio.sleep(dice.random() * 4)
            if dice.random() < 0.05:
                victim = dice.randrange(len(sends))
                if sends[victim].cancel():
                    cancelled.add(victim)
        if closes:
            await relays.transporter.close(3)
        ends.extend(await asyncio.wait_for(asyncio.gather(*sends, return_exceptions=True), 20_000))
        weather.cancel()
        await asyncio.gather(weather, return_exceptions=True)
        stats = relays.transporter.stats()
        assert stats.queued == stats.held_back == 0
        if not closes:
            # Whoever was cancelled may still be on the wire.
            await asyncio.sleep(20)
        stats = relays.transporter.stats()
        assert stats.sent + stats.failed == 80
        assert sum(relay.in_hand for relay in stats.relays) == 0

    play(story, *servers, latency=dice.choice((0.0, 0.02)), **options)
    got = copies(*servers)
    for number, end in enumerate(ends):
        mine = {who: got[str(number), who] for who in (f"a{number}@example.org", f"b{number}@example.org")}
        if isinstance(end, asyncio.CancelledError):
            assert number in cancelled
        elif isinstance(end, SendResult):
            assert all(mine[who] >= 1 for who in end.accepted), number
            if not end.maybe_duplicate:
                assert all(mine[who] == 1 for who in end.accepted), number
                assert not any(mine[who] for who in end.rejected), number
        else:
            assert isinstance(end, SendError), end
            if not end.may_have_been_delivered:
                assert all(count == (who in end.accepted) for who, count in mine.items()), (number, end, mine)
        copied = max(mine.values())
        if not (isinstance(end, asyncio.CancelledError) or copied <= 1):
            assert copied <= 1 + options["max_duplicates"], number
