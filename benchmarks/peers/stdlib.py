"""smtplib: threads, each with a connection that it keeps; ``EmailMessage`` for composing."""

from __future__ import annotations

import smtplib
import ssl
import sys
import threading
import time
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

from ..job import Job, Report, peak_kib
from ..letters import ENVELOPE_SENDER, LETTERS, fields, recipient
from . import Command, python

LABEL = "smtplib"


def command(job: Job) -> Command:
    return python("stdlib", job)


def email_message(given: dict[str, Any]) -> EmailMessage:
    """The same message by the standard library."""
    message = EmailMessage()
    message["From"] = given["from"]
    message["To"] = given["to"]
    message["Subject"] = given["subject"]
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="example.com")
    message.set_content(given["text"])
    message.add_alternative(given["html"], subtype="html")
    return message


def send(job: Job) -> Report:
    letter = LETTERS[job.letter]
    octets = Path(job.folder, "message.eml").read_bytes()
    accepted: list[int] = []
    refused: list[int] = []
    failures: list[BaseException] = []

    def connect() -> smtplib.SMTP:
        if job.tls:
            context = ssl.create_default_context(cafile=f"{job.folder}/ca.pem")
            return smtplib.SMTP_SSL(job.host, job.port, context=context)
        return smtplib.SMTP(job.host, job.port)

    def worker(client: smtplib.SMTP, numbers: range) -> None:
        try:
            for number in numbers:
                to = recipient(number, job.refused_every)
                try:
                    if job.kind == "prepared":
                        client.sendmail(ENVELOPE_SENDER, [to], octets)
                    else:
                        client.send_message(email_message(fields(letter, number, to)))
                except smtplib.SMTPRecipientsRefused:
                    refused.append(number)
                else:
                    accepted.append(number)
        except BaseException as error:
            failures.append(error)

    def work(numbers: range) -> None:
        threads = [
            threading.Thread(target=worker, args=(client, numbers[i :: len(clients)]))
            for i, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    clients = [connect() for _ in range(job.connections)]
    work(range(job.warmup))
    started, cpu = time.perf_counter(), time.process_time()
    work(range(job.warmup, job.total))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    for client in clients:
        client.quit()
    return Report(accepted=len(accepted), refused=len(refused), seconds=seconds, cpu=cpu, peak_kib=peak_kib())


if __name__ == "__main__":
    send(Job.from_json(sys.argv[1])).print()
