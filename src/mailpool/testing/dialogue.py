"""What a well-behaved SMTP server answers, and what each answer means for the rest of the session.

No octets, faults or clocks in here: a command line comes in, a ``Step`` comes out. Its effect is carried out only
when it is known what was in fact said, because a script may say something else.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from .login import Login, Mechanism
from .syntax import Parameters, Refused, check_helo, parse_chunk, parse_mail, parse_rcpt


class Mode(enum.Enum):
    """What the next octets of the client are."""

    COMMAND = "a command"
    RESPONSE = "a response to an AUTH challenge"
    CONTENT = "content, up to the lone dot"
    CHUNK = "a counted chunk"
    ENDS = "nothing before every recipient is answered"
    TLS = "a TLS handshake"
    OVER = "nothing"


@dataclass(frozen=True, slots=True)
class Manners:
    """What the server offers and asks for; see ``ScriptedServer``."""

    name: str
    announce: Callable[[], Iterable[str]]
    accounts: Mapping[str, str]
    mechanisms: Mapping[str, Mechanism]
    auth_required: bool
    offers_tls: bool
    requires_tls: bool
    keeps_sender_after_bdat: bool
    lmtp: bool = False


@dataclass(slots=True)
class Transaction:
    """A message being handed over. ``failed`` is set by a refused BDAT: only RSET leads out of it (RFC 3030)."""

    sender: str
    parameters: Parameters
    mail_turn: int
    recipients: dict[str, Parameters] = field(default_factory=dict)
    content: list[bytes] = field(default_factory=list)
    size: int = 0
    chunked: bool = False
    failed: bool = False


@dataclass(slots=True)
class Step:
    """What happens next: ``at`` for the faults, ``text`` to say, and the effect of what is said."""

    at: str
    text: str | None
    effect: Callable[[str], None] = lambda said: None


def code_of(said: str) -> int:
    """The reply code of a text, 0 if it has none."""
    return int(said[:3]) if said[:3].isdigit() else 0


class Dialogue:
    """The state of one session, or of its part under TLS, which starts from nothing (RFC 3207 §4.2).

    ``deliver`` is called with each message that was accepted.
    """

    def __init__(
        self, manners: Manners, deliver: Callable[[Transaction], None], *, tls: bool = False
    ) -> None:
        self.mode = Mode.COMMAND
        self.announced: dict[str, str] = {}
        self.helo: str | None = None
        self.user: str | None = None
        self.tls = tls
        self.transaction: Transaction | None = None
        self.transactions = 0
        self.chunk_left = 0
        self.turn = 0
        self.ends: deque[str] = (
            deque()
        )  # LMTP: the recipients that are to be answered after the end of the data
        self._last_chunk = False
        self._manners = manners
        self._deliver = deliver
        self._login: Login | None = None
        self._commands: dict[str, Callable[[str], Step]] = {
            **({"LHLO": self._ehlo} if manners.lmtp else {"EHLO": self._ehlo, "HELO": self._helo}),
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "BDAT": self._bdat,
            "RSET": self._rset,
            "QUIT": self._quit,
            "NOOP": lambda rest: Step("NOOP", "250 2.0.0 ok"),
            "VRFY": lambda rest: Step("VRFY", "252 2.5.0 try and see" if rest else "501 5.5.4 whom?"),
            "HELP": lambda rest: Step("HELP", "214 2.0.0 https://www.rfc-editor.org/rfc/rfc5321"),
            "EXPN": lambda rest: Step("ANY", "502 5.5.1 not here"),
        }

    @property
    def may_pipeline(self) -> bool:
        return "PIPELINING" in self.announced

    @property
    def binary(self) -> bool:
        """Whether the content may hold anything at all (RFC 3030)."""
        return self._parameter("BODY") == "BINARYMIME"

    @property
    def eight_bit(self) -> bool:
        return self._parameter("BODY") in ("8BITMIME", "BINARYMIME") or "SMTPUTF8" in self._parameters

    def command(self, line: str) -> Step:
        """The step for a command line, given without its line end."""
        verb, _, rest = line.partition(" ")
        handler = self._commands.get(verb.upper())
        if handler is None or (verb.upper() == "BDAT" and "CHUNKING" not in self.announced):
            return Step("ANY", "500 5.5.2 unknown command")
        try:
            return handler(rest)
        except Refused as refusal:
            return Step(verb.upper(), refusal.reply)

    def response(self, line: str) -> Step:
        """The step for what the client says to an AUTH challenge."""
        self.mode = Mode.COMMAND
        assert self._login is not None
        return Step("AUTH", self._login.respond(line), self._authenticated)

    def content_received(self) -> Step | None:
        """The step for the lone dot; ``None`` in LMTP, where each recipient has one of its own: ``recipient_end``."""
        if self._manners.lmtp:
            self._end_each()
            return None
        self.mode = Mode.COMMAND
        return Step("END", self._verdict(), self._ended)

    def chunk_received(self) -> Step | None:
        """The step for a chunk that is complete; ``None`` as for the lone dot."""
        if self._manners.lmtp and self._last_chunk and not (self.transaction and self.transaction.failed):
            self._end_each()
            return None
        self.mode = Mode.COMMAND
        transaction = self.transaction
        at = "END" if self._last_chunk else "BDAT"
        if transaction is None:
            return Step(at, "503 5.5.1 MAIL first")
        if transaction.failed:
            return Step(at, "503 5.5.1 RSET first")
        text = self._verdict()
        if not self._last_chunk and text.startswith("2"):
            text = "250 2.0.0 chunk taken"
        return Step(at, text, self._ended if self._last_chunk else self._chunk_taken)

    def _end_each(self) -> None:
        # With no recipients there is no reply at all (RFC 2033 §4.2, §4.3).
        self.mode = Mode.ENDS
        self.ends.extend(self.transaction.recipients if self.transaction else ())

    def recipient_end(self) -> Step | None:
        """LMTP: the step for the end of the data that answers the first of ``ends``; ``None`` when all are answered."""
        transaction = self.transaction
        if transaction is None or not self.ends:
            self.mode = Mode.COMMAND
            self.transaction = None
            return None
        recipient = self.ends.popleft()

        def effect(said: str) -> None:
            if code_of(said) // 100 == 2:
                parameters = {recipient: transaction.recipients[recipient]}
                self._deliver(replace(transaction, recipients=parameters))

        text = self._verdict()
        return Step("END", f"{text[:9]} <{recipient}>{text[9:]}", effect)

    def greeted(self, said: str) -> None:
        """After the greeting. One that refuses leaves nothing but QUIT (RFC 5321 §3.1)."""
        if code_of(said) // 100 != 2:
            goodbye = self._commands["QUIT"]
            self._commands = dict.fromkeys(self._commands, lambda rest: Step("ANY", "503 5.5.1 go away"))
            self._commands["QUIT"] = goodbye

    @property
    def _parameters(self) -> Parameters:
        return {} if self.transaction is None else self.transaction.parameters

    def _parameter(self, name: str) -> str:
        return (self._parameters.get(name) or "").upper()

    def _limit(self, name: str) -> int | None:
        """A bound announced by LIMITS (RFC 9422)."""
        limits = dict(part.partition("=")[::2] for part in self.announced.get("LIMITS", "").split())
        return int(limits[name]) if limits.get(name, "").isdigit() else None

    def _ehlo(self, name: str) -> Step:
        check_helo(name)
        lines = [f"{self._manners.name} at your service", *self._keywords()]
        text = "\n".join([f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"])

        def effect(said: str) -> None:
            if code_of(said) == 250:
                self._begin(name)
                words = (line[4:].strip().partition(" ") for line in said.split("\n")[1:])
                self.announced = {keyword.upper(): rest for keyword, _, rest in words}

        return Step("EHLO", text, effect)

    def _helo(self, name: str) -> Step:
        check_helo(name)
        return Step(
            "HELO",
            f"250 {self._manners.name}",
            lambda said: self._begin(name) if code_of(said) == 250 else None,
        )

    def _begin(self, name: str) -> None:
        self.helo = name
        self.announced = {}
        self.transaction = None

    def _keywords(self) -> Iterable[str]:
        yield from self._manners.announce()
        clear = self._manners.requires_tls and not self.tls
        if self._manners.accounts and self.user is None and not clear:
            yield "AUTH " + " ".join(self._manners.mechanisms)
        if self._manners.offers_tls and not self.tls:
            yield "STARTTLS"

    def _starttls(self, rest: str) -> Step:
        if self.tls or self.helo is None:
            raise Refused("503 5.5.1 not now")
        if not self._manners.offers_tls:
            raise Refused("454 4.7.0 there is no certificate here")
        if rest:
            raise Refused("501 5.5.4 STARTTLS has no parameter")
        return Step("STARTTLS", "220 2.0.0 go ahead", self._expect_tls)

    def _expect_tls(self, said: str) -> None:
        if code_of(said) == 220:
            self.mode = Mode.TLS

    def _auth(self, rest: str) -> Step:
        if self.helo is None or self.user is not None or self.transaction is not None:
            raise Refused("503 5.5.1 not now")
        self._ask_for_tls()
        name, _, initial = rest.partition(" ")
        mechanism = self._manners.mechanisms.get(name.upper()) if self._manners.accounts else None
        if mechanism is None:
            raise Refused("504 5.5.4 mechanism not known here")
        self._login = Login(mechanism, self._manners.accounts)
        return Step("AUTH", self._login.begin(initial or None), self._authenticated)

    def _authenticated(self, said: str) -> None:
        if code_of(said) == 334:
            self.mode = Mode.RESPONSE
        elif code_of(said) == 235 and self._login is not None:
            self.user = self._login.user or ""

    def _ask_for_tls(self) -> None:
        if self._manners.requires_tls and not self.tls:
            raise Refused("530 5.7.0 STARTTLS first")

    def _mail(self, rest: str) -> Step:
        if self.helo is None or self.transaction is not None:
            raise Refused("503 5.5.1 EHLO first" if self.helo is None else "503 5.5.1 nested MAIL")
        self._ask_for_tls()
        if self._manners.auth_required and self.user is None:
            raise Refused("530 5.7.0 authentication required")
        sender, parameters = parse_mail(rest, self.announced)
        self._check_utf8(sender, parameters)
        most = self._limit("MAILMAX")
        if most is not None and self.transactions > most:
            raise Refused("452 4.7.0 MAILMAX reached")
        if int(parameters.get("SIZE") or 0) > self._largest():
            raise Refused("552 5.3.4 too large")

        def effect(said: str) -> None:
            if code_of(said) // 100 == 2:
                self.transaction = Transaction(sender, parameters, self.turn)

        return Step("MAIL", "250 2.1.0 ok", effect)

    def _rcpt(self, rest: str) -> Step:
        transaction = self._in_transaction()
        recipient, parameters = parse_rcpt(rest, self.announced)
        self._check_utf8(recipient, transaction.parameters)
        most = self._limit("RCPTMAX")
        if most is not None and len(transaction.recipients) >= most:
            raise Refused("452 4.5.3 too many recipients")

        def effect(said: str) -> None:
            if code_of(said) // 100 == 2:
                transaction.recipients[recipient] = parameters

        return Step("RCPT", "250 2.1.5 ok", effect)

    def _data(self, rest: str) -> Step:
        transaction = self._in_transaction()
        if rest or self._parameter("BODY") == "BINARYMIME":
            raise Refused(
                "501 5.5.4 DATA has no parameter" if rest else "503 5.5.1 binary content needs BDAT"
            )
        refusal = f"{503 if self._manners.lmtp else 554} 5.5.1 no valid recipients"
        text = "354 go on, end with a lone dot" if transaction.recipients else refusal
        return Step("DATA", text, self._expect_content)

    def _expect_content(self, said: str) -> None:
        if code_of(said) // 100 == 3:
            self.mode = Mode.CONTENT

    def _bdat(self, rest: str) -> Step:
        parsed = parse_chunk(rest)
        if parsed is None:
            raise Refused("501 5.5.4 BDAT needs a size, and LAST or nothing")
        self.chunk_left, self._last_chunk = parsed
        # The chunk follows whatever will be said, and is read before anything is.
        self.mode = Mode.CHUNK
        if self.transaction is not None:
            self.transaction.chunked = True
        return Step("BDAT", None)

    def _chunk_taken(self, said: str) -> None:
        if code_of(said) // 100 != 2:
            self._chunk_failed()

    def _chunk_failed(self) -> None:
        assert self.transaction is not None
        if self._manners.keeps_sender_after_bdat:
            # As some servers in the field do: the envelope is still there, and takes the next message's recipients.
            self.transaction.chunked = False
        else:
            self.transaction.failed = True

    def _in_transaction(self) -> Transaction:
        if self.transaction is None:
            raise Refused("503 5.5.1 MAIL first")
        if self.transaction.chunked or self.transaction.failed:
            raise Refused(
                "503 5.5.1 RSET first" if self.transaction.failed else "503 5.5.1 in the middle of BDAT"
            )
        return self.transaction

    def _verdict(self) -> str:
        if self.transaction is None or not self.transaction.recipients:
            return "554 5.5.1 no valid recipients"
        return "552 5.3.4 too large" if self.transaction.size > self._largest() else "250 2.0.0 ok"

    def _ended(self, said: str) -> None:
        transaction = self.transaction
        if transaction is None:
            return
        if code_of(said) // 100 == 2:
            self._deliver(transaction)
        elif transaction.chunked:
            self._chunk_failed()
            return
        self.transaction = None

    def _rset(self, rest: str) -> Step:
        return Step("RSET", "250 2.0.0 ok", self._forget)

    def _forget(self, said: str) -> None:
        if code_of(said) // 100 == 2:
            self.transaction = None

    def _quit(self, rest: str) -> Step:
        return Step("QUIT", "221 2.0.0 bye", self._leave)

    def _leave(self, said: str) -> None:
        self.mode = Mode.OVER

    def _largest(self) -> float:
        declared = self.announced.get("SIZE", "")
        return int(declared) if declared.isdigit() and int(declared) else float("inf")

    def _check_utf8(self, address: str, parameters: Parameters) -> None:
        if not address.isascii() and "SMTPUTF8" not in parameters:
            raise Refused("553 5.6.7 SMTPUTF8 was not asked for")
