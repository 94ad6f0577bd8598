"""What came back: replies, and the outcome of each recipient and each message."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

_ENHANCED = re.compile(rb"([245])\.(\d{1,3})\.(\d{1,3})(?:[ \t]|$)")


class Phase(enum.StrEnum):
    """Where in the life of a message something happened."""

    QUEUE = "waiting in the queue"
    LOOKUP = "name look-up"
    CONNECT = "connecting"
    PROXY = "proxy handshake"
    TLS = "TLS handshake"
    GREETING = "greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    CONTENT = "content"
    END_OF_DATA = "end of data"
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"
    HANDOVER = "hand-over"


class Outcome(enum.StrEnum):
    """What became of a message, or of one of its recipients (P-17)."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DEFERRED = "deferred"
    THROTTLED = "throttled"
    QUOTA = "quota"
    AUTH_FAILED = "auth failed"
    CONNECTION_FAILED = "connection failed"
    UNCERTAIN = "uncertain"


class Reply:
    """One complete reply of the server (RFC 5321 §4.2): a code and one or more lines of text.

    The text is decoded when it is looked at: a successful message never pays for it.
    """

    __slots__ = ("_raw", "code")

    def __init__(self, code: int, raw_lines: tuple[bytes, ...]) -> None:
        self.code = code
        self._raw = raw_lines

    @classmethod
    def of(cls, text: str) -> Reply:
        """A reply from its text, one line each: ``Reply.of("250 2.1.0 ok")``."""
        lines = text.split("\n")
        return cls(int(lines[0][:3]), tuple(line[4:].encode() for line in lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """The text of each line without code and line end; control characters are shown escaped."""
        return tuple(_decode(raw) for raw in self._raw)

    @property
    def text(self) -> str:
        """All lines, joined by a newline."""
        return "\n".join(self.lines)

    @property
    def enhanced_code(self) -> str | None:
        """The enhanced status code of RFC 3463, such as ``"5.1.1"``, if the reply starts with one of its class."""
        found = _ENHANCED.match(self._raw[0]) if self._raw else None
        if found is None or int(found[1]) != self.code // 100:
            return None
        return b".".join(found.groups()).decode()

    @property
    def is_success(self) -> bool:
        return 200 <= self.code < 300

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        return 500 <= self.code < 600

    def without(self, secrets: Iterable[bytes]) -> Reply:
        """The same with ``***`` where its text repeats one of ``secrets``; what is shorter than 4 octets is no secret."""
        lines = self._raw
        for secret in secrets:
            if len(secret) >= 4:
                lines = tuple(line.replace(secret, b"***") for line in lines)
        return self if lines == self._raw else Reply(self.code, lines)

    def __str__(self) -> str:
        return f"{self.code} {' / '.join(self.lines)}".rstrip()

    def __repr__(self) -> str:
        return f"<Reply {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reply) and (self.code, self._raw) == (other.code, other._raw)

    def __hash__(self) -> int:
        return hash((self.code, self._raw))


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if text.isprintable():
        return text
    # Controls could drive the terminal of whoever reads an error; line separators forge log lines; bidi marks reorder.
    return "".join(c if c.isprintable() else _escape(ord(c)) for c in text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@dataclass(slots=True)
class RecipientResult:
    """What became of one recipient.

    ``reply`` is what the server said to it: to RCPT when it was refused there, otherwise to the end of the data;
    ``None`` when the connection ended first.
    """

    address: str
    outcome: Outcome
    phase: Phase
    reply: Reply | None = None

    @property
    def accepted(self) -> bool:
        return self.outcome is Outcome.ACCEPTED


@dataclass(slots=True)
class SendResult:
    """The server took the message for at least one recipient (P-15).

    ``attempts`` counts how often the message was begun on a connection; ``maybe_duplicate`` is true when an
    earlier attempt ended without an answer after the end of its data, so that recipients may see it twice (P-18).
    ``waited`` and ``took`` are seconds: in the queue, and from MAIL to the last reply.
    """

    message_id: str
    sender: str
    recipients: tuple[RecipientResult, ...]
    reply: Reply
    size: int
    attempts: int = 1
    maybe_duplicate: bool = False
    waited: float = 0.0
    took: float = 0.0

    @property
    def accepted(self) -> tuple[str, ...]:
        """The addresses that the server took responsibility for."""
        return tuple(r.address for r in self.recipients if r.outcome is Outcome.ACCEPTED)

    @property
    def rejected(self) -> tuple[str, ...]:
        """The addresses that were refused; ``recipients`` has the reply to each."""
        return tuple(r.address for r in self.recipients if r.outcome is not Outcome.ACCEPTED)

    @property
    def response(self) -> str:
        """The server's last reply as text, such as ``"250 2.0.0 Ok: queued as 4F1C2"``."""
        return str(self.reply)
