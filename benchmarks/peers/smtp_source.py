"""Postfix's ``smtp-source``, in C: it composes nothing and sends one finished message again and again."""

from __future__ import annotations

from ..job import Job
from ..letters import ENVELOPE_SENDER
from ..places import unpacked
from . import Command

LABEL = "smtp-source"


def command(job: Job) -> Command:
    debian = unpacked()
    return Command(
        [
            debian.program("smtp-source"),
            *("-d", "-s", str(job.connections), "-m", str(job.total)),
            *("-f", ENVELOPE_SENDER, "-t", "reader@example.org", "-F", f"{job.folder}/message.lf"),
            f"{job.host}:{job.port}",
        ],
        debian.environment,
    )
