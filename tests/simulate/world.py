"""The network and the servers of a run: what ``mailpool.testing`` has, made to misbehave by the scenario's dice.

Everything that the client writes is read along, because some promises are about what is written and when: the rates, the
bounds of a connection, and that nothing of one message gets into another.
"""

from __future__ import annotations

import asyncio
import base64
import random
import re
from collections.abc import Callable
from typing import Any, cast

from evidence import Evidence, Mail, Wiretap
from issuing import Issuer
from manners import ServerManners
from scenario import NetworkManners, Scenario

from mailpool.errors import LookupFailed
from mailpool.net.link import Link
from mailpool.results import Phase
from mailpool.testing import MemoryTransport, ScriptedServer
from mailpool.testing.connection import Connection
from mailpool.testing.dialogue import Step, Transaction
from mailpool.testing.records import ConnectionRecord
from mailpool.testing.wire import Wire

_COMMAND = re.compile(rb"^(MAIL FROM:<from-|RCPT TO:<r\d+-|Message-ID: <)(\d+)@", re.MULTILINE)

# That of the first relay, and the others have the next ones.
PORT = 2_500

# Seconds of silence after which a connection may be dead without our knowing it (P-11).
STALE = 1.0 + 1e-6


class Line(Connection):
    """The server's side of a connection, with its server's bad habits."""

    def __init__(self, server: Server, record: ConnectionRecord, instead: Any) -> None:
        super().__init__(server, record, instead)
        self._of = server

    def say(self, text: str) -> None:
        self._of.note("says", self.record.index, text)
        super().say(text)

    def _depart(self, data: bytes) -> None:
        piece = self._of.manners_of.piece
        if not piece or len(data) <= piece:
            super()._depart(data)
            return
        for start in range(0, len(data), piece):
            self._push(data[start : start + piece], self._of.manners_of.gap * (1 + start // piece))

    def _push(self, data: bytes, delay: float) -> None:
        def write() -> None:
            if not self.transport.is_closing():
                self.transport.write(data)

        self._outbound.push(write, delay)

    tap: Wiretap | None = None

    def _meet(self, step: Step, text: str = "", progress: float = 0) -> None:
        if step.at == "IDLE" and self._held:
            return  # in the midst of a reply nobody says another one
        super()._meet(step, text, progress)
        manners = self._of.manners_of
        if step.at == "EHLO":
            for keyword in sorted(manners.forgets):
                self.dialogue.announced.pop(keyword, None)
            if self.tap is not None:
                self.tap.offers_tls = "STARTTLS" in self.dialogue.announced
        elif step.at == "MAIL" and manners.drops_input:
            self._input.clear()


class Server(ScriptedServer):
    """A server of the scenario."""

    def __init__(self, index: int, manners: ServerManners, evidence: Evidence, accounts: Any) -> None:
        super().__init__(
            capabilities=self._announce,
            faults=manners.faults,
            mechanisms=("PLAIN", "LOGIN") if accounts is manners.accounts else ("XOAUTH2", "PLAIN"),
            keeps_sender_after_bdat=manners.keeps_sender_after_bdat,
            lmtp=manners.lmtp,
        )
        self.auth = accounts
        self.auth_required = bool(accounts)
        self.index = index
        self.dice = random.Random(index)
        self.manners_of = manners
        self._evidence = evidence

    def _announce(self, record: ConnectionRecord) -> tuple[str, ...]:
        """What it has, and sometimes STARTTLS, for which it has no certificate."""
        manners = self.manners_of
        offers_tls = manners.offers_tls and self.dice.random() < manners.offers_tls
        return (*manners.capabilities, "STARTTLS") if offers_tls else manners.capabilities

    def note(self, what: str, connection: int, words: str) -> None:
        now = asyncio.get_running_loop().time()
        self._evidence.trace.append((now, f"server {self.index}.{connection} {what}", words))

    def connect(self) -> Wire | None:
        most = self.manners_of.most_connections
        full = most is not None and self.open_connections >= most
        wire = super().connect()
        if wire is None:
            return None
        record = self.connections[-1]

        def turn_away(incident: Any) -> None:
            incident.say("421 4.7.0 too many connections from you")
            incident.close()

        return Line(self, record, turn_away if full else cast("Connection", wire)._instead)

    def heard(self, line: str) -> None:
        self.note("hears", -1, line)
        super().heard(line)

    def deliver(self, connection: Connection, transaction: Transaction) -> None:
        super().deliver(connection, transaction)
        self._evidence.accepted.append((self.index, self.messages[-1]))
        self.note("ACCEPTS", connection.record.index, repr(self.messages[-1].recipients))

    def be_well(self) -> None:
        """From now on all goes well here."""
        self.faults.clear()
        self.refusing = False
        manners = self.manners_of
        self.manners_of = ServerManners(manners.capabilities, accounts=manners.accounts, lmtp=manners.lmtp)


class Cable(MemoryTransport):
    """One end of a connection, with jitter; the client's end is tapped."""

    tap: Wiretap | None = None
    world: World

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self.tap is not None:
            self.world.read_along(self, self.tap, bytes(data))
        super().write(data)

    def _hand_over(self, octets: bytearray) -> int:
        if self.tap is not None:
            self.tap.last_read = self._loop.time()
            if self.tap.logins and octets.startswith(b"535 ") and octets.endswith(b"\r\n"):
                self.tap.refused_at = self._loop.time()
        return super()._hand_over(octets)

    def _send(self, arrive: Callable[[], None]) -> None:
        if self.world.scenario.network.jitter:  # also when it is over: nothing passes what is under way
            self._line.push(arrive, self._latency + self.world.jitter * self.world.dice.random())
        else:
            super()._send(arrive)

    def _lose(self, error: Exception | None) -> None:
        if self.tap is not None and self.tap.closed_at is None:
            self.tap.closed_at = self._loop.time()
            self.world.live[self.tap.relay] -= 1
        super()._lose(error)


class World:
    """The network between the pool and its servers.

    ``live``  connections that the client has or is making, to each relay
    """

    def __init__(self, scenario: Scenario, evidence: Evidence, issuer: Issuer | None = None) -> None:
        self.scenario = scenario
        self.evidence = evidence
        self.dice = random.Random(scenario.seed * 7 + 1)
        self.manners = scenario.network
        self.jitter = scenario.network.jitter
        self.issuer = issuer
        self.servers = [
            Server(
                index,
                manners,
                evidence,
                manners.accounts if issuer is None else issuer.accounts(manners.accounts),
            )
            for index, manners in enumerate(scenario.servers)
        ]
        everywhere = tuple(range(len(self.servers)))
        self.relays = [[self.servers[index] for index in of] for of in scenario.relays or (everywhere,)]
        self.cables: list[Cable] = []
        self.live = [0] * len(self.relays)
        self.timers: list[asyncio.TimerHandle] = []

    def be_well(self) -> None:
        """No more faults of the network nor of the servers; what is lost stays lost."""
        self.manners = NetworkManners(latency=self.manners.latency, window=self.manners.window)
        self.jitter = 0.0
        if self.issuer is not None:
            self.issuer.be_well()
        for server in self.servers:
            server.be_well()

    async def connect(self, options: Any, connection: Any, context: Any) -> Any:
        """In place of ``mailpool.net.connect``."""
        relay = options.effective_port - PORT
        self.live[relay] += 1
        most = self.scenario.options["max_connections"]
        if self.live[relay] > most:
            self.evidence.complain(f"P-01: {self.live[relay]} connections at once, and {most} are allowed")
        cable: Cable | None = None
        try:
            async with asyncio.timeout(options.connection_timeout):
                cable = await self._dial(options, connection, relay)
            return cable
        finally:
            if cable is None:
                self.live[relay] -= 1

    async def _dial(self, options: Any, connection: Any, relay: int) -> Cable:
        manners, dice, loop = self.manners, self.dice, asyncio.get_running_loop()
        dialled_at = loop.time()
        await asyncio.sleep(0)
        for chance, temporary in ((manners.unknown_for_now, True), (manners.unknown_host, False)):
            if dice.random() < chance:
                words = "the name server does not answer" if temporary else "no such host"
                raise LookupFailed(words, phase=Phase.LOOKUP, temporary=temporary)
        if dice.random() < manners.black_hole:
            await loop.create_future()
        await asyncio.sleep(2 * manners.latency)
        server = dice.choice(self.relays[relay])
        served = None if dice.random() < manners.refused else server.connect()
        if served is None:
            raise ConnectionRefusedError("refused")
        index = len(self.evidence.taps)
        ours, theirs = Cable.pair(
            loop, manners.latency, manners.window, (("client.memory", 50_000 + index), (options.host, 25))
        )
        assert isinstance(ours, Cable)
        assert isinstance(theirs, Cable)
        ours.world = theirs.world = self
        ours.tap = Wiretap(index, server.index, relay, dialled_at, loop.time())
        cast("Line", served).tap = ours.tap
        self.evidence.taps.append(ours.tap)
        self.cables.append(ours)
        if dice.random() < manners.cut_sending:
            ours.cut_after(dice.choice((0, dice.randrange(200), dice.randrange(3_000))))
            ours.tap.broken = True
        if dice.random() < manners.cut_receiving:
            theirs.cut_after(dice.choice((0, dice.randrange(200), dice.randrange(1_500))))
            ours.tap.broken = True
        theirs.begin(served)
        ours.begin(connection)
        if dice.random() < manners.falls_silent:
            ours.tap.broken = True
            self.timers.append(loop.call_later(dice.random() * 3, ours.silence))
        return ours

    def read_along(self, cable: Cable, tap: Wiretap, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        complain = self.evidence.complain
        self.evidence.trace.append((now, f"client {tap.index} writes", _shown(data)))
        tap.plain |= data.startswith(b"HELO ")
        if data.startswith(b"AUTH PLAIN "):
            tap.logins.append((now, base64.b64decode(data[11:]).split(b"\0")[1].decode()))
        elif data.startswith(b"AUTH XOAUTH2 "):
            tap.tokens.append((now, base64.b64decode(data[13:]).split(b"Bearer ")[1].rstrip(b"\1").decode()))
        if data.endswith(b"QUIT\r\n") and tap.quit_at is None:
            tap.quit_at, tap.read_before_quit = now, tap.last_read
        if tap.offers_tls and data.startswith((b"AUTH ", b"MAIL ")):
            complain("secure: something was said in clear text where STARTTLS is offered")
        begun = 0
        for verb, digits in _COMMAND.findall(data):
            number = int(digits)
            if verb.startswith(b"MAIL"):
                tap.mails.append(Mail(number, now))
                begun += 1
            elif verb.startswith(b"Message-ID"):
                self.evidence.contents[number] += 1
                if begun and now - tap.last_read > STALE and len(_in_flight(cable)) == 1:
                    complain(f"P-11: message {number} was written whole to a connection that may be dead")
            elif not tap.mails or tap.mails[-1].number != number:
                complain(f"P-03: a recipient of message {number} was named in the transaction of another")
            else:
                tap.mails[-1].recipients += 1


def _in_flight(cable: Cable) -> list[Any]:
    return cast("Link", cable.get_protocol()).connection.pipeline.in_flight


def _shown(data: bytes) -> str:
    return repr(data if len(data) < 700 else data[:500] + b" ... " + data[-100:])[2:-1]
