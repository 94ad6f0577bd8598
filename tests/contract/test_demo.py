"""The demo, small, as a newcomer runs it: what it claims, how it fails, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("aiosmtpd")

from mailpool.testing import ScriptedServer

SERVER = b"mailpool.cli.demo.server"
MARK = "MAILPOOL_TEST_RUN"


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mailpool.cli", "demo", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL,
        # Its own group, as a terminal gives it: Ctrl-C goes to all of them.
        start_new_session=True,
        env={**os.environ, "PYTHONWARNINGS": "error", MARK: f"{os.getpid()}"},
    )  # fmt: skip


async def demo(*arguments: str) -> tuple[int, str, str]:
    process = await start(*arguments)
    async with asyncio.timeout(200):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, " ".join(out.decode().split()), err.decode()


def servers() -> list[int]:
    """The demo's servers that this run of the tests has started and that are still there."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue  # ended while we looked, or another user's
        if SERVER in words and f"{MARK}={os.getpid()}".encode() in environment.split(b"\0"):
            found.append(int(folder.name))
    return found


async def test_the_proof_holds() -> None:
    status, out, err = await demo("--messages", "200", "--seed", "7", "--close-rate", "0.1")
    assert status == 0, out + err
    assert "Traceback" not in err
    assert "WRONG" not in out
    assert out.count(" holds ") == 5
    assert "each of 200 messages has exactly one outcome" in out
    assert "is on the server, by Message-ID and recipient" in out
    found = re.search(r"double on the server: (\d+) · marked maybe_duplicate: (\d+)", out)
    assert found is not None
    assert int(found[1]) <= int(found[2])
    closed = re.search(r"closed (\d+) connections in the middle", out)
    assert closed is not None
    assert int(closed[1]) > 0  # otherwise it proves nothing
    assert "times the time" in out


async def test_good_weather_needs_few_connections() -> None:
    status, out, _ = await demo("--messages", "200", "--seed", "1", "--close-rate", "0")
    assert status == 0
    assert "200 accepted, 0 rejected, 0 deferred, 0 uncertain, 0 not sent" in out
    assert "double on the server: 0" in out


async def test_a_server_that_loses_what_it_accepted_is_found_out() -> None:
    status, out, err = await demo("--messages", "100", "--seed", "1", "--close-rate", "0", "--lose", "2")
    assert status == 1
    assert out.count("WRONG") == 1
    assert "2 lost: person" in out
    assert "The proof does not hold" in err


async def test_every_message_may_meet_a_closing_connection() -> None:
    """So many connections end that even second tries go wrong; the books still agree."""
    status, out, err = await demo("--messages", "30", "--seed", "2", "--close-rate", "0.5")
    assert status == 0, out + err
    assert "WRONG" not in out


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_leaves_no_process_behind(number: signal.Signals) -> None:
    process = await start("--messages", "100000", "--seed", "1")
    assert process.stderr is not None
    async with asyncio.timeout(200):
        await process.stderr.readline()  # it is sending
    assert len(servers()) == 1
    os.killpg(process.pid, number) if number is signal.SIGINT else process.send_signal(number)
    async with asyncio.timeout(200):
        out, err = await process.communicate()
    assert process.returncode == 128 + number, err.decode()
    assert servers() == []
    assert "WRONG" not in out.decode()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
async def test_the_server_does_not_outlive_a_killed_demo() -> None:
    process = await start("--messages", "100000", "--seed", "1")
    assert process.stderr is not None
    async with asyncio.timeout(200):
        await process.stderr.readline()
    process.kill()
    await process.communicate()
    async with asyncio.timeout(200):
        while servers():
            await asyncio.sleep(0.05)


async def test_against_a_given_server(tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text("email,name\na@example.com,Alice\nb@Example.com,Bob\n")
    async with ScriptedServer() as server:
        url = f"smtp://{server.host}:{server.port}"
        asked = await demo("--url", url, "--csv", str(table))
        assert (asked[0], len(server.messages)) == (1, 0)  # nobody is there to say yes
        status, out, err = await demo("--url", url, "--csv", str(table), "--yes")
    assert status == 0, err
    assert "by replies only" in out
    assert len(server.messages) == 2


async def test_a_given_server_needs_recipients() -> None:
    status, _, err = await demo("--url", "smtp://127.0.0.1:1", "--yes")
    assert status == 2
    assert "--csv" in err
