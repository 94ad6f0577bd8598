"""The same over uvloop, whose transports and timers are not asyncio's."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from mailpool import SendResult, create_transport
from mailpool.testing import Authority, Fault, ScriptedServer, close, deliver_then_close

uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed: it is the extra `speed`")

HERE = "127.0.0.1"


def mail(number: int) -> dict[str, Any]:
    return {
        "from": "a@example.org",
        "to": "b@example.com",
        "message_id": f"<{number}@example.org>",
        "text": "x\n" * (1 + number),
    }


def run(main: Any) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert isinstance(runner.get_loop(), uvloop.Loop)
        runner.run(main())


@pytest.mark.rule("P-14")
def test_many_faults_leave_no_message_behind() -> None:
    """Back-offs that are over when the timer is set are what uvloop treats in a way of its own."""
    faults = [
        Fault(at=at, do=do, probability=0.08, times=None, seed=seed)
        for seed, (at, do) in enumerate(
            [("MAIL", close()), ("DATA", close()), ("END", close()), ("END", deliver_then_close())]
        )
    ]

    async def main() -> None:
        async with ScriptedServer(faults=faults) as server:
            transporter = create_transport(
                host=HERE, port=server.port, pool=True, max_messages=9, max_duplicates=50, rate="2000/s"
            )
            ends = await asyncio.gather(
                *(transporter.send_mail(mail(number)) for number in range(150)), return_exceptions=True
            )
            assert await transporter.drain(5) == []
            assert all(isinstance(end, SendResult) for end in ends), ends
            copies = Counter(message.message_id for message in server.messages)
        for number, end in enumerate(ends):
            assert copies[f"<{number}@example.org>"] >= 1
            assert isinstance(end, SendResult)
            assert copies[f"<{number}@example.org>"] == 1 or end.maybe_duplicate

    run(main)


@pytest.mark.parametrize("implicit", [True, False])
def test_tls_is_done_and_resumed(authority: Authority, implicit: bool) -> None:
    async def main() -> None:
        context = authority.server_context("localhost", HERE)
        async with ScriptedServer(tls=context, implicit_tls=implicit) as server:
            transporter = create_transport(
                host=HERE,
                port=server.port,
                secure=implicit,
                tls=authority.client_context(),
                pool=True,
                max_connections=1,
                max_messages=2,
            )
            for number in range(8):
                assert (await transporter.send_mail(mail(number))).accepted
            stats = transporter.stats()
            await transporter.close()
        assert all(message.tls for message in server.messages)
        assert stats.handshakes >= 4
        assert stats.tls_resumed >= 2

    run(main)


@pytest.mark.rule("P-26")
def test_time_outs_and_idle_connections_end() -> None:
    async def main() -> None:
        async with ScriptedServer(faults=[Fault(at="DATA", do=lambda incident: None)]) as server:
            transporter = create_transport(
                host=HERE,
                port=server.port,
                pool=True,
                command_timeout=2,
                idle_timeout=0.1,
                max_connections=1,
            )
            result = await transporter.send_mail(mail(0))
            assert result.attempts >= 2
            while transporter.stats().connections:
                await asyncio.sleep(0.02)
            await transporter.close()

    run(main)


@pytest.mark.rule("P-29")
def test_closing_ends_connections_that_are_just_being_made() -> None:
    """Whoever is cancelled while uvloop makes a connection is not told that it is gone."""

    async def main() -> None:
        async with ScriptedServer() as server:
            for turns in range(12):
                transporter = create_transport(host=HERE, port=server.port, pool=True)
                sends = [transporter.send_mail(mail(number)) for number in range(5)]
                for _ in range(turns):
                    await asyncio.sleep(0)
                async with asyncio.timeout(200):
                    await transporter.close(0.2)
                await asyncio.gather(*sends, return_exceptions=True)
                assert transporter.stats().connections == 0

    run(main)
