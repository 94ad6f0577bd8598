"""The command ``mailpool demo``."""

from __future__ import annotations

import importlib.util
import secrets
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..letters import MailMerge
from ..loop import run
from ..people import People, TableError
from ..relay import CaFile, User, fail_usage, open_relay
from ..template import TemplateError
from . import recipients
from .run import Plan, perform
from .telling import tell

_WIDE = 110  # columns, where there is no terminal to ask


def demo(
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            help="Send through this server in place of the demo's own: real mail.",
            show_default=False,
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", help="Recipients: columns email and name, and any other.", show_default=False),
    ] = None,
    messages: Annotated[int, typer.Option("--messages", min=1, help="How many, without --csv.")] = 3_000,
    max_connections: Annotated[int, typer.Option("--max-connections", min=1)] = 5,
    max_messages: Annotated[int, typer.Option("--max-messages", min=1, help="On one connection.")] = 100,
    close_rate: Annotated[
        float,
        typer.Option("--close-rate", min=0.0, max=1.0, help="Share of messages whose connection is closed."),
    ] = 0.03,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", help="The same seed closes connections at the same places.", show_default=False
        ),
    ] = None,
    sender: Annotated[
        str, typer.Option("--from", help="Whom the mail is from; with --url.")
    ] = recipients.SENDER,
    user: User = None,
    ca_file: CaFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --url: do not ask.")] = False,
    lose: Annotated[int, typer.Option("--lose", min=0, hidden=True)] = 0,
) -> None:
    """Send some thousand messages through the pool to a bad-tempered server, and prove what became of each.

    The server runs on this machine, in a process of its own, with TLS and a login. It closes connections at random:
    in place of replies, in mid-content, after a message is stored but before it says so. At the end the books of both
    sides are compared.

    Exit status: 0 if the proof holds, 1 if not, 2 if the command is wrong, 130 and 143 after Ctrl-C and SIGTERM.
    """
    if url is None:
        _see_to_packages()
    elif csv is None:
        raise fail_usage("with --url, give the recipients too: --csv")
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    out, err = _console(stderr=False), _console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="mailpool-demo-") as folder:
        table = csv if csv is not None else Path(folder) / "recipients.csv"
        if csv is None:
            recipients.write_recipients(table, messages)
        letters = _letters(table, sender)
        options = {}
        if url is not None:
            relay = open_relay(url, user, ca_file).options
            options = {"auth": relay.auth, "tls": relay.tls}
            if not yes:
                typer.confirm(
                    f"Really send {len(letters)} messages through {relay.redacted_url()}?",
                    abort=True,
                    err=True,
                )
        else:
            out.print(
                f"{len(letters)} messages, {max_connections} connections at most, {max_messages} messages on each, "
                f"{close_rate:.0%} of them meet a closing connection (seed {seed})"
            )
        plan = Plan(
            letters=letters,
            max_connections=max_connections,
            max_messages=max_messages,
            seed=seed,
            close_rate=close_rate,
            lose=lose,
            url=url,
            options=options,
        )
        story = run(perform(plan, err))
    tell(story, out)
    if not story.proof.holds:
        err.print("[red]The proof does not hold.[/]")
        raise typer.Exit(1)
    if story.stopped is not None:
        raise typer.Exit(story.stopped.exit_status)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_WIDE)


def _see_to_packages() -> None:
    for name in ("aiosmtpd", "cryptography"):
        if importlib.util.find_spec(name) is None:
            raise fail_usage(f"the demo's server needs {name}: pip install 'mailpool[demo]'")


def _letters(table: Path, sender: str) -> MailMerge:
    try:
        return MailMerge(
            People(table),
            subject=recipients.SUBJECT,
            text=recipients.TEXT,
            html_text=recipients.HTML,
            fields={"from_": sender},
        )
    except (TableError, TemplateError) as error:
        raise fail_usage(str(error)) from None
