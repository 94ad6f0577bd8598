"""Messages that know themselves: whatever arrives can be traced to the one that was given to the pool, octet by octet."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

_NUMBER = re.compile(r"(?:from|r\d+)-(\d+)@")


@dataclass(frozen=True, slots=True)
class Letter:
    """One message. ``identity``: whose login it asks for, None for the transporter's."""

    number: int
    recipients: tuple[str, ...]
    content: bytes
    identity: str | None = None

    @property
    def sender(self) -> str:
        return f"from-{self.number}@example.org"

    @property
    def message_id(self) -> str:
        return f"<{self.number}@example.org>"

    @property
    def fields(self) -> dict[str, Any]:
        """What ``send_mail`` is given."""
        return {"raw": self.content, "envelope": {"from": self.sender, "to": list(self.recipients)}}

    def __repr__(self) -> str:
        whose = f" as {self.identity}" if self.identity else ""
        return f"<Letter {self.number}{whose}, {len(self.recipients)} recipients, {len(self.content)} octets>"


def number_of(address: str) -> int:
    """Which message an address belongs to."""
    found = _NUMBER.match(address)
    if found is None:
        raise ValueError(f"no address of a letter: {address!r}")
    return int(found[1])


def letter(dice: random.Random, number: int, *, identity: str | None, eight_bit: bool, large: bool) -> Letter:
    """A message with dots, empty lines and lines that look like commands' answers, of some size."""
    count = dice.choice((1, 1, 1, 2, 3, 7))
    recipients = tuple(f"r{k}-{number}@{dice.choice(('a', 'b'))}.example" for k in range(count))
    lines = [
        dice.choice((f"line of {number}", ".", "..", ".hidden", "", "250 ok", "354 go on")) for _ in range(4)
    ]
    if large and dice.random() < 0.2:
        lines += [f"{number} {'.' * 70}"] * dice.choice((900, 4_200))
    elif dice.random() < 0.15:
        lines += [f"{number} {'x' * 70}"] * 60
    if eight_bit and dice.random() < 0.4:
        lines.append("grüße")
    head = [
        f"From: <from-{number}@example.org>",
        f"Message-ID: <{number}@example.org>",
        "Date: Mon, 01 Jan 2035 00:00:00 +0000",
        f"Subject: number {number}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
    ]
    end = b"" if dice.random() < 0.1 else b"\r\n"
    return Letter(number, recipients, "\r\n".join([*head, *lines]).encode() + end, identity)
