"""The one error tree.

``MailpoolError`` is the root. Below it, ``ConfigurationError`` and ``MessageError`` are the caller's to mend and are
raised before a byte is written; every ``SendError`` says in which phase it happened, what the server replied, whether
trying later may help, and whether the message may have been delivered all the same (P-16).
"""

from __future__ import annotations

from typing import Any

from .results import Outcome, Phase, RecipientResult, Reply


class MailpoolError(Exception):
    """The root of everything that mailpool raises on purpose."""


class ConfigurationError(MailpoolError, ValueError):
    """An option is unknown, malformed, or contradicts another. ``option`` names it."""

    def __init__(self, message: str, *, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class UsageError(MailpoolError, RuntimeError):
    """A call at the wrong time or place, such as from another event loop."""


class MessageError(MailpoolError, ValueError):
    """A field of the message cannot be sent as it is. ``field`` names it; nothing has been written."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class AddressError(MessageError):
    """An address is malformed, ambiguous or unsafe."""


class SendError(MailpoolError):
    """A message was not accepted, as far as is known.

    ``phase``                    where it happened
    ``reply``                    what the server said, or ``None`` if it said nothing
    ``temporary``                whether the same message may succeed later
    ``may_have_been_delivered``  whether recipients may have it all the same
    ``retry_after``              seconds to wait before another try, where known
    ``recipients``               what became of each recipient, once the envelope was on the wire
    ``message_id``               of the message concerned
    ``attempts``                 how often it was begun on a connection
    """

    outcome = Outcome.DEFERRED

    def __init__(
        self,
        message: str,
        *,
        phase: Phase,
        reply: Reply | None = None,
        temporary: bool = False,
        may_have_been_delivered: bool = False,
        retry_after: float | None = None,
        recipients: tuple[RecipientResult, ...] = (),
        message_id: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message)
        self.phase = phase
        self.reply = reply
        self.temporary = temporary
        self.may_have_been_delivered = may_have_been_delivered
        self.retry_after = retry_after
        self.recipients = recipients
        self.message_id = message_id
        self.attempts = attempts

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with the message alone, and errors do travel: between processes, in task queues.
        return _revived, (type(self), self.args, self.__dict__)

    @property
    def accepted(self) -> tuple[str, ...]:
        """Recipients for whom an earlier part of the same message was accepted."""
        return tuple(r.address for r in self.recipients if r.accepted)

    @property
    def rejected(self) -> tuple[str, ...]:
        return tuple(r.address for r in self.recipients if not r.accepted)

    def for_message(
        self,
        message_id: str,
        attempts: int,
        recipients: tuple[RecipientResult, ...] = (),
        *,
        may_have_been_delivered: bool = False,
    ) -> SendError:
        """A copy that belongs to one message: an error of a connection may end many."""
        copy = _revived(type(self), self.args, self.__dict__)
        copy.message_id = message_id
        copy.attempts = attempts
        copy.recipients = recipients
        copy.may_have_been_delivered = self.may_have_been_delivered or may_have_been_delivered
        copy.__cause__ = self.__cause__
        return copy


def _revived(kind: type[SendError], args: tuple[Any, ...], state: dict[str, Any]) -> SendError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class Rejected(SendError):
    """The server refused the message, or all its recipients, for good (5xx)."""

    outcome = Outcome.REJECTED


class Deferred(SendError):
    """The server refused for now (4xx): the same message may be accepted later."""

    outcome = Outcome.DEFERRED


class Throttled(Deferred):
    """Too fast, or too many connections. ``retry_after`` is set where the reply says how long."""

    outcome = Outcome.THROTTLED


class QuotaExceeded(Deferred):
    """A quota, usually of a day, is used up."""

    outcome = Outcome.QUOTA


class UnsupportedByServer(Rejected):
    """The message needs an extension that the server does not offer (SMTPUTF8, 8BITMIME, BINARYMIME) or is over its SIZE."""


class ConnectionFailed(SendError):
    """No connection could be made, or it ended before the message was handed over."""

    outcome = Outcome.CONNECTION_FAILED


class LookupFailed(ConnectionFailed):
    """The host name could not be resolved."""


class ProxyFailed(ConnectionFailed):
    """The proxy could not be reached, did not let us in, or could not reach the server itself."""


class TLSFailed(ConnectionFailed):
    """No trustworthy TLS connection: the certificate, the host name, the version, or STARTTLS refused."""


class TimedOut(ConnectionFailed):
    """A phase took longer than it may."""


class ProtocolError(ConnectionFailed):
    """The server said something that is no SMTP, or not an answer to what was asked."""


class AuthenticationFailed(SendError):
    """The server did not accept the credentials, or offers no mechanism that suits them."""

    outcome = Outcome.AUTH_FAILED


class TokenFailed(AuthenticationFailed):
    """No OAuth2 access token was to be had.

    ``error`` and ``description`` are what the token server said, such as ``"invalid_grant"`` (RFC 6749 §5.2), without
    anything secret; None where it said nothing.
    """

    error: str | None = None
    description: str | None = None


class DeadlineExceeded(SendError):
    """The message's own ``deadline`` passed."""


class DeliveryUncertain(SendError):
    """The end of the data was written and no answer came: the message may or may not have been delivered (P-17)."""

    outcome = Outcome.UNCERTAIN


class PoolClosed(SendError):
    """The transporter was closed before the message was sent."""


class QueueFull(SendError):
    """``send_soon`` found ``max_queue`` messages waiting already."""
