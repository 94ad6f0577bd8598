"""``ScriptedServer``: an SMTP server that behaves well, strictly, until a script says otherwise."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Iterable, Mapping

from .actions import refuses
from .connection import Connection
from .dialogue import Manners, Transaction
from .faults import Fault, FaultBook, Occurrence
from .listening import Listening
from .login import mechanisms as known
from .records import ConnectionRecord, ReceivedMessage
from .scram import ScramManners
from .wire import Wire

Capabilities = Iterable[str] | Callable[[ConnectionRecord], Iterable[str]]

USUAL_CAPABILITIES = ("PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8", "DSN")


class ScriptedServer(Listening):
    """An SMTP server for tests: it keeps to RFC 5321, notes where the client does not, and fails on demand.

        async with ScriptedServer(faults=[Fault(at="RCPT", do=reply("450 4.2.0 later"))]) as server:
            ...  # talk to server.host, server.port
        assert server.messages[0].recipients == ("you@example.org",)

    ``capabilities``   lines after the greeting of EHLO, or a function of the connection's record that gives them.
                       AUTH and STARTTLS are added where they apply. What is not announced is refused
    ``auth``           users and their passwords or tokens; nothing is offered without
    ``mechanisms``     of ``PLAIN``, ``LOGIN``, ``CRAM-MD5``, ``XOAUTH2``, ``OAUTHBEARER``, ``EXTERNAL``,
                       ``SCRAM-SHA-1``, ``SCRAM-SHA-256`` and their ``-PLUS`` forms, in the order in which they are
                       announced
    ``scram``          how SCRAM behaves; see ``ScramManners``
    ``auth_required``  whether MAIL needs it, if ``auth`` is given
    ``tls``            a server-side context; offers STARTTLS, or TLS from the first octet with ``implicit_tls``
    ``require_tls``    neither AUTH nor MAIL in clear text
    ``latency``        seconds that octets take in each direction; the greeting comes after two round trips, as TCP
                       needs one of them
    ``faults``         see ``Fault``; ``server.faults.add`` and ``server.faults.clear`` change them later
    ``keep_content``   ``False`` keeps the size of messages only
    ``lmtp``           speak LMTP (RFC 2033): LHLO, and after the content a reply to each recipient, each of them the
                       place ``END`` for faults; the text to ``match`` begins with its address in angle brackets. In
                       ``messages`` each has a message of its own
    ``keeps_sender_after_bdat``  a refused BDAT leaves the envelope usable, as some servers in the field do
    ``host``, ``port``, ``path``  where to listen: an address of this machine, or a Unix socket

    ``messages`` holds what was accepted and ``connections`` what happened on each connection, in order.
    """

    def __init__(
        self,
        *,
        capabilities: Capabilities = USUAL_CAPABILITIES,
        greeting: str = "220 scripted.example ESMTP",
        name: str = "scripted.example",
        auth: Mapping[str, str] | None = None,
        mechanisms: Iterable[str] = ("PLAIN", "LOGIN"),
        scram: ScramManners | None = None,
        auth_required: bool = True,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        require_tls: bool = False,
        latency: float = 0.0,
        faults: Iterable[Fault] = (),
        keep_content: bool = True,
        keeps_sender_after_bdat: bool = False,
        lmtp: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(host, port, path)
        if tls is None and (implicit_tls or require_tls):
            raise ValueError("TLS needs a context: tls=…")
        self.capabilities: Capabilities = capabilities if callable(capabilities) else tuple(capabilities)
        self.greeting = greeting
        self.name = name
        self.auth = dict(auth or {})
        self.mechanisms = known(mechanisms, scram or ScramManners())
        self.auth_required = auth_required and bool(self.auth)
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.require_tls = require_tls
        self.latency = latency
        self.keep_content = keep_content
        self.keeps_sender_after_bdat = keeps_sender_after_bdat
        self.lmtp = lmtp
        self.faults = FaultBook()
        self.faults.add(*faults)
        self.messages: list[ReceivedMessage] = []
        self.connections: list[ConnectionRecord] = []
        self.peak_connections = 0
        self.handshakes = 0
        self.refused_connections = 0
        self._lines: list[str] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def __repr__(self) -> str:
        return f"<ScriptedServer {self.address}: {self.open_connections} open, {len(self.messages)} messages>"

    # What happened.

    @property
    def open_connections(self) -> int:
        """How many connections are open now. ``peak_connections`` is the most there have been."""
        return len(self._wires)

    @property
    def violations(self) -> list[str]:
        """Where clients broke the protocol, over all connections."""
        return [words for record in self.connections for words in record.violations]

    def commands(self) -> list[str]:
        """The lines of all connections in the order of their arrival, responses to AUTH challenges included."""
        return list(self._lines)

    async def wait_for_messages(self, count: int, timeout: float = 5.0) -> list[ReceivedMessage]:
        """Wait until ``count`` messages in all have been accepted, and return all. ``TimeoutError`` after seconds."""
        if len(self.messages) < count:
            arrived = asyncio.get_running_loop().create_future()
            self._waiting.append((count, arrived))
            try:
                await asyncio.wait_for(arrived, timeout)
            except TimeoutError:
                raise TimeoutError(f"{len(self.messages)} of {count} messages came in {timeout} s") from None
        return self.messages

    # What a script does to all connections.

    def say(self, text: str) -> None:
        """Say a reply that nobody asked for, such as ``"421 4.3.2 going down"``, on each open connection."""
        for connection in self._live():
            connection.say(text)
            connection.flush()

    def close_connections(self, text: str | None = None) -> int:
        """Close all open connections in order, after saying ``text`` if given. Returns how many there were."""
        return self._close(self._live(), text)

    def close_idle(self, text: str | None = None) -> int:
        """Close the connections on which no message is under way. Returns how many there were."""
        return self._close([connection for connection in self._live() if connection.is_idle], text)

    # What connections need.

    def connect(self) -> Wire | None:
        index = len(self.connections)
        fault = None if self.refusing else self.faults.find(Occurrence("CONNECT", index, -1))
        if self.refusing or (fault is not None and refuses(fault.do)):
            self.refused_connections += 1
            return None
        record = ConnectionRecord(index, opened_at=0.0)
        self.connections.append(record)
        return Connection(self, record, None if fault is None else fault.do)

    def manners(self, connection: Connection) -> Manners:
        """What the dialogue of a connection has to know."""

        def announce() -> Iterable[str]:
            return self.capabilities(connection.record) if callable(self.capabilities) else self.capabilities

        return Manners(
            name=self.name,
            announce=announce,
            accounts=self.auth,
            mechanisms=self.mechanisms,
            auth_required=self.auth_required,
            offers_tls=self.tls is not None,
            requires_tls=self.require_tls,
            keeps_sender_after_bdat=self.keeps_sender_after_bdat,
            lmtp=self.lmtp,
        )

    def attached(self, wire: Wire) -> None:
        super().attached(wire)
        self.peak_connections = max(self.peak_connections, self.open_connections)

    def heard(self, line: str) -> None:
        """A line came in."""
        self._lines.append(line)

    def deliver(self, connection: Connection, transaction: Transaction) -> None:
        """A message was accepted."""
        dialogue = connection.dialogue
        self.messages.append(
            ReceivedMessage(
                sender=transaction.sender,
                recipients=tuple(transaction.recipients),
                content=b"".join(transaction.content),
                size=transaction.size,
                mail_parameters=transaction.parameters,
                recipient_parameters=transaction.recipients,
                connection=connection.record.index,
                number=dialogue.transactions - 1,
                time=connection.loop.time(),
                mail_turn=transaction.mail_turn,
                end_turn=dialogue.turn,
                chunked=transaction.chunked,
                user=dialogue.user,
                tls=dialogue.tls,
            )
        )
        for count, arrived in self._waiting:
            if count <= len(self.messages) and not arrived.done():
                arrived.set_result(None)
        self._waiting = [(count, arrived) for count, arrived in self._waiting if not arrived.done()]

    def _live(self) -> list[Connection]:
        return [wire for wire in self._wires if isinstance(wire, Connection) and not wire.closing]

    def _close(self, connections: list[Connection], text: str | None) -> int:
        for connection in connections:
            if text is not None:
                connection.say(text)
            connection.close()
        return len(connections)
