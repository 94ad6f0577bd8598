"""From a host name to a connected socket (RFC 8305: happy eyeballs, over addresses that we resolve ourselves)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence

from ..errors import ConnectionFailed, LookupFailed, ProxyFailed, SendError, TimedOut
from ..options import Options
from ..results import Phase
from . import cancelled
from .resolve import Address, resolve

# RFC 8305 §5: how long one attempt is alone before the next address is tried beside it.
ATTEMPT_DELAY = 0.25
# What a resolver answers when it could not ask, rather than when the name does not exist.
_LATER = {socket.EAI_AGAIN, getattr(socket, "EAI_SYSTEM", None), getattr(socket, "EAI_MEMORY", None)}


class Patience:
    """The ``connection_timeout`` of one connection: it begins when the addresses are known, and all steps share it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = asyncio.get_running_loop().time() + seconds

    @contextlib.asynccontextmanager
    async def step(self, phase: Phase, what: str, advice: str = "") -> AsyncIterator[None]:
        """One step; when time is up in it, ``TimedOut`` says that there was no ``what``."""
        try:
            async with asyncio.timeout_at(self._ends):
                yield
        except TimeoutError:
            raise TimedOut(
                f"no {what} within {self.seconds:g} s{advice}", phase=phase, temporary=True
            ) from None


async def dial(options: Options, addresses: Sequence[Address], patience: Patience) -> socket.socket:
    """A connected, non-blocking socket to the server of ``options``, or to its proxy.

    :param addresses: where that is; `look_up` gives them. Not looked at where the options name a way of their own
    :raises TimedOut: no answer in time
    :raises ConnectionFailed: refused or unreachable at every address
    """
    if options.sock is not None:
        return _ready(options.sock)
    where = _where(options)
    try:
        async with patience.step(
            Phase.CONNECT,
            f"connection to {where}",
            ": a firewall may drop the packets, or the port is wrong",
        ):
            if options.dial is not None:
                return await _dialled(options, patience)
            if options.unix_socket is not None:
                return await _connect((socket.AF_UNIX, (options.unix_socket,)), None)
            return await _race(addresses, options.local_address)
    except OSError as error:
        kind = ConnectionFailed if options.proxy is None else ProxyFailed
        raise kind(
            f"cannot connect to {where}: {_words(error)}", phase=Phase.CONNECT, temporary=True
        ) from error


def _where(options: Options) -> str:
    if options.proxy is not None:
        return f"the proxy {options.proxy.url}"
    return options.unix_socket or f"{options.host} port {options.effective_port}"


def _ready(sock: socket.socket) -> socket.socket:
    if sock.fileno() < 0:
        raise ConnectionFailed(
            "the socket handed in is closed: it carries one connection, and without pool=True each message needs one",
            phase=Phase.CONNECT,
        )
    sock.setblocking(False)
    return sock


async def _dialled(options: Options, patience: Patience) -> socket.socket:
    """What the user's own function connected."""
    try:
        made = options.dial(options.host, options.effective_port, patience.seconds)
        if inspect.isawaitable(made):
            made = await made
    except asyncio.CancelledError as error:
        if cancelled.is_ours():
            raise
        raise _raised(error) from error
    except Exception as error:
        if isinstance(error, SendError | TimeoutError) or _has_words_of_the_system(error):
            raise
        raise _raised(error) from error
    # No other kind has what TLS and the event loop need; one that is used up would be mistaken for the server's doing.
    if not isinstance(made, socket.socket) or made.fileno() < 0:
        raise ConnectionFailed(
            f"dial must return a connected socket.socket that is open, not {type(made).__name__}"
            + (" that is closed" if isinstance(made, socket.socket) else ""),
            phase=Phase.CONNECT,
        )
    if isinstance(made, ssl.SSLSocket) or made.type != socket.SOCK_STREAM:
        made.close()
        raise ConnectionFailed(
            "dial must return a stream socket without TLS, which is done on it by secure and starttls",
            phase=Phase.CONNECT,
        )
    made.setblocking(False)
    return made


