"""The command ``mailpool send``: one message, or one for each row of a table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

from mailpool import AddressError, Attachment, Mailbox, Transporter

from .batch import Batch
from .letters import Letter, MailMerge
from .live import Watch, showing
from .loop import run
from .people import People, TableError
from .relay import CaFile, Url, User, fail_usage, open_relay
from .stop import Stop
from .tally import Tally
from .template import TemplateError

_FILE = {"exists": True, "dir_okay": False, "readable": True}


def send(
    url: Url = None,
    sender: Annotated[str, typer.Option("--from", help="Whom it is from.")] = "",
    to: Annotated[
        list[str] | None, typer.Option("--to", help="Whom it is for; may be repeated.", show_default=False)
    ] = None,
    subject: Annotated[str, typer.Option("--subject", help="With --csv, {column} is filled in.")] = "",
    text: Annotated[
        str | None, typer.Option("--text", help="With --csv, {column} is filled in.", show_default=False)
    ] = None,
    text_file: Annotated[
        Path | None,
        typer.Option("--text-file", help="The text, from a file (UTF-8).", show_default=False, **_FILE),
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option(
            "--html-file", help="The HTML (UTF-8); values are escaped.", show_default=False, **_FILE
        ),
    ] = None,
    attach: Annotated[
        list[Path] | None,
        typer.Option("--attach", help="A file; may be repeated.", show_default=False, **_FILE),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="One message for each row: a column email, often name, and any other that the texts use as {column}. "
            "Write {{ and }} for braces.",
            show_default=False,
            **_FILE,
        ),
    ] = None,
    user: User = None,
    ca_file: CaFile = None,
    max_connections: Annotated[
        int | None, typer.Option("--max-connections", min=1, help="5 if not given.", show_default=False)
    ] = None,
    max_messages: Annotated[
        int | None,
        typer.Option(
            "--max-messages", min=1, help="On one connection; 100 if not given.", show_default=False
        ),
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", help="Such as 14/s, 30/min, 10000/day.", show_default=False)
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="Write what became of each message here (CSV).",
            show_default=False,
            dir_okay=False,
        ),
    ] = None,
    grace: Annotated[
        float, typer.Option("--grace", min=0.0, help="Seconds from SIGTERM or Ctrl-C to the end.")
    ] = 10.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, show the first message, send nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; the summary only.")] = False,
) -> None:
    """Send one message, or one for each row of a CSV file, and say what became of every one.

    The first SIGTERM or Ctrl-C stops taking new rows and lets what is under way finish within --grace seconds; the
    second closes at once. The report accounts for every row either way: accepted, rejected, deferred (the server said
    "later"), uncertain (the connection was lost before the server's answer) or not sent.

    Exit status: 0 if every message was accepted, 1 if some were not, 2 if the command is wrong and nothing was sent,
    130 after Ctrl-C and 143 after SIGTERM unless every message was accepted by then.
    """
    fields: dict[str, Any] = {"from_": _sender(sender)}
    if text is not None and text_file is not None:
        raise fail_usage("--text and --text-file are the same thing; give one")
    text = _content(text_file) if text_file is not None else text
    html_text = _content(html_file) if html_file is not None else None
    if text is None and html_text is None:
        raise fail_usage("what shall it say? Give --text, --text-file or --html-file")
    if attach:
        # Read once, not once for each row.
        fields["attachments"] = [Attachment(content=_octets(path), filename=path.name) for path in attach]
    if (csv is None) == (not to):
        raise fail_usage("whom is it for? Give either --to or --csv")
    letters: MailMerge | list[Letter]
    if csv is not None:
        letters = _merge(csv, subject, text, html_text, fields)
    else:
        letters = [
            Letter(
                number=1,
                address=", ".join(to or ()),
                to=to,
                subject=subject,
                text=text,
                html=html_text,
                **fields,
            )
        ]
    transporter = open_relay(
        url, user, ca_file, pool=True, max_connections=max_connections, max_messages=max_messages, rate=rate
    )
    if dry_run:
        _rehearse(letters, transporter)
        return
    with _opened(report) as file:
        status = run(_send(_Job(transporter, letters, Tally(len(letters), file), grace, quiet)))
    raise typer.Exit(status)


@dataclass(frozen=True, slots=True)
class _Job:
    transporter: Transporter
    letters: MailMerge | list[Letter]
    tally: Tally
    grace: float
    quiet: bool


async def _send(job: _Job) -> int:
    """Do it; returns the exit status."""
    console, tally = Console(stderr=True), job.tally
    watch, stop = Watch(tally, job.transporter), Stop()
    stop.asked.add_done_callback(
        lambda _: console.print(
            f"{stop.signal_name}: taking no more; at most {job.grace:g} s for what is under way. Once more ends it at once",
            soft_wrap=True,
        )
    )
    with stop.listening():
        async with showing(watch, console, quiet=job.quiet):
            await Batch(job.transporter, tally.add, stop, job.grace).send(job.letters)
    for (fate, reason), count in tally.reasons.most_common(10):
        console.print(f"{count} {fate}: {reason}", markup=False, highlight=False, soft_wrap=True)
    messages = "1 message" if tally.total == 1 else f"{tally.total} messages"
    print(f"{messages} in {watch.seconds:.1f} s: {tally.summary()}")
    if tally.duplicates:
        print(
            f"{tally.duplicates} of them may have arrived twice: an answer was lost, and they were sent again"
        )
    if tally.all_accepted:
        return 0
    return stop.exit_status if stop.requested else 1


def _sender(given: str) -> str:
    if not given:
        raise fail_usage("whom is it from? Give --from")
    return given


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise fail_usage(f"{path}: {error}") from None


def _octets(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise fail_usage(f"{path}: {error}") from None


def _merge(
    csv: Path, subject: str, text: str | None, html_text: str | None, fields: dict[str, Any]
) -> MailMerge:
    try:
        return MailMerge(People(csv), subject=subject, text=text, html_text=html_text, fields=fields)
    except (TableError, TemplateError) as error:
        raise fail_usage(str(error)) from None


@contextlib.contextmanager
def _opened(report: Path | None) -> Iterator[TextIO | None]:
    """The report's file, before anything is sent: afterwards it would be too late to find out."""
    if report is None:
        yield None
        return
    try:
        file = report.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise fail_usage(f"{report}: {error.strerror}") from None
    with file:
        yield file


def _rehearse(letters: Iterable[Letter], transporter: Transporter) -> None:
    """Show the first message and every address that would not do."""
    count, wrong = 0, []
    for count, letter in enumerate(letters, start=1):
        if count == 1:
            print(f"From: {letter.from_}\nTo: {letter.address}\nSubject: {letter.subject}\n")
            print(letter.text or letter.html)
        # Whether a list of addresses given with --to is one is seen when it is sent.
        if isinstance(letter.to, tuple):
            try:
                Mailbox(*letter.to)
            except AddressError as error:
                wrong.append(f"row {letter.number}: {error}")
    for line in wrong:
        typer.echo(line, err=True)
    print(
        f"\n{count} messages would go to {transporter.options.redacted_url()}; {len(wrong)} addresses are wrong."
    )
    if wrong:
        raise typer.Exit(1)
