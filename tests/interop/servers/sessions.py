"""The programs that a server has started: all of them are gone when it has ended, and none of anybody else's."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path


def at_work(session: int) -> list[int]:
    """The processes of a session (its number is that of its first process) that have not ended yet."""
    found = []
    for process in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # What comes before the last parenthesis is a name, and may be anything.
            state, _, _, its_session = process.read_text(errors="replace").rpartition(")")[2].split()[:4]
            if int(its_session) == session and state not in "ZX":
                found.append(int(process.parent.name))
    return found


def kill(session: int) -> None:
    """Kill all that is at work in a session, and wait until it is gone: until then it holds ports, locks and files."""
    while processes := at_work(session):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.005)
