"""Messages kept in memory, for tests."""

from __future__ import annotations

import email
import email.parser
import email.policy
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Literal

from ..address import Envelope
from ..extensions import Extensions
from ..message import Sealed
from ..results import SendResult
from .carrier import all_accepted
from .octets import whole


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """A message as it would have gone out.

    ``raw``       the octets, with CRLF
    ``envelope``  who it is from and to, Bcc included, which is in no header
    ``extensions``  what the message asks of the server besides, as in ``Sealed``
    ``binary``    whether it has parts in the transfer encoding ``binary``
    """

    envelope: Envelope
    raw: bytes
    message_id: str
    extensions: Extensions | None = None
    binary: bool = False

    @property
    def email(self) -> EmailMessage:
        """The octets, parsed by the standard library."""
        if self.binary:
            # Only this one of its parsers leaves line ends alone.
            parser = email.parser.BytesFeedParser(EmailMessage, policy=email.policy.default)
            parser.feed(self.raw)
            return parser.close()
        return email.message_from_bytes(self.raw, policy=email.policy.default)

    @property
    def sender(self) -> str:
        return self.envelope.sender

    @property
    def recipients(self) -> tuple[str, ...]:
        return self.envelope.recipients

    @property
    def subject(self) -> str:
        return str(self.email["Subject"] or "")

    @property
    def text(self) -> str:
        """The plain text, with LF; ``""`` if there is none."""
        return self._body("plain")

    @property
    def html(self) -> str:
        """The HTML, with LF; ``""`` if there is none."""
        return self._body("html")

    def _body(self, kind: Literal["plain", "html"]) -> str:
        part = self.email.get_body((kind,))
        return "" if part is None else str(part.get_content()).replace("\r\n", "\n")


class MemoryCarrier:
    """Keeps every message in ``messages``, in the order in which they were sent."""

    name = "memory"
    extensions = frozenset(("DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY", "FUTURERELEASE", "BINARYMIME"))

    def __init__(self) -> None:
        self.messages: list[KeptMessage] = []

    def clear(self) -> None:
        """Forget them."""
        self.messages.clear()

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        self.messages.append(
            KeptMessage(
                sealed.envelope,
                whole(sealed.content),
                sealed.message_id,
                sealed.extensions,
                sealed.content.binary,
            )
        )
        return all_accepted(sealed, "250 2.0.0 kept in memory")

    def __repr__(self) -> str:
        return f"<MemoryCarrier with {len(self.messages)} messages>"
