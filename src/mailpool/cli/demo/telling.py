"""What the demo prints at its end."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from ..tally import Fate
from .run import Comparison, Story


def tell(story: Story, console: Console) -> None:
    """Print the outcome, the proof and the cost."""
    console.print()
    console.print(_outcome(story))
    _say_reasons(story, console)
    if story.server is not None:
        _say_weather(story, console)
    console.print()
    console.print("[bold]The proof[/]" if story.server is not None else "[bold]The proof, by replies only[/]")
    for check in story.proof.checks:
        mark = "[green]holds[/]" if check.holds else "[red]WRONG[/]"
        console.print(f"  {mark}  {check.claim}")
        if not check.holds:
            console.print(f"         [red]{check.wrong}[/]", highlight=False)
    _say_doubles(story, console)
    console.print()
    console.print(_cost(story))
    if story.comparison is not None:
        _say_comparison(story.comparison, story.total, console)


def _outcome(story: Story) -> str:
    rate = story.tally.done / story.seconds if story.seconds else 0.0
    ended = f" (stopped by {story.stopped.signal_name})" if story.stopped is not None else ""
    return (
        f"[bold]{story.total} messages in {story.seconds:.1f} s[/], {rate:,.0f} messages/s{ended}: "
        f"{story.tally.summary()}"
    )


def _say_reasons(story: Story, console: Console) -> None:
    for (fate, reason), count in story.tally.reasons.most_common(5):
        console.print(f"  {count} {fate}: {reason}", highlight=False, markup=False)


def _say_weather(story: Story, console: Console) -> None:
    assert story.server is not None
    closed = story.server.closed
    console.print(f"The server closed {sum(closed.values())} connections in the middle of a message:")
    for place, count in sorted(closed.items(), key=lambda item: -item[1]):
        console.print(f"  {count:4}  {place}")
    console.print(
        f"{story.stats.requeued} times a message went back into the queue for another connection, "
        f"{story.stats.uncertain} of them after its end of data had gone out without an answer"
    )


def _say_doubles(story: Story, console: Console) -> None:
    proof = story.proof
    if story.server is None:
        console.print(f"  {proof.marked} results say maybe_duplicate")
        return
    console.print(
        f"  double on the server: {proof.doubles} · marked maybe_duplicate: {proof.marked} "
        "(marked and not double: the first copy had not been stored)"
    )
    there = {message.message_id for message in story.server.stored}
    if uncertain := story.tally.counts[Fate.UNCERTAIN]:
        console.print(f"  uncertain: {uncertain}; the server keeps {len(there)} different messages")


def _cost(story: Story) -> Table:
    server, stats = story.server, story.stats
    table = Table(title="The cost", title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column("the pool", justify="right")
    table.add_column("one connection per message", justify="right")
    done = max(1, stats.sent + stats.failed)
    begun = server.connections if server is not None else stats.handshakes
    table.add_row("TCP connections", f"{begun:,}", f"{done:,} or more")
    # TLS is a matter of the server here: the demo's own has it from the first byte.
    table.add_row(
        "TLS handshakes and logins" if server is not None else "handshakes",
        f"{stats.handshakes:,}",
        f"{done:,} or more",
    )
    if server is not None:
        table.add_row("most connections at once", f"{server.peak}", "")
    return table


def _say_comparison(comparison: Comparison, total: int, console: Console) -> None:
    count, pooled, alone = comparison.count, comparison.pooled, comparison.alone
    console.print(
        f"Measured now, against the same server in calm weather, {count} messages each: "
        f"pool {pooled * 1000:.0f} ms, one connection per message {alone * 1000:.0f} ms: "
        f"[bold]{alone / pooled:.1f} times the time[/]. All {total} would have taken {alone / count * total:.1f} s. "
        "On loopback a round trip is free; over a real distance each connection costs several."
    )
