"""The one way from what callers give to a sealed message: defaults, clock and dice come in here."""

from __future__ import annotations

import datetime
import os
import socket
import time
from collections.abc import Callable, Mapping
from email.message import Message as StdlibMessage
from typing import Any

from .message import Message, Sealed, seal
from .message.dkim import Signatures, signed
from .message.smime import Protection, protected
from .options import Options

AnyMessage = Mapping[str, Any] | Message | StdlibMessage | Sealed


class Preparation:
    """Seals the messages of one transporter."""

    def __init__(self, options: Options, repaired: Callable[[str, str], None] = lambda *_: None) -> None:
        """``repaired`` is told the Message-ID and each thing that was repaired in the addresses of a message."""
        self._hostname = options.name or socket.gethostname() or "localhost"
        self._defaults = options.defaults or None
        self._access = options.access
        self._lenient = options.addresses == "lenient"
        self._repaired = repaired
        self._signs = options.smime is not None or options.dkim is not None
        self._protection = Protection(options.smime)
        self._signatures = Signatures(options.dkim)
        self._second = -1
        self._moment = datetime.datetime.min

    def seal(self, message: AnyMessage) -> Sealed:
        """The message as octets and envelope; one that is sealed already stays as it is.

        :raises MessageError: a field cannot be sent as it is
        """
        if isinstance(message, Sealed):
            return message
        sealed = seal(
            message,
            now=self._now(),
            token=_token,
            hostname=self._hostname,
            defaults=self._defaults,
            access=self._access,
            lenient=self._lenient,
        )
        if sealed.repairs:
            for repair in sealed.repairs:
                self._repaired(sealed.message_id, repair)
        # By far the most messages bring no keys of their own.
        if self._signs or type(message) is not dict or "dkim" in message or "smime" in message:
            self._sign(sealed, message)
        return sealed

    def _sign(self, sealed: Sealed, message: object) -> None:
        """Last of all, and DKIM after S/MIME: whatever changed the content after this would break the signature."""
        smime = self._protection.of(message)
        if smime is not None:
            sealed.content = protected(sealed.content, smime, self._moment, _token())
        keys = self._signatures.keys_for(message)
        if keys:
            sealed.content = signed(sealed.content, keys, self._second)

    def _now(self) -> datetime.datetime:
        """The local time to the second, which is all that Date tells; the same object within one second."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._moment = datetime.datetime.fromtimestamp(second).astimezone()
        return self._moment


def _token() -> str:
    return os.urandom(16).hex()
