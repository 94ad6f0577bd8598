"""Pull from a queue of your own, only when there is room: python examples/pull.py smtp://localhost:25

Here the queue is an `asyncio.Queue`; it might be a table, a stream or a broker. Nothing piles up in this process: what
is not yet sent stays where it is safe. Pull when `idle` says that there is room, and when something new has arrived.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable

from mailpool import SendError, SendResult, Transporter, create_transport

URL = sys.argv[1] if len(sys.argv) > 1 else os.environ["MAILPOOL_URL"]
COUNT = 50


class Puller:
    """Moves messages from `queue` into the transporter; and tells what became of them."""

    def __init__(self, transporter: Transporter, queue: asyncio.Queue[dict[str, str]]) -> None:
        self.transporter = transporter
        self.queue = queue
        self.sending: set[asyncio.Task[None]] = set()
        transporter.on("idle", self.pull)

    def pull(self) -> None:
        while self.transporter.is_idle() and not self.queue.empty():
            message = self.queue.get_nowait()
            # Its place is taken before `send_mail` returns, so that the next `is_idle` counts it.
            task = asyncio.create_task(self.settle(message, self.transporter.send_mail(message)))
            self.sending.add(task)
            task.add_done_callback(self.sending.discard)

    async def settle(self, message: dict[str, str], outcome: Awaitable[SendResult]) -> None:
        try:
            result = await outcome
        except SendError as error:
            # Here a durable queue would be told: again later (`error.temporary`), or never.
            print(f"{message['to']}: {error}", file=sys.stderr)
        else:
            print(f"{message['to']}: {result.response}")
        finally:
            self.queue.task_done()


async def main() -> None:
    queue: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    async with create_transport(URL, pool=True) as transporter:
        puller = Puller(transporter, queue)
        for number in range(COUNT):
            queue.put_nowait(
                {
                    "from": "alice@example.com",
                    "to": f"reader{number}@example.com",
                    "subject": "News",
                    "text": "Good.",
                }
            )
        puller.pull()  # something has arrived: `idle` is for room, not for arrival
        await queue.join()


asyncio.run(main())
