"""The demo's recipients and what is written to them."""

from __future__ import annotations

import csv
from pathlib import Path

# Names with letters beyond ASCII, as real tables have them.
_NAMES = ("Alice", "Bob", "Carol", "Chloé", "Dave", "Jürgen", "Søren", "Zoë")
_PLANS = ("free", "team", "company")

SENDER = "news@example.com"
SUBJECT = "{name}, this is number one of our news"
TEXT = """Dear {name},

this message is for {email} and nobody else. It went over a connection that
had carried others before it, and that others may have used after it.

Have a good day
"""
HTML = """<!doctype html>
<html><body>
<p>Dear <b>{name}</b>,</p>
<p>this message is for <code>{email}</code> and nobody else. It went over a connection
that had carried others before it, and that others may have used after it.</p>
<p>Have a good day</p>
</body></html>
"""


def write_recipients(path: Path, count: int) -> None:
    """Write a table of ``count`` people."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("email", "name", "plan"))
        for number in range(1, count + 1):
            name = _NAMES[number % len(_NAMES)]
            table.writerow((f"person{number}@example.com", name, _PLANS[number % len(_PLANS)]))
