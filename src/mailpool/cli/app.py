"""The commands under one name."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from mailpool import __version__

from .demo.command import demo
from .dkim_key import dkim_key
from .send import send
from .services import services
from .token import token
from .verify import verify

# A traceback that shows local variables would show passwords.
app = typer.Typer(
    name="mailpool",
    help="Pooled SMTP: send mail over connections that are kept, and get a true answer for every message.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(send)
app.command()(verify)
app.command()(services)
app.command("dkim-key")(dkim_key)
app.command()(token)
app.command()(demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mailpool {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Say the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    # What the library logs, the commands show in their own way.
    logging.getLogger("mailpool").addHandler(logging.NullHandler())
