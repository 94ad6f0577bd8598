"""P-32 to P-34: numbers, events and logs. P-14: handlers that raise."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import logging
from typing import Any

import pytest

from mailpool import Credentials, Rate, SendError, SendResult
from mailpool.testing import Fault, ScriptedServer, close, raw, reply, reply_then_close, stall

CLEAR = {"starttls": "never", "allow_cleartext_auth": True}
PASSWORD = "s3cret-Pa55word"


@pytest.mark.rule("P-32")
def test_p32_connections_are_counted_by_what_they_do(play: Any) -> None:
    server = ScriptedServer(
        faults=[
            Fault(at="GREETING", connection=0, do=stall(10)),
            Fault(at="GREETING", connection=1, do=stall(10)),
            Fault(at="END", connection=0, message=0, do=stall(10)),
        ]
    )

    async def story(relay: Any) -> None:
        def counts() -> tuple[int, ...]:
            s = relay.transporter.stats()
            assert s.connections == s.opening + s.busy + s.idle + s.closing <= s.max_connections == 3
            return s.connections, s.opening, s.busy, s.idle, s.queued, s.in_flight

        assert counts() == (0, 0, 0, 0, 0, 0)
        sends = relay.burst(2)
        await asyncio.sleep(0)
        assert counts() == (2, 2, 0, 0, 2, 0)
        await asyncio.sleep(5)
        assert counts() == (2, 2, 0, 0, 2, 0)
        await asyncio.sleep(10)
        assert counts() == (2, 0, 1, 1, 0, 1)
        await relay.ends(*sends)
        assert counts() == (2, 0, 0, 2, 0, 0)
        await asyncio.sleep(100)
        assert counts() == (0, 0, 0, 0, 0, 0)

    play(story, server, latency=0.05, max_connections=3)


@pytest.mark.rule("P-32")
def test_p32_outcomes_and_octets_are_counted(play: Any) -> None:
    server = ScriptedServer(
        faults=[
            Fault(at="RCPT", match="nobody", do=reply("550 5.1.1 no"), times=None),
            Fault(at="DATA", do=close(), nth=4),
            Fault(at="END", match="number 7\r", do=close(), times=None),
        ]
    )

    async def story(relay: Any) -> None:
        to = ["nobody@example.org" if number in (2, 5) else "b@example.org" for number in range(10)]
        ends = [await relay.end(relay.send(number, to[number])) for number in range(10)]
        stats = relay.transporter.stats()
        assert stats.sent == sum(isinstance(end, SendResult) for end in ends) == 7
        assert stats.failed == 3
        assert stats.requeued == 2
        assert stats.uncertain >= 1
        assert stats.handshakes == len(server.connections)
        assert stats.reconnects == len(server.connections) - 1
        assert stats.connection_failures == 0
        assert stats.tls_resumed == 0
        assert not stats.relay_is_down
        assert stats.waited.count >= 8
        assert stats.took.count >= 8
        assert 0.02 <= stats.took.quantile(0.5) <= 0.2
        await relay.transporter.close()
        after = relay.transporter.stats()
        assert after.connections == 0
        assert after.bytes_received == sum(record.octets_sent for record in server.connections)
        assert after.bytes_sent == sum(record.octets_received for record in server.connections)
        assert after.sent == 7

    play(story, server, latency=0.01, max_connections=1, rate="1000/s", max_messages=-1)


@pytest.mark.rule("P-32")
def test_p32_waiting_and_sending_times_are_true(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="END", do=stall(30), times=None)])

    async def story(relay: Any) -> None:
        results = await relay.ends(*relay.burst(3))
        assert [round(result.took) for result in results] in ([30, 30, 30], [30, 60, 60])
        assert results[0].waited < 1
        assert results[2].waited > 25
        stats = relay.transporter.stats()
        assert stats.took.total == pytest.approx(sum(result.took for result in results))
        assert stats.waited.total == pytest.approx(sum(result.waited for result in results))

    play(story, server, latency=0.01, max_connections=1)


@pytest.mark.rule("P-32")
def test_p32_the_limits_in_force_are_told_and_a_snapshot_stays(play: Any) -> None:
    async def story(relay: Any) -> None:
        before = relay.transporter.stats()
        assert before.rates == (Rate(14, per=1.0), Rate(10_000, per=86_400.0))
        assert before.max_connections == 4
        await relay.ends(*relay.burst(5))
        assert (before.sent, before.waited.count, before.took.count) == (0, 0, 0)
        assert relay.transporter.stats().sent == 5
        assert isinstance(repr(relay.transporter), str)

    play(story, rate=["14/s", "10000/day"], max_connections=4)


@pytest.mark.rule("P-33")
@pytest.mark.parametrize(
    "name",
    [
        "idle",
        "clear",
        "token",
        "error",
        "detached",
        "connection_opened",
        "connection_closed",
        "throttled",
        "requeued",
    ],
)
def test_p33_there_is_an_event_for_everything(play: Any, name: str) -> None:
    async def story(relay: Any) -> None:
        relay.transporter.on(name, print)
        relay.transporter.off(name, print)

    play(story)


@pytest.mark.rule("P-33")
def test_p33_connections_are_told_from_open_to_closed(play: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="DATA", nth=3, do=close())])

    async def story(relay: Any) -> None:
        relay.listen(
            "connection_opened",
            "connection_closed",
            "connection_lost",
            "requeued",
            "clear",
            "connection_failed",
        )
        await relay.ends(*relay.burst(5))
        await asyncio.sleep(100)
        names = [name for name, _ in relay.events]
        assert names.count("connection_opened") == names.count("connection_closed") == 2
        assert names.count("connection_lost") == 1
        assert names.count("requeued") >= 1
        assert names[-1] == "clear"
        assert names.count("connection_failed") == 0
        assert isinstance(relay.heard("connection_lost")[0][0], SendError)

    play(story, server, latency=0.01, max_connections=1)


@pytest.mark.rule("P-33")
def test_p33_clear_comes_when_the_last_connection_has_closed(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.listen("clear")
        for times in range(1, 4):
            await relay.ends(*relay.burst(5))
            assert len(relay.heard("clear")) == times - 1
            await asyncio.sleep(100)
            assert len(relay.heard("clear")) == times

    play(story, latency=0.01, max_connections=3)


@pytest.mark.rule("P-33")
def test_p33_failed_attempts_are_told(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.listen("connection_failed")
        relay.network.fail("relay.example", 25, OSError(errno.EHOSTUNREACH, "no route"))
        await relay.end(relay.send(0))
        await asyncio.sleep(0)
        assert len(relay.heard("connection_failed")) == relay.dials > 3
        assert all(isinstance(error, SendError) for (error,) in relay.heard("connection_failed"))

    play(story)


ALL_EVENTS = ["idle", "clear", "error", "detached", "requeued", "connection_opened", "connection_failed",
              "connection_lost", "connection_closed"]  # fmt: skip


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-33")
@pytest.mark.rule("POL-02")
@pytest.mark.parametrize("kind", ["plain", "async", "callback"])
def test_p14_handlers_that_raise_break_nothing(play: Any, caplog: Any, kind: str) -> None:
    caplog.set_level(logging.CRITICAL, "mailpool")
    caplog.set_level(logging.CRITICAL, "asyncio")
    server = ScriptedServer(
        faults=[
            Fault(at="DATA", do=close(), probability=0.2, times=None),
            Fault(at="RCPT", do=reply("550 5.1.1 no"), probability=0.2, seed=1, times=None),
            Fault(at="GREETING", do=reply_then_close("421 busy"), probability=0.3, seed=2, times=None),
            Fault(at="MAIL", do=raw(b"rubbish\r\n"), probability=0.1, seed=3, times=None),
        ]
    )

    def broken(*details: Any) -> None:
        raise RuntimeError("a handler of the user is broken")

    async def broken_later(*details: Any) -> None:
        await asyncio.sleep(0.01)
        raise RuntimeError("a handler of the user is broken")

    async def story(relay: Any) -> None:
        if kind == "callback":
            # What a callback of a future raises goes to the loop: here, as in production, it is noted and nothing else.
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        good: list[str] = []
        for name in ALL_EVENTS:
            if kind != "callback":
                relay.transporter.on(name, broken if kind == "plain" else broken_later)
            relay.transporter.on(name, lambda *details, name=name: good.append(name))
        ended: list[int] = []
        sends = []
        for number in range(60):
            send = asyncio.ensure_future(relay.send(number))
            send.add_done_callback(lambda _: ended.append(1))
            if kind == "callback":
                send.add_done_callback(broken)
            sends.append(send)
        relay.transporter.send_soon(relay.mail("soon", "x@example.org"))
        await relay.ends(*sends)
        assert len(ended) == 60
        assert {"idle", "requeued", "connection_opened", "connection_lost", "connection_failed"} <= set(good)
        await relay.transporter.close()

    play(story, server, latency=0.01, max_connections=3)


@pytest.mark.rule("P-33")
def test_p33_a_handler_taken_away_is_not_called(play: Any) -> None:
    calls: list[int] = []

    async def story(relay: Any) -> None:
        def handler() -> None:
            calls.append(1)

        relay.transporter.on("idle", handler)
        await relay.ends(*relay.burst(9))
        seen = len(calls)
        relay.transporter.off("idle", handler)
        relay.transporter.off("idle", handler)
        await relay.ends(*relay.burst(9))
        assert len(calls) == seen

    play(story, max_connections=1)


def shapes_of(secret: str, user: str) -> set[str]:
    """How a secret looks on the wire."""
    plain = [secret, f"\0{user}\0{secret}", f"user={user}\x01auth=Bearer {secret}\x01\x01"]
    shapes = {secret}
    for text in plain:
        encoded = base64.b64encode(text.encode()).decode()
        shapes |= {encoded, encoded.rstrip("=")}
    return shapes


@pytest.mark.rule("P-34")
@pytest.mark.rule("LOG-01")
@pytest.mark.rule("LOG-02")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "XOAUTH2"])
@pytest.mark.parametrize("fate", ["right", "refused", "broken"])
def test_p34_logs_errors_and_reprs_hold_no_secret_and_no_body(
    play: Any, caplog: Any, mechanism: str, fate: str
) -> None:
    caplog.set_level(logging.DEBUG)
    faults = {
        "right": [
            Fault(at="DATA", do=close()),
            Fault(at="END", match="number 3", do=reply("554 5.7.1 no")),
            Fault(at="MAIL", nth=5, do=raw(b"\x1b[31m rubbish\r\n")),
        ],
        "refused": [Fault(at="AUTH", do=reply("535 5.7.8 no \x1b[2J"), times=None)],
        "broken": [Fault(at="AUTH", do=raw(b"\x00\xff rubbish\r\n"), times=None)],
    }[fate]
    server = ScriptedServer(auth={"me": PASSWORD}, mechanisms=[mechanism], faults=faults)
    auth = (
        Credentials("me", access_token=PASSWORD, method=mechanism)
        if mechanism == "XOAUTH2"
        else Credentials("me", password=PASSWORD, method=mechanism)
    )
    told: list[str] = []

    async def story(relay: Any) -> None:
        transporter = relay.another(auth=auth)
        for name in ALL_EVENTS:
            transporter.on(
                name, lambda *details: told.extend(f"{x!r} {x} {getattr(x, '__dict__', '')}" for x in details)
            )
        for number in range(6):
            try:
                told.append(
                    repr(
                        await transporter.send_mail(relay.mail(number, text="TOP-SECRET-BODY of the mail\n"))
                    )
                )
            except SendError as error:
                told.extend(
                    (repr(error), str(error), repr(error.__dict__), repr(error.__cause__), repr(error.reply))
                )
        transporter.send_soon(relay.mail("soon", text="TOP-SECRET-BODY of the mail\n"))
        await asyncio.sleep(40)
        told.extend(
            (repr(transporter), repr(transporter.options), repr(transporter.stats()), str(transporter))
        )
        await transporter.close()

    play(story, server, latency=0.01, connection_wait=2, **CLEAR)
    for record in caplog.records:
        with contextlib.suppress(Exception):
            told.append(record.getMessage())
        told.append(repr({k: v for k, v in record.__dict__.items() if k != "exc_info"}))
        if record.exc_info:
            told.append(logging.Formatter().formatException(record.exc_info))
    everything = "\n".join(told)
    assert told
    for shape in shapes_of(PASSWORD, "me"):
        assert shape not in everything
    assert "TOP-SECRET-BODY" not in everything
    assert "\x1b" not in everything
    assert all(record.name.startswith("mailpool") for record in caplog.records if record.name != "asyncio")


@pytest.mark.rule("P-34")
def test_p34_log_records_have_structured_fields(play: Any, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG, "mailpool")
    server = ScriptedServer(faults=[Fault(at="DATA", do=close()), Fault(at="GREETING", nth=2, do=close())])
    usual = set(logging.LogRecord("x", 10, "x", 1, "x", (), None).__dict__) | {
        "message",
        "asctime",
        "taskName",
    }

    async def story(relay: Any) -> None:
        await relay.send(0)

    play(story, server, latency=0.01)
    records = [record for record in caplog.records if record.name.startswith("mailpool")]
    assert records
    for record in records:
        assert set(record.__dict__) - usual, f"no structured field in: {record.getMessage()}"
