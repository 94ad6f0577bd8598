"""Plays scenarios made of seeds, and judges each: ``make simulate``, or ``python tests/simulate``.

``--seeds N`` plays so many, ``--from N`` begins there. ``--seed N`` plays one, and ``--trace`` prints what happened in it. The
same seed is the same scenario on every machine.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from verdict import Verdict, verdict

# What a process is given at once: enough to keep it busy, and little enough for the bar to move.
BATCH = 20
# Seconds of computing after which a scenario counts as one that does not end; most take a fiftieth of one.
LONGEST = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, metavar="N")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="N")
    parser.add_argument("--seed", type=int, metavar="N", help="only this one")
    parser.add_argument("--trace", action="store_true", help="with --seed: print the transcript")
    parser.add_argument(
        "--at-once", type=int, default=os.cpu_count() or 1, metavar="N", help="so many processes"
    )
    parser.add_argument("--stop", action="store_true", help="at the first seed that fails; no bar")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return one(arguments.seed, trace=arguments.trace)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    return until_failure(seeds) if arguments.stop else many(seeds, arguments.at_once)


def one(seed: int, *, trace: bool) -> int:
    """Play one seed, and print what is wrong with it."""
    found = verdict(seed, transcript=trace)
    if trace:
        print(found.scenario)
        for line in found.transcript:
            print(line)
    for complaint in found.complaints:
        print(f"seed {seed}: {complaint}")
    print(
        f"seed {seed}: {found.messages} messages, {'FAILED' if found.complaints else 'all promises kept'}, {found.fingerprint}"
    )
    return bool(found.complaints)


def until_failure(seeds: Iterable[int]) -> int:
    """Play until one fails, and print which; for looking whether a change is noticed."""

    def too_long(*_: object) -> None:
        print(f"{seed}\tit does not end", flush=True)
        os._exit(1)

    signal.signal(signal.SIGVTALRM, too_long)
    for seed in seeds:
        signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
        found = verdict(seed)
        if found.complaints:
            print(f"{seed}\t{found.complaints[0]}", flush=True)
            return 1
    return 0


def many(seeds: range, at_once: int) -> int:
    """Play all of them, in several processes, with a bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    started = time.perf_counter()
    totals: Counter[str] = Counter()
    failed: list[Verdict] = []
    batches = [seeds[start : start + BATCH] for start in range(0, len(seeds), BATCH)]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with ProcessPoolExecutor(at_once) as processes, Progress(*columns) as progress:
        bar = progress.add_task("scenarios", total=len(seeds))
        for found in processes.map(play, batches):
            progress.advance(bar, len(found))
            for each in found:
                totals += Counter(each.counts)
                if each.complaints:
                    failed.append(each)
                    progress.console.print(f"seed {each.seed}: {each.complaints[0]}", markup=False)
    seconds = time.perf_counter() - started
    print(
        f"{len(seeds):,} scenarios in {seconds:.0f} s, {totals['virtual seconds'] / 86_400:.0f} days on their clocks:"
    )
    for name, count in totals.items():
        print(f"{count:12,} {name}")
    print(f"{len(failed):12,} scenarios with a broken promise")
    for each in failed[:20]:
        print(f'  make simulate ARGS="--seed {each.seed} --trace"')
    return bool(failed)


def play(seeds: range) -> list[Verdict]:
    found = [verdict(seed) for seed in seeds]
    gc.collect()
    return found


if __name__ == "__main__":
    sys.exit(main())
