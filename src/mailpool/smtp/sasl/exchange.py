"""One AUTH command and what follows, as lines to write and replies to hand in (RFC 4954 §4).

This is where a server that leads us on is stopped, whatever the mechanism.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any

from ...errors import AuthenticationFailed, ProtocolError, SendError
from ...results import Phase, Reply
from .. import commands
from .mechanism import Mechanism

# No mechanism here needs more than four rounds; ten leave room for servers that ask strangely, and end a trap.
MOST_CHALLENGES = 10
# Of a command line with its CRLF (RFC 5321 §4.5.3.1.4): a longer initial response waits for its challenge.
MAX_COMMAND = 512


class Exchange:
    """Write `begin`; hand each reply to `answer` and write what it returns, until it returns ``None``: the reply handed
    in last is then the server's decision (235 or not).

    `is_slow` says beforehand whether that takes long.
    """

    __slots__ = ("_challenges", "_held", "mechanism")

    def __init__(self, mechanism: Mechanism) -> None:
        self.mechanism = mechanism
        self._held: bytes | None = None  # an initial response too long for the command line
        self._challenges = 0

    def begin(self, *, max_command: int = MAX_COMMAND) -> bytes:
        """The AUTH command, with the initial response if the line then has at most ``max_command`` octets."""
        said = self._ask(self.mechanism.start)
        if said is None:
            return commands.auth(self.mechanism.name, None)
        initial = self._octets(said)
        line = commands.auth(self.mechanism.name, _encode(initial))
        if len(line) <= max_command:
            return line
        self._held = initial
        return commands.auth(self.mechanism.name, None)

    def is_slow(self, reply: Reply | None) -> bool:
        """Whether `answer` to this reply, or `begin` for ``None``, is to be called in a thread."""
        if reply is None:
            return bool(self._ask(self.mechanism.is_slow, None))
        if reply.code != 334 or self._held is not None:
            return False
        return bool(self._ask(self.mechanism.is_slow, _decode(reply)))

    def answer(self, reply: Reply) -> bytes | None:
        """The line that answers a 334, or ``None`` when the server has decided.

        :raises ProtocolError: a challenge that is no base64, too many of them, or success before any proof
        :raises AuthenticationFailed: the mechanism does not trust the server, or failed
        """
        if reply.code != 334:
            if reply.is_success and (self._held is not None or not self.mechanism.complete):
                raise ProtocolError(
                    f"the server claims success before it saw any credentials, or before {self.mechanism.name} was "
                    "complete",
                    phase=Phase.AUTH,
                    reply=reply,
                )
            return None
        self._challenges += 1
        if self._challenges > MOST_CHALLENGES:
            raise ProtocolError("the server asks without end", phase=Phase.AUTH, reply=reply)
        challenge = _decode(reply)
        if self._held is not None:
            held, self._held = self._held, None
            return _encode(held) + b"\r\n"
        return _encode(self._octets(self._ask(self.mechanism.step, challenge))) + b"\r\n"

    def _ask(self, method: Callable[..., Any], *arguments: object) -> Any:
        """What a mechanism says; it may be the user's own, and must not end in more than a failed login."""
        try:
            return method(*arguments)
        except SendError:
            raise
        except Exception as error:
            raise AuthenticationFailed(
                f"the mechanism {self.mechanism.name} failed with {type(error).__name__}", phase=Phase.AUTH
            ) from error

    def _octets(self, said: object) -> bytes:
        if isinstance(said, bytes):
            return said
        raise AuthenticationFailed(
            f"the mechanism {self.mechanism.name} gave {type(said).__name__} in place of bytes",
            phase=Phase.AUTH,
        )

    def __repr__(self) -> str:
        return f"<Exchange {self.mechanism!r}>"


def _encode(octets: bytes) -> bytes:
    return binascii.b2a_base64(octets, newline=False)


def _decode(reply: Reply) -> bytes:
    text = reply.text.strip()
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ProtocolError("the server's challenge is not base64", phase=Phase.AUTH, reply=reply) from None
