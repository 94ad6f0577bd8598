"""CHUNKING with servers that offer it and cannot do it, with slow lines, and with a caller's patience (P-07, P-18, P-26)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import DeliveryUncertain, Rejected, SendResult
from mailpool.testing import Fault, ScriptedServer, raw, reply, reply_then_close, stall

CHUNKING = ("PIPELINING", "CHUNKING", "SIZE 104857600", "8BITMIME")
PLAIN = ("PIPELINING", "SIZE 104857600", "8BITMIME")


def boast(incident: Any) -> None:
    """Offer CHUNKING, and know nothing of it: content is then read as commands."""
    incident.conclude(incident.usual)
    incident.send(
        incident.usual.replace("\n", "\r\n")
        .replace("250-PIPELINING", "250-CHUNKING\r\n250-PIPELINING")
        .encode()
        + b"\r\n"
    )


def liar(code: str) -> ScriptedServer:
    faults = [Fault(at="EHLO", do=boast, times=None)]
    if code != "500":
        faults.append(Fault(at="ANY", match="^BDAT", do=reply(f"{code} 5.5.1 not implemented"), times=None))
    return ScriptedServer(capabilities=PLAIN, faults=faults)


@pytest.mark.rule("P-07")
@pytest.mark.rule("P-18")
@pytest.mark.parametrize("on_uncertain", ["requeue", "fail"])
@pytest.mark.parametrize("depth", [1, 8])
@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("code", ["500", "502"])
def test_chunking_offered_and_not_understood_is_given_up_and_every_message_goes_by_data(
    play: Any, received: Any, code: str, count: int, depth: int, on_uncertain: str
) -> None:
    server = liar(code)

    async def story(relay: Any) -> None:
        relay.listen("extension_disabled")
        ends = await relay.ends(*relay.burst(count))
        assert all(isinstance(end, SendResult) for end in ends)
        # The server said that it took nothing.
        assert not any(end.maybe_duplicate for end in ends)
        assert ends[0].attempts == 2
        ((extension, error),) = relay.heard("extension_disabled")
        assert extension == "CHUNKING"
        assert code in str(error)
        stats = relay.transporter.stats()
        assert stats.disabled == frozenset({"CHUNKING"})
        assert stats.uncertain == 0
        assert (await relay.send("later")).attempts == 1

    play(
        story,
        server,
        latency=0.05,
        max_connections=1,
        pipeline_depth=depth,
        on_uncertain=on_uncertain,
        right=False,
    )
    assert sorted(received(server)) == sorted([*map(str, range(count)), "later"])
    assert not any(message.chunked for message in server.messages)
    assert len(server.connections) == 2


@pytest.mark.rule("P-05")
@pytest.mark.parametrize("depth", [1, 8])
@pytest.mark.parametrize(
    "words", ["550 5.7.1 no", "501 5.5.4 syntax", "503 5.5.1 order", "451 4.3.0 later", "552 5.3.4 big"]
)
def test_chunking_a_refusal_is_no_reason_to_give_it_up(play: Any, words: str, depth: int) -> None:
    server = ScriptedServer(capabilities=CHUNKING, faults=[Fault(at="END", nth=3, do=reply(words))])

    async def story(relay: Any) -> None:
        relay.listen("extension_disabled")
        ends = await relay.ends(*relay.burst(10))
        assert sum(isinstance(end, SendResult) for end in ends) == 9
        assert str(ends[2].reply) == words
        assert relay.events == []

    play(story, server, latency=0.05, max_connections=1, pipeline_depth=depth)
    assert len(server.connections) == 1
    assert all(message.chunked for message in server.messages)


@pytest.mark.rule("P-07")
@pytest.mark.rule("P-18")
@pytest.mark.parametrize("depth", [1, 8])
@pytest.mark.parametrize("at", ["RCPT", "END"])
def test_chunking_out_of_step_it_is_the_first_to_be_given_up(
    play: Any, received: Any, at: Any, depth: int
) -> None:
    """One reply too few or of the wrong kind: the boldest extension goes first, and PIPELINING stays."""
    server = ScriptedServer(capabilities=CHUNKING, faults=[Fault(at=at, nth=5, do=reply("354 what"))])

    async def story(relay: Any) -> None:
        relay.listen("extension_disabled")
        ends = await relay.ends(*relay.burst(20))
        assert all(isinstance(end, SendResult) for end in ends)
        assert [extension for extension, _ in relay.heard("extension_disabled")] == ["CHUNKING"]
        assert relay.transporter.stats().disabled == frozenset({"CHUNKING"})

    play(story, server, latency=0.05, max_connections=1, pipeline_depth=depth, right=False)
    assert set(received(server)) == {*map(str, range(20))}
    assert all("DATA" in line or "BDAT" not in line for line in server.connections[1].lines)


@pytest.mark.rule("P-05")
@pytest.mark.parametrize("chunking", [True, False])
def test_chunking_a_refused_rset_is_no_reason_to_give_anything_up(
    play: Any, received: Any, chunking: bool
) -> None:
    """Exim does so after ten refused messages, and closes. The reply fits its command, so nothing is out of step."""
    server = ScriptedServer(
        capabilities=CHUNKING,
        faults=[
            Fault(at="RCPT", match="nobody", do=reply("550 5.1.1 no such user"), times=None),
            Fault(at="RSET", nth=3, do=reply_then_close("554 Too many nonmail commands")),
        ],
    )

    async def story(relay: Any) -> None:
        relay.listen("extension_disabled")
        sends = [relay.send(n, to="nobody@example.org" if n < 5 else "to@example.org") for n in range(10)]
        ends = await relay.ends(*sends)
        assert [type(end) for end in ends] == [Rejected] * 5 + [SendResult] * 5
        assert relay.events == []
        assert relay.transporter.stats().disabled == (frozenset() if chunking else frozenset({"CHUNKING"}))

    disable = set() if chunking else {"CHUNKING"}
    play(story, server, latency=0.05, max_connections=1, disable=disable, right=False)
    assert sorted(received(server)) == ["5", "6", "7", "8", "9"]
    assert len(server.connections) == 2


@pytest.mark.rule("P-26")
@pytest.mark.parametrize("chunking", [True, False])
def test_chunking_a_large_content_over_a_slow_line_takes_as_long_as_it_takes(
    play: Any, chunking: bool
) -> None:
    """A breath each 100 s: longer in all than any time-out, no block of it as long as 180 s, and 200 s for the end."""
    server = ScriptedServer(
        capabilities=CHUNKING, faults=[Fault(at="END", do=stall(200))], keep_content=False
    )

    async def story(relay: Any) -> None:
        started = relay.now
        sending = asyncio.ensure_future(relay.send(0, text="word and word\n" * 350_000))
        ended_at = 0.0
        while not sending.done():
            server.pause_reading()
            await asyncio.wait([sending], timeout=100)
            server.resume_reading()
            await asyncio.sleep(0.01)
            if server.connections[0].octets_received < 4_900_000:
                ended_at = relay.now
        assert (await sending).attempts == 1
        assert ended_at - started > 1_200
        assert relay.now - ended_at > 200

    play(
        story,
        server,
        latency=1,
        window=4_096,
        max_connections=1,
        disable=set() if chunking else {"CHUNKING"},
    )
    assert len(server.connections) == 1
    assert server.messages[0].chunked == chunking


@pytest.mark.rule("P-26")
@pytest.mark.rule("P-18")
@pytest.mark.parametrize("chunking", [True, False])
def test_chunking_a_server_that_stops_reading_is_given_up(play: Any, chunking: bool) -> None:
    server = ScriptedServer(capabilities=CHUNKING, keep_content=False)
    server.faults.add(
        Fault(at="CONTENT", after=100_000, connection=0, do=lambda incident: server.pause_reading())
    )

    async def story(relay: Any) -> None:
        relay.transporter.on("connection_lost", lambda error: server.resume_reading())
        result = await relay.send(0, text="word and word\n" * 100_000)
        assert (result.attempts, result.maybe_duplicate) == (2, False)
        assert 180 <= relay.now < 240

    play(
        story,
        server,
        latency=0.05,
        window=16_384,
        max_connections=1,
        disable=set() if chunking else {"CHUNKING"},
    )
    assert len(server.messages) == 1


@pytest.mark.rule("P-05")
@pytest.mark.rule("SRV-17")
@pytest.mark.parametrize("depth", [1, 8])
def test_chunking_an_early_refusal_fails_that_message_alone(play: Any, received: Any, depth: int) -> None:
    """The server has heard enough, and reads the rest of the chunk all the same."""
    spoken: list[float] = []

    def enough(incident: Any) -> None:
        spoken.append(0)
        incident.say("552 5.3.4 too large")
        incident.answer()

    # What it says at the end of the chunk has been said.
    server = ScriptedServer(
        capabilities=CHUNKING,
        faults=[
            Fault(at="CONTENT", after=50_000, message=1, do=enough),
            Fault(at="END", message=1, do=raw(b"")),
        ],
    )

    async def story(relay: Any) -> None:
        sends = [relay.send(0), relay.send(1, text="word and word\n" * 50_000), relay.send(2)]
        first, refused, third = await relay.ends(*sends)
        assert isinstance(refused, Rejected)
        assert refused.reply.code == 552
        assert [end.attempts for end in (first, refused, third)] == [1, 1, 1]

    play(story, server, latency=0.05, window=16_384, max_connections=1, pipeline_depth=depth, right=False)
    assert len(spoken) == 1
    assert received(server) == ["0", "2"]
    assert len(server.connections) == 1


def impatient() -> ScriptedServer:
    """It refuses a content that it has heard a part of, and does not read the rest."""

    def enough(incident: Any) -> None:
        incident.say("552 5.3.4 too large")
        server.pause_reading()

    fault = Fault(at="CONTENT", after=50_000, connection=0, do=enough)
    server = ScriptedServer(capabilities=CHUNKING, faults=[fault])
    return server


@pytest.mark.rule("P-26")
@pytest.mark.rule("P-14")
def test_chunking_refused_early_and_not_read_any_more_holds_nothing_up_for_ever(
    play: Any, received: Any
) -> None:
    server = impatient()

    async def story(relay: Any) -> None:
        relay.transporter.on("connection_lost", lambda error: server.resume_reading())
        refused, taken = await relay.ends(relay.send(1, text="word and word\n" * 100_000), relay.send(2))
        assert isinstance(refused, Rejected)
        assert taken.attempts == 1
        assert relay.now < 240

    play(story, server, latency=0.05, window=16_384, max_connections=1, right=False)
    assert received(server) == ["2"]
    assert "QUIT" not in server.connections[0].lines


@pytest.mark.rule("P-29")
def test_chunking_closing_in_the_midst_of_a_refused_content_writes_no_quit_into_it(play: Any) -> None:
    server = impatient()

    async def story(relay: Any) -> None:
        assert isinstance(await relay.end(relay.send(1, text="word and word\n" * 100_000)), Rejected)
        started = relay.now
        await relay.transporter.close(timeout=3)
        assert relay.now - started <= 4
        server.resume_reading()

    play(story, server, latency=0.05, window=16_384, max_connections=1, right=False)
    assert server.messages == []
    assert b"QUIT" not in server.connections[0].unfinished


@pytest.mark.rule("P-18")
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_chunking_what_a_stall_leaves_uncertain_is_at_most_the_depth(
    play: Any, received: Any, depth: int
) -> None:
    server = ScriptedServer(
        capabilities=CHUNKING, faults=[Fault(at="END", message=3, connection=0, do=stall(None))]
    )

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(12))
        uncertain = [n for n, end in enumerate(ends) if isinstance(end, DeliveryUncertain)]
        assert uncertain[0] == 3
        assert uncertain == list(range(3, 3 + len(uncertain)))
        assert len(uncertain) <= depth
        assert all(isinstance(end, SendResult) for n, end in enumerate(ends) if n not in uncertain)
        assert relay.transporter.stats().uncertain == len(uncertain)

    play(
        story, server, latency=0.05, max_connections=1, pipeline_depth=depth, on_uncertain="fail", right=False
    )
    assert len(set(received(server))) == len(received(server))
