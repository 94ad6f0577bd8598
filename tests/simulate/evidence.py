"""What a run leaves to be judged: what callers were told, what servers accepted, and what the wire carried."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from letters import Letter, number_of

from mailpool.testing import ReceivedMessage


@dataclass(slots=True)
class Submission:
    """One message given to the pool. ``how``: send, soon, many or pull; times in seconds of the run's clock."""

    letter: Letter
    how: str
    at: float
    priority: int = 0
    deadline: float | None = None
    future: asyncio.Future[Any] | None = None
    refused: Exception | None = None  # raised by the call itself
    outcome: Any = None  # a SendResult, an error, or CancelledError
    ended_at: float | None = None
    cancelled_at: float | None = None


@dataclass(slots=True)
class Mail:
    """One MAIL that the client wrote."""

    number: int
    at: float
    recipients: int = 0


@dataclass(slots=True)
class Wiretap:
    """What the client wrote on one connection."""

    index: int
    server: int
    relay: int
    dialled_at: float
    opened_at: float
    closed_at: float | None = None
    broken: bool = False  # by the network, at some octet
    plain: bool = False  # HELO: the client knows of no limits
    mails: list[Mail] = field(default_factory=list)
    last_read: float = 0.0
    logins: list[tuple[float, str]] = field(default_factory=list)  # when, and as whom
    refused_at: float | None = None
    offers_tls: bool = False
    tokens: list[tuple[float, str]] = field(default_factory=list)  # when which was shown
    quit_at: float | None = None
    read_before_quit: float = 0.0


@dataclass(slots=True)
class Handed:
    """A message given to one of several relays, and what came of it there."""

    number: int
    relay: int
    at: float
    recipients: tuple[str, ...]
    outcome: Any = None
    ended_at: float | None = None


@dataclass(slots=True)
class Evidence:
    """All of it. ``complaints`` were noticed while the run went on; ``trace`` is the transcript."""

    submissions: dict[int, Submission] = field(default_factory=dict)
    accepted: list[tuple[int, ReceivedMessage]] = field(default_factory=list)
    events: list[tuple[float, str, tuple[Any, ...]]] = field(default_factory=list)
    taps: list[Wiretap] = field(default_factory=list)
    contents: Counter[int] = field(
        default_factory=Counter
    )  # how often the client began to write each message
    complaints: list[str] = field(default_factory=list)
    trace: list[tuple[float, str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    handed: list[Handed] = field(default_factory=list)
    tokens: dict[str, float] = field(default_factory=dict)  # until when each lives
    closing_at: float | None = None
    blocked: float = 0.0  # seconds for which the program blocked the loop
    stats: Any = None
    closed_at: float | None = None
    not_sent: list[Any] = field(default_factory=list)  # what close or drain returned

    def complain(self, words: str) -> None:
        """Note a broken promise, once."""
        if words not in self.complaints:
            self.complaints.append(words)

    def copies(self) -> dict[tuple[int, str], list[float]]:
        """When each recipient of each message was given it, by all servers together."""
        found: dict[tuple[int, str], list[float]] = {}
        for _, message in self.accepted:
            for recipient in message.recipients:
                found.setdefault((number_of(message.sender), recipient), []).append(message.time)
        return found

    def heard(self, name: str) -> list[tuple[Any, ...]]:
        return [details for _, event, details in self.events if event == name]
