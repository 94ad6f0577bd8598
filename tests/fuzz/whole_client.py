"""The whole client against a server that says what the fuzzer likes, on a clock that jumps and without sockets."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from hearing import MARK
from rude_server import HOSTS, RudeServer, acceptances, client_context
from source import Source

from mailpool import MailpoolError, PoolClosed, SendError, SendResult
from mailpool.events import EVENTS
from mailpool.options import parse_options
from mailpool.testing import MemoryNetwork, run_virtual
from mailpool.transporter import Transporter

SECRET: Final = "s3cret-Passw0rd-of-some-length"
# Whatever a server says, all is told by then: every wait has a bound, and every message has so many tries.
_PATIENCE: Final = 100_000.0
_MOST_TURNS: Final = 60_000
_MOST_CONNECTIONS: Final = 400

_RECIPIENTS: Final = (
    ("a@x.example",),
    ("a@x.example", "b@x.example", "c@y.example"),
    ("ü@x.example", "a@x.example"),
    ('"a b"@x.example',),
)


def _content(number: int, kind: int) -> bytes:
    head = b"%s%d\r\nMessage-ID: <%d@x.example>\r\n\r\n" % (MARK, number, number)
    bodies = (b"hello\r\n", b".\r\n..\r\nQUIT\r\n.", "höflich\r\n".encode(), b"0123456789abcdef\r\n" * 17_000)
    return head + bodies[kind]


def client(data: bytes) -> None:
    """Any server: errors of ours only, everything told once and truly, no secret told, nothing left behind."""
    source = Source(data)
    network, settings = MemoryNetwork(), _settings(source)
    submitted = {number: _message(source, number) for number in range(1 + source.number() % 4)}
    contents = {number: content for number, (content, _) in submitted.items()}
    ending = source.choice(("close", "silence", "good"))
    server = RudeServer(source, contents, lmtp=settings["lmtp"], ending=ending)
    network.listen(settings["host"], settings["port"], server)
    play = _Play(network, server, settings)
    said = _Listening()
    state, log = random.getstate(), logging.getLogger("mailpool")
    level, passes_on = log.level, log.propagate
    random.seed(1)  # the library rolls the dice of the standard library
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(said)
    try:
        run_virtual(lambda: play.whole(submitted), timeout=_PATIENCE, timers=True)
    finally:
        log.removeHandler(said)
        log.setLevel(level)
        log.propagate = passes_on
        random.setstate(state)
    _judge(play, server, submitted, said.words)


def _settings(source: Source) -> dict[str, Any]:
    bits = source.number()
    auth: Any = (
        None,
        {"user": "me@x.example", "password": SECRET},
        {"user": "me@x.example", "access_token": SECRET},
        {"user": "me@x.example", "access_token": _token},
    )[bits & 3]
    more = source.number()
    settings: dict[str, Any] = {
        "host": HOSTS[bits >> 2 & 1],
        "port": 25 if not bits & 8 else 24,
        "lmtp": bool(bits & 8),
        "auth": auth,
        "starttls": ("auto", "required", "opportunistic", "never")[bits >> 4 & 3],
        "pool": bool(bits & 64),
        "pipeline_depth": 8 if bits & 128 else 1,
        "max_connections": 1 + (more & 1),
        "max_messages": 2 if more & 2 else 100,
        "on_uncertain": "fail" if more & 4 else "requeue",
        "max_duplicates": 1 + (more >> 3 & 1),
        "max_recipients": 2 if more & 16 else None,
        "check_after": 0 if more & 32 else None,
        "name": "client.example",
        "tls": client_context(),
    }
    # One of the two bounds what a message may take.
    settings |= {"deadline": 300.0} if more & 64 else {"max_requeues": 3}
    return settings | ({"allow_cleartext_auth": True} if more & 128 else {})


async def _token() -> str:
    return SECRET


def _message(source: Source, number: int) -> tuple[bytes, dict[str, Any]]:
    bits = source.number()
    content = _content(number, bits & 3)
    fields: dict[str, Any] = {
        "raw": io.BytesIO(content) if bits & 16 else content,
        "envelope": {"from": "" if bits & 32 else "me@x.example", "to": list(_RECIPIENTS[bits >> 2 & 3])},
    }
    if bits & 64:
        fields["dsn"] = {"return": "headers", "envid": "envelope-7", "notify": ["failure", "delay"]}
    return content if content.endswith(b"\r\n") else content + b"\r\n", fields


class _Listening(logging.Handler):
    """What is logged, in words."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(self.format(record))


