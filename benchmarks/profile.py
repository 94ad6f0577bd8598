"""Where the time of a message goes: ``python -m benchmarks.profile [composed | prepared]``.

The shares are those of the plain Python code on uvloop, against smtp-sink, as the profiler sees them: it makes calls look
dearer than they are.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import resource
import tempfile
from collections import Counter
from pathlib import Path

from .job import Job
from .letters import write
from .peers.mailpool import send
from .places import cores
from .servers import SmtpSink

MESSAGES = 20_000
# What a file belongs to, by the beginning of its path in the package.
PARTS = {
    "address": "addresses",
    "message": "composing",
    "content": "composing",
    "preparing": "composing",
    "transporter": "the transporter: the call and its arguments",
    "pool": "the pool: queue, lending, outcomes",
    "policy": "the pool: queue, lending, outcomes",
    "results": "the pool: queue, lending, outcomes",
    "smtp": "the protocol: commands and replies",
    "net": "the connection: reads, time-outs",
}
WRITING = "writing: the system call"
OTHER = "the benchmark itself, the event loop, and calls of the language"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", nargs="?", default="composed", choices=("composed", "prepared"))
    kind = parser.parse_args().kind
    os.sched_setaffinity(0, cores()[1])
    plain = measured(kind, None)
    print(f"{kind}: {plain[0]:.0%} of the CPU in the program, {plain[1]:.0%} in the kernel on its behalf\n")
    profiler = cProfile.Profile()
    measured(kind, profiler)
    shares = by_part(pstats.Stats(profiler))
    for part, share in shares.most_common():
        print(f"{share:6.1%}  {part}")


def measured(kind: str, profiler: cProfile.Profile | None) -> tuple[float, float]:
    """The shares of user and system time of one run."""
    import uvloop

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        job = Job(messages=MESSAGES, kind=kind, chunking=False, folder=folder)
        server = SmtpSink(job)
        try:
            before = resource.getrusage(resource.RUSAGE_SELF)
            if profiler is not None:
                profiler.enable()
            uvloop.run(send(job.but(port=server.port)))
            if profiler is not None:
                profiler.disable()
            after = resource.getrusage(resource.RUSAGE_SELF)
        finally:
            server.stop()
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return user / (user + system), system / (user + system)


def by_part(stats: pstats.Stats) -> Counter[str]:
    """The share of each part in the time that the profiler gives to functions themselves."""
    times: Counter[str] = Counter()
    for (path, _, function), (_, _, own, _, _) in stats.stats.items():
        times[_part(path, function)] += own
    whole = sum(times.values())
    return Counter({part: own / whole for part, own in times.items()})


def _part(path: str, function: str) -> str:
    parts = Path(path).parts
    if "mailpool" not in parts[:-1]:
        return OTHER
    # The package is the innermost folder of that name.
    name = parts[len(parts) - parts[::-1].index("mailpool")]
    if function == "send" and path.endswith("connection.py"):
        return WRITING
    return PARTS.get(name.removesuffix(".py"), OTHER)


if __name__ == "__main__":
    main()
