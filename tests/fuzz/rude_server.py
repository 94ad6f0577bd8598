"""A server whose every octet comes from a script: the input of the fuzzer.

Most steps of a script wait until the client has said something that is owed a reply, and then say what they hold. Some
do as a good server would, so that what comes after them is reached at all.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from hearing import Heard, Hearing
from source import Source

from mailpool.testing import Authority
from mailpool.testing.records import TlsRecord
from mailpool.testing.wire import Wire

HOSTS: Final = ("localhost", "mail.example")

_CANNED: Final = (
    b"220 hello\r\n", b"250 2.0.0 ok\r\n", b"354 go on\r\n", b"235 2.7.0 welcome\r\n", b"334 \r\n", b"221 2.0.0 bye\r\n",
    b"421 4.3.2 going away\r\n", b"421 4.7.0 too many connections\r\n", b"450 4.7.1 try again in 20 seconds\r\n",
    b"451 4.4.5 later\r\n", b"452 4.5.3 too many recipients\r\n", b"454 4.7.0 not now\r\n", b"500 5.5.1 what?\r\n", b"502 5.5.1 no\r\n",
    b"503 5.5.1 out of order\r\n", b"535 5.7.8 wrong\r\n", b"550 5.1.1 nobody\r\n", b"552 5.3.4 too large\r\n", b"554 5.7.1 no\r\n",
    b"251 2.1.5 elsewhere\r\n", b"299 x\r\n", b"300 x\r\n", b"199 x\r\n", b"250\r\n", b"250-\r\n250 \r\n", b"250-a\r\n251 b\r\n", b"\r\n", b"\n",
    b"250 ok\n", b"250 a\r\n250 b\r\n", b"550-x\r\n550 5.7.1 \x1b[31m\r\n", b"\x15\x03\x03\x00\x02\x02\x28",
)  # fmt: skip
_KEYWORDS: Final = (
    b"PIPELINING", b"CHUNKING", b"STARTTLS", b"8BITMIME", b"SMTPUTF8", b"DSN", b"SIZE 400000", b"AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER",
)  # fmt: skip
_MECHANISMS: Final = (
    b"SCRAM-SHA-256",
    b"SCRAM-SHA-1",
    b"CRAM-MD5",
    b"EXTERNAL",
    b"SCRAM-SHA-256-PLUS",
    b"LIMITS",
)
_PAUSES: Final = (0.0, 0.001, 0.3, 3.0, 31.0, 125.0, 700.0)
# After it the peer is deaf: what a script may say at most on one connection.
_MOST_OCTETS: Final = 2_000_000


class Said(NamedTuple):
    """Some octets of the server, and how many things that are owed a reply it had heard before it said them."""

    octets: bytes
    heard: int


@functools.cache
def _authority() -> Authority:
    return Authority()


@functools.cache
def server_context() -> ssl.SSLContext:
    return _authority().server_context(*HOSTS)


@functools.cache
def client_context() -> ssl.SSLContext:
    return _authority().client_context()


class RudeWire(Wire):
    """The server's side of one connection."""

    def __init__(self, server: RudeServer) -> None:
        super().__init__(0.0)
        self.hearing = Hearing(server.contents)
        self.said: list[Said] = []
        self.task: asyncio.Task[None] | None = None
        self.complaint: AssertionError | None = None
        self._server = server
        self._news = asyncio.Event()
        self._answered = 0  # of what was heard
        self._over = False
        self._octets = 0

    # What happens to it.

    def opened(self) -> None:
        self.task = self.loop.create_task(self._act())

    def received(self, data: bytes) -> None:
        try:
            self.hearing.feed(data)
        except AssertionError as error:  # kept for the judge: here it would end in a handler of the loop
            self.complaint = self.complaint or error
        self._news.set()

    def ended(self, error: Exception | None) -> None:
        self._over = True
        self._news.set()

    def tls_failed(self, error: ssl.SSLError) -> None:
        self.ended(error)

    def lost(self) -> None:
        self.ended(None)

    # The script.

    async def _act(self) -> None:
        source = self._server.script
        try:
            # Nobody has to be asked before the greeting.
            while not (source.is_empty or self._over):
                step = source.number()
                if self.said and not step & 16:
                    await self._something_to_answer()
                await self._do(step & 15, bool(step & 32))
            await self._last_words()
        finally:
            self.close()

    async def _last_words(self) -> None:
        """The script is at its end. Its end also says what becomes of the connections that are left."""
        if self._server.ending == "silence":
            while not self._over:
                await self._more()
        elif self._server.ending == "good":
            if not self.said:
                self._say(b"220 hello\r\n")
            while not self._over:
                await self._something_to_answer()
                await self._answer_well()

    async def _do(self, step: int, dribble: bool) -> None:
        source = self._server.script
        match step:
            case 0:
                octets = source.choice(_CANNED)
            case 1:
                octets = b"%d %s\r\n" % (150 + int.from_bytes(source.octets(2)) % 500, source.block())
            case 2:
                octets = source.block()
            case 3:
                octets = b"334 %s\r\n" % base64.b64encode(source.block())
            case 4:
                octets = _hello(source.number(), source.number())
            case 5:
                echo = b"you said %s" % self.hearing.decoded()
                if self._answered >= len(self.hearing.heard):
                    return  # nobody has asked, and it would be repeated to somebody else
                octets = source.choice(
                    (
                        b"535 5.7.8 %s\r\n" % echo,
                        b"421 4.7.0 %s\r\n" % echo,
                        b"250 %s\r\n" % echo,
                        b"334 %s\r\n" % echo,
                        b"334 %s\r\n" % base64.b64encode(echo),
                        b"%s\r\n" % echo,
                    )
                )
            case 6:
                await asyncio.sleep(source.choice(_PAUSES))
                return
            case 7:
                source.choice((self.close, self.reset, self.cut))()
                return
            case 8:
                await self._secure()
                return
            case 9:
                octets = b"250-%s\r\n" % (b"x" * (source.number() * 40)) * (1 + source.number() * 2)
            case 10:
                octets = b"250-mail.example\r\n"
            case 11:
                octets = source.octets(1) * (source.number() * 256)
            case _:
                for _ in range(1 + source.number() % 16):
                    if not self.said:
                        self._say(b"220 hello\r\n")
                        continue
                    await self._something_to_answer()
                    await self._answer_well()
                return
        self._answered += bool(self.said)  # the greeting answers nothing
        if not dribble:
            self._say(octets)
            return
        half = len(octets) // 2
        for piece in (octets[:1], octets[1:half], octets[half:]):
            self._say(piece)
            for _ in range(3):  # so that it is read by itself
                await asyncio.sleep(0)

    async def _answer_well(self) -> None:
        """Answer the next thing that was heard as a server would that offers much and likes everything."""
        if self._over or self._answered >= len(self.hearing.heard):
            return
        what = self.hearing.heard[self._answered]
        self._answered += 1
        if what.verb in ("end", "chunk"):
            for _ in range(self._owed_at_end()):
                self._say(b"250 2.0.0 taken\r\n")
        elif what.verb in ("EHLO", "LHLO"):
            self._say(_hello(0b11111011 if self.hearing.secure else 0b11111111, 0))
        elif what.verb == "STARTTLS":
            self._say(b"220 go on\r\n")
            await self._secure()
        else:
            self._say(_WELL.get(what.verb, b"250 2.0.0 ok\r\n"))
        if what.verb == "QUIT":
            self.close()

    def _owed_at_end(self) -> int:
        if not self._server.lmtp:
            return 1
        heard = self.hearing.heard[: self._answered]
        begin = max((index for index, one in enumerate(heard) if one.verb == "MAIL"), default=0)
        return sum(one.verb == "RCPT" for one in heard[begin:])

    async def _secure(self) -> None:
        """TLS in earnest, with a certificate that is trusted."""
        if self.hearing.secure:
            return
        while not (self._over or self.hearing.speaks_tls):
            await self._more()
        if self._over:
            return
        secured: list[TlsRecord] = []

        def ready(record: TlsRecord) -> None:
            secured.append(record)
            self._news.set()

        self.expect_tls(self.hearing.rest())
        self.start_tls(server_context(), ready)
        while not (secured or self._over):
            await self._more()

    async def _something_to_answer(self) -> None:
        while not self._over and self._answered >= len(self.hearing.heard):
            await self._more()

    async def _more(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _say(self, octets: bytes) -> None:
        self._octets += len(octets)
        if not self.closing and self._octets <= _MOST_OCTETS:
            self.said.append(Said(octets, len(self.hearing.heard)))
            self.send(octets)


_WELL: Final = {
    "AUTH": b"235 2.7.0 welcome\r\n",
    "answer": b"235 2.7.0 welcome\r\n",
    "DATA": b"354 go on\r\n",
    "QUIT": b"221 2.0.0 bye\r\n",
}


def _hello(offers: int, more: int) -> bytes:
    keywords = [word for bit, word in enumerate(_KEYWORDS) if offers >> bit & 1]
    if more:
        keywords += [b"AUTH " + word for bit, word in enumerate(_MECHANISMS) if more >> bit & 1]
    if more & 64:
        keywords.append(b"LIMITS RCPTMAX=2 MAILMAX=3")
    lines = [b"mail.example", *keywords]
    return b"".join(b"250-%s\r\n" % line for line in lines[:-1]) + b"250 %s\r\n" % lines[-1]


class RudeServer:
    """Plays one script over all its connections, one after the other and at the same time.

    ``ending``: what becomes of a connection when the script has ended: ``"close"``, ``"silence"`` or ``"good"``.
    """

    def __init__(self, script: Source, contents: Mapping[int, bytes], *, lmtp: bool, ending: str) -> None:
        self.script = script
        self.contents = contents
        self.lmtp = lmtp
        self.ending = ending
        self.wires: list[RudeWire] = []

    def connect(self) -> RudeWire:
        self.wires.append(RudeWire(self))
        return self.wires[-1]

    async def stop(self) -> None:
        tasks = [wire.task for wire in self.wires if wire.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Replied(NamedTuple):
    """A reply of the server: its code, and whether it came when it was due."""

    code: int
    in_step: bool


_LINE: Final = re.compile(rb"([2-5]\d\d)([ -]|$)")


def replies(wire: RudeWire) -> Iterator[Replied]:
    """What the server said, as replies; it ends where it is no SMTP any more. The greeting is the first."""
    starts: list[tuple[int, int]] = []
    stream = bytearray()
    for octets, heard in wire.said:
        starts.append((len(stream), heard))
        stream += octets
    position, index, begun, code = 0, 0, 0, b""
    for line in bytes(stream).split(b"\n")[:-1]:
        found = _LINE.match(line.removesuffix(b"\r"))
        if found is None or (code and found[1] != code):
            return
        code = code or found[1]
        position += len(line) + 1
        if found[2] != b"-":
            heard = max((heard for start, heard in starts if start <= begun), default=0)
            yield Replied(int(code), heard >= index)
            index, begun, code = index + 1, position, b""


def acceptances(wire: RudeWire, *, lmtp: bool, in_step: bool) -> Iterator[tuple[int, str]]:
    """Which message was accepted for which recipient: every reply from MAIL to the end of the data says so.

    ``in_step``: the server said nothing before it was asked and nothing that undoes what it says afterwards (a 421, or
    that it does not know a command), so that a client has no reason to doubt it.
    """
    left = iter(replies(wire))
    sound = True

    def next_code() -> int:
        nonlocal sound
        reply = next(left, None)
        if reply is None:
            return 0
        sound = sound and reply.in_step and reply.code not in (421, 221, 500, 502)
        return reply.code

    def of_message(what: Heard) -> Iterator[tuple[int, str]]:
        nonlocal data
        data = data or what.verb == "chunk"
        answers = takers if lmtp and what.argument else takers[:1] or [""]
        codes = {recipient: next_code() for recipient in answers}
        for recipient in takers if what.argument else ():
            code = codes[recipient] if lmtp else codes[takers[0]]
            if mail and data and 200 <= code < 300 and (sound or not in_step):
                yield int(what.argument), recipient

    next_code()  # the greeting
    mail = data = False
    takers: list[str] = []
    for what in wire.hearing.heard:
        match what:
            case Heard("MAIL"):
                mail, takers, data = 200 <= next_code() < 300, [], False
            case Heard("RCPT", recipient):
                if 200 <= next_code() < 300:
                    takers.append(recipient)
            case Heard("DATA"):
                data = 300 <= next_code() < 400
            case Heard("end" | "chunk"):
                yield from of_message(what)
            case _:
                next_code()
    if not in_step:
        came = tuple(left)
        for what in wire.hearing.begun():
            left = iter(came)
            yield from of_message(what)
