"""What a user implements to carry mail in a way of their own: one method."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ..message import Sealed
from ..results import Outcome, Phase, RecipientResult, Reply, SendResult


@runtime_checkable
class Carrier(Protocol):
    """Takes one sealed message after another to wherever mail goes. Give one to `create_transport`.

    Queue, rate, deadlines, cancellation and closing are done around it: several calls of ``deliver`` run at the same
    time, up to ``max_connections``. Besides ``deliver`` a carrier may have, and need not:

    ``name``            what logs and ``stats`` call it; without it, the name of its class
    ``max_recipients``  the most of one ``deliver``; a message with more comes in several calls and has one result
    ``extensions``      keywords of the SMTP extensions that it does for ``sealed.extensions``, such as ``{"DSN"}``, and
                        ``"BINARYMIME"`` if it keeps every octet of a content that is ``binary``. A message that needs
                        another is not given to it
    ``rates``           an async method that returns a sequence of `Rate`, what the other side allows now. It is asked
                        before the first message and again after ``rates_every`` seconds (3,600)
    ``verify``          an async method that looks whether mail could go out, and returns a text that says what it found
    ``close``           an async method, called once when nothing is under way any more; it has one second
    """

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        """Hand the message over.

        :param sealed: the envelope and the content; Bcc recipients are in the envelope and in no header
        :returns: what became of each recipient of the envelope; see `all_accepted`
        :raises Throttled: too fast; it is repeated after ``retry_after`` or a back-off, for ``max_throttle_wait`` at most
        :raises QuotaExceeded: the messages that wait fail, too, until ``retry_after`` is over
        :raises SendError: another kind says what became of it; it is not repeated. Any other exception than those of
            mailpool ends the message as `DeliveryUncertain`
        :raises MessageError: it cannot be carried as it is
        :raises asyncio.CancelledError: its caller has given it up, or the time to close is over. It may finish all the
            same, when what was begun cannot be taken back, and return its result; a second cancellation, a second
            later, means now
        """
        ...


def all_accepted(sealed: Sealed, response: str = "250 2.0.0 ok") -> SendResult:
    """The result when every recipient was accepted.

    :param sealed: what ``deliver`` was given
    :param response: in the form of an SMTP reply: a code that begins with 2, and a text
    """
    reply = Reply.of(response)
    return SendResult(
        sealed.message_id,
        sealed.envelope.sender,
        tuple(
            RecipientResult(address, Outcome.ACCEPTED, Phase.HANDOVER, reply)
            for address in sealed.envelope.recipients
        ),
        reply,
        sealed.content.size,
    )


def name_of(carrier: object) -> str:
    """What logs call it."""
    return str(getattr(carrier, "name", None) or type(carrier).__name__)
