"""P-06 and P-07: events of the connection, and what may never be reused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import DeliveryUncertain, SendError, SendResult
from mailpool.testing import (
    Fault,
    RawServer,
    RawStream,
    ScriptedServer,
    close,
    drip,
    partial,
    raw,
    reply,
    reply_then_close,
    reset,
    stall,
)

IN_MESSAGE = ["MAIL", "RCPT", "DATA", "END"]
SHUT = "421 4.3.2 going down"


@pytest.mark.rule("P-06")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("at", IN_MESSAGE)
def test_p06_a_421_requeues_unmarked_what_it_stands_for(
    play: Any, received: Any, capabilities: Any, at: str, which: int, closes: bool, pipelining: bool
) -> None:
    do = reply_then_close(SHUT) if closes else reply(SHUT)
    server = ScriptedServer(
        capabilities=capabilities(pipelining), faults=[Fault(at=at, connection=0, message=which, do=do)]
    )

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(4))
        assert all(isinstance(end, SendResult) for end in ends)
        assert not any(end.maybe_duplicate for end in ends)
        assert ends[which].attempts == 2
        assert all(end.attempts == 1 for end in ends[:which])
        assert all(end.attempts <= 2 for end in ends)
        assert relay.transporter.stats().uncertain == 0

    play(story, server, latency=0.01, max_connections=1, max_duplicates=0)
    assert received(server) == ["0", "1", "2", "3"]
    assert len(server.connections) == 2
    assert server.connections[0].messages == which


@pytest.mark.rule("P-06")
@pytest.mark.parametrize("at", IN_MESSAGE)
def test_p06_a_421_that_may_not_be_requeued_is_an_error_without_doubt(play: Any, at: str) -> None:
    server = ScriptedServer(faults=[Fault(at=at, do=reply_then_close(SHUT), times=None)])

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        assert isinstance(error, SendError)
        assert not isinstance(error, DeliveryUncertain)
        assert error.reply.code == 421
        assert error.temporary
        assert not error.may_have_been_delivered
        assert error.attempts == 1

    play(story, server, max_requeues=0, on_uncertain="fail")


@pytest.mark.rule("P-06")
@pytest.mark.parametrize("at", ["GREETING", "EHLO"])
@pytest.mark.parametrize("do", [reply_then_close(SHUT), reply(SHUT), close(), reset()], ids=repr)
def test_p06_events_in_the_handshake_cost_no_message(play: Any, at: Any, do: Any) -> None:
    server = ScriptedServer(faults=[Fault(at=at, do=do, times=2)])

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(10))
        assert all(isinstance(end, SendResult) and end.attempts == 1 for end in ends)
        assert relay.transporter.stats().requeued == 0

    play(story, server, latency=0.01, max_connections=2, max_requeues=0)


@pytest.mark.rule("P-06")
@pytest.mark.parametrize(
    "do",
    [
        close(),
        reset(),
        reply_then_close(SHUT),
        reply(SHUT),
        reply("221 2.0.0 bye"),
        reply_then_close("221 bye"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("after", [0.5, 30])
def test_p06_events_on_an_idle_connection_cost_no_message(play: Any, do: Any, after: float) -> None:
    server = ScriptedServer(faults=[Fault(at="IDLE", after=after, connection=0, do=do)])

    async def story(relay: Any) -> None:
        await relay.send(0)
        await asyncio.sleep(after + 1)
        assert relay.transporter.stats().connections == 0
        result = await relay.send(1)
        assert (result.attempts, result.maybe_duplicate) == (1, False)
        assert relay.transporter.stats().requeued == 0

    play(story, server, latency=0.01, max_requeues=0)
    assert [record.messages for record in server.connections] == [1, 1]


@pytest.mark.rule("P-06")
@pytest.mark.parametrize("at", IN_MESSAGE)
def test_p06_a_221_nobody_asked_for_ends_the_connection(play: Any, received: Any, at: str) -> None:
    server = ScriptedServer(faults=[Fault(at=at, connection=0, do=reply_then_close("221 2.0.0 bye"))])

    async def story(relay: Any) -> None:
        first, second = await relay.ends(*relay.burst(2))
        assert (first.attempts, first.maybe_duplicate) == (2, at == "END")
        assert isinstance(second, SendResult)

    # Nobody can tell whether a 221 after the end of the data is an answer to it: the message may arrive twice.
    play(story, server, latency=0.01, max_connections=1, right=False)
    assert len(server.connections) == 2
    assert set(received(server)) == {"0", "1"}


@pytest.mark.rule("P-06")
@pytest.mark.parametrize("do", [close(), reply_then_close(SHUT)], ids=repr)
def test_p06_a_connection_lost_at_rset_harms_neither_message(play: Any, do: Any) -> None:
    server = ScriptedServer(
        faults=[Fault(at="RCPT", message=0, do=reply("550 5.1.1 no")), Fault(at="RSET", do=do)]
    )

    async def story(relay: Any) -> None:
        refused, taken = await relay.ends(*relay.burst(2))
        assert refused.reply.code == 550
        assert isinstance(taken, SendResult)
        assert not taken.maybe_duplicate

    play(story, server, latency=0.01, max_connections=1)
    assert len(server.messages) == 1


GARBAGE = {
    "octets": raw(b"\x00\xff\x80 rubbish\r\n"),
    "words": raw(b"what do you mean?\r\n"),
    "http": raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "code 999": raw(b"999 strange\r\n"),
    "code 25": raw(b"25 short\r\n"),
    "mixed codes": raw(b"250-one\r\n354 two\r\n"),
    "no space": raw(b"250ok\r\n"),
    "endless line": raw(b"250 " + b"x" * 300_000),
    "endless lines": raw(b"250-more\r\n" * 30_000),
    "half a reply": partial("250 2.0.0 fine and dandy", 9),
    "half of two lines": partial("250-2.0.0 fine\n250 dandy", 17),
    "nothing": stall(),
    "a drip": drip("250 2.0.0 " + "slow " * 10, interval=1),
    "close": close(),
    "reset": reset(),
}


@pytest.mark.rule("P-07")
@pytest.mark.rule("SRV-02")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize("what", GARBAGE)
def test_p07_garbage_destroys_the_connection(
    play: Any, received: Any, capabilities: Any, what: str, at: str, pipelining: bool
) -> None:
    server = ScriptedServer(
        capabilities=capabilities(pipelining),
        faults=[Fault(at=at, connection=0, message=1, do=GARBAGE[what])],
    )

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(4))
        assert all(isinstance(end, SendResult) for end in ends), ends
        assert ends[1].attempts == 2
        assert ends[1].maybe_duplicate == (at == "END")
        assert not ends[0].maybe_duplicate
        assert relay.now < 20

    play(story, server, latency=0.01, max_connections=1, command_timeout=5)
    first, second = server.connections
    assert not first.quit_seen
    assert first.messages == 1
    assert received(server) == ["0", "1", "2", "3"]
    assert second.messages == 3


@pytest.mark.rule("P-07")
@pytest.mark.rule("SRV-01")
@pytest.mark.parametrize("at", ["GREETING", "EHLO"])
@pytest.mark.parametrize("what", GARBAGE)
def test_p07_garbage_in_the_handshake_costs_that_connection_only(play: Any, what: str, at: Any) -> None:
    server = ScriptedServer(faults=[Fault(at=at, connection=0, do=GARBAGE[what])])

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(3))
        assert all(isinstance(end, SendResult) for end in ends), ends
        assert relay.now < 20

    play(story, server, latency=0.01, max_connections=1, command_timeout=5, greeting_timeout=5)
    assert server.connections[0].messages == 0
    assert not any(line.startswith("MAIL") for line in server.connections[0].lines)


@pytest.mark.rule("P-07")
@pytest.mark.parametrize(
    "what", ["octets", "words", "code 999", "mixed codes", "endless line", "reset", "close"]
)
def test_p07_garbage_while_idle_destroys_the_connection(play: Any, what: str) -> None:
    server = ScriptedServer(faults=[Fault(at="IDLE", after=2, connection=0, do=GARBAGE[what])])

    async def story(relay: Any) -> None:
        await relay.send(0)
        await asyncio.sleep(3)
        assert relay.transporter.stats().connections == 0
        assert (await relay.send(1)).attempts == 1

    play(story, server, latency=0.01)
    assert len(server.connections) == 2


@pytest.mark.rule("P-07")
@pytest.mark.rule("SRV-04")
@pytest.mark.parametrize("pipelining", [True, False])
def test_p07_replies_in_single_octets_are_no_garbage(play: Any, capabilities: Any, pipelining: bool) -> None:
    faults = [
        Fault(at="ANY", do=drip(interval=0.001), times=None),
        Fault(at="GREETING", do=drip(interval=0.001)),
    ]
    server = ScriptedServer(capabilities=capabilities(pipelining), faults=faults)

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(5))
        assert all(end.attempts == 1 for end in ends)

    play(story, server, latency=0.001, max_connections=1)
    assert len(server.connections) == 1


@pytest.mark.rule("P-07")
@pytest.mark.parametrize("after", [0, 100, 60_000])
@pytest.mark.parametrize("do", [close(), reset(), reply_then_close(SHUT), raw(b"rubbish\r\n")], ids=repr)
def test_p07_a_break_in_the_midst_of_content_is_requeued_unmarked(play: Any, after: int, do: Any) -> None:
    server = ScriptedServer(faults=[Fault(at="CONTENT", connection=0, after=after, do=do)])

    async def story(relay: Any) -> None:
        result = await relay.send(0, text="many words\n" * 100_000)
        assert (result.attempts, result.maybe_duplicate) == (2, False)

    play(story, server, latency=0.01, max_duplicates=0)
    assert len(server.messages) == 1
    assert len(server.connections) == 2


@pytest.mark.rule("P-06")
@pytest.mark.parametrize("at", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT", "END"])
def test_p06_a_half_closed_connection_is_a_closed_one(play: Any, at: str) -> None:
    """The server sends FIN, keeps its side open, and reads nothing more: as a process that hangs while it ends."""
    opened: list[RawStream] = []

    async def half(stream: RawStream) -> None:
        opened.append(stream)
        for place, mark, answer in (
            ("GREETING", b"", b"220 x\r\n"),
            ("EHLO", b"\r\n", b"250 x\r\n"),
            ("MAIL", b"\r\n", b"250 ok\r\n"),
            ("RCPT", b"\r\n", b"250 ok\r\n"),
            ("DATA", b"\r\n", b"354 go on\r\n"),
            ("CONTENT", b"word\r\n", b""),
            ("END", b"\r\n.\r\n", b"250 ok\r\n"),
        ):
            if mark:
                await stream.read_until(mark)
            if place == at and len(opened) == 1:
                stream.transport.pause_reading()
                stream.transport.write_eof()
                await asyncio.sleep(1_000)
                return
            stream.send(answer)
        await stream.read_to_end()

    async def story(relay: Any) -> None:
        result = await relay.send(0, text="word\n" * 100_000)
        assert result.maybe_duplicate == (at == "END")
        assert relay.now < 20
        await server.stop()

    server = RawServer(half)
    play(story, server, latency=0.01)
    assert len(opened) == 2
