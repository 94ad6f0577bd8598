"""Plots from results files: ``python -m benchmarks.plot benchmarks/results/full.json``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

OURS, THEIRS = "#1f6feb", "#9aa4af"

# Key of the run and what it is called in the plot.
_RATES = (
    ("replay", "replay in C, prepared"),
    ("prepared", "mailpool, prepared"),
    ("source", "smtp-source (C), prepared"),
    ("smtplib-prepared", "smtplib, prepared"),
    ("aiosmtplib-prepared", "aiosmtplib, prepared"),
    ("nodemailer-prepared", "Nodemailer, prepared"),
    ("uvloop", "mailpool, uvloop, composed"),
    ("asyncio", "mailpool, asyncio, composed"),
    ("nodemailer", "Nodemailer, composed"),
    ("smtplib", "smtplib, composed"),
    ("aiosmtplib", "aiosmtplib, composed"),
)
_FAR = (
    ("depth-32", "mailpool, CHUNKING, depth 32"),
    ("depth-8", "mailpool, CHUNKING, depth 8"),
    ("depth-1", "mailpool, CHUNKING"),
    ("far-mailpool", "mailpool, PIPELINING only"),
    ("far-nodemailer", "Nodemailer"),
    ("far-source", "smtp-source (C)"),
    ("far-aiosmtplib", "aiosmtplib"),
)
_MEMORY = (
    ("queued-mailpool", "mailpool, 20,000 queued"),
    ("queued-nodemailer", "Nodemailer, 20,000 queued"),
    ("million", "mailpool, 1,000,000 by send_many"),
)
_DISTANCES = (
    ("mailpool", ("uvloop", "near-mailpool", "far-mailpool")),
    ("Nodemailer", ("nodemailer", "near-nodemailer", "far-nodemailer")),
    ("aiosmtplib", ("aiosmtplib", "near-aiosmtplib", "far-aiosmtplib")),
    ("smtp-source (C)", ("source", "near-source", "far-source")),
)

Lines = Sequence[tuple[str, str]]


class Results:
    """The medians of some results files."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._rounds: list[dict[str, Any]] = []
        for file in files:
            self._rounds += json.loads(file.read_text())["figures"]

    def figure(self, key: str, name: str) -> float | None:
        found = [figures[key][name] for figures in self._rounds if key in figures]
        return median(found) if found else None

    def bars(self, lines: Lines, name: str) -> list[tuple[str, float]]:
        return [(label, found) for key, label in lines if (found := self.figure(key, name)) is not None]


def draw(files: Sequence[Path], folder: Path) -> list[Path]:
    """Draw what the files have figures for; returns what was written."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "x"}
    )
    results = Results(files)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []

    def save(name: str) -> None:
        path = folder / f"speed-{name}.svg"
        plt.savefig(path, bbox_inches="tight", metadata={"Date": None})
        plt.close()
        written.append(path)

    def bars(name: str, lines: Lines, figure: str, title: str, unit: str, *, log: bool = False) -> None:
        found = results.bars(lines, figure)
        if len(found) < 2:
            return
        found.reverse()
        _, axes = plt.subplots(figsize=(7, 0.34 * len(found) + 0.9))
        labels = [label for label, _ in found]
        numbers = [number for _, number in found]
        colours = [OURS if label.startswith("mailpool") else THEIRS for label in labels]
        drawn = axes.barh(labels, numbers, color=colours, log=log)
        shown = [f"{number:,.0f}" if number >= 10 else f"{number:.2g}" for number in numbers]
        axes.bar_label(drawn, shown, padding=3)
        axes.margins(x=0.12)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel(unit)
        save(name)

    bars("rate", _RATES, "settled", "Messages per second, no latency, smtp-sink, 5 connections", "messages/s")
    bars("far", _FAR, "settled", "100 ms round trip, 5 connections", "messages/s, logarithmic", log=True)
    bars("cpu", _RATES, "cpu", "CPU of the client", "seconds per 1,000 messages (ms per message)")
    bars("memory", _MEMORY, "peak", "Peak memory of the client", "MB")
    _distances(results, plt, save)
    return written


def _distances(results: Results, plt: Any, save: Any) -> None:
    """Messages per second by round trip."""
    _, axes = plt.subplots(figsize=(7, 3.2))
    complete = False
    for label, keys in _DISTANCES:
        found = [results.figure(key, "settled") for key in keys]
        points = [(trip, number) for trip, number in zip((0, 20, 100), found, strict=True) if number]
        complete = complete or len(points) == 3
        axes.plot(*zip(*points, strict=True), marker="o", label=label, lw=2.2 if label == "mailpool" else 1.2)
    if not complete:
        plt.close()
        return
    axes.set_yscale("log")
    axes.set_xticks((0, 20, 100), ("0 ms", "20 ms", "100 ms"))
    axes.set_xlabel("round trip")
    axes.set_ylabel("messages/s, logarithmic")
    axes.set_title(
        "Messages per second by round trip, PIPELINING only, 5 connections", loc="left", fontsize=10
    )
    axes.legend(frameon=False)
    save("round-trip")


if __name__ == "__main__":
    for path in draw([Path(name) for name in sys.argv[1:]], Path(__file__).parents[1] / "docs" / "img"):
        print(path)
