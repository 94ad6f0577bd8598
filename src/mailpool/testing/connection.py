"""One connection of a scripted server: octets become lines and content, steps become replies, faults come between.

Replies to everything that arrived together leave together, in one write. What SMTP is, is told by ``dialogue``; what
arrives when, by ``wire``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from .actions import wire_form
from .content import DotReader, bare_line_end, wrong_lines
from .dialogue import Dialogue, Mode, Step, Transaction
from .faults import Action, Occurrence
from .pace import Pace
from .records import ConnectionRecord, TlsRecord
from .strike import Strike
from .wire import Wire

if TYPE_CHECKING:
    from .server import ScriptedServer

# RFC 2920 §3.1, and what changes the meaning of all that follows: nothing may come before their reply.
_LAST_OF_GROUP = frozenset(
    {"EHLO", "HELO", "LHLO", "DATA", "VRFY", "EXPN", "HELP", "TURN", "QUIT", "NOOP", "STARTTLS", "AUTH"}
)
_LONGEST = {"AUTH": 12_288, "MAIL": 1_024, "RCPT": 1_024}
_CLOCK_ERROR = 1e-6


class Connection(Wire):
    """The server's side of one connection."""

    def __init__(self, server: ScriptedServer, record: ConnectionRecord, instead: Action | None) -> None:
        super().__init__(server.latency)
        self.record = record
        self._server = server
        self._instead = instead
        self.dialogue = Dialogue(server.manners(self), self._deliver)
        self._input = bytearray()
        self._output = bytearray()
        self._held = True
        self._reader: DotReader | None = None
        self._arrived = 0
        self._timers: set[asyncio.TimerHandle] = set()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0

    def __repr__(self) -> str:
        return f"<Connection {self.record.index} expects {self.dialogue.mode.value}>"

    @property
    def is_idle(self) -> bool:
        """Whether no message is being handed over and nothing waits to be handled."""
        return self.dialogue.transaction is None and not (self._input or self._held or self.closing)

    # What the wire tells.

    def attached(self) -> None:
        self.record.opened_at = self.loop.time()
        self.record.peername = self.transport.get_extra_info("peername")
        self._pace = Pace(self.record, self.distance, self.complain)
        self._server.attached(self)

    def opened(self) -> None:
        if self._server.implicit_tls:
            self.expect_tls()
        step = Step(
            "CONNECT", None, lambda said: self._expect_tls() if self._server.implicit_tls else self._greet()
        )
        if self._instead is None:
            step.effect("")
        else:
            self._instead(Strike(self, step))
        self._advance()

    def received(self, data: bytes) -> None:
        self.record.writes += 1
        self.record.octets_received += len(data)
        self._pace.arrived(self.loop.time())
        self._input += data
        self._advance()

    def ended(self, error: Exception | None) -> None:
        self.record.closed_by = "client"
        transaction = self.dialogue.transaction
        begun = b"".join(transaction.content) if transaction is not None else b""
        in_content = self._reader.unfinished if self._reader is not None else b""
        self.record.unfinished = begun + in_content + bytes(self._input)
        self.close()

    def tls_failed(self, error: ssl.SSLError) -> None:
        self.record.tls_error = str(error)

    def lost(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._watch_idle()
        self.record.closed_at = self.loop.time()
        self._closed_by_server()
        self._server.detached(self)

    # What a script may do.

    def say(self, text: str) -> None:
        """Say a reply, together with what else is being said."""
        self.record.replies.append(text)
        self.put(wire_form(text))

    def put(self, data: bytes) -> None:
        """Send octets, together with what else is being said."""
        self._output += data

    def flush(self) -> None:
        """Send what was put."""
        if not self._output:
            return
        self.record.octets_sent += len(self._output)
        self.send(bytes(self._output))
        self._output.clear()
        self._pace.answered(self.loop.time())

    def hold(self, seconds: float | None, then: Callable[[], None]) -> None:
        """Handle nothing for ``seconds``, or for ever; then call ``then`` and go on."""
        self._held = True
        self.flush()
        if seconds is not None:
            self._later(seconds, lambda: self._release(then))

    def drip(self, data: bytes, interval: float, then: Callable[[], None]) -> None:
        """Send ``data`` octet by octet, then call ``then`` and go on."""
        self._held = True
        self.put(data[:1])
        self.flush()
        if len(data) > 1:
            self._later(interval, lambda: self.drip(data[1:], interval, then))
        else:
            self._release(then)

    def close(self, *, close_notify: bool = True) -> None:
        self.flush()
        self._closed_by_server()
        super().close(close_notify=close_notify)

    def reset(self) -> None:
        self.flush()
        self._closed_by_server()
        super().reset()

    def complain(self, words: str) -> None:
        """Note that the client broke the protocol."""
        # A content full of the same mistake is one complaint.
        if self.record.violations[-1:] != [words]:
            self.record.violations.append(words)

    def _closed_by_server(self) -> None:
        if self.record.closed_by is None:
            self.record.closed_by = "server"

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            if not self.closing:
                action()

        timer = self.loop.call_later(seconds, run)
        self._timers.add(timer)

    def _release(self, then: Callable[[], None]) -> None:
        self._held = False
        then()
        self._advance()

    # Getting started.

    def _greet(self) -> None:
        self._held = False
        self._meet(Step("GREETING", self._server.greeting, self.dialogue.greeted))

    def _expect_tls(self) -> None:
        self._held = True
        self._input.clear()
        self.expect_tls()
        self._meet(Step("TLS", None, self._shake_hands))

    def _shake_hands(self, said: str) -> None:
        assert self._server.tls is not None
        self.start_tls(self._server.tls, self._secured)

    def _secured(self, tls: TlsRecord) -> None:
        greeted = self.dialogue.helo is not None
        self.record.tls = tls
        self._server.handshakes += 1
        self.dialogue = Dialogue(self._server.manners(self), self._deliver, tls=True)
        self._held = False
        self._pace.secured()
        if not greeted:
            self._greet()
        self.flush()

    # Taking what comes.

    def _advance(self) -> None:
        while not self._held and not self.closing and self._take():
            pass
        self.flush()
        self.record.user = self.dialogue.user
        if self.dialogue.mode is Mode.OVER:
            self.close()
        self._watch_idle()

    def _take(self) -> bool:
        match self.dialogue.mode:
            case Mode.CONTENT:
                return self._take_content()
            case Mode.CHUNK:
                return self._take_chunk()
            case Mode.COMMAND | Mode.RESPONSE:
                return self._take_line()
            case Mode.ENDS:
                return self._answer_recipient()
            case Mode.TLS:
                self.flush()
                self._expect_tls()
        return False

    def _take_line(self) -> bool:
        raw, line_end, rest = self._input.partition(b"\r\n")
        if not line_end:
            if b"\n" in raw:
                self.complain("a bare CR or LF in a command")
            if len(raw) > 65_536:
                self.complain("a line without an end")
                self.reset()
            return False
        self._input = rest
        line = raw.decode("utf-8", "surrogateescape")
        self.record.lines.append(line)
        self._server.heard(line)
        if self.dialogue.mode is Mode.RESPONSE:
            self._note("AUTH", last_of_group=True)
            self._meet(self._wrong(raw, "AUTH") or self.dialogue.response(line), line)
        else:
            self._take_command(raw, line)
        return True

    def _take_command(self, raw: bytearray, line: str) -> None:
        verb, _, rest = line.partition(" ")
        verb = verb.upper()
        if verb == "MAIL":
            self.dialogue.transactions += 1
            self._arrived = 0
        elif verb in ("EHLO", "HELO", "LHLO"):
            self.record.helo = rest
        self.record.quit_seen |= verb == "QUIT"
        step = self._wrong(raw, verb) or self.dialogue.command(line)
        if self.dialogue.mode is Mode.CHUNK:
            self._note("BDAT", last_of_group=False)
            self._meet_content()
        else:
            self._note(verb, last_of_group=verb in _LAST_OF_GROUP or not self.dialogue.may_pipeline)
            self._meet(step, line)

    def _wrong(self, raw: bytearray, verb: str) -> Step | None:
        """The refusal of a line that is none, whatever it says."""
        if bare_line_end(raw):
            words = "a bare CR or LF in a command"
        elif len(raw) + 2 > _LONGEST.get(verb, 512):
            words = f"{verb} is longer than a command may be"
        elif any(octet < 0x20 or octet == 0x7F for octet in raw):
            words = "a control character in a command"
        elif not raw.isascii() and "SMTPUTF8" not in self.dialogue.announced:
            words = "octets above 127 in a command, and SMTPUTF8 was not announced"
        else:
            return None
        self.complain(words)
        return Step("ANY", f"500 5.5.2 {words}")

    def _take_content(self) -> bool:
        if not self._input:
            return False
        if self._reader is None:
            self._reader = DotReader(self._keep, self.complain)
            self._arrived = 0
            self._meet_content()
            return True
        piece = self._next_piece(len(self._input))
        rest = self._reader.feed(piece)
        if rest is None:
            self._meet_content(len(piece))
        else:
            self._input[:0] = rest
            self._reader = None
            self._note("END", last_of_group=not self.dialogue.may_pipeline)
            if (step := self.dialogue.content_received()) is not None:
                self._meet(step, self._text())
        return True

    def _answer_recipient(self) -> bool:
        """LMTP: the next of those who are owed a reply to the end of the data."""
        who = f"<{self.dialogue.ends[0]}>\r\n" if self.dialogue.ends else ""
        if (step := self.dialogue.recipient_end()) is not None:
            self._meet(step, who + self._text())
        return True

    def _take_chunk(self) -> bool:
        if self.dialogue.chunk_left == 0:
            transaction = self.dialogue.transaction
            if transaction and not self.dialogue.binary:
                for words in wrong_lines(b"".join(transaction.content)):
                    self.complain(words)
            step = self.dialogue.chunk_received()
            self._note("END" if step is None else step.at, last_of_group=not self.dialogue.may_pipeline)
            if step is not None:
                self._meet(step, self._text())
            return True
        if not self._input:
            return False
        piece = self._next_piece(self.dialogue.chunk_left)
        self.dialogue.chunk_left -= len(piece)
        self._keep(piece)
        self._meet_content(len(piece))
        return True

    def _next_piece(self, most: int) -> bytes:
        """Octets of content, not beyond the next place where a fault may strike."""
        stops = (int(after) - self._arrived for after in self._server.faults.waits("CONTENT"))
        size = min((most, *(stop for stop in stops if stop > 0)))
        piece = bytes(self._input[:size])
        del self._input[:size]
        return piece

    def _keep(self, piece: bytes) -> None:
        transaction = self.dialogue.transaction
        if transaction is None:
            return  # MAIL was refused, whatever it said of the chunk that had left with it
        if not self.dialogue.eight_bit and not piece.isascii():
            self.complain("octets above 127 in the content, and neither BODY nor SMTPUTF8 said so")
        if not self.dialogue.binary and b"\0" in piece:
            self.complain("a NUL in the content")
        transaction.size += len(piece)
        if self._server.keep_content:
            transaction.content.append(piece)

    # Answering.

    def _note(self, verb: str, *, last_of_group: bool) -> None:
        self._pace.took(verb, must_wait=last_of_group, more=bool(self._input))
        self.dialogue.turn = self._pace.turn

    def _meet(self, step: Step, text: str = "", progress: float = 0) -> None:
        """Carry out a step, or what the script has instead."""
        what = Occurrence(step.at, self.record.index, self.dialogue.transactions - 1, text, progress)
        fault = self._server.faults.find(what)
        strike = Strike(self, step)
        if fault is None:
            strike.answer()
        else:
            fault.do(strike)

    def _meet_content(self, more: int = 0) -> None:
        self._arrived += more
        if self._server.faults.watches("CONTENT"):
            self._meet(Step("CONTENT", None), self._text(), self._arrived)

    def _text(self) -> str:
        """The content so far, for the faults that look at it."""
        transaction = self.dialogue.transaction
        if transaction is None or not self._server.faults.watches("CONTENT", "END", "ANY"):
            return ""
        begun = self._reader.unfinished if self._reader is not None else b""
        return (b"".join(transaction.content) + begun).decode("latin-1")

    def _deliver(self, transaction: Transaction) -> None:
        self.record.messages += 1
        self._server.deliver(self, transaction)

    def _watch_idle(self) -> None:
        """Start the silence anew."""
        self._idle_since = self.loop.time()
        self._next_silence()

    def _next_silence(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        passed = self.loop.time() - self._idle_since + _CLOCK_ERROR
        waits = [after for after in self._server.faults.waits("IDLE") if after > passed]
        if waits and not self.closing:
            self._idle_timer = self.loop.call_at(self._idle_since + min(waits), self._silent)

    def _silent(self) -> None:
        self._idle_timer = None
        passed = self.loop.time() - self._idle_since + _CLOCK_ERROR
        self._meet(Step("IDLE", None), progress=passed)
        self.flush()
        self._next_silence()
