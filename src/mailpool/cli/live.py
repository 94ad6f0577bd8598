"""What is happening right now: a bar and numbers on a terminal, plain lines anywhere else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from mailpool import PoolStats, Transporter

from .tally import Tally

_FRAME = 0.1  # seconds between pictures on a terminal
_PACE = 2.0  # seconds between plain lines


class Watch:
    """Reads the numbers of one batch.

    :param tally: what has an outcome
    :param transporter: whose pool works on it
    """

    def __init__(self, tally: Tally, transporter: Transporter) -> None:
        self.tally = tally
        self._transporter = transporter
        self._started = asyncio.get_running_loop().time()
        self._marks: list[tuple[float, int]] = [(self._started, 0)]

    @property
    def seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    def stats(self) -> PoolStats:
        return self._transporter.stats()

    def rate(self) -> float:
        """Messages per second over the last seconds."""
        now = asyncio.get_running_loop().time()
        self._marks.append((now, self.tally.done))
        while len(self._marks) > 2 and now - self._marks[1][0] > 2.0:
            self._marks.pop(0)
        then, done = self._marks[0]
        return (self.tally.done - done) / (now - then) if now > then else 0.0

    def numbers(self) -> str:
        stats = self.stats()
        down = " · the relay is down" if stats.relay_is_down else ""
        return (
            f"{self.rate():,.0f} messages/s · connections {stats.connections} ({stats.busy} busy, "
            f"{stats.handshakes} opened so far) · queue {stats.queued} · requeued {stats.requeued} · "
            f"connection lost before the answer {stats.uncertain}{down}"
        )


@asynccontextmanager
async def showing(watch: Watch, console: Console, *, quiet: bool = False) -> AsyncIterator[None]:
    """Show ``watch`` while the block runs.

    :param console: on standard error, as standard output is for what was asked
    :param quiet: show nothing
    """
    if quiet:
        yield
        return
    # A thread of its own would read the pool's numbers beside the loop: the picture is drawn by the loop itself.
    show = _on_terminal(watch, console) if console.is_terminal else _in_lines(watch, console)
    task = asyncio.ensure_future(show)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _in_lines(watch: Watch, console: Console) -> None:
    while True:
        await asyncio.sleep(_PACE)
        console.print(f"{watch.tally.done} of {watch.tally.total} · {watch.numbers()}", soft_wrap=True)


async def _on_terminal(watch: Watch, console: Console) -> None:
    bar = Progress(
        TextColumn("[bold]sending"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        expand=True,
    )
    task = bar.add_task("", total=watch.tally.total)
    with Live(_picture(watch, bar, task), console=console, auto_refresh=False) as live:
        try:
            while True:
                await asyncio.sleep(_FRAME)
                live.update(_picture(watch, bar, task), refresh=True)
        finally:
            live.update(_picture(watch, bar, task), refresh=True)


def _picture(watch: Watch, bar: Progress, task: TaskID) -> Group:
    bar.update(task, completed=watch.tally.done)
    return Group(bar, Text(f"{watch.numbers()}\n{watch.tally.summary()}", style="dim"))
