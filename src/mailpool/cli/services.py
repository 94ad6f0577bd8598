"""The command ``mailpool services``: what can be given as ``service``, and what each allows."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailpool import Preset
from mailpool import services as known


def services(
    search: Annotated[
        str | None,
        typer.Argument(help="A part of a name, domain or host, or an e-mail address.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """List the services that are known by name, with what they allow; of a single one, where that comes from.

    Exit status: 0, or 1 if none is found.
    """
    found = known(search)
    if as_json:
        typer.echo(json.dumps([_facts(preset) for preset in found], ensure_ascii=False, indent=2))
    elif found:
        console = Console()
        meant = len(found) == 1 or (search is not None and _is_name(search, found[0]))
        if meant:
            _tell(found[0], console)
        if len(found) > meant:
            _list(found[meant:], console)
    else:
        typer.echo(f"no service is known by {search!r}: give host and port", err=True)
    if not found:
        raise typer.Exit(1)


def _is_name(search: str, preset: Preset) -> bool:
    wanted = search.rpartition("@")[2].strip().lower()
    return wanted in (preset.name, *preset.aliases, *preset.domains)


def _facts(preset: Preset) -> dict[str, Any]:
    facts = {field.name: getattr(preset, field.name) for field in dataclasses.fields(preset)}
    return {**facts, "limits": {name: dataclasses.asdict(limit) for name, limit in preset.limits.items()}}


def _list(found: tuple[Preset, ...], console: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("service", "what", "host", "port", "limits"):
        table.add_column(column, overflow="fold", justify="right" if column == "port" else "left")
    for preset in found:
        limits = "; ".join(f"{name} {_value(limit.value)}" for name, limit in preset.limits.items())
        table.add_row(*map(Text, (preset.name, preset.description, preset.host, str(preset.port), limits)))
    console.print(table)
    if len(found) > 1:
        console.print(f"{len(found)} services; mailpool services NAME tells more about one", highlight=False)


def _tell(preset: Preset, console: Console) -> None:
    tls = {None: "STARTTLS", "required": "STARTTLS, required", "never": "none"}[preset.starttls]
    facts = [
        ("service", preset.name),
        ("what", preset.description),
        ("also called", ", ".join((*preset.aliases, *preset.domains))),
        ("host", f"{preset.host} port {preset.port}"),
        ("TLS", "from the first octet" if preset.secure else tls),
        ("OAuth2", f"tokens of {preset.oauth2}" if preset.oauth2 else ""),
        ("source", f"{preset.source}, {preset.date}"),
        ("note", preset.note or ""),
    ]
    for name, limit in preset.limits.items():
        facts.append((name, f"{_value(limit.value)} ({limit.source}, {limit.date})"))
    table = Table.grid(padding=(0, 2))
    for name, value in facts:
        if value:
            table.add_row(Text(name, style="bold"), Text(value))
    console.print(table)


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
