"""What goes wrong on the client's own machine: descriptors used up, clocks that jump, an event loop that is blocked."""

from __future__ import annotations

import ast
import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from comparing import PATIENT, compare, descriptors, letter, send_all, timers

import mailpool
from mailpool import SendResult, create_transport
from mailpool.testing import ScriptedServer, in_thread

HERE = "127.0.0.1"
COUNT = 200

# A process of its own: the bound holds for all of it. `spare` descriptors are left at first; after a second, all.
STARVING = """
import asyncio, json, os, resource, sys
from comparing import PATIENT, descriptors, letter
from mailpool import SendResult, create_transport

async def main(port, spare, count, warm):
    before = len(os.listdir("/proc/self/fd"))
    transporter = create_transport(PATIENT, host="127.0.0.1", port=port, max_messages=1_000)
    failures = []
    transporter.on("connection_failed", lambda error: failures.append(str(error)))
    if warm:
        await transporter.send_mail(letter(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    for _ in range(spare):
        os.close(taken.pop())
    sends = [asyncio.ensure_future(transporter.send_mail(letter(n))) for n in range(warm, count)]
    if warm or spare:
        # A connection is there, or can be had: that is enough.
        async with asyncio.timeout(200):
            ends = await asyncio.gather(*sends, return_exceptions=True)
        for each in taken:
            os.close(each)
    else:
        async with asyncio.timeout(200):
            while len(failures) < 3:
                await asyncio.sleep(0.01)
        done_before = sum(send.done() for send in sends)
        assert not done_before, done_before
        for each in taken:
            os.close(each)
        async with asyncio.timeout(200):
            ends = await asyncio.gather(*sends, return_exceptions=True)
    assert await transporter.close() == []
    bad = [repr(end) for end in ends if not isinstance(end, SendResult) or end.maybe_duplicate]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    print(json.dumps({"bad": bad, "before": before, "after": len(os.listdir("/proc/self/fd")), "failures": failures}))

asyncio.run(main(*map(int, sys.argv[1:])))
"""


@pytest.mark.rule("P-19")
@pytest.mark.rule("P-29")
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")
@pytest.mark.parametrize(
    ("spare", "warm"), [(0, 0), (2, 0), (0, 1)], ids=["none left", "two left", "one open connection"]
)
async def test_used_up_descriptors_cost_no_message(spare: int, warm: int) -> None:
    async with ScriptedServer() as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", STARVING, str(server.port), str(spare), str(COUNT), str(warm),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parent,
            env={"PYTHONPATH": str(Path(mailpool.__file__).parents[1])},
        )  # fmt: skip
        async with asyncio.timeout(200):
            out, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        # The pool's warnings say what is wrong; nothing else is printed.
        assert all(line.startswith(b"connection failed: ") for line in errors.splitlines()), errors.decode()
    told: dict[str, Any] = json.loads(out)
    assert told["bad"] == []
    assert told["after"] == told["before"]
    assert sorted(int(message.sender.partition("@")[0][1:]) for message in server.messages) == list(
        range(COUNT)
    )
    failures = told["failures"]
    assert all("Too many open files" in failure for failure in failures), failures
    # The first look-up loads nothing: threads that load a module at the same time get errors that say something else.
    assert not any(".py" in failure for failure in failures), failures
    # The next attempt waits, although messages succeed meanwhile over what is open.
    assert (0 if spare or warm else 3) <= len(failures) < 40


