"""The envelope: who a message is from and to, as the server is told."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NoReturn

from ..errors import AddressError
from .mailbox import Mailbox, normal_address

_set = object.__setattr__
# A program sends from few addresses and to many: only senders are worth remembering.
_normal_sender = lru_cache(maxsize=512)(normal_address)


class Envelope:
    """The reverse-path and the forward-paths of one message (RFC 5321 §2.3.1, §4.1.1.2, §4.1.1.3).

    sender      an address, or ``""`` for the null reverse-path of notifications (RFC 5321 §4.5.5)
    recipients  addresses, at least one; repeated ones are kept once, in order. The domain is compared without
                case, the local part with it, since only the host that owns it may say that case does not count.

    Addresses are without names and angle brackets; they are brought to the form of ``Mailbox.address``.
    Raises ``AddressError`` when one is malformed or none is given. Nothing that is in an ``Envelope`` can end a
    command line or a path early.
    """

    __slots__ = ("recipients", "sender", "utf8")

    sender: str
    recipients: tuple[str, ...]
    utf8: bool

    def __init__(self, sender: str, recipients: Iterable[str]) -> None:
        if isinstance(recipients, str):
            raise AddressError(
                "envelope.to: give an iterable of addresses, not one string", field="envelope.to"
            )
        try:
            normal = _normal_sender(sender) if sender else ""
        except AddressError as error:
            raise AddressError(f"envelope.from: {error}", field="envelope.from") from None
        try:
            paths = tuple(map(normal_address, recipients))
        except AddressError as error:
            raise AddressError(f"envelope.to: {error}", field="envelope.to") from None
        self._fill(normal, paths)

    @classmethod
    def between(cls, sender: Mailbox | None, recipients: Iterable[Mailbox]) -> Envelope:
        """The envelope from one mailbox, or from the null reverse-path, to others; no address is checked twice."""
        self = object.__new__(cls)
        self._fill(sender.address if sender else "", tuple([mailbox.address for mailbox in recipients]))
        return self

    @classmethod
    def to_one(cls, sender: str, recipient: str) -> Envelope:
        """The envelope to a single recipient, for who has checked both addresses."""
        self = object.__new__(cls)
        _set(self, "sender", sender)
        _set(self, "recipients", (recipient,))
        _set(self, "utf8", not (sender.isascii() and recipient.isascii()))
        return self

    def _fill(self, sender: str, recipients: tuple[str, ...]) -> None:
        if len(recipients) > 1:
            recipients = tuple(dict.fromkeys(recipients))
        elif not recipients:
            raise AddressError("the message has no recipient; give to, cc, bcc or an envelope", field="to")
        _set(self, "sender", sender)
        _set(self, "recipients", recipients)
        _set(self, "utf8", not (sender.isascii() and all(map(str.isascii, recipients))))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an Envelope cannot be changed ({name})")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an Envelope cannot be changed ({name})")

    def __reduce__(self) -> tuple[type[Envelope], tuple[str, tuple[str, ...]]]:
        return Envelope, (self.sender, self.recipients)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Envelope):
            return NotImplemented
        return self.sender == other.sender and self.recipients == other.recipients

    def __hash__(self) -> int:
        return hash((self.sender, self.recipients))

    def __repr__(self) -> str:
        shown = ", ".join(self.recipients[:3])
        more = f" and {len(self.recipients) - 3} more" if len(self.recipients) > 3 else ""
        return f"<Envelope from <{self.sender}> to {shown}{more}>"
