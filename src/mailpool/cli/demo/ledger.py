"""The books of both sides, and what must hold between them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mailpool import AddressError, Mailbox

from ..tally import Fate, Line

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that the server keeps: its Message-ID, the recipient of its envelope, and its To field."""

    message_id: str
    recipient: str
    to: str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold. ``wrong`` names what does not, with examples."""

    claim: str
    wrong: str = ""

    @property
    def holds(self) -> bool:
        return not self.wrong


@dataclass(frozen=True, slots=True)
class Proof:
    """Checks, and the two numbers of double messages.

    ``doubles``  copies beyond the first on the server
    ``marked``   results that say ``maybe_duplicate``
    """

    checks: tuple[Check, ...]
    doubles: int = 0
    marked: int = 0

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)


def prove(total: int, lines: Sequence[Line], stored: Sequence[Stored] | None) -> Proof:
    """Compare what we were told with what the server has.

    :param total: how many messages there were to send, numbered from 1
    :param lines: what became of each
    :param stored: what the server keeps; None if only its replies are known
    """
    accepted = [line for line in lines if line.fate is Fate.ACCEPTED]
    checks = [_accounted(total, lines)]
    marked = sum(line.maybe_duplicate for line in lines)
    if stored is None:
        checks.append(_answered(accepted))
        return Proof(tuple(checks), marked=marked)
    copies = Counter((message.message_id, message.recipient) for message in stored)
    checks += [
        _none_lost(accepted, copies),
        _doubles_marked(lines, copies),
        _refused_are_absent(lines, copies),
        _nothing_foreign(lines, stored),
    ]
    return Proof(tuple(checks), doubles=sum(copies.values()) - len(copies), marked=marked)


def _on_the_wire(line: Line) -> str:
    """The address as the server was told it."""
    try:
        return Mailbox("", line.address).address
    except AddressError:
        return line.address


def _check(claim: str, wrong: Sequence[object], what: str) -> Check:
    if not wrong:
        return Check(claim)
    shown = ", ".join(str(item) for item in wrong[:_SHOWN])
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return Check(claim, f"{len(wrong)} {what}: {shown}{more}")


def _accounted(total: int, lines: Sequence[Line]) -> Check:
    times = Counter(line.number for line in lines)
    wrong = [f"no. {number}" for number in range(1, total + 1) if times[number] != 1]
    wrong += [f"no. {number}" for number in times if not 1 <= number <= total]
    return _check(f"each of {total} messages has exactly one outcome", wrong, "without, or with several")


def _answered(accepted: Sequence[Line]) -> Check:
    wrong = [line.address for line in accepted if not (line.reply.startswith("2") and line.message_id)]
    return _check("each accepted message has the server's own reply", wrong, "without")


def _none_lost(accepted: Sequence[Line], copies: Counter[tuple[str, str]]) -> Check:
    wrong = [line.address for line in accepted if not copies[line.message_id, _on_the_wire(line)]]
    return _check(
        f"each of {len(accepted)} accepted messages is on the server, by Message-ID and recipient",
        wrong,
        "lost",
    )


def _doubles_marked(lines: Sequence[Line], copies: Counter[tuple[str, str]]) -> Check:
    marked = {line.message_id for line in lines if line.maybe_duplicate}
    doubled = [identity for identity, count in copies.items() if count > 1]
    wrong = [recipient for message_id, recipient in doubled if message_id not in marked]
    return _check("each double on the server is marked maybe_duplicate in its result", wrong, "not marked")


def _refused_are_absent(lines: Sequence[Line], copies: Counter[tuple[str, str]]) -> Check:
    there = {message_id for message_id, _ in copies}
    may_be_there = (Fate.ACCEPTED, Fate.PARTLY, Fate.UNCERTAIN)
    wrong = [line.address for line in lines if line.fate not in may_be_there and line.message_id in there]
    return _check("no message that was reported as not sent is on the server", wrong, "there nevertheless")


def _nothing_foreign(lines: Sequence[Line], stored: Sequence[Stored]) -> Check:
    # One without a Message-ID was never on the wire, and so cannot be on the server.
    ours = {(line.message_id, _on_the_wire(line)) for line in lines if line.message_id}
    wrong = [
        message.recipient
        for message in stored
        if (message.message_id, message.recipient) not in ours or message.recipient not in message.to
    ]
    return _check("every message on the server is at the recipient it was written to", wrong, "at another's")
