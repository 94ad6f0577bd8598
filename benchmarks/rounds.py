"""Rounds: each run once in each, in an order that changes, so that a noisy minute hits all alike."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from .places import NotAvailable
from .plan import Group, Plan
from .processes import BenchmarkError
from .run import Figure, Run, measure


@dataclass
class Measured:
    """The figures of each round by the key of the run, and what could not be measured."""

    rounds: list[dict[str, Figure]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # a peer is not to be had here
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Progress:
    """One line that changes on a terminal; elsewhere a line for each group."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._last = ""
        self._terminal = sys.stderr.isatty()

    def show(self, what: str, group: str) -> None:
        if self._terminal:
            line = f"[{self._done + 1}/{self._steps}] {what}"
            print(f"\r{line:<{len(self._last)}}", end="", file=sys.stderr, flush=True)
            self._last = line
        elif group != self._last:
            print(f"[{self._done + 1}/{self._steps}] {group}", file=sys.stderr, flush=True)
            self._last = group
        self._done += 1

    def end(self) -> None:
        if self._terminal:
            print(f"\r{'':<{len(self._last)}}\r", end="", file=sys.stderr, flush=True)


def run_all(plan: Plan, rounds: int, folder: str) -> Measured:
    """All groups of all rounds, one group after another."""
    measured = Measured(rounds=[{} for _ in range(rounds)])
    steps = sum(
        min(rounds, group.rounds) * (1 if group.at_once else len(group.runs)) for group in plan.groups
    )
    progress = Progress(steps)
    started = time.monotonic()
    for group in plan.groups:
        for number in range(min(rounds, group.rounds)):
            for runs in _order(group, number):
                progress.show(f"{group.title}: {runs[0].label}", group.title)
                _measure(runs, measured, number, folder)
    progress.end()
    measured.seconds = time.monotonic() - started
    return measured


def _order(group: Group, number: int) -> list[list[Run]]:
    if group.at_once:
        return [list(group.runs)]
    turned = list(group.runs[number % len(group.runs) :]) + list(group.runs[: number % len(group.runs)])
    return [[run] for run in turned]


def _measure(runs: list[Run], measured: Measured, number: int, folder: str) -> None:
    runs = [run for run in runs if run.key not in measured.missing]
    if not runs:
        return
    try:
        figures = measure(runs, folder)
    except NotAvailable as reason:
        if len(runs) > 1:
            for run in runs:
                _measure([run], measured, number, folder)
        else:
            measured.missing[runs[0].key] = str(reason)
    except BenchmarkError as error:
        measured.errors.append(f"{', '.join(run.label for run in runs)}: {error}")
    else:
        measured.rounds[number].update(zip((run.key for run in runs), figures, strict=True))
