"""Once wrong, now proven: contents that are written in blocks, with DATA and with BDAT."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailpool import Envelope, Rejected, Sealed, SendError, SendResult
from mailpool.content import BytesContent, StreamedContent
from mailpool.testing import Fault, RawServer, RawStream, ScriptedServer, stall

USUAL = ("PIPELINING", "8BITMIME")
WITH = {"DATA": USUAL, "BDAT": (*USUAL, "CHUNKING")}
LINE = "x" * 70 + "\n"


@pytest.mark.rule("P-26")
@pytest.mark.rule("P-18")
@pytest.mark.parametrize("octets", [1_000, 262_144, 400_000, 800_000])
@pytest.mark.parametrize("how", ["DATA", "BDAT"])
def test_the_answer_to_the_end_of_the_data_has_its_600_seconds_whatever_the_size(
    play: Any, how: str, octets: int
) -> None:
    server = ScriptedServer(capabilities=WITH[how], faults=[Fault(at="END", do=stall(550), times=None)])

    async def story(relay: Any) -> None:
        end = await relay.end(relay.send(0, text=LINE * (octets // len(LINE))))
        assert isinstance(end, SendResult)
        assert (end.attempts, end.maybe_duplicate) == (1, False)
        assert 550 <= relay.now < 560

    play(story, server, on_uncertain="fail")
    assert [message.chunked for message in server.messages] == [how == "BDAT"]


@pytest.mark.rule("P-26")
@pytest.mark.parametrize("how", ["DATA", "BDAT"])
def test_content_on_a_slow_line_has_its_time_as_long_as_blocks_go_out(play: Any, how: str) -> None:
    server = ScriptedServer(capabilities=WITH[how], keep_content=False)

    async def story(relay: Any) -> None:
        end = await relay.end(relay.send(0, text=LINE * 60_000))
        assert isinstance(end, SendResult)
        assert (end.attempts, end.maybe_duplicate) == (1, False)
        # A block takes about a minute; all of it takes longer than any phase may.
        assert relay.now > 900, "the line was too fast to prove anything"

    play(story, server, latency=50, greeting_timeout=600)
    assert len(server.connections) == 1


@pytest.mark.rule("P-26")
@pytest.mark.rule("P-07")
@pytest.mark.rule("SRV-17")
def test_a_server_that_refuses_early_and_reads_no_more_loses_its_connection(play: Any) -> None:
    async def handler(stream: RawStream) -> None:
        stream.send(b"220 hi\r\n")
        await stream.read_line()
        stream.send(b"250-raw.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
        while not (line := await stream.read_line()).startswith(b"QUIT"):
            if line.startswith(b"BDAT") and server.connections == 1:
                stream.send(b"552 5.3.4 too large\r\n")
                stream.transport.pause_reading()
                await asyncio.Event().wait()
            elif line.startswith(b"BDAT"):
                await stream.read(int(line.split()[1]))
            stream.send(b"250 ok\r\n")
        stream.send(b"221 bye\r\n")

    server = RawServer(handler)

    async def story(relay: Any) -> None:
        large = await relay.end(relay.send(0, text=LINE * 50_000))
        assert isinstance(large, Rejected)
        assert relay.now < 5
        second = await relay.end(relay.send(1))
        assert isinstance(second, SendResult)
        assert relay.now < 300
        assert server.connections == 2
        await relay.transporter.close()
        await server.stop()

    play(story, server, latency=0.01, max_connections=1, timeout=10_000)


class Watched(BytesContent):
    """Content that notes in which turn of the loop each of its octets was asked for."""

    def __init__(self, data: bytes, turn: Callable[[], int]) -> None:
        super().__init__(data, crlf_only=True)
        self.turn = turn
        self.asked: Counter[int] = Counter()

    def blocks(self) -> Iterator[bytes]:
        for block in super().blocks():
            self.asked[self.turn()] += len(block)
            yield block


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
def test_a_peer_that_takes_everything_leaves_the_loop_to_others(play: Any, how: str) -> None:
    turns = itertools.count()
    turn = 0

    async def story(relay: Any) -> None:
        async def count() -> None:
            nonlocal turn
            while not end.done():
                turn = next(turns)
                await asyncio.sleep(0)

        head = b"From: from@example.org\r\nMessage-ID: <0@example.org>\r\n\r\n"
        content = Watched(head + LINE.encode().replace(b"\n", b"\r\n") * 60_000, lambda: turn)
        # Only what is not one piece of octets is asked for block by block.
        streamed = StreamedContent([content])
        sealed = Sealed(Envelope("from@example.org", ["to@example.org"]), streamed, "<0@example.org>")
        end = asyncio.ensure_future(relay.transporter.send_mail(sealed))
        await count()
        assert isinstance(end.result(), SendResult)
        assert sum(content.asked.values()) == content.size > 4_000_000
        assert max(content.asked.values()) < 600_000

    play(story, ScriptedServer(capabilities=WITH[how], keep_content=False), window=1_000_000_000)


@pytest.mark.rule("P-27")
@pytest.mark.parametrize("answered", [True, False])
def test_a_content_that_cannot_be_read_makes_no_other_message_uncertain(
    play: Any, received: Any, tmp_path: Path, answered: bool
) -> None:
    """Those before it on the connection are answered first; only then is the connection cut, in the midst of it."""
    path = tmp_path / "attached"
    path.write_bytes(b"x" * 400_000)
    faults = [] if answered else [Fault(at="END", match="number 3", do=stall(None))]
    server = ScriptedServer(capabilities=WITH["BDAT"], faults=faults)

    async def story(relay: Any) -> None:
        await relay.send(0)
        before = [relay.send(number) for number in (1, 2, 3)]
        await asyncio.sleep(0.02)  # their ends are written, and none is answered
        broken = relay.send(4, attachments=[{"path": str(path)}])
        path.unlink()
        ends = await relay.ends(*before, broken, relay.send(5))
        assert [type(end) for end in ends[3:]] == [SendError, SendResult]
        assert "could not be read" in str(ends[3])
        assert [end.maybe_duplicate for end in ends[:3]] == [False, False, not answered]

    play(story, server, max_connections=1, pipeline_depth=5, latency=0.05)
    assert sorted(received(server)) == ["0", "1", "2", "3", "5"]
