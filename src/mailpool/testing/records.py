"""What a scripted server remembers: messages, connections, and who spoke when."""

from __future__ import annotations

import email
import email.parser
import email.policy
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal


@dataclass(slots=True)
class ReceivedMessage:
    """One message that the server took responsibility for.

    ``content``       octets after dot-unstuffing, line ends as they came; empty with ``keep_content=False``
    ``size``          their number, also when they were not kept
    ``connection``    index into ``server.connections``
    ``number``        which transaction of its connection it was, from 0; refused ones count
    ``time``          seconds on the loop's clock when its last octet was handled
    ``mail_turn``, ``end_turn``  indexes into the connection's ``turns``: where MAIL and the end of the data arrived
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    size: int
    mail_parameters: dict[str, str | None]
    recipient_parameters: dict[str, dict[str, str | None]]
    connection: int
    number: int
    time: float
    mail_turn: int
    end_turn: int
    chunked: bool = False
    user: str | None = None
    tls: bool = False

    @property
    def email(self) -> EmailMessage:
        """The content, parsed by the standard library."""
        if (self.mail_parameters.get("BODY") or "").upper() == "BINARYMIME":
            # Only this one of its parsers leaves line ends alone.
            parser = email.parser.BytesFeedParser(EmailMessage, policy=email.policy.default)
            parser.feed(self.content)
            return parser.close()
        return email.message_from_bytes(self.content, policy=email.policy.default)

    @property
    def message_id(self) -> str | None:
        """The Message-ID header, or ``None`` if there is none."""
        value = self.email["Message-ID"]
        return None if value is None else str(value).strip()


@dataclass(slots=True)
class Turn:
    """What the client sent before it could have seen the answer: the number of turns is the number of round trips.

    ``commands`` are verbs in order; ``END`` stands for the end of a message's content. With a ``latency`` the
    server can tell by the clock what cannot be an answer; without one, each separate answer ends a turn.
    """

    started_at: float
    commands: list[str] = field(default_factory=list)


@dataclass(slots=True)
class TlsRecord:
    """How the connection is encrypted. ``close_notify``: the client ended it as TLS wants."""

    version: str
    cipher: str
    session_reused: bool
    peer_certificate: bytes | None = None
    close_notify: bool = False


@dataclass(slots=True)
class ConnectionRecord:
    """Everything that happened on one connection. Times are seconds on the loop's clock.

    ``lines``       what the client sent, content and line ends excluded, AUTH included
    ``replies``     what the server said, without the last line end
    ``writes``      how often octets of the client arrived separately
    ``violations``  where the client broke the protocol, in words; empty for a client that is right
    ``unfinished``  what of a line or of a content was there when the connection ended in the middle of it
    """

    index: int
    opened_at: float
    peername: object = None
    closed_at: float | None = None
    closed_by: Literal["client", "server"] | None = None
    helo: str | None = None
    user: str | None = None
    tls: TlsRecord | None = None
    tls_error: str | None = None
    lines: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    writes: int = 0
    octets_received: int = 0
    octets_sent: int = 0
    messages: int = 0
    quit_seen: bool = False
    unfinished: bytes = b""

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    @property
    def round_trips(self) -> int:
        """How often the client waited for an answer, the greeting and the TLS handshake excluded."""
        return len(self.turns)
