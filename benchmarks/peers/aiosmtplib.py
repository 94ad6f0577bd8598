"""aiosmtplib: one client object for each connection, kept, and a worker that sends over it; ``EmailMessage`` for composing."""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from pathlib import Path

from ..job import Job, Report, peak_kib
from ..letters import ENVELOPE_SENDER, LETTERS, fields, recipient
from . import Command, python
from .stdlib import email_message

LABEL = "aiosmtplib"


def command(job: Job) -> Command:
    from ..places import python_peers

    return python("aiosmtplib", job, python_peers())


async def send(job: Job, octets: bytes) -> Report:
    import aiosmtplib

    accepted = refused = 0
    letter = LETTERS[job.letter]
    context = ssl.create_default_context(cafile=f"{job.folder}/ca.pem") if job.tls else None
    clients = [
        aiosmtplib.SMTP(
            hostname=job.host, port=job.port, use_tls=job.tls, tls_context=context, start_tls=False
        )
        for _ in range(job.connections)
    ]
    await asyncio.gather(*(client.connect() for client in clients))

    async def worker(client: aiosmtplib.SMTP, numbers: range) -> None:
        nonlocal accepted, refused
        for number in numbers:
            to = recipient(number, job.refused_every)
            try:
                if job.kind == "prepared":
                    await client.sendmail(ENVELOPE_SENDER, [to], octets)
                else:
                    await client.send_message(email_message(fields(letter, number, to)))
            except aiosmtplib.SMTPRecipientsRefused:
                refused += 1
            else:
                accepted += 1

    async def work(numbers: range) -> None:
        count = len(clients)
        await asyncio.gather(*(worker(client, numbers[i::count]) for i, client in enumerate(clients)))

    await work(range(job.warmup))
    started, cpu = time.perf_counter(), time.process_time()
    await work(range(job.warmup, job.total))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    await asyncio.gather(*(client.quit() for client in clients))
    return Report(accepted=accepted, refused=refused, seconds=seconds, cpu=cpu, peak_kib=peak_kib())


def main(job: Job) -> None:
    octets = Path(job.folder, "message.eml").read_bytes()
    if job.loop == "uvloop":
        import uvloop

        uvloop.run(send(job, octets)).print()
    else:
        asyncio.run(send(job, octets)).print()


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))
