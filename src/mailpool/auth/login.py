"""One login at a time until the first has succeeded, so that a wrong password is tried once and locks no account (P-19)."""

from __future__ import annotations

import asyncio
import inspect

from ..errors import SendError
from ..options import Credentials


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
        if self._proven:
            return False
        await self._lock.acquire()
        # Another one may have gone meanwhile.
        if self.refused is None and not self._known:
            return True
        self._lock.release()
        if self.refused is not None:
            raise self.refused
        return False

    @property
    def _known(self) -> bool:
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


async def access_token(credentials: Credentials) -> str | None:
    """The token to use now: a fixed one, or what the provider gives."""
    token = credentials.access_token
    if not callable(token):
        return token
    given = token()
    return await given if inspect.isawaitable(given) else given
