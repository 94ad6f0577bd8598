"""The other side of the soak, in a process of its own: two bad-tempered servers behind bad paths, and their books.

It prints a line of JSON with its ports, and one with its books when its input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

from faulty_path import FaultyPath, Mishap
from faulty_path import Path as Way

from mailpool.testing import (
    Authority,
    Fault,
    ScriptedServer,
    close,
    deliver_then_close,
    deliver_then_reset,
    reply,
    reset,
    stall,
)

HERE = "127.0.0.1"
ACCOUNTS = {f"user{number}": f"secret {number}" for number in range(3)}


def faults(seed: int) -> list[Fault]:
    """Each strikes so rarely that most messages see none, and so often that each is seen in a minute."""
    places: list[tuple[Any, Any, float]] = [
        ("GREETING", close(), 0.02),
        ("EHLO", reset(), 0.02),
        ("MAIL", reset(), 0.002),
        ("RCPT", reply("450 4.2.0 later"), 0.005),
        ("RCPT", reply("550 5.1.1 nobody of that name"), 0.005),
        ("DATA", close(), 0.002),
        ("CONTENT", reset(), 0.002),
        ("END", stall(0.2), 0.01),
        ("END", deliver_then_close(), 0.002),
        ("END", deliver_then_reset(), 0.002),
    ]
    return [
        Fault(at=at, do=do, probability=chance, seed=seed + number, times=None)
        for number, (at, do, chance) in enumerate(places)
    ]


def ways() -> list[Way]:
    """Two connections in three are good."""
    troubles = ("stall", "reset", "black hole", "half open", "truncate")
    bad = [Way(latency=0.002, mishap=Mishap(trouble, 7_777)) for trouble in troubles]
    return [*bad, Way(latency=0.005, jitter=0.005), *[Way()] * 12]


class Bookkeeper(ScriptedServer):
    """Keeps how often it took each message and nothing else, so that it can go on for hours."""

    def __init__(self, books: Counter[str], **options: Any) -> None:
        super().__init__(keep_content=False, auth=ACCOUNTS, **options)
        self.books = books

    def deliver(self, connection: Any, transaction: Any) -> None:
        self.books[transaction.sender.partition("@")[0]] += 1
        record = connection.record
        for kept in (record.lines, record.replies, record.turns):
            # The last entries may still be added to.
            del kept[:-8]

    def heard(self, line: str) -> None:
        pass


async def main(seed: int) -> None:
    books: Counter[str] = Counter()
    authority = Authority()
    plain = Bookkeeper(books, faults=faults(seed))
    secure = Bookkeeper(
        books, faults=faults(seed + 100), tls=authority.server_context(HERE), implicit_tls=True
    )
    async with (
        plain,
        secure,
        FaultyPath(HERE, plain.port, ways(), seed=seed) as way,
        FaultyPath(HERE, secure.port, ways(), seed=seed + 1) as secure_way,
    ):
        ports = {"plain": way.port, "secure": secure_way.port, "ca": authority.ca_pem}
        print(json.dumps(ports), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        struck = Counter(
            f"{fault.at} {fault.do!r}" for each in (plain, secure) for fault in each.faults.struck
        )
        struck += Counter(f"path: {name}" for each in (way, secure_way) for name in each.struck.elements())
        print(json.dumps({"copies": books, "struck": struck}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
