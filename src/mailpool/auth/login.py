"""One login at a time until the first has succeeded, so that a wrong password is tried once and locks no account (P-19)."""

from __future__ import annotations

import asyncio

from ..errors import SendError


class LoginGate:
    """Stands before the AUTH of every connection of one identity.

    Connections are opened in parallel up to the login; there the first goes alone. When it has succeeded the gate is
    open; when the credentials were refused the others learn it without trying.
    """

    def __init__(self) -> None:
        self._proven = False
        self._lock = asyncio.Lock()
        self.refused: SendError | None = None

    async def enter(self) -> bool:
        """Wait for this connection's turn. Returns whether ``leave`` must be called when the outcome is known.

        :raises SendError: the same credentials were refused on another connection meanwhile
        """
        if self.is_open():
            return False
        await self._lock.acquire()
        # Another one may have gone meanwhile.
        if self.refused is None and not self.is_open():
            return True
        self._lock.release()
        if self.refused is not None:
            raise self.refused
        return False

    def is_open(self) -> bool:
        """Whether a login has succeeded, and nothing has cast doubt on it since."""
        return self._proven

    def leave(self) -> None:
        """The outcome of the login that entered is known."""
        self._lock.release()

    def succeeded(self) -> None:
        self._proven = True

    def failed(self, error: SendError) -> None:
        """The credentials were refused: whoever waits is told, and the next login goes alone again."""
        self._proven = False
        self.refused = error

    def doubt(self) -> None:
        """No connection is logged in any more: the password may have been changed, and is tried once."""
        self._proven = False

    def reopen(self) -> None:
        """Time has passed: the credentials may be tried again."""
        self.refused = None