def _raised(error: BaseException) -> ConnectionFailed:
    # Its text is the function's own and may hold a secret; it is in the cause, for those who look there.
    return ConnectionFailed(f"dial raised {type(error).__name__}", phase=Phase.CONNECT, temporary=True)


async def look_up(
    options: Options, host: str, port: int, *, family: int = socket.AF_UNSPEC, option: str = "host"
) -> list[Address]:
    """The addresses of ``host``, in the order in which to try them.

    :param family: only addresses of this one
    :param option: which option named the host, for errors
    :raises LookupFailed: the name does not resolve; ``temporary`` unless it does not exist
    :raises TimedOut: no answer within ``dns_timeout``
    """
    try:
        async with asyncio.timeout(options.dns_timeout):
            found = await resolve(host, port, family=family)
    except TimeoutError:
        raise TimedOut(
            f"the name server gave no address for {host} within {options.dns_timeout:g} s",
            phase=Phase.LOOKUP,
            temporary=True,
        ) from None
    except (socket.gaierror, UnicodeError) as error:
        later = isinstance(error, socket.gaierror) and error.errno in _LATER
        raise LookupFailed(
            f"the {option} {host!r} could not be resolved: {_words(error)}"
            + ("" if later else f". Check the spelling of {option}"),
            phase=Phase.LOOKUP,
            temporary=later,
        ) from error
    return interleave(found)


def own_family(options: Options) -> int:
    """The family of ``local_address``: from there no address of another one is reached."""
    if options.local_address is None:
        return socket.AF_UNSPEC
    return socket.AF_INET6 if ":" in options.local_address else socket.AF_INET


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """Alternate the families, the preferred one first (RFC 8305 §4)."""
    first = [a for a in addresses if a[0] == addresses[0][0]]
    other = [a for a in addresses if a[0] != addresses[0][0]]
    mixed: list[Address] = []
    for index in range(max(len(first), len(other))):
        mixed += first[index : index + 1] + other[index : index + 1]
    return mixed


async def _race(addresses: Sequence[Address], local_address: str | None) -> socket.socket:
    """The first connection to succeed; the others are closed. Raises the first address's error if none does."""
    attempts: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    waiting = list(addresses)
    winner: socket.socket | None = None
    try:
        while winner is None and (waiting or attempts):
            if waiting:
                attempts.add(asyncio.ensure_future(_connect(waiting.pop(0), local_address)))
            done, attempts = await asyncio.wait(
                attempts, timeout=ATTEMPT_DELAY if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None and winner is None:
                    winner = task.result()
                elif error is None:
                    task.result().close()
                elif isinstance(error, OSError):
                    errors.append(error)
                else:
                    raise error
        for task in attempts:
            task.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
    except BaseException:
        if winner is not None:
            winner.close()
        raise
    finally:
        for task in attempts:
            # A loser that connects all the same closes what it has.
            task.add_done_callback(_discard)
            task.cancel()
    if winner is None:
        raise errors[0] if errors else OSError(errno.EADDRNOTAVAIL, "no address")
    return winner


def _discard(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connect(address: Address, local_address: str | None) -> socket.socket:
    family, target = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            # Small writes go out at once: each group is one write already, and Nagle would hold back its last packet.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if local_address is not None:
                sock.bind((local_address, 0))
        await asyncio.get_running_loop().sock_connect(sock, target[0] if family == socket.AF_UNIX else target)
    except BaseException:
        with contextlib.suppress(OSError):
            sock.close()
        raise
    return sock


def _has_words_of_the_system(error: BaseException) -> bool:
    """Whether what `_words` tells of ``error`` is the system's, rather than whoever's raised it."""
    return isinstance(error, OSError) and bool(error.errno) and not isinstance(error, ssl.SSLError)


def _words(error: BaseException) -> str:
    """The system's words for what happened; asyncio puts the address in their place."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
