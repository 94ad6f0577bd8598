"""How the command line is told where to send."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mailpool import ConfigurationError, Transporter, create_transport

URL_HELP = (
    "smtp://user:password@host:587, or smtps:// for TLS from the first byte; options follow after ?. "
    "Better in the environment when it holds a password: other users see the arguments of programs."
)
Url = Annotated[str | None, typer.Option("--url", envvar="MAILPOOL_URL", help=URL_HELP, show_default=False)]
User = Annotated[
    str | None,
    typer.Option(
        "--user",
        help="Who to log in as; the password comes from MAILPOOL_PASSWORD, or is asked for.",
        show_default=False,
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca-file", help="Trust these authorities (PEM) in place of the system's.", show_default=False
    ),
]


def fail_usage(message: str) -> typer.Exit:
    """Say what is wrong with what was asked; raise what is returned."""
    typer.echo(f"mailpool: {message}", err=True)
    return typer.Exit(2)


def open_relay(url: str | None, user: str | None, ca_file: Path | None, **options: Any) -> Transporter:
    """A transporter; nothing is connected yet. Whatever is wrong ends the program with status 2."""
    if not url:
        raise fail_usage("where to? Give --url, or set MAILPOOL_URL, such as smtp://localhost:25")
    if user is not None:
        options["auth"] = (user, _password(user))
    if ca_file is not None:
        options["tls"] = {"ca_file": str(ca_file)}
    try:
        return create_transport(url, **{name: value for name, value in options.items() if value is not None})
    except ConfigurationError as error:
        raise fail_usage(str(error)) from None


def _password(user: str) -> str:
    password = os.environ.get("MAILPOOL_PASSWORD")
    if password:
        return password
    if not sys.stdin.isatty():
        raise fail_usage(f"no password for {user}: set MAILPOOL_PASSWORD")
    asked: str = typer.prompt(f"Password of {user}", hide_input=True, err=True)
    return asked