class _Play:
    def __init__(self, network: MemoryNetwork, server: RudeServer, settings: dict[str, Any]) -> None:
        self.network = network
        self.server = server
        self.settings = settings
        self.outcomes: dict[int, SendResult | MailpoolError] = {}
        self.told: list[str] = []
        self.opened = 0

    async def connect(self, options: Any, connection: Any, context: Any) -> Any:
        """In place of ``mailpool.net.connect``."""
        assert context is None
        transport, _ = await self.network.dial(options.host, options.effective_port, lambda: connection)
        return transport

    async def whole(self, submitted: dict[int, tuple[bytes, dict[str, Any]]]) -> None:
        _bound_turns(asyncio.get_running_loop())
        transporter = Transporter(parse_options(self.settings), connector=self.connect)
        for name in EVENTS:
            transporter.on(name, self._hear)
        futures: dict[int, asyncio.Future[SendResult]] = {}
        for number, (_, fields) in submitted.items():
            futures[number] = asyncio.ensure_future(transporter.send_mail(fields))
            futures[number].add_done_callback(lambda done, number=number: self._ended(number, done))
        await asyncio.wait(futures.values())
        not_sent = await transporter.close(5.0)
        assert not not_sent
        # What is under way arrives, and what the server still waits for is over.
        await asyncio.sleep(2)
        for end in self.network.clients:
            assert end._lost, "a connection is left"
        await self.server.stop()
        for task in (wire.task for wire in self.server.wires):
            if task is not None and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        stats = transporter.stats()
        assert stats.connections == stats.queued == stats.in_flight == stats.held_back == 0, stats
        assert stats.sent + stats.failed == len(submitted), stats
        try:
            transporter.send_mail({"from": "a@x.example", "to": "b@x.example", "text": "late"})
        except PoolClosed:
            return
        raise AssertionError("a closed transporter takes messages")

    def _ended(self, number: int, future: asyncio.Future[SendResult]) -> None:
        assert number not in self.outcomes
        error = future.exception()
        if error is not None and not isinstance(error, SendError):
            raise error
        self.outcomes[number] = future.result() if error is None else error
        self.told += _words(self.outcomes[number])

    def _hear(self, *details: Any) -> None:
        for detail in details:
            self.told += _words(detail)


def _bound_turns(loop: Any) -> None:
    """So many turns of the loop and no more: a client that is kept busy without end is as bad as one that hangs."""
    turn, left = loop._run_once, iter(range(_MOST_TURNS))

    def counted() -> None:
        assert next(left, None) is not None, "the client is kept busy"
        turn()

    loop._run_once = counted


def _words(told: object) -> Iterable[str]:
    yield str(told)
    yield repr(told)
    while isinstance(told, BaseException):
        assert isinstance(told, MailpoolError | OSError | TimeoutError | asyncio.CancelledError), repr(told)
        yield from (str(told), repr(told), repr(vars(told)))
        told = told.__cause__ or told.__context__


def _judge(
    play: _Play, server: RudeServer, submitted: dict[int, tuple[bytes, dict[str, Any]]], logged: list[str]
) -> None:
    settings, lmtp = play.settings, server.lmtp
    assert len(server.wires) < _MOST_CONNECTIONS
    for wire in server.wires:
        if wire.complaint is not None:
            raise wire.complaint
        if settings["starttls"] == "required":
            assert wire.hearing.secure or {what.verb for what in wire.hearing.heard} <= {
                "EHLO", "HELO", "LHLO", "STARTTLS", "QUIT",
            }  # fmt: skip
    encoded = base64.b64encode(SECRET.encode()).decode()
    told = "\n".join([*play.told, *logged])
    assert SECRET not in told
    assert encoded[:-4] not in told
    # What may have been accepted at most, and what was accepted beyond doubt.
    most = Counter(pair for wire in server.wires for pair in acceptances(wire, lmtp=lmtp, in_step=False))
    least = Counter(pair for wire in server.wires for pair in acceptances(wire, lmtp=lmtp, in_step=True))
    for number, (_, fields) in submitted.items():
        outcome = play.outcomes[number]
        marked = (
            outcome.maybe_duplicate if isinstance(outcome, SendResult) else outcome.may_have_been_delivered
        )
        for recipient in fields["envelope"]["to"]:
            pair = number, recipient
            if recipient in outcome.accepted:
                assert most[pair], f"{recipient} is told to have message {number}, and nobody took it"
            elif not marked:
                assert not least[pair], f"{recipient} has message {number}, and that is not told"
            assert least[pair] <= 1 or marked, f"{recipient} has message {number} twice, and that is not told"
        if isinstance(outcome, SendResult):
            assert outcome.accepted
