"""The command line: ``mailpool send``, ``mailpool verify``, ``mailpool services``, ``mailpool token``, ``mailpool demo``.

It uses the public names of the package only, as any other program would.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys

_NEEDED = frozenset({"typer", "click", "rich"})


def main() -> None:
    """The entry point; without its extra it says what to install."""
    _make_streams_safe()
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        print(
            f"The command line needs {error.name}, which is not installed: pip install 'mailpool[cli]'",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    app(prog_name="mailpool")


def _make_streams_safe() -> None:
    """What is said may fail to be shown, and must not end a batch for that."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # Started without it: the first socket would take its place, and uvloop aborts at that.
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
