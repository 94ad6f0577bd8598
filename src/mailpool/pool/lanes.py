"""The lanes of a pool: what messages and connections of one key share (P-04)."""

from __future__ import annotations

from ..auth.login import LoginGate
from ..errors import SendError
from ..net.tls import ResumingContext, context_for
from ..options import Credentials, Options
from ..policy.backoff import full_jitter
from ..policy.state import DOWN_AFTER, Lane, State
from .key import ConnectionKey
from .learning import Learning

# Between attempts to connect, in seconds.
_BACKOFF_BASE = 0.1
_BACKOFF_CAP = 30.0


class PoolLane(Lane):
    """A lane with what its connections need."""

    credentials: Credentials | None
    context: ResumingContext
    gate: LoginGate
    last_error: SendError | None
    asked_for_less: SendError | None  # what the server said when it last did
    blocked_by: SendError | None  # with what ``blocked_until`` began
    quota_until: float  # messages fail untried until then, with quota_error
    quota_error: SendError | None
    opened: int  # connections so far
    failed_at: float  # when an attempt to connect failed last
    unused: int  # connections in a row that the server closed without having had a message
    learning: Learning

    def __init__(
        self,
        key: ConnectionKey,
        credentials: Credentials | None,
        context: ResumingContext,
        learning: Learning,
    ) -> None:
        super().__init__(key)
        self.credentials = credentials
        self.context = context
        self.gate = LoginGate()
        self.last_error = None
        self.asked_for_less = None
        self.blocked_by = None
        self.quota_until = 0.0
        self.quota_error = None
        self.opened = 0
        self.failed_at = 0.0
        self.unused = 0
        self.learning = learning
        self.adaptive = learning.recall()

    def count_failure(self, now: float, dice: float) -> None:
        """An attempt to connect has failed (P-19)."""
        self.failures += 1
        self.failed_at = now
        self.retry_at = now + full_jitter(self.failures, dice, base=_BACKOFF_BASE, cap=_BACKOFF_CAP)

    def note_outage(self, now: float, connection_wait: float) -> None:
        """It may be over at any time: a relay that is back is to be found while messages still wait for it.

        :param connection_wait: seconds that they wait from the first failure on; half of what is left is the most to let go
        """
        if self.first_failure_at is None:
            self.first_failure_at = now
        left = self.first_failure_at + connection_wait - now
        if left > 0:
            self.retry_at = min(self.retry_at, now + max(left / 2, _BACKOFF_BASE))

    def was_reached(self, opened_at: float) -> None:
        """A connection has shown that the relay works; one that was opened before the last failure shows nothing."""
        if opened_at >= self.failed_at:
            self.failures = 0
            self.retry_at = 0.0

    def forget_back_off(self) -> None:
        """The next message may connect at once; whether the relay counts as down stays as it is."""
        self.failures = min(self.failures, DOWN_AFTER)
        self.retry_at = 0.0

    def count_unused(self, now: float, dice: float) -> None:
        """The server closed a connection that had had no message: the minimum is kept with patience (P-09)."""
        self.unused += 1
        self.refill_at = now + full_jitter(self.unused, dice, base=_BACKOFF_BASE, cap=_BACKOFF_CAP)


def lane_of(
    state: State, options: Options, credentials: Credentials | None, now: float, network: object = None
) -> PoolLane:
    """The lane of an identity, made when it is first asked for.

    :param network: what is learnt about a relay in one network says nothing about one of the same name in another
    :param now: when one is made, those of other identities that hold nothing at this time are forgotten: a program may
        serve very many of them
    """
    key = ConnectionKey.of(options, credentials)
    lane = state.lanes.get(key)
    if lane is None:
        _sweep(state, ConnectionKey.of(options, options.auth), now)
        lane = state.lanes[key] = PoolLane(
            key, credentials, context_for(options), Learning(network, options, credentials)
        )
    assert isinstance(lane, PoolLane)
    return lane


def _sweep(state: State, own: ConnectionKey, now: float) -> None:
    for key, lane in tuple(state.lanes.items()):
        assert isinstance(lane, PoolLane)
        quiet = lane.adaptive.quiet_until if lane.adaptive is not None else 0.0
        remembers = max(lane.blocked_until, lane.quota_until, lane.retry_at, quiet) > now
        if key != own and not (lane.connections or lane.waiting or lane.held_back or remembers):
            del state.lanes[key]
