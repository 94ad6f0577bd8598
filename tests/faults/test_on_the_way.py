"""What goes wrong between the client and the server, on real sockets: each time the books are compared afterwards."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import pytest

# These tests are modules beside this file, which no import mode of pytest finds by itself.
sys.path.insert(0, str(Path(__file__).parent))

from comparing import IMPATIENT, PATIENT, compare, descriptors, send_all, timers
from faulty_path import FaultyPath, Mishap, Trouble
from faulty_path import Path as Way

from mailpool import create_transport
from mailpool.testing import Authority, ScriptedServer

HERE = "127.0.0.1"
GOOD = Way()
COUNT = 200


def mishaps(trouble: Trouble) -> list[Way]:
    """One connection in three is good; the others end somewhere between the greeting and the twentieth message."""
    places = [0, 30, 90, 200, 700, 1_100, 1_700, 2_600, 3_500, 3_777, 4_444, 5_000, 6_789, 9_000]
    return [Way(mishap=Mishap(trouble, after)) for after in places] + [GOOD] * 6


# Where each reply takes long, or never comes, fewer messages say as much.
WAYS: dict[str, tuple[list[Way], int]] = {
    "latency": ([Way(latency=0.01, jitter=0.02)], 80),
    "a few KB/s": ([Way(bandwidth=8_000)], 40),
    "stalls": (mishaps("stall"), COUNT),
    "resets": (mishaps("reset"), COUNT),
    "black holes": (mishaps("black hole"), 60),
    "half open": (mishaps("half open"), 60),
    "truncated": (mishaps("truncate"), COUNT),
    "all of it": (
        [Way(latency=0.005, jitter=0.02, mishap=Mishap(trouble, after))
         for trouble in ("stall", "reset", "black hole", "half open", "truncate")
         for after in (150, 1_700, 4_321)] + [GOOD] * 3,
        COUNT,
    ),
}  # fmt: skip


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-18")
@pytest.mark.rule("P-29")
@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "one by one"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("what", WAYS)
async def test_the_books_agree(authority: Authority, what: str, secure: bool, pipelining: bool) -> None:
    ways, count = WAYS[what]
    troubles = {way.mishap.trouble for way in ways if way.mishap is not None}
    tls = authority.server_context(HERE) if secure else None
    open_before, tasks, clocks, threads = (
        descriptors(),
        asyncio.all_tasks(),
        timers(),
        threading.active_count(),
    )
    async with (
        ScriptedServer(
            tls=tls, implicit_tls=secure, capabilities=("PIPELINING",) if pipelining else ()
        ) as server,
        FaultyPath(HERE, server.port, ways, seed=7) as path,
    ):
        transporter = create_transport(
            IMPATIENT if troubles else PATIENT,
            host=HERE,
            port=path.port,
            secure=secure,
            pipeline_depth=4 if pipelining else 1,
            tls=authority.client_context(),
        )
        ends = await send_all(transporter, count)
        stats = transporter.stats()
        async with asyncio.timeout(200):
            assert await transporter.close() == []
        # What is still on its way arrives before the books are closed.
        path_done = path.struck.copy()
        async with asyncio.timeout(200):
            while server.open_connections:
                await asyncio.sleep(0.05)
            await path.empty()
    tally = compare(ends, server.messages)
    # Some may be uncertain to the end; none is given up that waiting could have sent.
    assert set(tally) <= {"sent", "marked", "DeliveryUncertain"}, tally
    assert tally["sent"] + tally["marked"] > count / 2, tally
    assert (stats.queued, stats.in_flight, stats.sent) == (0, 0, tally["sent"] + tally["marked"])
    assert path_done.keys() == troubles
    if not troubles:
        assert tally == {"sent": count}
    assert asyncio.all_tasks() == tasks
    assert timers() == clocks
    while threading.active_count() > threads:  # that of a look-up ends after it has told what it found
        await asyncio.sleep(0.01)
    assert descriptors() == open_before
