"""The client's side of the soak: mixed traffic until it is told to end, and what callers were told of each message."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from mailpool import SendError, SendResult, Transporter, create_transport

# What became of a message. One octet for each, so that the books do not grow where the pool must not.
OPEN, SENT, MARKED, UNCERTAIN, NOT_SENT, CANCELLED = range(6)
SINGLES, CANCELLERS, IDENTITIES = 6, 2, 3
_OPTIONS: dict[str, Any] = {
    "pool": True,
    "max_messages": 40,
    "greeting_timeout": 2.0,
    "socket_timeout": 2.0,
    "connection_timeout": 5.0,
    "connection_wait": 60.0,
    "max_duplicates": 3,
    "auth": ("user0", "secret 0"),
}


class Traffic:
    """Two transporters, and everything that is sent over them.

    :param told: what the server said about itself; see ``soak_server``
    :param rate: messages a second over both, so that a faster machine is not a different test
    """

    def __init__(self, told: dict[str, Any], *, seed: int, rate: int) -> None:
        self.fates = bytearray()
        self.latencies: list[float] = []
        self._dice = random.Random(seed)
        self._over = asyncio.Event()
        half = f"{max(1, rate // 2)}/s"
        self.transporters = [
            create_transport(_OPTIONS, host="127.0.0.1", port=told["plain"], rate=half),
            create_transport(
                _OPTIONS, host="127.0.0.1", port=told["secure"], rate=half, secure=True, tls={"ca_data": told["ca"]},
                pipeline_depth=4,
            ),
        ]  # fmt: skip
        self._programs: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        for transporter in self.transporters:
            programs = [self._batch(transporter)]
            programs += [self._single(transporter) for _ in range(SINGLES)]
            programs += [self._cancelling(transporter) for _ in range(CANCELLERS)]
            self._programs += [asyncio.ensure_future(program) for program in programs]

    async def end(self) -> None:
        """Begin nothing more, and wait for what has begun."""
        self._over.set()
        await asyncio.gather(*self._programs)
        for transporter in self.transporters:
            await transporter.close()

    def tally(self) -> Counter[int]:
        return Counter(self.fates)

    def _letter(self) -> tuple[int, dict[str, Any]]:
        number = len(self.fates)
        self.fates.append(OPEN)
        size = 100_000 if self._dice.random() < 0.01 else 500
        return number, {
            "from": f"{number}@example.org",
            "to": f"r{number}@example.org",
            "subject": f"No. {number}",
            "text": "some words in a line\n" * (size // 21),
            "html": "<p>some words</p>" if number % 2 else None,
        }

    def _note(self, number: int, end: Any) -> None:
        if isinstance(end, SendResult):
            self.fates[number] = MARKED if end.maybe_duplicate else SENT
            self.latencies.append(end.waited + end.took)
        elif isinstance(end, SendError):
            self.fates[number] = UNCERTAIN if end.may_have_been_delivered else NOT_SENT
        else:
            raise end

    async def _batch(self, transporter: Transporter) -> None:
        async def source() -> AsyncIterator[dict[str, Any]]:
            while not self._over.is_set():
                number, fields = self._letter()
                yield fields | {"message_id": f"<{number}@example.org>"}
                await asyncio.sleep(0)

        async for outcome in transporter.send_many(source()):
            number = int(outcome.message["from"].partition("@")[0])
            self._note(number, outcome.result or outcome.error)

    async def _single(self, transporter: Transporter) -> None:
        while not self._over.is_set():
            number, fields = self._letter()
            user = self._dice.randrange(IDENTITIES)
            try:
                end: Any = await transporter.send_mail(fields, auth=(f"user{user}", f"secret {user}"))
            except SendError as error:
                end = error
            self._note(number, end)
            await asyncio.sleep(self._dice.random() * 0.05)

    async def _cancelling(self, transporter: Transporter) -> None:
        while not self._over.is_set():
            number, fields = self._letter()
            send = asyncio.ensure_future(transporter.send_mail(fields))
            await asyncio.wait([send], timeout=self._dice.random() * 0.05)
            if send.cancel():
                self.fates[number] = CANCELLED
            await asyncio.wait([send])
            if not send.cancelled():
                self._note(number, send.exception() or send.result())
            await asyncio.sleep(self._dice.random() * 0.2)


def wrong(fates: bytearray, copies: dict[str, int]) -> list[str]:
    """Where what callers were told is not what the servers have."""
    found = []
    for number, fate in enumerate(fates):
        count = copies.get(str(number), 0)
        if fate == OPEN:
            found.append(f"{number} never ended")
        elif fate in (SENT, MARKED) and not count:
            found.append(f"{number} is lost")
        elif fate == SENT and count > 1:
            found.append(f"{number} was doubled and is not marked")
        elif fate == NOT_SENT and count:
            found.append(f"{number} is there, and was said not to be")
    return found
