"""Some hundred messages through a pool, and the books of both sides compared."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Any

from mailpool import SendError, SendResult, Transporter
from mailpool.testing import ReceivedMessage

# So that trouble is noticed soon. RFC 5321 wants minutes; a test does not.
IMPATIENT: dict[str, Any] = {
    "pool": True,
    "max_connections": 5,
    "max_messages": 20,
    "connection_timeout": 3.0,
    "greeting_timeout": 2.0,
    "socket_timeout": 2.0,
    "connection_wait": 200.0,
    "max_duplicates": 5,
}
# Where nothing goes wrong on the way, nothing may be taken for trouble, however slow the machine is.
PATIENT = {**IMPATIENT, "connection_timeout": 200.0, "greeting_timeout": 200.0, "socket_timeout": 200.0}


def letter(number: int, size: int = 200) -> dict[str, Any]:
    """A message whose text nobody else has."""
    return {
        "from": f"n{number}@example.org",
        "to": f"r{number}@example.org",
        "text": f"{number} ".ljust(size, chr(97 + number % 26)) + f" {number}\n",
        "message_id": f"<{number}@example.org>",
        "encoding": "7bit",
    }


async def send_all(
    transporter: Transporter, count: int, *, seconds: float = 250, size: int = 200
) -> list[Any]:
    """Send that many at once; a ``SendResult`` or an exception for each. A hang is a ``TimeoutError``."""
    sends: list[Awaitable[Any]] = [transporter.send_mail(letter(number, size)) for number in range(count)]
    async with asyncio.timeout(seconds):
        return await asyncio.gather(*sends, return_exceptions=True)


def compare(ends: Sequence[Any], messages: Sequence[ReceivedMessage]) -> Counter[str]:
    """Nothing lost, nothing doubled without a mark, nothing told wrong, nothing mixed up. Returns how many ended how."""
    copies: Counter[int] = Counter()
    for message in messages:
        number = int(message.sender.partition("@")[0][1:])
        copies[number] += 1
        assert message.recipients == (f"r{number}@example.org",)
        text = message.content.partition(b"\r\n\r\n")[2].strip()
        assert text.startswith(b"%d " % number), f"{number} has the content of another"
        assert text.endswith(b" %d" % number), f"{number} was taken without its end"
    assert set(copies) <= set(range(len(ends)))
    tally: Counter[str] = Counter()
    for number, end in enumerate(ends):
        if isinstance(end, SendResult):
            assert copies[number], f"{number} is lost"
            assert copies[number] == 1 or end.maybe_duplicate, f"{number} was doubled and is not marked"
            tally["marked" if end.maybe_duplicate else "sent"] += 1
        else:
            assert isinstance(end, SendError), repr(end)
            assert end.may_have_been_delivered or not copies[number], f"{number} is there: {end!r}"
            tally[type(end).__name__] += 1
    return tally


def descriptors() -> list[str]:
    """What this process has open, by what it is; empty where there is no /proc."""
    gc.collect()
    found = []
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}").partition(":")[0])
        except FileNotFoundError:
            continue  # the one that lists
    return sorted(found)


def timers() -> int:
    """How many timers the running loop has."""
    loop: Any = asyncio.get_running_loop()
    return sum(not timer.cancelled() for timer in loop._scheduled)
