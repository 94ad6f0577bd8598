"""``VirtualLoop`` and ``run_virtual``: time without waiting, and nothing left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from mailpool.net.beside import in_daemon_thread
from mailpool.testing import Deadlock, LeftBehind, VirtualLoop, run_virtual


def clock() -> float:
    return asyncio.get_running_loop().time()


def test_an_hour_takes_no_time_and_is_exact() -> None:
    async def main() -> float:
        for _ in range(3600):
            await asyncio.sleep(1)
        return clock()

    began = time.monotonic()
    assert run_virtual(main) == 3600
    assert time.monotonic() - began < 1_800


def test_days_pass_although_the_loop_looks_up_each_day() -> None:
    async def main() -> float:
        await asyncio.sleep(400_000)
        return clock()

    assert run_virtual(main, timeout=None, start=5.0) == 400_005


def test_timers_run_in_order() -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def note(name: str, delay: float) -> None:
            await asyncio.sleep(delay)
            seen.append(f"{name}@{clock():g}")

        await asyncio.gather(note("c", 30), note("a", 0.001), note("b", 10))
        return seen

    assert run_virtual(main()) == ["a@0.001", "b@10", "c@30"]


def test_a_wait_for_nothing_is_told_with_its_place() -> None:
    async def hopeless() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match=r"at 0 s(.|\n)*hopeless"):
        run_virtual(hopeless, timeout=None)


def test_a_timeout_is_virtual_too() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        run_virtual(main, timeout=500)


def test_a_task_left_behind_is_told() -> None:
    async def main() -> None:
        main.task = asyncio.create_task(asyncio.sleep(50), name="forgotten")

    with pytest.raises(LeftBehind, match="forgotten"):
        run_virtual(main)


def test_a_timer_left_behind_is_told_if_asked_for() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(50, print)

    run_virtual(main)
    with pytest.raises(LeftBehind, match="timers"):
        run_virtual(main, timers=True)


def test_an_error_in_a_callback_is_told() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(LeftBehind, match="ZeroDivisionError"):
        run_virtual(main)


def test_the_error_of_the_test_itself_comes_first() -> None:
    async def main() -> None:
        main.task = asyncio.create_task(asyncio.sleep(50))
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_virtual(main)


def test_the_clock_stands_still_while_a_login_is_worked_out_by_a_thread() -> None:
    async def main() -> float:
        async with asyncio.timeout(1):
            await in_daemon_thread(lambda: time.sleep(0.02), "the work")
        return clock()

    assert run_virtual(main) == 0


def test_threads_are_waited_for_while_the_clock_stands_still() -> None:
    async def main() -> tuple[str, float]:
        waiting = asyncio.create_task(asyncio.sleep(100))
        result = await asyncio.to_thread(lambda: time.sleep(0.02) or "done")
        passed = clock()
        await waiting
        return result, passed

    assert run_virtual(main) == ("done", 0)


def test_generators_are_closed_and_the_loop_too() -> None:
    closed: list[bool] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> int:
        loops.append(asyncio.get_running_loop())
        iterator = numbers()
        return await anext(aiter(iterator))

    assert run_virtual(main) == 1
    assert closed == [True]
    assert loops[0].is_closed()


def test_the_loop_alone() -> None:
    loop = VirtualLoop(start=7)
    try:
        loop.run_until_complete(asyncio.sleep(3))
        assert loop.time() == 10
        with pytest.raises(Deadlock):
            loop.run_until_complete(loop.create_future())
    finally:
        loop.close()
