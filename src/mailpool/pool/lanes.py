"""The lanes of a pool: what messages and connections of one key share (P-04)."""

from __future__ import annotations

from ..auth.login import LoginGate
from ..errors import SendError
from ..net.tls import ResumingContext, context_for
from ..options import Credentials, Options
from ..policy.assignment import Lane, State
from .key import ConnectionKey


class PoolLane(Lane):
    """A lane with what its connections need."""

    credentials: Credentials | None
    context: ResumingContext
    gate: LoginGate
    last_error: SendError | None
    quota_until: float  # messages fail untried until then, with quota_error
    quota_error: SendError | None
    opened: int  # connections so far
    unused: int  # connections in a row that the server closed without having had a message

    def __init__(self, key: ConnectionKey, credentials: Credentials | None, context: ResumingContext) -> None:
        super().__init__(key)
        self.credentials = credentials
        self.context = context
        self.gate = LoginGate()
        self.last_error = None
        self.quota_until = 0.0
        self.quota_error = None
        self.opened = 0
        self.unused = 0


def lane_of(state: State, options: Options, credentials: Credentials | None, now: float) -> PoolLane:
    """The lane of an identity, made when it is first asked for.

    :param now: when one is made, those of other identities that hold nothing at this time are forgotten: a program may
        serve very many of them
    """
    key = ConnectionKey.of(options, credentials)
    lane = state.lanes.get(key)
    if lane is None:
        _sweep(state, ConnectionKey.of(options, options.auth), now)
        lane = state.lanes[key] = PoolLane(key, credentials, context_for(options))
    assert isinstance(lane, PoolLane)
    return lane


def _sweep(state: State, own: ConnectionKey, now: float) -> None:
    for key, lane in tuple(state.lanes.items()):
        assert isinstance(lane, PoolLane)
        remembers = max(lane.blocked_until, lane.quota_until, lane.retry_at) > now
        if key != own and not (lane.connections or lane.waiting or lane.held_back or remembers):
            del state.lanes[key]
