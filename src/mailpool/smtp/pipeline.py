"""Mail transactions over one connection, pipelined where the server allows it (RFC 5321 §3.3, RFC 2920).

What lives here: the order of commands and replies, and what is written together. What must not: sockets, clocks, the
queue, and any opinion on what a refusal means or whether to try again.

Replies are matched to commands by their order alone. Each transaction is a row of commands — MAIL, its RCPTs, DATA — of
which up to ``window`` may be unanswered: 1 without PIPELINING, so that both ways of talking are one piece of code.

    written   ──────────────►  MAIL  RCPT  RCPT  DATA  content  ·
    answered  ────►            250   250   550   354            250

With PIPELINING the content and its final dot may be the first thing of the next group, so a transaction may begin
while the one before it still waits for the answer to its end of data: one round trip a message.

A server may want it otherwise and refuse MAIL there as out of sequence: Haraka does since 3.3.4, lest commands be smuggled
in. Then that transaction begins once more when its turn has come, and so does each that follows.

With CHUNKING (RFC 3030) the content needs no permission: BDAT follows the last RCPT in the same write, as long as no
more than ``depth`` messages wait for the answer to theirs. An RSET always stands between a BDAT that is not answered and
the next MAIL: a BDAT that fails leaves a state that only RSET ends, and a server that kept the first sender would
deliver the second message under it.

    written   MAIL RCPT BDAT content RSET MAIL RCPT        │ first answer: BDAT content RSET MAIL RCPT  …

With LMTP (RFC 2033) each recipient that was not refused is owed a reply of its own after the end of the data. How many
that are has to be known when the end is written, so BDAT waits for the replies to the recipients; and a transaction
begins when nothing is owed, so that a server that says too much or too little is found out before it harms the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NoReturn

from ..content import BytesContent, Content, StreamedContent
from ..errors import SendError
from ..results import Phase, Reply
from . import commands
from .data import DotStuffer, stuffed, with_crlf
from .habits import Habits
from .replies import HousekeepingRefused, ProtocolViolation
from .transaction import Transaction, Verdict

# The most commands of one transaction that are unanswered with PIPELINING. Their replies, some 60 octets each, fit any
# receive buffer, so the server can always answer while we write (RFC 2920 §3.1).
WINDOW = 100
# Content up to this size goes out in one piece together with what follows it; larger content in blocks.
ONE_PIECE = 262_144
# Bad sequence of commands; not recognised, when the server threw away the first half of it: the answer to a MAIL behind the
# end of a message where nothing may be.
_OUT_OF_TURN = (500, 503)
# Command not recognised, not implemented: the server announced CHUNKING and does not do it.
_NOT_UNDERSTOOD = (500, 502)


class Pipeline:
    """The transactions of one connection, in the order in which the server answers them.

    ``begin`` when ``can_begin``; write what ``data_to_send`` gives until it is empty; ``receive`` each reply; take what
    has ended from ``finished``. When ``receive`` raises ProtocolViolation, ``abandon`` and close the connection.
    """

    __slots__ = (
        "_chunking",
        "_depth",
        "_ending",
        "_ends",
        "_expected",
        "_habits",
        "_lmtp",
        "_of_chunk",
        "_out",
        "_overlapping",
        "_owed",
        "_reset_due",
        "_stream",
        "_unflushed",
        "_window",
        "_writing",
        "finished",
        "has_taken_mail",
    )

    def __init__(
        self,
        *,
        pipelining: bool,
        chunking: bool = False,
        depth: int = 1,
        lmtp: bool = False,
        habits: Habits | None = None,
    ) -> None:
        self._window = WINDOW if pipelining else 1
        self._lmtp = lmtp
        self._habits = Habits() if habits is None else habits
        # Whether one may begin while another waits for its outcome.
        self._overlapping = pipelining and not lmtp and not self._habits.in_turn
        self._chunking = chunking and pipelining
        self._depth = depth
        self._ends = 0  # by BDAT, and unanswered
        self._of_chunk: Reply | None = None  # how the server last accepted a message by BDAT
        # What replies are owed for, oldest first: transactions, and RSET and NOOP between them.
        self._owed: deque[Transaction | Phase] = deque()
        # The transaction that is not completely written; another may begin when there is none.
        self._writing: Transaction | None = None
        self._out: list[bytes] = []
        self._stream: Iterator[bytes] | None = None
        self._ending: list[Transaction] = []  # their ends of data are in _out, not yet taken
        # Only what has left can be answered: replies owed for what was taken, and for what is still in _out.
        self._expected = 0
        self._unflushed = 0
        self._reset_due = False
        self.has_taken_mail = False  # whether a MAIL was ever accepted
        self.finished: list[Transaction] = []

    @property
    def is_idle(self) -> bool:
        """Whether the server owes nothing."""
        return not self._owed

    @property
    def is_free(self) -> bool:
        """Whether a transaction may begin and no other one waits for its outcome: what is owed is at most an RSET."""
        if not self.can_begin:
            return False
        if not self._owed:
            return True
        # What comes last was begun last, and has its outcome last.
        last = self._owed[-1]
        return isinstance(last, Phase) or last.verdict is not Verdict.OPEN

    @property
    def can_begin(self) -> bool:
        """Whether another transaction may begin now."""
        return self._writing is None and (not self._owed or self._overlapping)

    @property
    def awaited(self) -> Phase | None:
        """What the next reply is for, or None when the server owes nothing."""
        if not self._owed:
            return None
        head = self._owed[0]
        return head if isinstance(head, Phase) else head.stage

    @property
    def owes_chunk(self) -> bool:
        """Whether the server has been given a BDAT that it has not answered."""
        return any(t.chunked and t.written == len(t.commands) for t in self.in_flight)

    @property
    def in_flight(self) -> list[Transaction]:
        """The transactions that have no outcome yet, oldest first."""
        return [t for t in self._owed if isinstance(t, Transaction) and t.verdict is Verdict.OPEN]

    def begin(self, transaction: Transaction) -> None:
        assert self.can_begin
        if self._owed:
            last = self._owed[-1]
            if isinstance(last, Transaction) and last.chunked:
                self._reset()
            else:
                transaction.ahead = not isinstance(last, Phase)
        # BDAT takes no terminator, and so nothing but octets whose number and line ends are known for sure.
        if not transaction.chunked:
            transaction.chunked = self._chunking and isinstance(
                transaction.content, (BytesContent, StreamedContent)
            )
        self._owed.append(transaction)
        self._writing = transaction
        self._go_on(transaction)

    def probe(self) -> None:
        """Ask whether the server is still there."""
        assert self.can_begin
        self._owed.append(Phase.NOOP)
        self._write(commands.NOOP)

    def data_to_send(self) -> bytes:
        """The next bytes to write, in one piece; empty when there is nothing to write until a reply comes.

        Raises whatever the source of a streamed content raises.
        """
        if self._stream is not None:
            block = next(self._stream, None)
            if block is None:
                self._stream = None
            else:
                self._out.append(block)
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._expected += self._unflushed
        self._unflushed = 0
        if self._ending:
            for t in self._ending:
                t.end_written = True
            self._ending.clear()
        return data

    @property
    def has_output(self) -> bool:
        """Whether ``data_to_send`` has something to give."""
        return bool(self._out) or self._stream is not None

    def receive(self, reply: Reply) -> None:
        """Take the next reply. Raises ProtocolViolation when it cannot be the answer to what was asked."""
        if self._expected == 0:
            self._unasked(reply)
        self._expected -= 1
        head = self._owed[0]
        if type(head) is Transaction:
            _ON_REPLY[head.stage](self, head, reply)
        elif reply.is_success:
            self._owed.popleft()
            habits = self._habits
            pipelined = head is Phase.RSET and not self._lmtp
            if habits.on_reset is None and pipelined and self._of_chunk not in (None, reply):
                habits.on_reset = reply
        else:
            raise HousekeepingRefused(f"{head} was answered {reply}")

    def blame(self, failure: SendError) -> None:
        """The content that is being written cannot be read to its end: its own transaction is to blame, and no other."""
        if self._writing is not None:
            self._writing.failure = failure

    def abandon(self, closing: Reply | None = None, *, goes_on: bool = False) -> list[Transaction]:
        """The connection is over. Returns the transactions that had no outcome; each has one now.

        ``closing`` is the 421 that came in place of a reply: servers answer in order, so nothing from that command
        on was accepted (RFC 5321 §3.8). Without it an end of data that was written leaves its message uncertain; so does
        a server that says 421 and ``goes_on`` answering, for all but the end of data that the 421 answered.
        """
        left = self.in_flight
        head = self._owed[0] if self._owed else None
        for t in left:
            # With LMTP it answered one recipient of several.
            at_end = t is head and t.stage is Phase.END_OF_DATA and t.replies is None
            answered = closing is not None and (not goes_on or at_end)
            t.end(Verdict.UNCERTAIN if t.end_written and not answered else Verdict.UNSENT, t.stage)
            t.reply = closing
        self._owed.clear()
        self._out.clear()
        self._ending.clear()
        self._stream = self._writing = None
        self._expected = self._unflushed = self._ends = 0
        return left

    # -- writing ---------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        """Put in line what gets exactly one reply."""
        self._out.append(data)
        self._unflushed += 1

    def _go_on(self, t: Transaction) -> None:
        """Write as many commands as the window allows, or stop early when the rest would be pointless."""
        row = t.commands
        if t.written == len(row):
            return
        if t.is_pointless:
            if t.answered == t.written:
                self._refuse(t)
            return
        end = min(len(row), t.answered + self._window)
        ends = t.chunked and end == len(row)
        if ends:
            end -= 1
        self._out.extend(row[t.written : end])
        self._unflushed += end - t.written
        t.written = end
        if (
            ends
            and self._ends < self._depth
            and (t.answered or not t.cautious)
            and (t.answered == end or not self._lmtp)
        ):
            self._write_chunk(t)

    def _write_chunk(self, t: Transaction) -> None:
        t.written += 1
        self._ends += 1
        content: Content = t.content
        if isinstance(content, BytesContent) and not (content.crlf_only or content.binary):
            content = BytesContent(with_crlf(content.data))
        # The server may answer as soon as it has the command.
        self._write(commands.bdat(content.size))
        if self._lmtp:
            self._unflushed += t.expect_each() - 1
        if isinstance(content, BytesContent) and content.size <= ONE_PIECE:
            self._out.append(content.data)
            self._ending.append(t)
            self._writing = None
        else:
            self._stream = self._chunk_blocks(t, content)
        if t.answered > t.recipient_count:
            t.stage = self._stage_of_chunk(t)

    def _chunk_blocks(self, t: Transaction, content: Content) -> Iterator[bytes]:
        """The last block waits until its source has ended without complaint: after it the message is complete."""
        held = b""
        for block in _pieces(content):
            if held and block:
                yield held
            held = block or held
        self._ending.append(t)
        if t.stage is Phase.CONTENT:
            t.stage = Phase.END_OF_DATA
        yield held
        self._writing = None
        if self._reset_due:
            # It was refused before it was written, and has stood in its place until now.
            self._reset_due = False
            self._owed.popleft()
            self._reset()

    def _stage_of_chunk(self, t: Transaction) -> Phase:
        """Where a transaction is whose recipients are answered and whose BDAT is written, or being written."""
        return Phase.CONTENT if self._writing is t and not t.end_written else Phase.END_OF_DATA

    def _reset(self) -> None:
        self._owed.append(Phase.RSET)
        self._write(commands.RSET)

    def _write_content(self, t: Transaction) -> None:
        content = t.content
        if isinstance(content, BytesContent) and len(content.data) <= ONE_PIECE:
            if content.crlf_only and content.data.endswith(b"\r\n"):
                # Two passes over the octets less than to make sure once more.
                self._out.append(stuffed(content.data))
                self._write_end(t, b".\r\n")
                return
            stuffer = DotStuffer()
            self._out.append(stuffer.feed(content.data))
            self._write_end(t, stuffer.finish())
        else:
            t.stage = Phase.CONTENT
            self._stream = self._content_blocks(t)

    def _content_blocks(self, t: Transaction) -> Iterator[bytes]:
        stuffer = DotStuffer()
        for block in t.content.blocks():
            if data := stuffer.feed(block):
                yield data
        self._write_end(t, stuffer.finish())

    def _write_end(self, t: Transaction, end: bytes) -> None:
        self._write(end)
        if self._lmtp:
            self._unflushed += t.expect_each() - 1
        self._ends += 1
        t.stage = Phase.END_OF_DATA
        self._ending.append(t)
        self._writing = None

    # -- replies ---------------------------------------------------------------------------------------------------

    def _on_mail(self, t: Transaction, reply: Reply) -> None:
        if reply.code < 300:  # no reply has a code below 200
            t.mail_accepted = self.has_taken_mail = True
        elif reply.code >= 400:
            t.reply = reply
        else:
            raise ProtocolViolation(f"MAIL was answered {reply}")
        t.answered = 1
        t.stage = Phase.RCPT
        if t.written < len(t.commands):
            self._go_on(t)

    def _on_rcpt(self, t: Transaction, reply: Reply) -> None:
        if reply.code < 300:
            if not t.mail_accepted:
                # The server has a sender after all, and nobody knows whose.
                raise ProtocolViolation(
                    f"MAIL was refused ({t.reply}) and yet a recipient accepted ({reply})"
                )
        elif reply.code < 400:
            raise ProtocolViolation(f"RCPT was answered {reply}")
        elif t.mail_accepted:
            t.refused[t.answered - 1] = reply
        t.answered += 1
        unwritten = len(t.commands) - t.written
        if t.answered == len(t.commands) - 1:
            t.stage = self._stage_of_chunk(t) if t.chunked and not unwritten else Phase.DATA
        if unwritten:
            self._go_on(t)

    def _on_data(self, t: Transaction, reply: Reply) -> None:
        t.answered += 1
        if 300 <= reply.code < 400:
            if not t.is_pointless:
                self._write_content(t)
                return
            # The server wants content though there is nobody to give it to: a lone dot keeps both in step.
            if self._lmtp:
                # … but not where the number of replies to it is that of the recipients.
                self._finish_refused(t)
                raise ProtocolViolation(f"DATA was answered {reply}, and every recipient was refused")
            self._write(b".\r\n")
            self._writing = None
            t.stage = Phase.END_OF_DATA
            self._finish_refused(t)
            return
        if reply.code < 400:
            raise ProtocolViolation(f"DATA was answered {reply}")
        if not t.is_pointless:
            t.reply = reply
        self._refuse(t)

    def _on_end(self, t: Transaction, reply: Reply) -> None:
        if t.chunked:
            self._on_chunk(t, reply)
            return
        # A transaction that has its verdict already wrote a lone dot, and the answer to that means nothing.
        if t.verdict is Verdict.OPEN:
            if not self._decide(t, reply):
                return
            self._ends -= 1
        self._owed.popleft()
        if self._writing is not None:
            self._go_on(self._writing)

    def _decide(self, t: Transaction, reply: Reply) -> bool:
        """Take an answer to the end of the data; false while others are to come."""
        if 300 <= reply.code < 400:
            raise ProtocolViolation(f"the end of the data was answered {reply}")
        if t.replies is not None:
            t.replies[t.unanswered.popleft()] = reply
            if t.unanswered:
                return False
            reply = next((one for one in t.replies.values() if one.is_success), reply)
        t.verdict = Verdict.ACCEPTED if reply.code < 300 else Verdict.REFUSED
        t.phase = Phase.END_OF_DATA
        t.reply = reply
        self.finished.append(t)
        return True

    def _on_chunk(self, t: Transaction, reply: Reply) -> None:
        """The answer to BDAT, which may come before all of a large content is written: a refusal is taken then."""
        if reply.code in _NOT_UNDERSTOOD:
            # The server has read content as commands. It has taken nothing, and will take nothing in this way.
            for other in self._owed:
                if isinstance(other, Transaction):
                    other.end_written = False
            raise ProtocolViolation(f"BDAT is offered and not understood: {reply}")
        if reply.code < 400 and (not reply.is_success or t.is_pointless or not t.end_written):
            # It took a message that nobody was to receive, or a part of one, or wants to hear more.
            raise ProtocolViolation(f"BDAT was answered {reply}")
        if reply == self._habits.on_reset:
            # The one to BDAT is missing: Exim forgets it when its disk gets full meanwhile. The message may be nowhere.
            raise ProtocolViolation(f"BDAT was answered as RSET used to be: {reply}")
        if t.is_pointless:
            self._finish_refused(t)
        elif not self._decide(t, reply):
            return
        if reply.code < 300:
            self._of_chunk = reply
        self._ends -= 1
        if not t.end_written:
            # No RSET can be put into the midst of the content, and the server still reads that.
            self._reset_due = True
            return
        self._owed.popleft()
        if not reply.is_success and not self._owed:
            # What follows would have an RSET in front already.
            self._reset()
        if self._writing is not None and self._writing is not t:
            self._go_on(self._writing)

    def _unasked(self, reply: Reply) -> NoReturn:
        """A reply to nothing. While content is being written a refusal is believed; all the same both are out of step."""
        head = self._owed[0] if self._owed else None
        if not isinstance(head, Transaction) or head.stage not in (Phase.CONTENT, Phase.END_OF_DATA):
            raise ProtocolViolation(f"a reply that nothing asked for: {reply}")
        if reply.code >= 400 and head.verdict is Verdict.OPEN:
            head.end(Verdict.REFUSED, Phase.CONTENT)
            head.reply = reply
            self.finished.append(head)
        raise ProtocolViolation(f"the server answered before the end of the data: {reply}")

    def _refuse(self, t: Transaction) -> None:
        """End before the content. An RSET puts the connection in order when the server has a sender (P-05)."""
        self._owed.popleft()
        self._writing = None
        if t.ahead and not t.mail_accepted and t.reply is not None and t.reply.code in _OUT_OF_TURN:
            self._begin_in_turn(t)
            return
        if t.mail_accepted:
            self._reset()
        self._finish_refused(t)

    def _begin_in_turn(self, t: Transaction) -> None:
        """It was refused for coming too early. Nothing was taken of it, and now nothing is owed."""
        self._habits.in_turn = True
        self._overlapping = t.ahead = False
        t.written = t.answered = 0
        t.stage = Phase.MAIL
        t.reply = None
        self._owed.append(t)
        self._writing = t
        self._go_on(t)

    def _finish_refused(self, t: Transaction) -> None:
        if not t.mail_accepted:
            phase = Phase.MAIL
        elif t.reply is None:
            phase = Phase.RCPT
        else:
            phase = Phase.DATA
        t.end(Verdict.REFUSED, phase)
        self.finished.append(t)


def _pieces(content: Content) -> Iterator[bytes]:
    if isinstance(content, BytesContent):
        return (content.data[start : start + ONE_PIECE] for start in range(0, content.size, ONE_PIECE))
    return content.blocks()


_ON_REPLY: dict[Phase, Callable[[Pipeline, Transaction, Reply], None]] = {
    Phase.MAIL: Pipeline._on_mail,
    Phase.RCPT: Pipeline._on_rcpt,
    Phase.DATA: Pipeline._on_data,
    Phase.CONTENT: Pipeline._on_end,
    Phase.END_OF_DATA: Pipeline._on_end,
}
