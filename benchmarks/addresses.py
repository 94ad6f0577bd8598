"""How long it takes to read the addresses of 200,000 recipients: ``python -m benchmarks.addresses``."""

from __future__ import annotations

import time

from mailpool import parse_addresses
from mailpool.address import Envelope

RECIPIENTS = 200_000
FRAMES = {"plain": "{}", "with a name": "Ann Lee <{}>", "with a quoted name": '"Lee, Ann" <{}>'}


def main() -> None:
    for label, frame in FRAMES.items():
        many = [frame.format(f"user{number}@x.example") for number in range(RECIPIENTS)]
        forms = {"text": ", ".join(many), "list": many, "text, lenient": "; ".join(many)}
        for form, value in forms.items():
            started = time.perf_counter()
            Envelope.between(None, parse_addresses(value, lenient="lenient" in form))
            print(f"{RECIPIENTS:,} recipients {label}, {form}: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