@pytest.mark.rule("P-19")
@pytest.mark.rule("P-29")
@pytest.mark.parametrize(
    "step", [86_400.0, -86_400.0, -2e9, 0.0], ids=["a day on", "a day back", "1970", "to and fro"]
)
async def test_a_clock_that_jumps_changes_dates_only(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    real, moved, asked = time.time, 0.0, 0

    def jumping() -> float:
        nonlocal asked
        asked += 1
        # Or back and forth by a year, every few looks.
        return real() + (moved if step else (asked // 5 % 2) * 3.2e7)

    open_before, tasks, clocks = descriptors(), asyncio.all_tasks(), timers()
    async with ScriptedServer() as server:
        monkeypatch.setattr(time, "time", jumping)
        transporter = create_transport(PATIENT, host=HERE, port=server.port, rate="400/s", idle_timeout=600)
        first = await send_all(transporter, COUNT // 2)
        moved = step
        others = [transporter.send_mail(letter(number)) for number in range(COUNT // 2, COUNT)]
        async with asyncio.timeout(200):
            ends = [*first, *await asyncio.gather(*others, return_exceptions=True)]
        monkeypatch.setattr(time, "time", real)
        # The connections are neither too old nor idle for too long.
        assert transporter.stats().connections > 0
        await transporter.close()
    assert compare(ends, server.messages) == {"sent": COUNT}
    assert all(isinstance(end, SendResult) and end.attempts == 1 for end in ends)
    # The clock was asked, and nothing was done about it but to write it down.
    dates = {message.email["Date"].datetime.date() for message in server.messages}
    assert asked > 1
    assert len(dates) > 1
    assert (asyncio.all_tasks(), timers(), descriptors()) == (tasks, clocks, open_before)


# What tells the time to people or to others, and bounds nothing of ours.
WALL_CLOCK = {
    "auth/tokens.py": "signed claims, and the event that says until when a token lives",
    "cli": "prints; makes certificates for the demo",
    "preparing/preparation.py": "Date, and the time in signatures",
    "templates/folder.py": "Date of a preview",
    "testing": "makes certificates",
    "transports/file.py": "names of files in a maildir",
}
READINGS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"),
            ("date", "today"), ("time", "localtime"), ("time", "gmtime")}  # fmt: skip


def test_nothing_else_reads_the_wall_clock() -> None:
    """The loop's clock goes on whatever becomes of the wall clock, so it is enough that nothing else is looked at."""
    root = Path(mailpool.__file__).parent
    found = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = (
                    node.value.attr
                    if isinstance(node.value, ast.Attribute)
                    else getattr(node.value, "id", "")
                )
                if (owner, node.attr) in READINGS:
                    found.add(path.relative_to(root).as_posix())
            elif isinstance(node, ast.ImportFrom) and node.module == "time":
                assert not {alias.name for alias in node.names} & {"time", "time_ns"}, path
    unknown = {file for file in found if file not in WALL_CLOCK and file.partition("/")[0] not in WALL_CLOCK}
    assert not unknown
    assert {file for file in WALL_CLOCK if file.endswith(".py")} <= found


class Threaded(ScriptedServer):
    """A server in a thread whose loop others can ask whether it has something to do."""

    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        await super().start()

    @staticmethod
    async def answers() -> None:
        """Wait until what has come is answered."""
        await asyncio.sleep(0.05)
        for _ in range(50):
            await asyncio.sleep(0)


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-18")
@pytest.mark.parametrize("pipeline_depth", [1, 8])
async def test_a_blocked_event_loop_costs_no_message(pipeline_depth: int, pass_time: Any) -> None:
    """Longer than a time-out: replies that came meanwhile count, for the server was not late."""
    open_before, tasks, clocks, threads = (
        descriptors(),
        asyncio.all_tasks(),
        timers(),
        threading.active_count(),
    )
    with in_thread(Threaded()) as server:
        transporter = create_transport(
            PATIENT,
            host=HERE,
            port=server.port,
            socket_timeout=1_000,
            # Nobody else is to be late.
            **dict.fromkeys(("connection_timeout", "greeting_timeout", "dns_timeout", "idle_timeout"), 3_000),
            pipeline_depth=pipeline_depth,
        )
        sends = [transporter.send_mail(letter(number)) for number in range(COUNT)]
        blocked = 0
        while not all(send.done() for send in sends):
            await asyncio.sleep(0.02)
            if blocked < 2:
                blocked += 1
                # Our loop stands still until the server has answered all that it was sent, and then it is late.
                asyncio.run_coroutine_threadsafe(server.answers(), server.loop).result()
                pass_time(1_001)
        ends = await asyncio.gather(*sends, return_exceptions=True)
        stats = transporter.stats()
        await transporter.close()
    assert blocked
    assert compare(ends, server.messages) == {"sent": COUNT}
    assert (stats.sent, stats.requeued, stats.queued) == (COUNT, 0, 0)
    assert (asyncio.all_tasks(), timers()) == (tasks, clocks)
    while threading.active_count() > threads:  # that of a look-up ends after it has told what it found
        await asyncio.sleep(0.01)
    assert descriptors() == open_before
