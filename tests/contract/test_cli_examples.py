"""Every example runs as its first line says."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from mailpool.testing import Fault, ScriptedServer, reply

EXAMPLES = Path(__file__).parents[2] / "examples"


async def run_example(name: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(EXAMPLES / name), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **environment},
    )  # fmt: skip
    async with asyncio.timeout(200):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def url_of(server: ScriptedServer) -> str:
    return f"smtp://{server.host}:{server.port}"


async def test_hello() -> None:
    async with ScriptedServer() as server:
        status, out, err = await run_example("hello.py", url_of(server))
    assert (status, err) == (0, "")
    assert out.startswith("250")
    assert [m.recipients for m in server.messages] == [("bob@example.com",)]


async def test_the_url_may_be_in_the_environment() -> None:
    async with ScriptedServer() as server:
        status, _, err = await run_example("hello.py", MAILPOOL_URL=url_of(server))
    assert (status, err, len(server.messages)) == (0, "", 1)


async def test_send_many_goes_on_after_a_failure() -> None:
    refused = Fault(at="RCPT", do=reply("550 5.1.1 unknown"), match="reader7@", times=None)
    async with ScriptedServer(faults=[refused]) as server:
        status, out, err = await run_example("send_many.py", url_of(server), "50")
    assert status == 0
    assert out.startswith("49 of 50 accepted")
    assert "reader7@example.com" in err
    assert len(server.messages) == 49


@pytest.mark.rule("P-20")
async def test_pull_empties_the_queue() -> None:
    async with ScriptedServer() as server:
        status, out, err = await run_example("pull.py", url_of(server))
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == len(server.messages) == 50


async def test_sigterm_without_a_signal_sends_everything() -> None:
    async with ScriptedServer() as server:
        status, out, err = await run_example("sigterm.py", url_of(server), "30")
    assert (status, err) == (0, "")
    assert out == "30 sent, 0 failed, 0 uncertain, 0 not sent\n"
