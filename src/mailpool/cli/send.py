"""The command ``mailpool send``: one message, or one for each row of a table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

from mailpool import Attachment, ConfigurationError, Transporter

from .batch import Batch
from .letters import Letter, MailMerge
from .live import Watch, showing
from .loop import run
from .people import People, TableError
from .rehearsal import rehearse
from .relay import CaFile, Url, User, fail_usage, open_relay
from .stop import Stop
from .tally import Line, Tally
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
    try:
        if dry_run:
            status = run(rehearse(letters, transporter))
        else:
            with _opened(report, (csv, text_file, html_file, *(attach or ()))) as file:
                tally = Tally(len(letters), file)
                if tally.broken is not None:
                    raise fail_usage(f"{report}: {tally.broken.strerror}")
                status = run(_send(_Job(transporter, letters, tally, grace, quiet)))
    except ConfigurationError as error:  # what is found when it is first used, such as a certificate
        raise fail_usage(str(error)) from None
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
            f"{stop.signal_name or f'the report cannot be written ({tally.broken})'}: taking no more; at most "
            f"{job.grace:g} s for what is under way. {'Once more' if stop.signal else 'Ctrl-C'} ends it at once",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    )

    def account(line: Line) -> None:
        tally.add(line)
        if tally.broken is not None:
            stop.end("what became of it could not be written down")

    changed: TableError | None = None
    with stop.listening():
        async with showing(watch, console, quiet=job.quiet):
            try:
                await Batch(job.transporter, account, stop, job.grace).send(job.letters)
            except TableError as error:  # it was whole when it was looked at
                changed = error
    if changed is not None:
        console.print(f"mailpool: {changed}", markup=False, highlight=False, soft_wrap=True)
    if tally.missing:
        console.print(
            "What became of these is not in the report. What is in neither was not sent:", soft_wrap=True
        )
        for row in tally.missing:
            console.print(row, markup=False, highlight=False, soft_wrap=True)
    for (fate, reason), count in tally.reasons.most_common(10):
        console.print(f"{count} {fate}: {reason}", markup=False, highlight=False, soft_wrap=True)
    messages = "1 message" if tally.total == 1 else f"{tally.total} messages"
    print(f"{messages} in {watch.seconds:.1f} s: {tally.summary()}")
    if tally.duplicates:
        print(
            f"{tally.duplicates} of them may have arrived twice: an answer was lost, and they were sent again"
        )
    if tally.all_accepted and tally.broken is None:
        return 0
    return stop.exit_status if stop.signal is not None else 1


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
def _opened(report: Path | None, read: Iterable[Path | None]) -> Iterator[TextIO | None]:
    """The report's file, before anything is sent: afterwards it would be too late to find out.

    :param read: what the message is made from, and must not be written over
    """
    if report is None:
        yield None
        return
    try:
        if report.exists() and any(path is not None and report.samefile(path) for path in read):
            raise fail_usage(f"{report}: the report would be written over what is to be sent")
        file = report.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise fail_usage(f"{report}: {error.strerror}") from None
    try:
        yield file
    finally:
        # Each line has been written before this. Of one that could not be, the tally knows.
        with contextlib.suppress(OSError):
            file.close()
