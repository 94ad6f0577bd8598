"""Name look-ups that hold nothing up."""

from __future__ import annotations

import socket
from typing import Any

from .beside import in_daemon_thread

Address = tuple[socket.AddressFamily, tuple[Any, ...]]


async def resolve(host: str, port: int, *, family: int = socket.AF_UNSPEC) -> list[Address]:
    """The addresses of ``host``, in the system's order of preference (RFC 6724).

    The system's resolver cannot be interrupted, and may be stuck for long.

    :param host: a name or address in ASCII: internationalised names come as A-labels (RFC 5891)
    :raises OSError: ``socket.gaierror`` as the resolver gave it
    :raises UnicodeError: ``host`` is not ASCII
    """
    # Given text, the standard library would fetch its codec for IDNA from a file: with no descriptor left that fails, and
    # it is remembered as a codec that does not exist.
    name = host.encode("ascii")

    def look_up() -> list[Address]:
        try:
            found = socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise
        except BaseException as caught:
            raise _broken(caught) from caught
        return [(entry[0], entry[4]) for entry in found]

    try:
        return await in_daemon_thread(look_up, f"mailpool-resolve-{host}")
    except RuntimeError as caught:  # The system has no thread left.
        raise _broken(caught) from caught


def _broken(error: BaseException) -> socket.gaierror:
    """The look-up could not be made, which says nothing of the name: a later one may succeed."""
    told = socket.gaierror(socket.EAI_AGAIN, f"{type(error).__name__}: {error}")
    told.__cause__ = error
    return told
