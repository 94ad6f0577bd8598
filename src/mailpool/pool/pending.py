"""What ``send_mail`` returns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..results import SendResult


class Pending(asyncio.Future[SendResult]):
    """The outcome to come. Cancelling it tells the pool, which alone knows how far the message is (P-27)."""

    # Without a place of its own each future would carry a dictionary for it: a tenth of what a waiting message holds.
    __slots__ = ("on_cancel", "subject")

    # Whoever makes one sets both: an ``__init__`` of our own would double what a future costs, and a closure over the
    # subject would take 256 octets for each message that waits.
    on_cancel: Callable[[Any], object] | None
    subject: Any

    def cancel(self, msg: Any | None = None) -> bool:
        if not super().cancel(msg):
            return False
        if self.on_cancel is not None:
            self.on_cancel(self.subject)
        return True
