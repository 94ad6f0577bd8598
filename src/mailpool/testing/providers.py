"""Servers that allow what well-known providers allow, and answer as those do when it is too much.

Limits and words are those that the providers publish or their users report; nothing else is like the real service. Each is
a `ScriptedServer`, so that everything else can be scripted too::

    async with Microsoft365(rate=30, per=60.0) as server:
        ...  # talk to server.host, server.port
    print(server.refused, "were refused")
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Any

from .actions import close, reply, reply_then_close
from .faults import Action, Fault, FaultBook, Incident, Occurrence
from .server import ScriptedServer


class Allowance:
    """At most ``limit`` units in any window of ``per`` seconds. What is refused does not count."""

    def __init__(self, limit: int, per: float) -> None:
        self.limit = limit
        self.per = per
        self._taken: deque[tuple[float, int]] = deque()
        self._units = 0

    def take(self, units: int = 1) -> bool:
        """Whether so many more are allowed now; then they are counted."""
        now = asyncio.get_running_loop().time()
        while self._taken and self._taken[0][0] + self.per <= now:
            self._units -= self._taken.popleft()[1]
        if self._units + units > self.limit:
            return False
        self._taken.append((now, units))
        self._units += units
        return True


class Provider(ScriptedServer):
    """A server with rules of its own. ``refused`` counts how often it said that something was too much."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.refused = 0
        self.faults = _Rules(self, [], [*self.faults._watched])

    def rule(self, what: Occurrence) -> Action | None:
        """What is done at this moment in place of the usual; None: the usual."""
        return None


class _Rules(FaultBook):
    def __init__(self, provider: Provider, struck: list[Fault], watched: list[Any]) -> None:
        super().__init__(struck, watched)
        self._provider = provider

    def find(self, what: Occurrence) -> Fault | None:
        action = self._provider.rule(what)
        if action is None:
            return super().find(what)
        self._provider.refused += 1
        return Fault(at="ANY", do=action)


class Microsoft365(Provider):
    """``connections`` at once, of which the next is refused at MAIL, and ``rate`` messages in ``per`` seconds."""

    def __init__(self, *, connections: int = 3, rate: int = 30, per: float = 60.0, **options: Any) -> None:
        super().__init__(**options)
        self.connections_allowed = connections
        self.allowance = Allowance(rate, per)

    def rule(self, what: Occurrence) -> Action | None:
        if what.at != "MAIL":
            return None
        first = [record.index for record in self.connections if record.is_open][: self.connections_allowed]
        if what.connection not in first:
            return reply("432 4.3.2 Concurrent connections limit exceeded")
        if not self.allowance.take():
            return reply_then_close(
                "421 4.4.2 Message submission rate for this client has exceeded the configured limit"
            )
        return None


class AmazonSES(Provider):
    """``rate`` recipients a second, an end after ``idle`` seconds of silence and after ``session`` messages."""

    def __init__(self, *, rate: int = 14, idle: float = 10.0, session: int = 250, **options: Any) -> None:
        super().__init__(**options)
        self.allowance = Allowance(rate, 1.0)
        self.session = session
        self._recipients: Counter[int] = Counter()  # of the transaction under way on each connection
        timeout = "451 4.4.2 Timeout waiting for data from client."
        self.faults.add(Fault(at="IDLE", after=idle, do=reply_then_close(timeout), times=None))

    def rule(self, what: Occurrence) -> Action | None:
        if what.at == "MAIL":
            self._recipients[what.connection] = 0
            if what.message >= self.session:
                return reply_then_close(
                    "421 Connection closed by server. Maximum message count per session reached."
                )
        elif what.at == "RCPT":
            self._recipients[what.connection] += 1
        elif what.at == "END" and not self.allowance.take(self._recipients[what.connection]):
            return reply("454 Throttling failure: Maximum sending rate exceeded.")
        return None


class SocketLabs(Provider):
    """``connections`` at once, of which the next is refused by the greeting, and ``session`` messages on each."""

    def __init__(self, *, connections: int = 10, session: int = 50, **options: Any) -> None:
        super().__init__(**options)
        self.connections_allowed = connections
        self.session = session

    def rule(self, what: Occurrence) -> Action | None:
        first = [record.index for record in self.connections if record.is_open][: self.connections_allowed]
        if what.at == "GREETING" and what.connection not in first:
            return reply_then_close("421 4.4.5 Too many connections")
        if what.at == "MAIL" and what.message >= self.session:
            return reply_then_close("421 4.7.0 Too many messages on this connection")
        return None


class MailerSend(Provider):
    """``session`` messages on a connection; the next one is answered 421 without a word of why."""

    def __init__(self, *, session: int = 5, **options: Any) -> None:
        super().__init__(**options)
        self.session = session

    def rule(self, what: Occurrence) -> Action | None:
        if what.at == "MAIL" and what.message >= self.session:
            return reply_then_close("421 Service not available")
        return None


class SilentCloser(Provider):
    """Closes without a word behind the answer to the last of ``session`` messages, or at once ``at_mail`` of the next."""

    def __init__(self, *, session: int = 20, at_mail: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.session = session
        self.at_mail = at_mail

    def rule(self, what: Occurrence) -> Action | None:
        if self.at_mail:
            return close() if what.at == "MAIL" and what.message >= self.session else None
        return _answer_then_close if what.at == "END" and what.message == self.session - 1 else None


class Gmail(Provider):
    """``logins`` in ``per`` seconds. Needs ``auth``."""

    def __init__(self, *, logins: int = 10, per: float = 60.0, **options: Any) -> None:
        super().__init__(**options)
        self.allowance = Allowance(logins, per)

    def rule(self, what: Occurrence) -> Action | None:
        if what.at == "AUTH" and not self.allowance.take():
            return reply_then_close("454 4.7.0 Too many login attempts, please try again later.")
        return None


def _answer_then_close(incident: Incident) -> None:
    incident.answer()
    incident.close()
