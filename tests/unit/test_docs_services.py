"""The table of services is that of the code. Run as a program, this file writes it anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mailpool import Preset, services

PAGE = Path(__file__).parents[2] / "docs" / "services.md"
HEADER = "| service | also | host | port | limits and notes |\n|---|---|---|---|---|\n"


def table() -> str:
    return HEADER + "".join(_row(preset) for preset in services())


def _row(preset: Preset) -> str:
    names = ", ".join((*preset.aliases, *preset.domains))
    told = [
        f"`{name}` {_value(limit.value)} ({limit.source})"
        for name, limit in preset.limits.items()
    ]  # fmt: skip
    told += [preset.note] if preset.note else []
    told += ["No TLS."] if preset.starttls == "never" else []
    port = f"{preset.port}{'*' if preset.secure else ''}"
    cells = (f"`{preset.name}`", names, preset.host, port, "; ".join(told))
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |")


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def test_the_table_is_that_of_the_code() -> None:
    assert table() in PAGE.read_text("utf-8"), f"run: python {Path(__file__).name}"


def test_every_field_of_a_preset_is_told() -> None:
    text = PAGE.read_text("utf-8")
    assert [field.name for field in dataclasses.fields(Preset) if f"`{field.name}`" not in text] == []


if __name__ == "__main__":
    before = PAGE.read_text("utf-8").partition("| service |")[0]
    PAGE.write_text(before + table(), "utf-8")
