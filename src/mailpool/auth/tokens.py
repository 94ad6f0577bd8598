"""Access tokens by identity: kept while they live, and asked for once however many connections want one.

They are kept for the whole event loop: two transporters with one identity ask once, and a refresh token that the
provider has replaced is replaced for both. Connections that are open go on with what they logged in with.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

from ..errors import AuthenticationFailed, SendError, TimedOut
from ..net import cancelled
from ..options import Credentials
from ..options.oauth2 import OAuth2
from ..options.proxy import Proxy
from ..results import Phase
from .oauth2 import Issued, lifetime_of, request_token

log = logging.getLogger("mailpool")

# How long a function that provides tokens may take, in seconds.
PROVIDER_TIMEOUT = 60.0
# A token is not used in its last seconds: the login still has to get there. A short one keeps half of its life.
MARGIN = 60.0
# Where the token server does not say how long a token lives, in seconds.
_UNTOLD = 300.0
# With fewer identities nothing is ever swept out.
_FEW = 1_000

# What ends a field of a login. Stricter rules are for token servers: what the user's function gives is the user's.
_NO_TOKEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

Notify = Callable[..., None]
# Called as request(source, user, refresh_token, now), with proxy=… where there is one.
Request = Callable[..., Awaitable[Issued]]


class Tokens:
    """The access tokens of one event loop.

    :param request: asks a token server
    :param wall: our clock, in seconds since 1970: for signed claims and for the event. What is kept, and how long, goes by
        the loop's clock, which nobody sets.
    """

    def __init__(self, *, request: Request = request_token, wall: Callable[[], float] = time.time) -> None:
        self._request = request
        self._wall = wall
        self._identities: dict[tuple[str, object], _Identity] = {}
        self._sweep_at = _FEW

    @classmethod
    def here(cls) -> Tokens:
        """Those of the running loop."""
        loop = asyncio.get_running_loop()
        found = _BY_LOOP.get(loop)
        if found is None:
            # A lock that somebody has waited for keeps its loop alive, and a program may run many loops in turn.
            for ended in [other for other in _BY_LOOP if other.is_closed()]:
                del _BY_LOOP[ended]
            found = _BY_LOOP[loop] = cls()
        return found

    async def token(
        self,
        credentials: Credentials,
        notify: Notify = lambda *_: None,
        *,
        refused: str | None = None,
        proxy: Proxy | None = None,
    ) -> str | None:
        """The token to log in with now; None where ``credentials`` have none.

        :param notify: called as ``notify("token", user, expires)`` when a new one came, with Unix time or None
        :param refused: one that the server did not take: it will not be given again
        :param proxy: what stands between us and the token server
        :raises TokenFailed: the token server refused, or gave none
        :raises AuthenticationFailed: the user's function failed; temporary
        :raises TimedOut: the user's function took too long; temporary
        """
        source = credentials.access_token
        if source is None or isinstance(source, str):
            return source
        key = (credentials.user, source)
        identity = self._identities.get(key)
        if identity is None:
            self._sweep()
            identity = self._identities[key] = _Identity(credentials.user, source)
        request = self._request if proxy is None else functools.partial(self._request, proxy=proxy)
        return await identity.token(request, self._wall, notify, refused)

    def _sweep(self) -> None:
        """A program may send for very many people: those whose token has died are forgotten now and then."""
        if len(self._identities) < self._sweep_at:
            return
        now = asyncio.get_running_loop().time()
        self._identities = {key: one for key, one in self._identities.items() if not one.forgettable(now)}
        self._sweep_at = max(_FEW, 2 * len(self._identities))


_BY_LOOP: WeakKeyDictionary[asyncio.AbstractEventLoop, Tokens] = WeakKeyDictionary()


class _Identity:
    """The token of one user from one source. Whoever comes while it is asked for waits, and shares what came of it."""

    def __init__(self, user: str, source: Any) -> None:
        self._user = user
        self._source = source
        self._lock = asyncio.Lock()
        self._rounds = 0  # times that somebody asked and was answered
        self._failure: SendError | None = None  # of the last round
        self._token: str | None = None
        self._good_until = -math.inf
        self._refresh_token: str | None = None
        if isinstance(source, OAuth2):
            self._refresh_token = source.refresh_token
            if source.access_token is not None:
                # Nobody said how long it lives; the server will.
                self._token, self._good_until = source.access_token, math.inf

    def forgettable(self, now: float) -> bool:
        replaced = isinstance(self._source, OAuth2) and self._refresh_token != self._source.refresh_token
        return self._good_until <= now and not replaced and not self._lock.locked()

    async def token(
        self, request: Request, wall: Callable[[], float], notify: Notify, refused: str | None
    ) -> str:
        loop = asyncio.get_running_loop()
        before = self._rounds
        # A lock and no task: if the one who asks is cancelled, the next in line asks.
        async with self._lock:
            if self._rounds != before:
                if self._failure is not None:
                    raise self._failure
                if self._token is not None and self._token != refused:
                    return self._token
            if self._token is not None and self._token != refused and loop.time() < self._good_until:
                return self._token
            asked_at = loop.time()
            try:
                issued = await self._ask(request, wall)
            except SendError as error:
                self._rounds += 1
                self._failure = error
                raise
            self._rounds += 1
            self._failure = None
            self._token = issued.token
            lifetime = issued.lifetime
            self._good_until = asked_at + _usable(lifetime)
        notify("token", self._user, None if lifetime is None else wall() + lifetime)
        return issued.token

    async def _ask(self, request: Request, wall: Callable[[], float]) -> Issued:
        source = self._source
        if not isinstance(source, OAuth2):
            return await _provided(source)
        issued = await request(source, self._user, self._refresh_token, wall())
        if issued.refresh_token is not None and issued.refresh_token != self._refresh_token:
            self._refresh_token = issued.refresh_token
            if source.on_refresh_token is not None:
                await _tell(source.on_refresh_token, issued.refresh_token)
        if issued.lifetime is None:
            return Issued(issued.token, _UNTOLD)
        return issued


def _usable(lifetime: float | None) -> float:
    """How many seconds of ``lifetime`` a token is given out for."""
    if lifetime is None:
        return -math.inf
    return lifetime - min(MARGIN, lifetime / 2)


async def _tell(function: Callable[[str], object], refresh_token: str) -> None:
    try:
        async with asyncio.timeout(PROVIDER_TIMEOUT):
            done = function(refresh_token)
            if inspect.isawaitable(done):
                await done
    except asyncio.CancelledError as error:
        if cancelled.is_ours():
            raise
        _not_kept(error)
    except Exception as error:
        _not_kept(error)


def _not_kept(error: BaseException) -> None:
    # Its text may hold the secret.
    log.error("on_refresh_token raised %s: the new refresh token is not kept", type(error).__name__)


async def _provided(provider: Callable[[], Any], *, timeout: float = PROVIDER_TIMEOUT) -> Issued:
    """What the user's function gives.

    It may hang, raise, or be cancelled by somebody else, and none of that may hold a message for ever.

    :param timeout: seconds that it may take
    """
    why = "was cancelled"
    cause: BaseException | None = None
    try:
        async with asyncio.timeout(timeout):
            given = provider()
            if inspect.isawaitable(given):
                given = await given
            return _read(given)
    except SendError:
        raise
    except TimeoutError:
        raise TimedOut(
            f"the provider of access tokens gave none within {timeout:g} s", phase=Phase.AUTH, temporary=True
        ) from None
    except asyncio.CancelledError:
        if cancelled.is_ours():
            raise
    except Exception as error:
        # Its text is the provider's own and may hold a secret; it is in the cause, for those who look there.
        why, cause = f"failed with {type(error).__name__}", error
    raise AuthenticationFailed(
        f"the provider of access tokens {why}", phase=Phase.AUTH, temporary=True
    ) from cause


def _read(given: Any) -> Issued:
    lifetime = None
    if isinstance(given, tuple) and len(given) == 2:
        given, expires_in = given
        lifetime = lifetime_of(expires_in)
    if not isinstance(given, str) or not given:
        raise AuthenticationFailed(
            "the provider of access tokens must return a text, or (text, seconds that it lives), not "
            f"{type(given).__name__}",
            phase=Phase.AUTH,
        )
    if _NO_TOKEN.search(given):
        raise AuthenticationFailed(
            "the provider of access tokens gave one that contains control characters", phase=Phase.AUTH
        )
    return Issued(given, lifetime)
