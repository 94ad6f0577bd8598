"""mailpool by its public API: ``send_mail`` for each message, or ``send_many``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..job import Job, Report, peak_kib
from ..letters import ENVELOPE_SENDER, LETTERS, fields, merge_letter, recipient
from . import Command, python

LABEL = "mailpool"


def command(job: Job) -> Command:
    from ..places import NotAvailable, compiled  # not for the client, whose memory is measured

    folders: list[Path] = []
    if job.compiled:
        with contextlib.suppress(NotAvailable):  # the report says so
            folders.append(compiled())
    return python("mailpool", job, *folders)


def letter_maker(job: Job) -> Callable[[int], Any]:
    """The message of a number, as this job wants messages."""
    if job.kind == "prepared":
        octets = Path(job.folder, "message.eml").read_bytes()
        return lambda number: {
            "raw": octets,
            "envelope": {"from": ENVELOPE_SENDER, "to": recipient(number, job.refused_every)},
        }
    letter = LETTERS[job.letter]
    if job.kind in ("merge", "merged"):
        from mailpool import MailMerge

        fill = MailMerge(merge_letter(letter)).fill
        return lambda number: fill(
            to=f"Reader {number} <{recipient(number, job.refused_every)}>", number=number
        )
    if job.kind in ("huge", "binary"):
        path = Path(job.folder, "huge.bin")
        path.touch()
        os.truncate(path, 1 << 30)
        attachment = {"path": path}
        if job.kind == "binary":
            attachment["transfer_encoding"] = "binary"
        return lambda number: {**fields(letter, number, recipient(number)), "attachments": [attachment]}
    if job.kind == "attachment":
        octets = Path(job.folder, "attachment.bin").read_bytes()
        attachment = {"filename": "report.bin", "content": octets}
        return lambda number: {
            **fields(letter, number, recipient(number)),
            "attachments": [attachment],
        }
    return lambda number: fields(letter, number, recipient(number, job.refused_every))


async def send(job: Job) -> Report:
    from mailpool import Rejected, create_transport

    make = letter_maker(job)
    accepted = refused = 0
    tls: dict[str, Any] = {"secure": True, "tls": {"ca_file": f"{job.folder}/ca.pem"}} if job.tls else {}
    transporter = create_transport(
        host=job.host,
        port=job.port,
        pool=True,
        max_connections=job.connections,
        max_messages=job.max_messages or -1,
        max_queue=max(10_000, job.window),
        pipeline_depth=job.depth,
        disable=() if job.chunking else ("CHUNKING",),
        **tls,
    )

    async def one_by_one(numbers: range) -> None:
        nonlocal accepted, refused
        waiting: deque[Any] = deque()
        for number in numbers:
            waiting.append(transporter.send_mail(make(number)))
            if len(waiting) >= job.window:
                await settle(waiting.popleft())
        while waiting:
            await settle(waiting.popleft())

    async def settle(future: Any) -> None:
        nonlocal accepted, refused
        try:
            accepted += len((await future).recipients)
        except Rejected:
            refused += 1

    async def many(numbers: range) -> None:
        nonlocal accepted, refused
        async for outcome in transporter.send_many(make(number) for number in numbers):
            if outcome.ok:
                accepted += 1
            else:
                assert isinstance(outcome.error, Rejected), outcome.error
                refused += 1

    work = many if job.many else one_by_one
    async with transporter:
        await work(range(job.warmup))
        started, cpu = time.perf_counter(), time.process_time()
        await work(range(job.warmup, job.total))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return Report(accepted=accepted, refused=refused, seconds=seconds, cpu=cpu, peak_kib=peak_kib())


def compose(job: Job) -> Report:
    """Only what ``send_mail`` does before a message is queued."""
    from mailpool import create_transport

    make = letter_maker(job)
    seal = create_transport(host=job.host)._preparation.seal

    def work(numbers: Iterator[int] | range) -> int:
        if job.kind == "attachment":  # large ones are encoded when they are sent
            return sum(len(block) for number in numbers for block in seal(make(number)).content.blocks())
        return sum(seal(make(number)).content.size for number in numbers)

    work(range(job.warmup))
    started, cpu = time.perf_counter(), time.process_time()
    octets = work(range(job.warmup, job.total))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return Report(accepted=job.total, refused=0, seconds=seconds, cpu=cpu, peak_kib=peak_kib(), octets=octets)


def main(job: Job) -> None:
    if job.kind in ("compose", "merge", "attachment"):
        compose(job).print()
    elif job.loop == "uvloop":
        import uvloop

        uvloop.run(send(job)).print()
    else:
        asyncio.run(send(job)).print()


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))
