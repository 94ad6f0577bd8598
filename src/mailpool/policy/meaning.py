"""What a reply means, and what to do about it (P-05, P-12, P-17, P-19a, P-24).

A code alone says little: 421, 450, 451, 452, 454 and even 550 are all used for throttling. The table looks at code,
enhanced code, text and phase; its first row that fits decides, and where none does, the class of the code.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..results import Outcome, Phase, Reply

# A hostile reply may be long, and may ask us to wait for ever.
_MOST_TEXT = 2_000
LONGEST_WAIT = 86_400.0

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)")
# The address that the server repeats was chosen by somebody else: <throttled@example.org> says nothing about us.
_ANGLED = re.compile(r"<[^<>]*>")


class Less(enum.Enum):
    """What the other side wants less of (P-24)."""

    CONNECTIONS = "connections at once"
    RATE = "messages or recipients in a time"
    OPENINGS = "connections opened, or logins, in a time"
    SESSION = "messages on one connection"
    IDLENESS = "silence on a connection"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What became of the command that was answered.

    ``retry_after`` is in seconds, where the reply says so; ``advice`` is one sentence for a person, empty on success;
    ``less`` is set where the same message goes through as soon as there is less of something, and ``unit`` is what a
    rate counts and ``per`` its window in seconds, where the reply tells.
    """

    outcome: Outcome
    retry_after: float | None
    advice: str
    less: Less | None = None
    unit: Literal["messages", "recipients"] = "messages"
    per: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what it asks of a reply, and what follows. ``None`` asks nothing.

    Regular expressions: ``enhanced`` for the whole enhanced code, ``text`` to be found in the text in lower case.
    ``outcome`` ``None`` leaves it to the class of the code and only gives advice.
    """

    outcome: Outcome | None
    advice: str
    codes: frozenset[int] | None = None
    enhanced: re.Pattern[str] | None = None
    text: re.Pattern[str] | None = None
    phases: frozenset[Phase] | None = None
    less: Less | None = None
    unit: Literal["messages", "recipients"] = "messages"
    per: float | None = None

    def fits(self, code: int, enhanced: str, text: str, phase: Phase) -> bool:
        return (
            (self.codes is None or code in self.codes)
            and (self.phases is None or phase in self.phases)
            and (self.enhanced is None or self.enhanced.fullmatch(enhanced) is not None)
            and (self.text is None or self.text.search(text) is not None)
        )


def _row(
    outcome: Outcome | None,
    advice: str,
    *,
    codes: Iterable[int] | None = None,
    enhanced: str | None = None,
    text: str | None = None,
    phases: Iterable[Phase] | None = None,
    less: Less | None = None,
    unit: Literal["messages", "recipients"] = "messages",
    per: float | None = None,
) -> Row:
    return Row(
        outcome,
        advice,
        None if codes is None else frozenset(codes),
        None if enhanced is None else re.compile(enhanced),
        None if text is None else re.compile(text),
        None if phases is None else frozenset(phases),
        less,
        unit,
        per,
    )


_OPENING = (Phase.CONNECT, Phase.TLS, Phase.GREETING, Phase.EHLO, Phase.STARTTLS)
_PERMANENT = range(500, 600)

_SLOWER = "Send more slowly: set rate, or lower it."
_FEWER = "Use fewer connections: lower max_connections."
_RENEWED = "The quota is used up: wait until the provider renews it, or ask for a larger one."
_OAUTH = "This server no longer takes passwords: give auth an OAuth2 access_token."
_FULL = "The recipient's mailbox is full: nothing at our side can mend it."

# The order matters. Facts about the recipient come first, for "quota" and "too many" are said of mailboxes too; quotas
# come before speeds, with which they share codes and words; and both before logins, where they are said as well.
TABLE: tuple[Row, ...] = (
    _row(
        None,
        "The recipient does not exist: take the address off the list.",
        codes=_PERMANENT,
        enhanced=r"5\.1\.[0-6]",
    ),
    _row(None, _FULL, enhanced=r"[45]\.2\.2"),
    _row(
        None,
        _FULL,
        text=r"mailbox (is |was )?(full|over quota)|mailbox quota",
        phases=(Phase.RCPT, Phase.END_OF_DATA),
    ),
    _row(
        None,
        "The recipient gets too much mail at the moment: try again later.",
        text=r"\b(user|recipient|mailbox)\b.{0,60}\breceiving mail\b|\b(user|mailbox|inbox)\b.{0,40}\breceived too\b"
        r"|\brecipient(['’]s \w+)? (has|have) (exceeded|reached|received)|\breceiving (limit|quota|rate)\b",
        phases=(Phase.RCPT, Phase.END_OF_DATA),
    ),
    _row(None, "The message is larger than this server takes.", enhanced=r"5\.3\.4|5\.2\.3"),
    # Used up for hours: waiting a little does not help.
    _row(Outcome.QUOTA, _RENEWED, text=r"\b(daily|hourly|monthly)\b.{0,60}\b(quota|limit|exceed)"),
    _row(
        Outcome.QUOTA,
        _RENEWED,
        text=r"\b(quota|limit|exceed(ed|s)?|too many)\b.{0,60}\b((per|this|a|an|each|in one) (hour|day|month)|today|daily|24[ -]?h)",
    ),
    _row(
        Outcome.QUOTA,
        _RENEWED,
        text=r"submissionquotaexceeded|credits exceeded|(sending|message|account|submission) quota",
    ),
    _row(Outcome.QUOTA, _RENEWED, codes=[550], enhanced=r"5\.4\.5"),
    _row(
        Outcome.QUOTA,
        "The provider has blocked this account for now: stop, and unblock it in the provider's console.",
        text=r"unusual sending activity",
    ),
    # The connection has served its time: the message goes over another one at once.
    _row(
        None,
        "The server bounds messages on a connection: lower max_messages.",
        codes=[421, 450, 451, 452],
        text=r"\b(messages?|mails?|transactions?)\b.{0,40}\b(per|on|in|for) (this |one |a )?(session|connection)",
        less=Less.SESSION,
    ),
    _row(
        None,
        "The connection had been silent for too long: lower idle_timeout.",
        codes=[421, 451],
        text=r"\b(idle|time[d -]?out|timeout)\b",
        phases=[Phase.MAIL],
        less=Less.IDLENESS,
    ),
    # Too fast, or too many at once: the same message goes through a little later.
    _row(
        Outcome.THROTTLED,
        "Log in less often: keep connections longer.",
        text=r"too many (failed )?(log-?ins?|auth\w*)\b",
        less=Less.OPENINGS,
    ),
    _row(
        Outcome.THROTTLED,
        "Connect less often: keep connections longer.",
        text=r"too frequent (\w+ ){0,2}connect|\bconnection rate\b|too many (\w+ ){0,2}connect(ion)?s? (per|in an?) (second|minute)",
        less=Less.OPENINGS,
    ),
    _row(
        Outcome.THROTTLED,
        _FEWER,
        text=r"too many (\w+ ){0,2}(connect(ion)?s?|sessions)\b|(connections?|sessions?|thread) limit|concurrent (\w+ )?(connections?|sessions?)",
        less=Less.CONNECTIONS,
    ),
    _row(Outcome.THROTTLED, _FEWER, codes=[432], less=Less.CONNECTIONS),
    _row(
        Outcome.THROTTLED,
        _SLOWER,
        text=r"\brecipients\b.{0,40}\b(per|in a|each|this) (second|minute)|\brecipient rate\b",
        less=Less.RATE,
        unit="recipients",
    ),
    # Amazon SES, whose rate counts recipients in a second.
    _row(
        Outcome.THROTTLED,
        _SLOWER,
        text=r"throttling failure: maximum sending rate",
        less=Less.RATE,
        unit="recipients",
        per=1.0,
    ),
    _row(Outcome.THROTTLED, _SLOWER, enhanced=r"4\.4\.5", less=Less.RATE),
    _row(
        Outcome.THROTTLED,
        _SLOWER,
        text=r"too many (e-?mails?|mails?|messages?|requests|sends)\b",
        less=Less.RATE,
    ),
    _row(
        Outcome.THROTTLED,
        _SLOWER,
        text=r"throttl|\brate[ -]?limit|(sending|message|submission) rate\b|unusual rate|too (fast|quickly)|slow down|peak smtp relay limit"
        r"|\b(limit|exceed(ed|s)?)\b.{0,60}\bper (second|minute)",
        less=Less.RATE,
    ),
    # Who we are.
    _row(Outcome.AUTH_FAILED, _OAUTH, codes=_PERMANENT, enhanced=r"5\.7\.(30|139)"),
    _row(Outcome.AUTH_FAILED, _OAUTH, codes=[534, 535], text=r"basic auth\w* is (disabled|not supported)"),
    _row(
        Outcome.AUTH_FAILED,
        "This server wants TLS before anything else: use starttls='required' or secure=True.",
        codes=[530, 538],
        text=r"starttls|\btls\b|\bssl\b|encrypt",
    ),
    _row(
        Outcome.AUTH_FAILED, "This mechanism needs TLS: use starttls='required' or secure=True.", codes=[538]
    ),
    _row(Outcome.AUTH_FAILED, "This server wants a login: set auth.", codes=[530]),
    _row(
        Outcome.AUTH_FAILED,
        "The server does not take this kind of login: an application password or OAuth2 may be needed.",
        codes=[534],
    ),
    _row(
        Outcome.AUTH_FAILED,
        "Check user and password; some providers want an application password.",
        codes=[535],
    ),
    _row(
        Outcome.AUTH_FAILED,
        "Check user and password; some providers want an application password.",
        enhanced=r"5\.7\.8",
    ),
    _row(Outcome.AUTH_FAILED, "The account is disabled: ask the provider.", codes=[525]),
    _row(
        Outcome.AUTH_FAILED,
        "The server refused the login; its text says why.",
        codes=_PERMANENT,
        phases=[Phase.AUTH],
    ),
    # Advice only.
    _row(
        None,
        "This server does not relay for us: set auth, or use the right server.",
        text=r"relay(ing)? (access )?(denied|not permitted)|not permitted to relay",
    ),
    _row(
        None,
        "Send from an address that this login may use.",
        text=r"send ?as ?denied|not (allowed|authorized|permitted) to send as|sender address (rejected|not verified)|not owned by user",
    ),
    _row(None, "The server asks new senders to come back a little later.", text=r"gr[ea]y-?list"),
    _row(
        Outcome.CONNECTION_FAILED,
        "The server does not take this connection; its text says why.",
        phases=_OPENING,
    ),
)

_TOO_MANY_RECIPIENTS = "The server takes fewer recipients at once: set max_recipients."


# Asked three times for one refusal, and a server has few ways to refuse.
@functools.lru_cache(maxsize=32)
def classify(reply: Reply, phase: Phase) -> Meaning:
    """What a reply means.

    :param reply: the complete reply
    :param phase: of the command that it answers; `Phase.END_OF_DATA` for the reply to the content
    :return: accepted, rejected, deferred, throttled, quota, auth failed, or connection failed when the server refused
        before any message was concerned
    """
    if reply.code < 400:
        return Meaning(Outcome.ACCEPTED, None, "")
    by_class = Outcome.DEFERRED if reply.is_temporary else Outcome.REJECTED
    text = _plain_text(reply)
    if phase is Phase.RCPT and too_many_recipients(reply):
        # RFC 5321 §4.5.3.1.10 wants 552 taken for 452 here.
        return Meaning(Outcome.DEFERRED, _retry_after(text), _TOO_MANY_RECIPIENTS)
    outcome, advice = (
        by_class,
        "Try again later." if reply.is_temporary else "Do not send this again unchanged.",
    )
    enhanced = _enhanced(reply)
    row = next((row for row in TABLE if row.fits(reply.code, enhanced, text, phase)), None)
    if row is None:
        return Meaning(outcome, _hint(outcome, text), advice)
    outcome = row.outcome or by_class
    per = row.per or (_window(text) if row.less is Less.RATE else None)
    return Meaning(outcome, _hint(outcome, text), row.advice, row.less, row.unit, per)


def too_many_recipients(reply: Reply) -> bool:
    """Whether a reply to RCPT says that this transaction is full, so that the rest may follow in another (P-12).

    True for 452 and 552 whose enhanced code is x.5.3 or missing (RFC 5321 §4.5.3.1.10), and for OpenSMTPD's 451 4.5.3,
    unless the text speaks of a full mailbox, of storage, or of an hour or a day: those are as true in the next
    transaction.
    """
    if reply.code not in (451, 452, 552):
        return False
    if _NOT_THIS_TRANSACTION.search(_plain_text(reply)):
        return False
    return _enhanced(reply) in (("4.5.3",) if reply.code == 451 else ("", "4.5.3", "5.5.3"))


_NOT_THIS_TRANSACTION = re.compile(
    r"mailbox|quota|storage|disk|space|\b(too (large|big)|size)\b|\b(hour|hourly|day|daily|today)\b"
)
_HINT = re.compile(
    r"\b(?:try(?:ing)? (?:it )?again|retry|retry-after|come back|wait)"
    r"[ :]{1,2}(?:(?:in|after|for|at least|about|approximately) ){0,3}"
    r"(?P<number>an?|\d{1,7}(?:\.\d{1,3})?) ?(?P<unit>ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b"
)
_BARE_HINT = re.compile(r"\bretry[- ]after[ :]{1,2}(?P<number>\d{1,7})\b")


_WINDOW = re.compile(r"\b(?:per|in an?|each) (second|minute)\b")


def _window(text: str) -> float | None:
    """The seconds of the window of a rate, where the text tells."""
    found = _WINDOW.search(text)
    return None if found is None else 1.0 if found[1] == "second" else 60.0


def _hint(outcome: Outcome, text: str) -> float | None:
    return None if outcome is Outcome.REJECTED else _retry_after(text)


def _retry_after(text: str) -> float | None:
    if hint := _HINT.search(text):
        number = 1.0 if hint["number"].startswith("a") else float(hint["number"])
        return min(number * _unit(hint["unit"]), LONGEST_WAIT)
    if hint := _BARE_HINT.search(text):
        return min(float(hint["number"]), LONGEST_WAIT)
    return None


def _unit(name: str) -> float:
    if name == "ms" or name.startswith("milli"):
        return 0.001
    return {"s": 1.0, "m": 60.0, "h": 3_600.0}[name[0]]


def _enhanced(reply: Reply) -> str:
    """As written, also where its class is not that of the code (``452 5.5.3`` is seen)."""
    lines = reply.lines
    found = _ENHANCED.match(lines[0]) if lines else None
    return found[1] if found else ""


def _plain_text(reply: Reply) -> str:
    """In lower case on one line, without the enhanced codes that open each line and without addresses."""
    lines = (line[found.end() :] if (found := _ENHANCED.match(line)) else line for line in reply.lines)
    words = _ANGLED.sub(" ", " ".join(lines)[:_MOST_TEXT].lower()).split()
    return " ".join(word for word in words if "@" not in word)
