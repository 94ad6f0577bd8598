"""Real sockets: every way to reach a server, how connections really end, and what is left afterwards."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from messages import ends, mail

from mailpool import (
    ConnectionFailed,
    DeliveryUncertain,
    LookupFailed,
    PoolClosed,
    SendResult,
    create_transport,
)
from mailpool.testing import (
    Authority,
    Fault,
    ScriptedServer,
    close,
    deliver_then_close,
    deliver_then_reset,
    reply_then_close,
    reset,
    stall,
)

HERE = "127.0.0.1"


def numbers(server: ScriptedServer) -> list[int]:
    return sorted(
        int((message.message_id or "").strip("<>").partition("@")[0]) for message in server.messages
    )


def descriptors() -> set[str]:
    gc.collect()
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue  # the one that lists
    return {entry for entry in found if "socket:" in entry or "pipe:" in entry}


async def _send_some(count: int = 10, **options: Any) -> None:
    transporter = create_transport(pool=True, **options)
    results = await ends(*(transporter.send_mail(mail(n)) for n in range(count)))
    assert all(isinstance(result, SendResult) for result in results), results
    assert await transporter.close() == []


@pytest.mark.rule("P-01")
async def test_ipv4_by_address_and_by_name() -> None:
    async with ScriptedServer() as server:
        await _send_some(host=HERE, port=server.port)
        await _send_some(host="localhost", port=server.port)
    assert len(server.messages) == 20


@pytest.mark.rule("P-01")
async def test_ipv6() -> None:
    try:
        async with ScriptedServer(host="::1") as server:
            await _send_some(host="::1", port=server.port)
            await _send_some(host="[::1]", port=server.port)
            assert server.connections[0].helo == "[IPv6:::1]" or server.connections[0].helo
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert len(server.messages) == 20
    assert server.violations == []


@pytest.mark.rule("P-01")
async def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "smtp.sock"
    async with ScriptedServer(path=path, auth={"me": "secret"}) as server:
        await _send_some(unix_socket=str(path), max_connections=3, max_messages=2, auth=("me", "secret"))
        assert server.peak_connections <= 3
        nowhere = create_transport(unix_socket=str(tmp_path / "missing"), pool=True, connection_wait=0.2)
        (error,) = await ends(nowhere.send_mail(mail(0)))
        assert isinstance(error, ConnectionFailed)
        await nowhere.close()
    assert len(server.messages) == 10
    assert server.violations == []


@pytest.mark.rule("P-01")
@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is there on Linux only")
async def test_local_address() -> None:
    async with ScriptedServer() as server:
        await _send_some(host=HERE, port=server.port, local_address="127.0.0.2")
    assert {record.peername[0] for record in server.connections} == {"127.0.0.2"}


@pytest.mark.rule("TLS-08")
@pytest.mark.parametrize("secure", [False, True])
async def test_tls08_a_socket_of_the_callers_own(authority: Authority, secure: bool) -> None:
    context = authority.server_context("mail.example") if secure else None
    async with ScriptedServer(tls=context, implicit_tls=secure) as server:
        sock = await asyncio.to_thread(socket.create_connection, (HERE, server.port))
        transporter = create_transport(
            sock=sock, host="mail.example", secure=secure, tls=authority.client_context()
        )
        assert (await transporter.send_mail(mail(0))).accepted
        await transporter.close()
        assert sock.fileno() == -1
    assert server.messages[0].tls == secure


@pytest.mark.rule("P-01")
async def test_without_a_pool_each_message_has_a_connection_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "mailpool.net.connection.FAREWELL", 200.0
    )  # a slow machine may need more than a second
    async with ScriptedServer() as server:
        transporter = create_transport(host=HERE, port=server.port)
        results = await ends(*(transporter.send_mail(mail(n)) for n in range(12)))
        assert all(isinstance(result, SendResult) for result in results)
        await transporter.close()
        assert len(server.connections) == 12
        assert server.peak_connections <= 5
        assert all(record.quit_seen and record.messages == 1 for record in server.connections)
        with pytest.raises(PoolClosed):
            transporter.send_mail(mail(99))


@pytest.mark.rule("P-06")
@pytest.mark.parametrize("do", [close(), reset(), reply_then_close("421 4.3.2 going down")], ids=repr)
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", "END"])
async def test_p06_real_closings_and_resets_have_their_outcome(at: Any, do: Any) -> None:
    async with ScriptedServer(faults=[Fault(at=at, connection=0, do=do)]) as server:
        transporter = create_transport(host=HERE, port=server.port, pool=True, max_connections=1)
        first, *others = await ends(*(transporter.send_mail(mail(n)) for n in range(6)))
        lost = at == "END" and "421" not in repr(do)
        assert (first.attempts, first.maybe_duplicate) == (2, lost)
        assert all(isinstance(end, SendResult) and not end.maybe_duplicate for end in others)
        await transporter.close()
    assert numbers(server) == list(range(6))
    assert server.violations == []


@pytest.mark.rule("P-18")
@pytest.mark.parametrize("do", [deliver_then_close(), deliver_then_reset()], ids=repr)
async def test_p18_taken_and_gone_is_uncertain(do: Any) -> None:
    async with ScriptedServer(faults=[Fault(at="END", do=do)]) as server:
        transporter = create_transport(host=HERE, port=server.port, pool=True, on_uncertain="fail")
        (error,) = await ends(transporter.send_mail(mail(0)))
        assert isinstance(error, DeliveryUncertain)
        assert (await transporter.send_mail(mail(1))).attempts == 1
        await transporter.close()
    assert numbers(server) == [0, 1]


@pytest.mark.rule("P-07")
@pytest.mark.parametrize("do", [close(), reset(), reply_then_close("452 4.3.1 disk full")], ids=repr)
async def test_p07_a_break_in_a_large_content(do: Any) -> None:
    # A server that says no in the middle and closes: what it said may be lost in the reset that follows.
    fault = Fault(at="CONTENT", connection=0, after=100_000, do=do)
    async with ScriptedServer(faults=[fault]) as server:
        transporter = create_transport(host=HERE, port=server.port, pool=True)
        (end,) = await ends(transporter.send_mail(mail(0, text="many words of text\n" * 500_000)))
        if isinstance(end, SendResult):
            assert (end.attempts, end.maybe_duplicate) == (2, False)
        else:
            assert end.reply is not None
            assert end.reply.code == 452
            assert not end.may_have_been_delivered
        assert (await transporter.send_mail(mail(1))).attempts == 1
        await transporter.close()


@pytest.mark.rule("P-19")
async def test_p19_a_server_that_comes_back_costs_no_message() -> None:
    async with ScriptedServer() as server:
        transporter = create_transport(host=HERE, port=server.port, pool=True, max_requeues=0)
        await transporter.send_mail(mail(0))
        server.refuse_connections(True)
        await server.disconnect()
        while transporter.stats().connections:
            await asyncio.sleep(0.01)
        failed = asyncio.Event()
        transporter.on("connection_failed", lambda error: failed.set())
        sends = [transporter.send_mail(mail(n)) for n in range(1, 30)]
        await failed.wait()
        server.refuse_connections(False)
        results = await ends(*sends)
        assert all(isinstance(result, SendResult) for result in results), results
        await transporter.close()
    assert numbers(server) == list(range(30))


@pytest.mark.rule("P-19")
async def test_p19_an_unknown_host_fails_at_once_and_a_resolver_in_trouble_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, pass_time: Any
) -> None:
    asked: list[int] = []

    def fails_with(code: int) -> Any:
        def getaddrinfo(*arguments: Any, **keywords: Any) -> Any:
            asked.append(code)
            raise socket.gaierror(code, "scripted")

        return getaddrinfo

    monkeypatch.setattr(socket, "getaddrinfo", fails_with(socket.EAI_NONAME))
    transporter = create_transport(host="no-such-host.example", port=25, pool=True, connection_wait=300)
    errors = await ends(*(transporter.send_mail(mail(n)) for n in range(40)))
    assert {type(error) for error in errors} == {LookupFailed}
    assert {(error.phase, error.temporary) for error in errors} == {("name look-up", False)}
    assert len(asked) <= 5
    await transporter.close()
    asked.clear()
    monkeypatch.setattr(socket, "getaddrinfo", fails_with(socket.EAI_AGAIN))
    transporter = create_transport(host="some-host.example", port=25, pool=True, connection_wait=1_000)
    sending = asyncio.ensure_future(transporter.send_mail(mail(0)))
    while len(asked) < 3:
        await asyncio.sleep(0.01)
    pass_time(1_000)
    with pytest.raises(LookupFailed) as caught:
        await sending
    assert caught.value.temporary
    await transporter.close()


@pytest.mark.rule("P-29")
@pytest.mark.parametrize("way", ["close", "drain", "cancel"])
async def test_p29_a_stuck_look_up_holds_nothing_up(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    released, asked = threading.Event(), threading.Event()

    def getaddrinfo(*arguments: Any, **keywords: Any) -> Any:
        asked.set()
        released.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "at last")

    before = threading.active_count()
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        transporter = create_transport(host="stuck.example", port=25, pool=True)
        sends = [asyncio.ensure_future(transporter.send_mail(mail(n))) for n in range(10)]
        while not asked.is_set():
            await asyncio.sleep(0.01)
        async with asyncio.timeout(200):
            if way == "cancel":
                for send in sends:
                    send.cancel()
            unsent = await (transporter.drain(0.1) if way == "drain" else transporter.close(0.1))
        assert len(unsent) == (0 if way == "cancel" else 10)
        assert not released.is_set()
        await ends(*sends)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        assert not tasks
    finally:
        released.set()
    while threading.active_count() > before:
        await asyncio.sleep(0.01)


@pytest.mark.rule("P-29")
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
@pytest.mark.parametrize("state", ["idle", "busy", "refused", "stalled", "tls"])
async def test_p29_nothing_is_left(authority: Authority, state: str) -> None:
    loop = asyncio.get_running_loop()
    faults = {
        "busy": [Fault(at="END", do=stall(0.05), times=None)],
        "stalled": [Fault(at="DATA", do=stall(), times=None)],
        "refused": [Fault(at="GREETING", do=reset(), times=None)],
    }.get(state, [])
    tls = authority.server_context(HERE) if state == "tls" else None
    before, threads = descriptors(), threading.active_count()
    async with ScriptedServer(faults=faults, tls=tls) as server:
        timers = {timer for timer in loop._scheduled if not timer.cancelled()}
        tasks = asyncio.all_tasks()
        transporter = create_transport(
            host=HERE,
            port=server.port,
            pool=True,
            max_messages=3,
            min_connections=1,
            tls=authority.client_context(),
        )
        sends = [transporter.send_mail(mail(n)) for n in range(40)]
        if state in ("idle", "tls"):
            await ends(*sends)
        else:
            await asyncio.sleep(0.2)
        await transporter.close(0.3)
        await ends(*sends)
        stats = transporter.stats()
        assert (stats.connections, stats.queued, stats.in_flight) == (0, 0, 0)
        await server.disconnect()
        left = {timer for timer in loop._scheduled if not timer.cancelled()}
        assert left - timers == set()
        assert asyncio.all_tasks() - tasks == set()
    while threading.active_count() > threads:  # that of a look-up ends after it has told what it found
        await asyncio.sleep(0.01)
    assert descriptors() - before == set()


PROGRAM = """
import asyncio, sys
from mailpool import create_transport

async def main(port):
    # In this mode asyncio tells of whatever took long, and on a busy machine all does.
    asyncio.get_running_loop().slow_callback_duration = 1_000
    async with create_transport(host="127.0.0.1", port=port, pool=True, max_messages=4) as transporter:
        for number in range(20):
            transporter.send_soon({"from": "a@example.org", "to": "b@example.org", "text": "x",
                                   "message_id": f"<{number}@example.org>"})
    print("sent", transporter.stats().sent)

asyncio.run(main(int(sys.argv[1])))
"""


@pytest.mark.rule("P-30")
async def test_p30_a_program_ends_quietly_with_everything_sent() -> None:
    async with ScriptedServer() as server:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, str(server.port)],
            capture_output=True,
            text=True,
            timeout=250,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "sent 20\n", "")
    assert numbers(server) == list(range(20))


@pytest.mark.rule("POL-11")
def test_pol11_one_program_may_run_several_loops_one_after_the_other() -> None:
    async def once() -> int:
        async with ScriptedServer() as server:
            await _send_some(host=HERE, port=server.port)
        return len(server.messages)

    assert [asyncio.run(once()) for _ in range(3)] == [10, 10, 10]
