"""Thousands of messages over five connections that live for seven each, while every tenth connection is closed on us."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import threading
from collections import Counter
from typing import Any

import pytest

from mailpool import DeliveryUncertain, SendResult, create_transport
from mailpool.testing import Fault, ScriptedServer, close, deliver_then_close, deliver_then_reset, reset

LIFETIME = 7
_MESSAGE_ID = re.compile(rb"^Message-ID: <(\d+)@example\.org>\r$", re.MULTILINE)


def closings(seed: int) -> list[Fault]:
    """Each connection meets one of these with a chance of about one in ten."""
    in_message: list[tuple[Any, Any]] = [
        ("MAIL", close()),
        ("MAIL", reset()),
        ("RCPT", close()),
        ("DATA", reset()),
        ("CONTENT", close()),
        ("END", close()),
        ("END", reset()),
        ("END", deliver_then_close()),
        ("END", deliver_then_reset()),
    ]
    chance = 0.09 / LIFETIME / len(in_message)
    faults = [
        Fault(at=at, do=do, probability=chance, seed=seed + number, times=None)
        for number, (at, do) in enumerate(in_message)
    ]
    faults += [
        Fault(at=at, do=do, probability=0.005, seed=seed - 1, times=None)
        for at, do in (("GREETING", close()), ("EHLO", reset()))
    ]
    return faults


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def timers(loop: Any) -> set[Any]:
    return {timer for timer in loop._scheduled if not timer.cancelled()}


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-18")
@pytest.mark.rule("P-29")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("seed", "pipelining", "count"), [(1, True, 10_000), (2, False, 3_000)])
async def test_thousands_of_messages_are_all_accounted_for(seed: int, pipelining: bool, count: int) -> None:
    loop = asyncio.get_running_loop()
    threads, fds = threading.active_count(), descriptors()
    capabilities = ("PIPELINING", "8BITMIME") if pipelining else ("8BITMIME",)
    async with ScriptedServer(faults=closings(seed), capabilities=capabilities) as server:
        tasks, clocks = asyncio.all_tasks(), timers(loop)
        transporter = create_transport(
            host="127.0.0.1",
            port=server.port,
            pool=True,
            max_connections=5,
            max_messages=LIFETIME,
            max_duplicates=2,
        )
        sends = [
            transporter.send_mail(
                {
                    "from": "a@example.org",
                    "to": f"r{number}@example.org",
                    "text": "hello\n",
                    "message_id": f"<{number}@example.org>",
                }
            )
            for number in range(count)
        ]
        async with asyncio.timeout(800):
            ends = await asyncio.gather(*sends, return_exceptions=True)
        stats = transporter.stats()
        assert await transporter.close() == []
        await server.disconnect()

        assert asyncio.all_tasks() == tasks
        assert timers(loop) - clocks == set()
        assert len(server.faults.struck) > count / 200
        assert server.peak_connections <= 5

    while threading.active_count() > threads:  # that of a look-up ends after it has told what it found
        await asyncio.sleep(0.01)
    assert descriptors() <= fds
    account(ends, server)
    assert stats.sent == sum(isinstance(end, SendResult) for end in ends)
    assert (stats.queued, stats.in_flight) == (0, 0)
    assert max(record.messages for record in server.connections) <= LIFETIME
    # Content that was cut is no mistake of the client's.
    assert server.violations == []


def account(ends: list[Any], server: ScriptedServer) -> None:
    """Compare what was said of each message with what the server has of it."""
    found = [_MESSAGE_ID.search(message.content) for message in server.messages]
    copies = Counter(int(match[1]) for match in found if match is not None)
    assert sum(copies.values()) == len(server.messages)
    for number, end in enumerate(ends):
        assert isinstance(end, SendResult | DeliveryUncertain), end
        if isinstance(end, SendResult):
            assert copies[number] >= 1, f"{number} is lost"
            assert copies[number] == 1 or end.maybe_duplicate, f"{number} was doubled and is not marked"
            assert end.message_id == f"<{number}@example.org>"
            assert end.attempts >= copies[number]
    marked = sum(isinstance(end, SendResult) and end.maybe_duplicate for end in ends)
    doubled = sum(count > 1 for count in copies.values())
    # Some that are marked were not doubled: nobody can know, and a reset takes replies with it that were on their way.
    # None is marked without a reason.
    assert doubled <= marked <= len(server.faults.struck)
