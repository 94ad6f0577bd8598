"""``python -m benchmarks [--quick]``: measure, print, write results, draw plots."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

from . import letters, report
from .full import FULL
from .places import HERE, ROOT
from .plan import Plan
from .quick import QUICK
from .rounds import run_all
from .servers import make_certificate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main ratios only, in about a minute")
    parser.add_argument("--rounds", type=int, default=3, help="how often each client runs (3)")
    parser.add_argument("--name", help="of the results file; by default that of the plan")
    parser.add_argument("--only", action="append", metavar="WORD", help="groups whose title holds this word")
    parser.add_argument("--skip", action="append", metavar="WORD", default=[], help="groups not to run")
    parser.add_argument("--no-plots", action="store_true")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    if arguments.only or arguments.skip:
        plan = _narrowed(plan, arguments.only or [""], arguments.skip)
    rounds = max(1, arguments.rounds)
    with tempfile.TemporaryDirectory(prefix="mailpool-bench-") as folder:
        # smtp-sink and others run as another user and read nothing here; the clients do.
        letters.write(Path(folder))
        make_certificate(Path(folder))
        measured = run_all(plan, rounds, folder)
    print(report.as_text(plan, measured, rounds))
    name = arguments.name or plan.name
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{name}.json").write_text(report.as_json(plan, measured, rounds) + "\n")
    (results / f"{name}.md").write_text(report.as_markdown(plan, measured, rounds))
    if not arguments.no_plots:
        from . import plot

        plot.draw([results / f"{name}.json"], ROOT / "docs" / "img")
    return 1 if measured.errors else 0


def _narrowed(plan: Plan, words: list[str], skipped: list[str]) -> Plan:
    groups = [
        group
        for group in plan.groups
        if any(word in group.title for word in words) and not any(word in group.title for word in skipped)
    ]
    if not groups:
        titles = "\n  ".join(group.title for group in plan.groups)
        sys.exit(f"no group has that in its title; there are:\n  {titles}")
    return dataclasses.replace(plan, groups=groups)


if __name__ == "__main__":
    sys.exit(main())
