"""One message to some recipients, once over one connection (RFC 5321 §3.3)."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from typing import Any

from ..content import BytesContent, Content, StreamedContent
from ..errors import SendError, UnsupportedByServer
from ..extensions import Extensions
from ..results import Phase, Reply
from . import commands
from .capabilities import Capabilities
from .requests import mail_parameters, rcpt_parameters


class Verdict(enum.Enum):
    """How a transaction ended."""

    OPEN = "open"
    ACCEPTED = "the server took the message for the recipients that it had not refused"
    REFUSED = "the server refused the message, or every recipient"
    UNSENT = "the connection ended, and nothing was accepted"
    UNCERTAIN = "the connection ended between the end of the data and its reply"


class Transaction:
    """One message to some recipients, once over one connection.

    ``refused`` holds the reply to each refused recipient by its index; ``reply`` is the one that decided the message
    and ``phase`` where it came, or how far the transaction had got. ``token`` is the caller's and comes back untouched.
    With LMTP ``replies`` holds what came after the end of the data, to each recipient by its index.
    """

    __slots__ = (
        "ahead",
        "answered",
        "cautious",
        "chunked",
        "commands",
        "content",
        "end_written",
        "failure",
        "mail_accepted",
        "phase",
        "refused",
        "replies",
        "reply",
        "stage",
        "token",
        "unanswered",
        "verdict",
        "written",
    )

    unanswered: deque[int]  # LMTP: the recipients that are owed a reply after the end of the data

    def __init__(self, mail: bytes, rcpts: Sequence[bytes], content: Content, token: Any = None) -> None:
        self.commands = (mail, *rcpts, commands.DATA)
        self.written = 0  # how many of them
        self.answered = 0
        self.mail_accepted = False
        self.stage = Phase.MAIL  # what the next reply answers
        self.content = content
        self.token = token
        self.verdict = Verdict.OPEN
        self.phase = Phase.MAIL
        self.reply: Reply | None = None
        self.refused: dict[int, Reply] = {}
        self.replies: dict[int, Reply] | None = None
        self.end_written = False
        self.chunked = False  # its content goes out by BDAT
        self.failure: SendError | None = None  # why its content could not be written
        self.ahead = False  # was begun behind the end of another, which was not answered
        self.cautious = False  # which has to wait for the reply to MAIL (P-11)

    @property
    def recipient_count(self) -> int:
        return len(self.commands) - 2

    @property
    def mail_answered(self) -> bool:
        """Whether the server has said anything at all to this transaction (P-11)."""
        return self.answered > 0

    @property
    def is_pointless(self) -> bool:
        """Whether a further command could achieve nothing: MAIL was refused, or every recipient."""
        if self.answered == 0:
            return False
        return not self.mail_accepted or len(self.refused) == len(self.commands) - 2

    def expect_each(self) -> int:
        """LMTP: each recipient that was not refused is owed a reply of its own (RFC 2033 §4.2). Returns how many."""
        self.replies = {}
        self.unanswered = deque(index for index in range(self.recipient_count) if index not in self.refused)
        return len(self.unanswered)

    def end(self, verdict: Verdict, phase: Phase) -> None:
        self.verdict = verdict
        self.phase = phase

    def __repr__(self) -> str:
        return f"<Transaction {self.verdict.name.lower()} in {self.phase}, {self.answered} of {self.written} answered>"


def prepare(
    sender: str,
    recipients: Sequence[str],
    content: Content,
    capabilities: Capabilities,
    token: Any = None,
    extensions: Extensions | None = None,
    waited: float = 0.0,
) -> Transaction:
    """The transaction for a server with these capabilities.

    :param sender: the reverse-path, empty for the null one
    :param recipients: the forward-paths
    :param token: comes back untouched with the transaction
    :param extensions: what the message asks of the server besides
    :param waited: seconds since the message was given to the transporter
    :raises DeadlineExceeded: the time by which the message was to be delivered is over
    :raises UnsupportedByServer: the message needs what the server does not offer; nothing has been written
    """
    parameters = ""
    size = None
    if capabilities.size_declared:
        size = content.size
        if capabilities.size is not None and size > capabilities.size:
            raise UnsupportedByServer(
                f"the message has {size} octets, and the server takes {capabilities.size} at most",
                phase=Phase.MAIL,
            )
    binary = content.eight_bit and content.binary
    if binary:
        if not capabilities.binarymime:
            raise UnsupportedByServer(
                "a part has the transfer encoding 'binary', and the server does not offer BINARYMIME with CHUNKING "
                "(RFC 3030), or they are switched off; use base64",
                phase=Phase.MAIL,
            )
        parameters += " BODY=BINARYMIME"
        if not isinstance(content, (BytesContent, StreamedContent)):
            # BDAT says how many octets come, and this sees to it that no others do.
            content = StreamedContent([content], eight_bit=True, binary=True)
    elif content.eight_bit:
        if not capabilities.eight_bit_mime:
            raise UnsupportedByServer(
                "the content has octets above 127, and the server does not offer 8BITMIME; "
                "encode the text as quoted-printable or base64",
                phase=Phase.MAIL,
            )
        parameters += " BODY=8BITMIME"
    if content.utf8_headers or not (sender.isascii() and all(r.isascii() for r in recipients)):
        if not capabilities.smtputf8:
            raise UnsupportedByServer(
                "an address or a header is not ASCII, and the server does not offer SMTPUTF8 (RFC 6531)",
                phase=Phase.MAIL,
            )
        parameters += " SMTPUTF8"
    if extensions is None:
        rcpts = [commands.rcpt(recipient) for recipient in recipients]
    else:
        parameters += mail_parameters(extensions, capabilities, waited)
        wishes = rcpt_parameters(extensions, capabilities, recipients)
        rcpts = [commands.rcpt(*both) for both in zip(recipients, wishes, strict=True)]
    transaction = Transaction(commands.mail(sender, parameters, size=size), rcpts, content, token)
    transaction.chunked = binary  # never by DATA (RFC 3030 §3)
    return transaction
