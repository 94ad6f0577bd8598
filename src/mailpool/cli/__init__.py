"""The command line: ``mailpool send``, ``mailpool verify``, ``mailpool services``, ``mailpool token``, ``mailpool demo``.

It uses the public names of the package only, as any other program would.
"""

from __future__ import annotations

import sys

_NEEDED = frozenset({"typer", "click", "rich"})


def main() -> None:
    """The entry point; without its extra it says what to install."""
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
