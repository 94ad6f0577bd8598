"""How much may be sent in a time (P-23)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from .checks import count, one_of, seconds, wrong

_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3_600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
}
_RATE = re.compile(
    r"(?P<limit>\d{1,12}) ?(?P<what>messages?|recipients?)? ?/ ?(?P<times>\d{1,6}(?:\.\d{1,6})?)? ?(?P<unit>[a-z]+)"
)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``limit`` in any window of ``per`` seconds (P-23).

    :param limit: how many, at least 1
    :param per: the window in seconds
    :param burst: the most that may go back to back; ``None``: as many as ``limit``
    :param unit: what is counted: ``"messages"``, or ``"recipients"`` as some providers do
    :raises ConfigurationError: a number is out of range or of another type
    """

    limit: int
    per: float = 1.0
    burst: int | None = None
    unit: Literal["messages", "recipients"] = "messages"

    def __post_init__(self) -> None:
        count(1)("rate", self.limit)
        object.__setattr__(self, "per", seconds()("rate", self.per))
        if self.burst is not None and count(1)("rate", self.burst) > self.limit:
            raise wrong("rate", f"burst={self.burst} is more than limit={self.limit}")
        one_of("messages", "recipients")("rate", self.unit)

    @classmethod
    def parse(cls, text: str) -> Rate:
        """A rate from a short text: ``"14/s"``, ``"30/min"``, ``"10000/day"``, ``"5/10s"``, ``"10000 recipients/day"``.

        :raises ConfigurationError: the text is none of these
        """
        match = _RATE.fullmatch(text.strip().lower())
        if match is None or match["unit"] not in _UNITS:
            raise wrong("rate", f"{text!r} is no rate; write it as '14/s', '30/min' or '10000/day'")
        per = float(match["times"] or 1) * _UNITS[match["unit"]]
        return cls(
            int(match["limit"]), per, unit="recipients" if (match["what"] or "")[:1] == "r" else "messages"
        )

    def __str__(self) -> str:
        what = " recipients" if self.unit == "recipients" else ""
        name = {1.0: "s", 60.0: "min", 3_600.0: "h", 86_400.0: "day"}.get(
            self.per, f"{self.per:.6f}".rstrip("0").rstrip(".") + "s"
        )
        return f"{self.limit}{what}/{name}"


def rates(name: str, value: object) -> tuple[Rate, ...]:
    """The check of the option ``rate``: one, a text with one or several, or a list of those."""
    if value is None:
        return ()
    items: list[Any] = value.split(",") if isinstance(value, str) else [value]
    if isinstance(value, (tuple, list)):
        items = list(value)
    if not all(isinstance(item, (Rate, str)) for item in items):
        raise wrong(name, f"must be a Rate, a text such as '14/s', or a list of those, not {value!r}")
    return tuple(Rate.parse(item) if isinstance(item, str) else item for item in items)
