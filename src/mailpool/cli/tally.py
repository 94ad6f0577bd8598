"""What became of every message: one line each, and the sums."""

from __future__ import annotations

import csv
import enum
import io
from collections import Counter
from dataclasses import dataclass
from typing import TextIO

from mailpool import Deferred, Rejected, SendError, SendOutcome

from .letters import Letter


class Fate(enum.StrEnum):
    """What the sender has to know of a message: is it there, and may it be sent again?"""

    ACCEPTED = "accepted"
    PARTLY = "accepted for some"
    REJECTED = "rejected"
    DEFERRED = "deferred"
    UNCERTAIN = "uncertain"
    NOT_SENT = "not sent"


@dataclass(frozen=True, slots=True)
class Line:
    """The account of one message. ``reply`` is what the server said last, ``detail`` our words about it."""

    number: int
    address: str
    fate: Fate
    reply: str = ""
    detail: str = ""
    attempts: int = 0
    maybe_duplicate: bool = False
    message_id: str = ""

    @classmethod
    def of(cls, outcome: SendOutcome[Letter]) -> Line:
        letter, result, error = outcome.message, outcome.result, outcome.error
        if result is not None:
            refused = [r for r in result.recipients if not r.accepted]
            return cls(
                letter.number,
                letter.address,
                Fate.PARTLY if refused else Fate.ACCEPTED,
                result.response,
                "; ".join(f"{r.address}: {r.outcome}: {r.reply}" for r in refused),
                result.attempts,
                result.maybe_duplicate,
                result.message_id,
            )
        if not isinstance(error, SendError):  # a field that cannot be sent; nothing was written
            return cls(letter.number, letter.address, Fate.NOT_SENT, detail=str(error))
        return cls(
            letter.number,
            letter.address,
            _fate(error),
            str(error.reply or ""),
            str(error),
            error.attempts,
            error.may_have_been_delivered,
            error.message_id or "",
        )

    @property
    def cells(self) -> tuple[object, ...]:
        """As in the report."""
        return (
            self.number,
            self.address,
            str(self.fate),
            self.reply,
            self.attempts,
            "yes" if self.maybe_duplicate else "no",
            self.message_id,
            self.detail,
        )

    @classmethod
    def not_sent(cls, letter: Letter, detail: str) -> Line:
        return cls(letter.number, letter.address, Fate.NOT_SENT, detail=detail)


def _fate(error: SendError) -> Fate:
    if error.accepted:
        return Fate.PARTLY
    if error.may_have_been_delivered:
        return Fate.UNCERTAIN
    if isinstance(error, Rejected):
        return Fate.REJECTED
    return Fate.DEFERRED if isinstance(error, Deferred) else Fate.NOT_SENT


_HEADER = ("number", "address", "outcome", "reply", "attempts", "maybe_duplicate", "message_id", "detail")


def _as_csv(cells: tuple[object, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


class Tally:
    """Counts lines, and writes each to a report as it comes, so that even a killed process leaves one.

    :param total: how many messages there are
    :param report: CSV goes here, or nowhere

    ``broken`` is why the report could not be written, if it could not; ``missing`` are the lines that it lacks, but for
    those of messages that were not sent.
    """

    def __init__(self, total: int, report: TextIO | None = None) -> None:
        self.total = total
        self.counts: Counter[Fate] = Counter()
        self.duplicates = 0
        self.reasons: Counter[tuple[Fate, str]] = Counter()
        self.broken: OSError | None = None
        self.missing: list[str] = []
        self._report = report
        self._writer = csv.writer(report) if report is not None else None
        self._write(_HEADER)

    def add(self, line: Line) -> None:
        self.counts[line.fate] += 1
        self.duplicates += line.maybe_duplicate and line.fate is Fate.ACCEPTED
        if line.fate is not Fate.ACCEPTED and len(self.reasons) < 1_000:
            self.reasons[line.fate, line.reply or line.detail] += 1
        self._write(line.cells)
        if self.broken is not None and line.fate is not Fate.NOT_SENT:
            self.missing.append(_as_csv(line.cells))

    def _write(self, cells: tuple[object, ...]) -> None:
        if self._report is None or self._writer is None or self.broken is not None:
            return
        try:
            self._writer.writerow(cells)
            self._report.flush()
        except OSError as error:
            self.broken = error

    @property
    def done(self) -> int:
        return self.counts.total()

    @property
    def all_accepted(self) -> bool:
        return self.counts[Fate.ACCEPTED] == self.total == self.done

    def summary(self) -> str:
        """All sums in a line; "accepted for some" only where there is any."""
        shown = [fate for fate in Fate if fate is not Fate.PARTLY or self.counts[fate]]
        return ", ".join(f"{self.counts[fate]} {fate}" for fate in shown)
