"""Breaks the pool in one way after the other, in a copy of the source, and sees that the simulation notices.

``make mutants``, or ``python tests/simulate/mutants.py [WORD …]``. The seed that noticed is kept in ``found.json`` and tried
first the next time; ``--search`` looks for the lowest one anew. What no seed notices is a hole in the oracle, or no harm.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mutations import MUTATIONS, Mutation

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "src" / "mailpool"
FOUND = HERE / "found.json"


class Notice(NamedTuple):
    """The seed that noticed, None if none did, and what it said."""

    seed: int | None
    words: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/simulate/mutants.py", description=__doc__)
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only mutations whose name holds one of these"
    )
    parser.add_argument("--search", action="store_true", help="do not begin with the seeds that are known")
    parser.add_argument("--seeds", type=int, default=2_000, metavar="N", help="try so many")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, metavar="N")
    arguments = parser.parse_args()
    words = arguments.words
    chosen = [m for m in MUTATIONS if not words or any(word in m.name for word in words)]
    known: dict[str, int] = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    missed = 0
    with ThreadPoolExecutor(arguments.at_once) as threads:

        def attempt(mutation: Mutation) -> Notice:
            seed = None if arguments.search else known.get(mutation.name)
            return tried(mutation, seed, arguments.seeds)

        for mutation, notice in zip(chosen, threads.map(attempt, chosen), strict=True):
            if notice.seed is None:
                missed += 1
                known.pop(mutation.name, None)
            else:
                known[mutation.name] = notice.seed
            seed = "BAD" if notice.seed is None else f"seed {notice.seed}"
            print(f"{seed:>10}  {mutation.name:<68} {notice.words}", flush=True)
    kept = {mutation.name: known[mutation.name] for mutation in MUTATIONS if mutation.name in known}
    FOUND.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"{len(chosen)} mutations, {missed} that no seed noticed")
    return min(missed, 1)


def tried(mutation: Mutation, known: int | None, seeds: int) -> Notice:
    """Break a copy of the source, and play until a seed notices."""
    with tempfile.TemporaryDirectory(prefix="mailpool-mutants-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(SOURCE, source / "mailpool", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        try:
            mutation.apply(source / "mailpool")
        except ValueError as error:
            return Notice(None, str(error))
        for first, count in [(known, 1)] * (known is not None) + [(0, seeds)]:
            notice = _played(source, first or 0, count)
            if notice.seed is not None or notice.words:
                return notice
    return Notice(None, f"{seeds} seeds notice nothing")


def _played(source: Path, first: int, count: int) -> Notice:
    command = [sys.executable, str(HERE), "--stop", "--from", str(first), "--seeds", str(count)]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Notice(None, "")
    seed, tab, words = done.stdout.partition("\t")
    if not tab:
        return Notice(None, f"the simulation does not start: {done.stderr.strip()[-200:]}")
    return Notice(int(seed), words.strip().splitlines()[0][:110])


if __name__ == "__main__":
    sys.exit(main())
