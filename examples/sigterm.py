"""A worker that ends well: python examples/sigterm.py smtp://localhost:25 [how many] [grace seconds]

SIGTERM and Ctrl-C stop the pulling; what is under way may finish within the grace period, then the transporter is
closed. Every message is accounted for: sent, failed, uncertain, or not sent and to be sent next time.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator

from mailpool import PoolClosed, SendError, SendOutcome, create_transport

Letter = dict[str, str]
URL = sys.argv[1] if len(sys.argv) > 1 else os.environ["MAILPOOL_URL"]
COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
GRACE = float(sys.argv[3]) if len(sys.argv) > 3 else 10.0


def name(outcome: SendOutcome[Letter]) -> str:
    error = outcome.error
    if error is None:
        return "sent"
    if isinstance(error, SendError) and error.may_have_been_delivered:
        return "uncertain"
    return "not sent" if isinstance(error, PoolClosed) else "failed"


async def main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    pulled = 0
    account: Counter[str] = Counter()

    def messages() -> Iterator[Letter]:
        nonlocal pulled
        while pulled < COUNT and not stop.is_set():
            pulled += 1
            yield {
                "from": "alice@example.com",
                "to": f"reader{pulled}@example.com",
                "subject": "News",
                "text": "Good news.",
            }

    transporter = create_transport(URL, pool=True)

    async def send_all() -> None:
        # `send_many` raises it when it is closed before its source ends; what was pulled has its outcome by then.
        with contextlib.suppress(PoolClosed):
            async for outcome in transporter.send_many(messages()):
                account[name(outcome)] += 1

    sending = asyncio.create_task(send_all())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not sending.done():
        # Most of the grace period is for messages to finish, the rest for the closing.
        await asyncio.wait({sending}, timeout=GRACE * 0.7)
    await transporter.close(timeout=GRACE * 0.1)
    await sending
    stopping.cancel()
    account["not sent"] += COUNT - pulled
    print(", ".join(f"{account[kind]} {kind}" for kind in ("sent", "failed", "uncertain", "not sent")))
    sys.exit(0 if account["sent"] == COUNT else 1)


asyncio.run(main())
