"""Messages that know themselves: whatever arrives can be traced to the one that was given to the pool, octet by octet."""

from __future__ import annotations

import asyncio
import datetime
import email
import email.policy
import random
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from mailpool import Sealed
from mailpool.address import Envelope
from mailpool.content import StreamedContent

_NUMBER = re.compile(r"(?:from|r\d+)-(\d+)@")
_LONG_AGO = datetime.datetime(2035, 1, 1, tzinfo=datetime.UTC)


class BreaksOff(Exception):
    """A content that cannot be read to its end."""


@dataclass(frozen=True, slots=True)
class Stream:
    """How a content comes.

    ``how``         ``raw`` and ``attachment``: from an async iterator, which is the whole message or an attachment of one
                    that is composed; ``source``: of a sealed message, read while it is being written
    ``pieces``      so many, ``pause`` seconds apart (of a source there is no waiting)
    ``breaks_off``  after so many, or never
    """

    how: Literal["raw", "attachment", "source"]
    pieces: int
    pause: float
    breaks_off: int | None = None

    def cut(self, content: bytes) -> Iterator[bytes]:
        size = max(1, -(-len(content) // self.pieces))
        for number, start in enumerate(range(0, len(content), size)):
            if number == self.breaks_off:
                raise BreaksOff("the disk is gone")
            yield content[start : start + size]
        if self.breaks_off is not None:  # of a short content there were fewer pieces
            raise BreaksOff("the disk is gone")

    async def come(self, content: bytes) -> AsyncIterator[bytes]:
        for piece in self.cut(content):
            await asyncio.sleep(self.pause)
            yield piece


class _Source:
    """A content that is read anew at each attempt."""

    def __init__(self, stream: Stream, content: bytes) -> None:
        self._stream, self._content = stream, content

    @property
    def size(self) -> int:
        return len(self._content)

    def blocks(self) -> Iterator[bytes]:
        return self._stream.cut(self._content)


@dataclass(frozen=True, slots=True)
class Letter:
    """One message. ``identity``: whose login it asks for, None for the transporter's."""

    number: int
    recipients: tuple[str, ...]
    content: bytes
    identity: str | None = None
    stream: Stream | None = None

    @property
    def sender(self) -> str:
        return f"from-{self.number}@example.org"

    @property
    def message_id(self) -> str:
        return f"<{self.number}@example.org>"

    @property
    def message(self) -> Any:
        """What ``send_mail`` is given."""
        envelope = {"from": self.sender, "to": list(self.recipients)}
        stream = self.stream
        if stream is None:
            return {"raw": self.content, "envelope": envelope}
        if stream.how == "raw":
            return {"raw": stream.come(self.content), "envelope": envelope}
        if self.is_sealed:
            # Whoever makes these has seen to the last line end.
            octets = self.content if self.content.endswith(b"\r\n") else self.content + b"\r\n"
            content = StreamedContent([_Source(stream, octets)], eight_bit=self.is_eight_bit)
            return Sealed(Envelope(self.sender, self.recipients), content, self.message_id)
        return {
            "from": self.sender,
            "subject": f"number {self.number}",
            "date": _LONG_AGO,
            "message_id": self.message_id,
            "text": f"this is {self.number}\n",
            "attachments": [{"filename": "content.bin", "content": stream.come(self.content)}],
            "base_boundary": f"letter{self.number}",
            "envelope": envelope,
        }

    @property
    def is_eight_bit(self) -> bool:
        return not self.content.isascii() and (self.stream is None or self.stream.how != "attachment")

    @property
    def is_sealed(self) -> bool:
        """Whether it is given to the pool as it goes on the wire."""
        return self.stream is not None and self.stream.how == "source"

    @property
    def breaks_off(self) -> bool:
        return self.stream is not None and self.stream.breaks_off is not None

    def is_in(self, received: bytes) -> bool:
        """Whether what a server took is this message, octet by octet."""
        if self.stream is None or self.stream.how != "attachment":
            return received.rstrip(b"\r\n") == self.content.rstrip(b"\r\n")
        attachments = list(email.message_from_bytes(received, policy=email.policy.default).iter_attachments())
        return [one.get_payload(decode=True) for one in attachments] == [self.content]

    def __repr__(self) -> str:
        whose = f" as {self.identity}" if self.identity else ""
        whose += f" by {self.stream}" if self.stream else ""
        return f"<Letter {self.number}{whose}, {len(self.recipients)} recipients, {len(self.content)} octets>"


def number_of(address: str) -> int:
    """Which message an address belongs to."""
    found = _NUMBER.match(address)
    if found is None:
        raise ValueError(f"no address of a letter: {address!r}")
    return int(found[1])


def number_of_id(message_id: str) -> int:
    """Which message a Message-ID belongs to."""
    return int(message_id.strip("<>").partition("@")[0])


def number_of_message(message: Any) -> int:
    """Which message a program had given."""
    sender = message.envelope.sender if isinstance(message, Sealed) else message["envelope"]["from"]
    return number_of(sender)


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
