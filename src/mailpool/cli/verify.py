"""The command ``mailpool verify``: what a server offers, how it proves who it is, and where the time goes."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailpool import ConfigurationError, SendError, Transporter, Verification

from .loop import run
from .relay import CaFile, Url, User, fail_usage, open_relay

_BAR = 30  # columns of the longest one
_SOON = 21  # days


def verify(
    url: Url = None,
    user: User = None,
    ca_file: CaFile = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for all of it.")] = 30.0,
) -> None:
    """Connect, log in, say goodbye, and tell what was seen; nothing is sent.

    Exit status: 0 if it worked, 1 if not, 2 if the command is wrong.
    """
    transporter = open_relay(url, user, ca_file)
    try:
        found = run(_look(transporter, timeout))
    except SendError as error:
        _tell_failure(error, Console(stderr=True, soft_wrap=True))
        raise typer.Exit(1) from None
    except ConfigurationError as error:  # what is found when it is first used, such as a certificate
        raise fail_usage(str(error)) from None
    except TimeoutError:
        typer.echo(f"no result within {timeout:g} s (--timeout)", err=True)
        raise typer.Exit(1) from None
    _tell(found, Console())


async def _look(transporter: Transporter, timeout: float) -> Verification:
    try:
        async with asyncio.timeout(timeout):
            return await transporter.verify()
    finally:
        await transporter.close()


def _tell_failure(error: SendError, console: Console) -> None:
    console.print(f"[bold red]failed[/] at: {error.phase}")
    if error.reply is not None:
        console.print(f"the server said: {error.reply}", markup=False, highlight=False)
    console.print(str(error), markup=False, highlight=False)
    console.print("it may work later" if error.temporary else "trying again will not help")


def _tell(found: Verification, console: Console) -> None:
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(found):
        # Text, not markup: servers may write what they like.
        facts.add_row(Text(name, style="bold"), Text(value))
    console.print(facts)
    console.print()
    console.print(_times(found))


def _facts(found: Verification) -> list[tuple[str, str]]:
    if found.port == 0:  # not SMTP
        return [("goes out by", found.host), ("says", found.greeting or "nothing")]
    offers = [f"{name} {text}".rstrip() for name, text in found.capabilities.keywords.items()]
    facts = [
        ("server", f"{found.host} port {found.port} ({found.address})"),
        ("greeting", found.greeting),
        ("offers", "\n".join(offers) or "nothing beyond the basics"),
        ("logged in by", found.mechanism or "not at all: no user is given"),
        (
            "TLS",
            f"{found.tls_version}, {found.cipher}"
            if found.tls_version
            else "none: everything is readable on the way",
        ),
    ]
    return facts + (_certificate(found.certificate) if found.certificate else [])


def _certificate(certificate: dict[str, Any]) -> list[tuple[str, str]]:
    names = [value for _, value in certificate.get("subjectAltName", ())]
    ends = ssl.cert_time_to_seconds(certificate["notAfter"])
    left = (ends - datetime.datetime.now(datetime.UTC).timestamp()) / 86_400
    warning = ": renew it soon" if left < _SOON else ""
    return [
        ("certificate of", _name(certificate.get("subject", ()))),
        ("issued by", _name(certificate.get("issuer", ()))),
        ("names", ", ".join(names)),
        ("valid until", f"{certificate['notAfter']}, {left:.0f} days left{warning}"),
    ]


def _name(parts: Any) -> str:
    return ", ".join(f"{key}={value}" for part in parts for key, value in part)


def _times(found: Verification) -> Table:
    table = Table(
        title="Where the time goes", title_justify="left", title_style="bold", box=None, padding=(0, 2)
    )
    table.add_column("step")
    table.add_column("ms", justify="right")
    table.add_column("")
    longest = max(found.timings.values(), default=0.0)
    for step, seconds in found.timings.items():
        length = round(seconds / longest * _BAR) if longest else 0
        table.add_row(str(step), f"{seconds * 1000:.1f}", Text("█" * max(1, length), style="cyan"))
    table.add_row("all", f"{found.total * 1000:.1f}", "")
    return table
