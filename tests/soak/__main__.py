"""Mixed traffic with faults for minutes or hours, and flat lines expected: ``make soak``, or ``python tests/soak``.

``--minutes 30`` goes on for longer. Each second it notes memory, descriptors, tasks and latency, writes them to
``build/soak/samples.csv`` and draws ``build/soak/soak.svg``. It fails when the last third of the run differs from the first
by more than a bound, or when the books of client and server do not agree.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gc
import json
import logging
import os
import sys
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from traffic import CANCELLED, MARKED, NOT_SENT, SENT, UNCERTAIN, Traffic, wrong

# At first there is more to do: connections are opened, and memory finds its size.
WARMING = 0.1
# Where others use the machine, not even that is done after some seconds. What each connection left would be far above.
BUSY = {"memory": (1.05, 16.0), "descriptors": (1.2, 24), "tasks": (1.2, 24)}
# How far the last third may be above the first: a factor, and what is added.
BOUNDS = {"memory": (1.05, 3.0), "descriptors": (1.2, 6), "tasks": (1.2, 6), "latency": (2.0, 0.1)}
UNITS = {"memory": "MiB", "descriptors": "", "tasks": "", "latency": "s, median"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One look, after so many seconds; ``latency`` is the median of the messages since the look before, in seconds."""

    seconds: float
    memory: float
    descriptors: int
    tasks: int
    latency: float
    messages: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, metavar="N")
    parser.add_argument("--rate", type=int, default=200, metavar="N", help="messages a second")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), metavar="FOLDER")
    parser.add_argument(
        "--busy",
        action="store_true",
        help="others use this machine: judge latency not at all, and memory less",
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    # What the pool warns of is wanted here, and would tear the bar.
    logging.basicConfig(filename=arguments.out / "soak.log", filemode="w")
    samples, traffic, books, left = asyncio.run(soak(arguments.minutes * 60, arguments.rate, arguments.seed))
    write(samples, arguments.out / "samples.csv")
    draw(samples, arguments.out / "soak.svg")
    return report(samples, traffic, books, left, busy=arguments.busy)


async def soak(
    seconds: float, rate: int, seed: int
) -> tuple[list[Sample], Traffic, dict[str, Any], list[str]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    server = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("soak_server.py")), str(seed),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 28,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        told = json.loads(await server.stdout.readline())
        tasks, descriptors = len(asyncio.all_tasks()), _descriptors()
        traffic = Traffic(told, seed=seed, rate=rate)
        samples: list[Sample] = []
        started = time.monotonic()
        traffic.begin()
        columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
        with Progress(*columns) as progress:
            bar = progress.add_task("soaking", total=seconds)
            while (gone := time.monotonic() - started) < seconds:
                await asyncio.sleep(1)
                samples.append(_sample(time.monotonic() - started, traffic))
                progress.update(bar, completed=gone, description=f"{samples[-1].messages:,} messages")
        async with asyncio.timeout(200):
            await traffic.end()
        await asyncio.sleep(0.1)
        left = []
        if len(asyncio.all_tasks()) > tasks:
            left.append(f"{len(asyncio.all_tasks()) - tasks} tasks are left")
        if _descriptors() > descriptors:
            left.append(f"{_descriptors() - descriptors} descriptors are left")
        server.stdin.close()
        return samples, traffic, json.loads(await server.stdout.readline()), left
    finally:
        server.stdin.close()
        await server.wait()


def _sample(seconds: float, traffic: Traffic) -> Sample:
    gc.collect()
    latencies, traffic.latencies = traffic.latencies, []
    return Sample(
        round(seconds, 2),
        round(_memory(), 2),
        _descriptors(),
        len(asyncio.all_tasks()),
        round(median(latencies), 4) if latencies else 0.0,
        len(traffic.fates),
    )


def _memory() -> float:
    """What of this process is in memory, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def thirds(samples: list[Sample], name: str) -> tuple[float, float]:
    """The medians of the first and of the last third, without the time of warming."""
    values = [getattr(sample, name) for sample in samples[int(len(samples) * WARMING) :]]
    size = max(1, len(values) // 3)
    return median(values[:size]), median(values[-size:])


def report(
    samples: list[Sample], traffic: Traffic, books: dict[str, Any], left: list[str], *, busy: bool
) -> int:
    tally, copies = traffic.tally(), books["copies"]
    faults = sum(books["struck"].values())
    print(
        f"{len(traffic.fates):,} messages in {samples[-1].seconds:.0f} s, {faults:,} faults of {len(books['struck'])} kinds"
    )
    for name, fate in (
        ("sent", SENT), ("sent, and marked as perhaps doubled", MARKED), ("uncertain", UNCERTAIN),
        ("refused or not sent", NOT_SENT), ("cancelled", CANCELLED),
    ):  # fmt: skip
        print(f"{tally[fate]:10,} {name}")
    complaints = wrong(traffic.fates, copies)
    print(f"{len(complaints):10,} lost, doubled without a mark, or told wrong")
    complaints += left
    print(f"\n{'':12}{'first third':>14}{'last third':>14}{'bound':>10}")
    for name in BOUNDS:
        first, last = thirds(samples, name)
        factor, more = BUSY.get(name, BOUNDS[name]) if busy else BOUNDS[name]
        bound = first * factor + more
        flat = last <= bound
        if not flat and not (busy and name == "latency"):
            complaints.append(f"{name} rose from {first:g} to {last:g}, and {bound:g} is the bound")
        print(f"{name:12}{first:14.3f}{last:14.3f}{bound:10.3f} {UNITS[name]}")
    for complaint in complaints[:20]:
        print(complaint)
    print("FAILED" if complaints else "flat, and nothing lost")
    return bool(complaints)


def write(samples: list[Sample], path: Path) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(field.name for field in fields(Sample))
        rows.writerows(astuple(sample) for sample in samples)


def draw(samples: list[Sample], path: Path) -> None:
    """Draw one line for each thing that is measured, where matplotlib is installed."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib is not installed; make soak installs it", file=sys.stderr)
        return
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "mailpool"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(BOUNDS), 1, sharex=True, figsize=(8, 7), layout="constrained")
    for axis, name in zip(axes, BOUNDS, strict=True):
        axis.plot([s.seconds for s in samples], [getattr(s, name) for s in samples], linewidth=1)
        axis.set_ylim(bottom=0)
        axis.set_ylabel(f"{name} {UNITS[name]}".strip())
    axes[-1].set_xlabel("seconds")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
