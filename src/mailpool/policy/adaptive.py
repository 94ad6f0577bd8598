"""What a relay bears, found by trial (P-24): state, event and time in, limits out.

Nothing is bounded before the other side has asked for less. Then connections fall to the number that it took, and rates
to what it really accepted; success raises both again, slowly near the value that was too much and faster far below it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..options import Rate
from .backoff import half_jitter
from .rate import SlidingWindow

Unit = Literal["messages", "recipients"]

# Pauses after "too fast", where the reply does not say how long, in seconds: doubled as long as nothing is taken.
_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_SHORTEST_PAUSE = 0.1
_PAUSE_FOR = 4  # about what so many units take, once a rate is known
# A rate that was too much by little falls to this share; one that was far too much falls to half at once.
_LOWERED = 0.95
_LEAST_SHARE = 0.5
_NEARLY_RIGHT = 0.7
# How long has to be measured what is accepted before a rate is lowered: so many seconds, and about so many units.
_LOOK = 1.0
_LOOK_FOR = 10
# A rate is raised after about so many units, and within these bounds in seconds, if it was used: by one in a hundred near
# the last that was too much, by more far below it, and above it by twice as much each time.
_RAISED_AFTER = 50
_SOONEST_RAISED = 1.0
_LATEST_RAISED = 10.0
_RAISED_BY = 0.01
_RAISED_FAR_BELOW = 0.05
_MOST_RAISED = 0.25
_NEAR = 0.9
# What a sender may catch up when it comes late, in seconds: clocks of event loops are coarse.
_SLACK = 0.02
# Where a window is kept, what goes is spread over so much of it.
_CLOSER = 0.8
# A rate in units of a window is a whole number.
_ROUNDING = 0.2
# So long without anything to send, and what was accepted before says nothing about the rate.
_IDLE = 5.0
# One connection more is tried after so many seconds, and after twice as many each time that it was refused.
_ONE_MORE_AFTER = 60.0
_LONGEST_PATIENCE = 3_600.0
# After so many connections that reached the most messages, one more quarter is tried.
_LIVES = 20


class Pace:
    """A rate found by trial, and the pauses that led to it.

    What goes is evenly spaced, so that it fits into windows of any length; where the other side has told the length of
    its own window, that is kept, which large units fill better.

    :param rate: in units a second, when it is known from before; None: unbounded until the other side says "too fast"
    :param per: seconds of the other side's window, if that is known
    """

    __slots__ = (
        "_accepted",
        "_ceiling",
        "_last",
        "_looked_at",
        "_next",
        "_pauses",
        "_raise_at",
        "_raised",
        "_recent",
        "_since",
        "_used",
        "_window",
        "paused_until",
        "per",
        "rate",
    )

    def __init__(self, rate: float | None = None, per: float | None = None) -> None:
        self.rate = rate
        self.per: float | None = None
        self._window: SlidingWindow | None = None
        self._recent: SlidingWindow | None = None  # what was taken
        if per is not None:
            self._keep_to(per)
        self.paused_until = -math.inf
        self._ceiling = math.inf  # what was too much the last time
        self._next = -math.inf
        self._last = -math.inf  # when something went
        self._pauses = 0  # in a row, with nothing taken in between
        self._since = math.inf  # since when ``_accepted`` counts
        self._accepted = 0
        self._raise_at = math.inf
        self._looked_at = math.inf
        self._used = 0  # taken since then
        self._raised = 0.0  # by which share the last time above the ceiling

    def ready_at(self, now: float, units: int) -> float:
        """When so many may go; ``now`` or earlier means at once."""
        if self._window is not None and self.rate is not None:
            return max(self._window.ready_at(now, units), self._next, self.paused_until)
        return max(self._next, self.paused_until)

    def pause_until(self, until: float) -> None:
        """Nothing goes before ``until``, for a reason that says nothing about the rate."""
        self.paused_until = max(self.paused_until, until)

    def take(self, now: float, units: int) -> None:
        """So many go now."""
        if now - max(self._last, self.paused_until, self._next) > _IDLE and self._since < now:
            self._since, self._accepted = now, 0
        self._last = now
        spacing = 1.0
        if self._window is not None:
            self._window.take(now, units)
            spacing = _CLOSER
        if self.rate is not None:
            self._next = max(self._next, now - _SLACK) + spacing * units / self.rate

    def accepted(self, now: float, units: int) -> None:
        """So many were taken. Those that were on their way when the pause began say nothing."""
        if now < self.paused_until:
            return
        self._pauses = 0
        self._accepted += units
        self._used += units
        if self._recent is not None:
            self._recent.take(now, units)
        rate = self.rate
        if rate is None:
            return
        if self._raise_at == math.inf:
            self._look_again(now)
        elif now >= self._raise_at:
            # A rate that is not used up is not raised: nobody knows whether more would be taken.
            if self._used >= rate * (now - self._looked_at) / 2:
                self._raise(rate)
            self._look_again(now)

    def _look_again(self, now: float) -> None:
        assert self.rate is not None
        self._looked_at = now
        self._raise_at = now + min(_LATEST_RAISED, max(_SOONEST_RAISED, _RAISED_AFTER / self.rate))
        self._used = 0

    def _raise(self, rate: float) -> None:
        if self._ceiling == math.inf and self.per is not None:
            share = _MOST_RAISED  # what is too much will show within a window
        elif rate < _NEAR * self._ceiling:
            share = _RAISED_FAR_BELOW
        elif rate < self._ceiling:
            share = _RAISED_BY
        else:
            self._raised = min(_MOST_RAISED, max(_RAISED_BY, 2 * self._raised))
            share = self._raised
        self._set(rate * (1 + share))

    def _set(self, rate: float) -> None:
        self.rate = rate
        if self._window is not None and self.per is not None:
            self._window.bound(max(1, int(rate * self.per + _ROUNDING)))

    def _keep_to(self, per: float) -> None:
        if per != self.per:
            self.per = per
            self._window, self._recent = SlidingWindow(1, per), SlidingWindow(1, per)
            if self.rate is not None:
                self._set(self.rate)

    def throttled(self, now: float, dice: float, hint: float | None, per: float | None = None) -> None:
        """The other side says "too fast".

        :param dice: a random number in [0, 1)
        :param hint: seconds that it asks us to wait
        :param per: seconds of its window, where it tells
        """
        if per is not None:
            self._keep_to(per)
        if now < self.paused_until:  # on its way when the pause began: the same event
            if hint is not None:
                self.paused_until = max(self.paused_until, now + hint)
            return
        self._pauses += 1
        own = half_jitter(self._pauses, dice, base=self._first_pause(), cap=_LONGEST_PAUSE)
        if hint is not None:  # taken at its word, until that has proved wrong
            own = hint if self._pauses == 1 else max(hint, own)
        self.paused_until = now + own
        if self._since == math.inf:  # the first time: what it bears is counted from now on
            self._since = now
        elif self._accepted and now - self._since >= self._shortest_look():
            if self._recent is not None and self.per is not None:
                self._lower(self._recent.units(now) / self.per)
            else:
                self._lower(self._accepted / (now - self._since))
            self._since, self._accepted = now, 0

    def _shortest_look(self) -> float:
        """Seconds that must be measured: what was too much before fills the other side's window for a while."""
        return _LOOK if self.rate is None else max(_LOOK, _LOOK_FOR / self.rate)

    def _first_pause(self) -> float:
        """A fast rate that is nearly right needs no long pause."""
        return _PAUSE if self.rate is None else min(_PAUSE, max(_SHORTEST_PAUSE, _PAUSE_FOR / self.rate))

    def _lower(self, measured: float) -> None:
        rate = self.rate
        if not measured:
            pass
        elif rate is None:
            self._set(measured)
        else:
            self._ceiling = rate
            nearly_right = measured >= _NEARLY_RIGHT * rate
            self._set(_LOWERED * rate if nearly_right else max(measured, _LEAST_SHARE * rate))
        self._raised = 0.0
        self._raise_at = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What one relay was found to bear for one identity; None where nothing was found.

    :param user: the identity; None without a login
    :param max_connections: connections open at once
    :param rate: what may be begun each second, in ``unit``
    :param unit: ``"messages"`` or ``"recipients"``
    :param per: the window of that rate in seconds, where the relay told it
    :param connection_rate: connections opened each second
    :param max_messages: messages on one connection
    """

    user: str | None = None
    max_connections: int | None = None
    rate: float | None = None
    unit: Unit = "messages"
    per: float | None = None
    connection_rate: float | None = None
    max_messages: int | None = None

    def as_rate(self) -> Rate | None:
        """The rate as the option of that name would have it, rounded to what that can say."""
        if self.rate is None:
            return None
        per = self.per or (1.0 if self.rate >= 100 else 60.0 if self.rate >= 0.1 else 3_600.0)
        return Rate(max(1, round(self.rate * per)), per, unit=self.unit)


class Adaptive:
    """The limits of one relay and identity as they are now, and how they change.

    :param known: what was learnt before
    """

    __slots__ = (
        "_known_messages",
        "_lives",
        "_one_more_after",
        "_one_more_at",
        "_trying",
        "held_since",
        "most_connections",
        "most_messages",
        "openings",
        "pace",
        "since",
        "unit",
    )

    def __init__(self, known: Learnt | None = None) -> None:
        known = known or Learnt()
        self.most_connections: float = known.max_connections or math.inf
        self.most_messages: float = known.max_messages or math.inf  # on one connection
        self.pace = Pace(known.rate, known.per)
        self.unit: Unit = known.unit
        self.openings = Pace(known.connection_rate)
        self.since: float | None = None  # throttled since then, and nothing was taken
        self.held_since: float | None = None  # throttled since then, and nothing was taken after a pause
        self._one_more_after = _ONE_MORE_AFTER
        self._one_more_at = 0.0 if math.isfinite(self.most_connections) else math.inf
        self._trying = False  # one more connection than was known to be borne
        self._known_messages = self.most_messages
        self._lives = 0

    # -- messages --------------------------------------------------------------------------------------------------

    def ready_at(self, now: float, recipients: int) -> float:
        """When a message to so many recipients may be begun."""
        return self.pace.ready_at(now, recipients if self.unit == "recipients" else 1)

    def take(self, now: float, recipients: int) -> None:
        """A message to so many recipients is begun."""
        self.pace.take(now, recipients if self.unit == "recipients" else 1)

    def accepted(self, now: float, recipients: int) -> None:
        """A message to so many recipients was taken."""
        self.since = None
        if now >= self.quiet_until:  # what was on its way when a pause began says nothing about its end
            self.held_since = None
        self.pace.accepted(now, recipients if self.unit == "recipients" else 1)
        if not self._one_more_at:  # known from before: from now on
            self._one_more_at = now + self._one_more_after
        elif now >= self._one_more_at:
            self.most_connections += 1
            if self._trying:  # the last one was not refused
                self._one_more_after = _ONE_MORE_AFTER
            self._trying = True
            self._one_more_at = now + self._one_more_after

    def too_fast(
        self, now: float, dice: float, hint: float | None, unit: Unit = "messages", per: float | None = None
    ) -> None:
        """Fewer messages, or recipients, in a time; in ``per`` seconds, where the relay says so."""
        self._note(now)
        if unit == "recipients":
            self.unit = unit
        self.pace.throttled(now, dice, hint, per)

    # -- connections -----------------------------------------------------------------------------------------------

    def too_many(self, now: float, others: int) -> bool:
        """Fewer connections at once. False: there is no other, so that is not what can help.

        :param others: how many there are besides the one that was refused
        """
        self._note(now)
        if self._trying:
            self._trying = False
            self._one_more_after = min(2 * self._one_more_after, _LONGEST_PATIENCE)
        self.most_connections = max(1, min(self.most_connections, others))
        self._one_more_at = now + self._one_more_after
        return others > 0

    def opened(self, now: float) -> None:
        """A connection is ready."""
        self.openings.accepted(now, 1)
        if math.isfinite(self.most_messages):
            self._lives += 1
            if self._lives >= _LIVES:
                self._lives = 0
                self.most_messages = math.ceil(self.most_messages * 1.25)

    def too_many_openings(self, now: float, dice: float, hint: float | None) -> None:
        """Fewer connections, or logins, in a time."""
        self._note(now)
        self.openings.throttled(now, dice, hint)

    def session_ended(self, messages: int) -> None:
        """The server takes so many messages on a connection, and no more."""
        self.most_messages = self._known_messages = messages
        self._lives = 0

    def is_known_end(self, messages: int) -> bool:
        """Whether connections used to end after so many messages: more was tried in vain."""
        return messages == self._known_messages

    def _note(self, now: float) -> None:
        if self.since is None:
            self.since = now
        if self.held_since is None:
            self.held_since = now

    @property
    def quiet_until(self) -> float:
        """Until when somebody has to wait."""
        return max(self.pace.paused_until, self.openings.paused_until)

    def holds_back(self, now: float, connections: int) -> bool:
        """Whether nothing goes because the relay asked for a pause; ``connections`` are there, or being opened."""
        return now < self.pace.paused_until or (not connections and now < self.openings.paused_until)

    def learnt(self, user: str | None) -> Learnt:
        """What there is to remember."""
        return Learnt(
            user=user,
            max_connections=_whole(self.most_connections),
            rate=self.pace.rate,
            unit=self.unit,
            per=self.pace.per,
            connection_rate=self.openings.rate,
            max_messages=_whole(self.most_messages),
        )


def _whole(number: float) -> int | None:
    return int(number) if math.isfinite(number) else None
