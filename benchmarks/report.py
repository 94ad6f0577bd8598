"""The results as text, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from .places import NotAvailable, cores
from .plan import Group, Plan, Ratio, across, value
from .rounds import Measured
from .run import BUSY, as_dict

Row = Sequence[str]

RUN_HEAD = ("client", "messages/s", "CPU, ms/message", "peak, MB", "server busy")
RATIO_HEAD = ("measure", "mailpool", "other", "ratio", "of the rounds", "by CPU", "aim", "")


def run_rows(group: Group, measured: Measured) -> list[Row]:
    """A line for each run: medians over the rounds."""
    rows: list[Row] = []
    for run in group.runs:
        figure = across(measured.rounds, run.key)
        if figure is None:
            rows.append((run.label, measured.missing.get(run.key, "failed"), "", "", ""))
            continue
        composing = run.server == "none"
        limit = " (the limit)" if figure.server_is_the_limit else ""
        rows.append(
            (
                run.label,
                f"{figure.settled:,.0f}" if figure.settled >= 100 else f"{figure.settled:.1f}",
                f"{figure.cpu:.3f}",
                f"{figure.peak:.0f}",
                "" if composing else f"{figure.server_busy:.0%}{limit}",
            )
        )
    return rows


def ratio_rows(plan: Plan, measured: Measured) -> list[Row]:
    """A line for each aim."""
    return [row for ratio in plan.ratios if (row := _ratio_row(ratio, measured)) is not None]


def _ratio_row(ratio: Ratio, measured: Measured) -> Row | None:
    found = ratios_of(ratio, measured)
    if not found:
        return None
    middle = median(found)
    aim = f"{'≤' if ratio.most else '≥'} {_shown(ratio, ratio.aim)}"
    spread = f"{_shown(ratio, min(found))} to {_shown(ratio, max(found))}" if len(found) > 1 else "one round"
    figures = [_figure(ratio, key, measured) for key in (ratio.ours, ratio.theirs)]
    if ratio.kind in ("figure", "spread"):
        figures = ["", ""]
    met = "met" if ratio.met(middle) else "not met"
    return ratio.title, *figures, _shown(ratio, middle), spread, _by_cpu(ratio, measured), aim, met


def ratios_of(ratio: Ratio, measured: Measured) -> list[float]:
    return [found for figures in measured.rounds if (found := ratio.of(figures)) is not None]


def _by_cpu(ratio: Ratio, measured: Measured) -> str:
    """The same by CPU time of the clients, which a machine that others use as well hardly changes."""
    if not ratio.by_cpu or ratio.theirs is None:
        return ""
    pairs = [(figures.get(ratio.ours), figures.get(ratio.theirs)) for figures in measured.rounds]
    found = [theirs.cpu / ours.cpu for ours, theirs in pairs if ours and theirs and ours.cpu]
    return f"{median(found):.3g} ×" if found else ""


def _figure(ratio: Ratio, key: str | None, measured: Measured) -> str:
    figure = across(measured.rounds, key) if key else None
    if figure is None:
        return ""
    if ratio.measure == "peak":
        return f"{figure.peak:.0f} MB"
    if ratio.measure == "octets":
        return f"{figure.octets / 1e6:.0f} MB/s"
    if ratio.measure == "cpu":
        return f"{figure.cpu:,.3g} ms"
    if "compos" in ratio.title and ratio.measure == "settled":
        return f"{value(figure, 'compose'):.1f} µs"
    number = value(figure, ratio.measure)
    return f"{number:,.0f}/s" if number >= 100 else f"{number:.1f}/s"


def _shown(ratio: Ratio, number: float) -> str:
    if ratio.kind == "loss":
        return f"{number:.2%}"
    if ratio.kind == "figure":
        return f"{number:.0f}"
    return f"{number:.3g} ×"


def text_table(head: Row, rows: Sequence[Row]) -> str:
    """Columns that line up; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        )
        for row in (head, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(head: Row, rows: Sequence[Row]) -> str:
    align = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, align, *rows))


def conditions(measured: Measured, rounds: int) -> str:
    """On what and with what it ran."""
    machine = machine_facts()
    servers, clients = cores()
    shared = "the same core" if servers == clients else f"core {min(servers)} and {min(clients)}"
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores (server and client: {shared}), load {measured_load(machine)}; {versions}; "
        f"{rounds} rounds, {measured.seconds:.0f} s"
    )


def measured_load(machine: dict[str, Any]) -> str:
    return f"{machine['load']:.1f} at the end"


def machine_facts() -> dict[str, Any]:
    versions = {"Python": platform.python_version()}
    for name in ("mailpool", "uvloop"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    try:
        from .places import compiled

        compiled()
        versions["mailpool"] += " with its hot path compiled"
    except NotAvailable as reason:
        versions["mailpool"] += f" as it is ({reason})"
    try:
        from .peers.nodemailer import version as nodemailer_version
        from .places import python_peers

        versions["Nodemailer"] = nodemailer_version()
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=10, check=False)
        versions["Node.js"] = node.stdout.strip().removeprefix("v")
        found = sorted(python_peers().glob("aiosmtplib-*.dist-info"))
        versions["aiosmtplib"] = found[-1].name.split("-")[1].removesuffix(".dist")
    except (NotAvailable, OSError, IndexError):
        pass
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "versions": versions,
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def as_text(plan: Plan, measured: Measured, rounds: int) -> str:
    """What is printed."""
    parts = [conditions(measured, rounds)]
    parts += [f"{group.title}\n{text_table(RUN_HEAD, run_rows(group, measured))}" for group in plan.groups]
    parts.append(
        f"ratios inside this run, medians of the rounds\n{text_table(RATIO_HEAD, ratio_rows(plan, measured))}"
    )
    busy = [row[0] for group in plan.groups for row in run_rows(group, measured) if "limit" in row[-1]]
    if busy:
        parts.append(
            f"The server worked for more than {BUSY:.0%} of the time, and was the limit: {', '.join(busy)}"
        )
    parts += [f"not measured: {key}: {why}" for key, why in measured.missing.items()]
    parts += [f"ERROR, no figure: {error}" for error in measured.errors]
    return "\n\n".join(parts)


def as_markdown(plan: Plan, measured: Measured, rounds: int) -> str:
    parts = [markdown_table(RATIO_HEAD, ratio_rows(plan, measured))]
    for group in plan.groups:
        parts += [f"**{group.title}**", markdown_table(RUN_HEAD, run_rows(group, measured))]
    parts.append(conditions(measured, rounds) + ".")
    return "\n\n".join(parts) + "\n"


def as_json(plan: Plan, measured: Measured, rounds: int) -> str:
    return json.dumps(
        {
            "plan": plan.name,
            "machine": machine_facts(),
            "seconds": round(measured.seconds, 1),
            "rounds": rounds,
            "runs": {run.key: as_dict(run) for group in plan.groups for run in group.runs},
            "figures": [
                {key: _rounded(dataclasses.asdict(figure)) for key, figure in figures.items()}
                for figures in measured.rounds
            ],
            "ratios": [
                {
                    "title": ratio.title,
                    "ratios": [round(found, 4) for found in ratios_of(ratio, measured)],
                    "aim": ratio.aim,
                    "at_most": ratio.most,
                }
                for ratio in plan.ratios
            ],
            "missing": measured.missing,
            "errors": measured.errors,
        },
        indent=1,
    )


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{number:.5g}") for name, number in figures.items()}
