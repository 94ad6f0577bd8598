"""What a plan is made of: groups of runs that alternate, and the ratios that are read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from .run import Figure, Run

Round = Mapping[str, Figure]  # by the key of the run


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that are compared: one after another in each round, or all at once when they mostly wait.

    :param at_once: all at the same time
    :param rounds: at most so many
    """

    title: str
    runs: Sequence[Run]
    at_once: bool = False
    rounds: int = 99


Measure = Literal["rate", "settled", "cpu", "peak", "octets", "compose"]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A line of the list of aims. Each round gives one ratio, and the median of them counts.

    :param theirs: the key of the other run; ``None``: our figure itself is meant
    :param by_cpu: whether the client's CPU is what bounds both sides, so that its ratio says the same
    :param most: the aim is to stay below ``aim``, not to reach it
    """

    title: str
    ours: str
    theirs: str | None
    measure: Measure = "rate"
    aim: float
    most: bool = False
    kind: Literal["ratio", "loss", "figure", "spread"] = "ratio"
    by_cpu: bool = False
    others: Sequence[str] = field(default=())

    def of(self, figures: Round) -> float | None:
        """This ratio in one round; None when a run of it is missing."""
        ours = self._value(figures, self.ours)
        if ours is None:
            return None
        if self.kind == "figure":
            return ours
        if self.kind == "spread":
            values = [ours, *(v for key in self.others if (v := self._value(figures, key)) is not None)]
            return max(values) / min(values) if len(values) > len(self.others) else None
        theirs = self._value(figures, self.theirs or "")
        if theirs is None:
            return None
        if self.kind == "loss":
            return max(0.0, 1 - ours / theirs)
        return ours / theirs

    def _value(self, figures: Round, key: str) -> float | None:
        figure = figures.get(key)
        if figure is None:
            return None
        return value(figure, self.measure)

    def met(self, ratio: float) -> bool:
        return ratio <= self.aim if self.most else ratio >= self.aim


def value(figure: Figure, measure: Measure) -> float:
    if measure == "compose":
        return 1e6 / figure.settled  # µs for one message
    return float(getattr(figure, measure))


@dataclass(frozen=True, kw_only=True)
class Plan:
    name: str
    groups: Sequence[Group]
    ratios: Sequence[Ratio]


def across(rounds: Sequence[Round], key: str) -> Figure | None:
    """The median of each figure of a run."""
    found = [figures[key] for figures in rounds if key in figures]
    if not found:
        return None
    names = Figure.__dataclass_fields__
    return Figure(**{name: median(getattr(figure, name) for figure in found) for name in names})
