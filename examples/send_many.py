"""A large batch in flat memory: python examples/send_many.py smtp://localhost:25 [how many]

`send_many` asks for the next message only when there is room, so the source may be a generator over a million rows.
"""

import asyncio
import os
import sys
from collections.abc import Iterator

from mailpool import create_transport

URL = sys.argv[1] if len(sys.argv) > 1 else os.environ["MAILPOOL_URL"]
COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 100


def messages() -> Iterator[dict[str, str]]:
    for number in range(COUNT):
        yield {
            "from": "alice@example.com",
            "to": f"reader{number}@example.com",
            "subject": f"News, number {number}",
            "text": "Good news.",
        }


async def main() -> None:
    accepted = 0
    async with create_transport(URL, pool=True, max_connections=5, max_messages=100) as transporter:
        async for outcome in transporter.send_many(messages()):
            if outcome.ok:
                accepted += 1
            else:
                # One message that fails is no reason to stop: its error says what to do about it.
                print(f"{outcome.message['to']}: {outcome.error}", file=sys.stderr)
        stats = transporter.stats()
    print(f"{accepted} of {COUNT} accepted over {stats.handshakes} connections")


asyncio.run(main())
