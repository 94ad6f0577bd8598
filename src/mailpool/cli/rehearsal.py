"""A rehearsal: every message is composed, and none is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import typer

from mailpool import MailpoolError, Transporter

from .letters import Letter

# More than that nobody reads.
_MOST = 1_000


class _Composed(MailpoolError):
    """The message is ready; it does not go any further."""


async def rehearse(letters: Iterable[Letter], transporter: Transporter) -> int:
    """Show the first message and what is wrong with any; returns the exit status."""
    transporter.use("sealed", _stop)
    count = wrong = 0
    try:
        for count, letter in enumerate(letters, start=1):
            if count == 1:
                print(f"From: {letter.from_}\nTo: {letter.address}\nSubject: {letter.subject}\n")
                print(letter.text or letter.html)
            if count % 100 == 0:
                await asyncio.sleep(0)  # so that Ctrl-C is heard
            try:
                await transporter.send_mail(letter)
            except _Composed:
                continue
            except MailpoolError as error:
                wrong += 1
                if wrong <= _MOST:
                    typer.echo(f"row {letter.number}: {error}", err=True)
    finally:
        await transporter.close()
    are = "message is" if wrong == 1 else "messages are"
    print(f"\n{count} messages would go to {_where(transporter)}; {wrong} {are} wrong.")
    return 1 if wrong else 0


def _stop(sealed: object) -> None:
    raise _Composed


def _where(transporter: Transporter) -> str:
    if transporter.carrier is None:
        return transporter.options.redacted_url()
    return str(getattr(transporter.carrier, "name", None) or type(transporter.carrier).__name__)
