"""The physical limit: prepared octets that nobody looks at, see ``sink/replay.c``."""

from __future__ import annotations

from ..job import Job
from ..places import built
from . import Command

LABEL = "prepared replay (C)"


def command(job: Job) -> Command:
    depth = job.depth if job.chunking else 0
    words = [built("replay"), str(job.port), str(job.connections), str(job.total), str(depth)]
    return Command([*words, f"{job.folder}/message.eml"])
