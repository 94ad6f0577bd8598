"""One login at a time until the first has succeeded, so that a wrong password is tried once and locks no account (P-19)."""

from __future__ import annotations

import asyncio
import inspect

from ..errors import AuthenticationFailed, SendError, TimedOut
from ..options import Credentials
from ..results import Phase

# How long a provider of access tokens may take, in seconds.
PROVIDER_TIMEOUT = 60.0


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


async def access_token(credentials: Credentials, *, timeout: float = PROVIDER_TIMEOUT) -> str | None:
    """The token to use now: a fixed one, or what the provider gives; None where there is none.

    The provider is the user's: it may hang, raise, or be cancelled by somebody else, and none of that may hold a
    message for ever.

    :param timeout: seconds that the provider may take
    :raises AuthenticationFailed: it failed; temporary
    :raises TimedOut: it took too long; temporary
    """
    token = credentials.access_token
    if not callable(token):
        return token
    why = "was cancelled"
    cause: BaseException | None = None
    try:
        async with asyncio.timeout(timeout):
            given = token()
            return await given if inspect.isawaitable(given) else given
    except TimeoutError:
        raise TimedOut(
            f"the provider of access tokens gave none within {timeout:g} s", phase=Phase.AUTH, temporary=True
        ) from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
    except Exception as error:
        # Its text is the provider's own and may hold a secret; it is in the cause, for those who look there.
        why, cause = f"failed with {type(error).__name__}", error
    raise AuthenticationFailed(
        f"the provider of access tokens {why}", phase=Phase.AUTH, temporary=True
    ) from cause
