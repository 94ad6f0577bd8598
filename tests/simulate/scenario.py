"""A scenario is all that happens to a pool in one run, and comes from one number: its seed.

Options of the transporter, the network, one or two servers behind one name, and what the program does. Only the dice made
of the seed are asked: no clock, no other chance, no order of a set.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from letters import Letter, letter
from manners import ServerManners, calm_server, stormy_server

from mailpool import Rate

# How the run ends: everything becomes well and the queue has to empty, or the pool ends in the midst of it.
SETTLE, DRAIN, CLOSE, CANCELLED_CLOSE = "settle", "drain", "close", "cancelled close"


@dataclass(frozen=True, slots=True)
class NetworkManners:
    """What the network does. Probabilities are of each dial; ``latency`` and ``jitter`` in seconds."""

    latency: float = 0.0
    jitter: float = 0.0
    window: int = 65_536
    unknown_for_now: float = 0.0  # the name server cannot say
    unknown_host: float = 0.0  # … and says that there is no such name
    refused: float = 0.0
    black_hole: float = 0.0
    cut_sending: float = 0.0  # the connection breaks after so and so many octets, one way or the other
    cut_receiving: float = 0.0
    falls_silent: float = 0.0  # loses all from some moment on, and tells nobody


@dataclass(frozen=True, slots=True)
class HookManners:
    """A hook of the program's: it awaits ``pause`` seconds, unless that is 0, and raises for some messages."""

    stage: str
    pause: float
    breaks: frozenset[int]


@dataclass(frozen=True, slots=True)
class TokenManners:
    """Where access tokens come from: how long each lives, how long asking takes, how often that fails."""

    lifetime: float
    takes: float
    fails: float


@dataclass(frozen=True, slots=True)
class Step:
    """Something that the program, or fate, does ``pause`` seconds after the step before."""

    pause: float
    do: str
    letters: tuple[Letter, ...] = ()
    priority: int = 0
    deadline: float | None = None
    number: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that is chosen before a run begins."""

    seed: int
    calm: bool
    options: dict[str, Any]
    network: NetworkManners
    servers: tuple[ServerManners, ...]
    steps: tuple[Step, ...]
    ending: str
    patience: float  # seconds for drain or close
    storm: float  # seconds from the last step until all is well, when it settles
    rude_handlers: bool = False  # the program's own handlers of events raise
    identities: dict[str, str] = field(default_factory=dict)
    lmtp: bool = False
    relays: tuple[
        tuple[int, ...], ...
    ] = ()  # the servers of each; none: there is one relay, with all of them
    strategy: str = "failover"
    move_deferred: bool = False
    hook: HookManners | None = None
    token: TokenManners | None = None

    def relay_of(self, server: int) -> int:
        """Which relay a server belongs to."""
        return next((number for number, servers in enumerate(self.relays) if server in servers), 0)

    def cannot_be_made(self, one: Letter) -> bool:
        """Whether a message comes to nothing before any server hears of it."""
        if one.is_sealed:  # and passes hooks by
            return False
        return one.breaks_off or (self.hook is not None and one.number in self.hook.breaks)

    @property
    def prepares(self) -> bool:
        """Whether some messages are awaited before they are queued."""
        if self.hook is not None and self.hook.pause:
            return True
        letters = (one for step in self.steps for one in step.letters)
        return any(one.stream is not None and not one.is_sealed for one in letters)


def scenario(seed: int) -> Scenario:
    """The scenario of a seed: every fourth one is calm, and all must go well there."""
    dice = random.Random(seed)
    calm = dice.random() < 0.25
    # Identities have connections of their own, so that most runs have one.
    identities = {"main": "right", "other": "right too"} if dice.random() < 0.25 else {}
    options = _options(dice, calm)
    network = _calm_network(dice) if calm else _stormy_network(dice)
    chopped = not calm and dice.random() < 0.3
    make = calm_server if calm else stormy_server
    servers = tuple(
        make(dice, identities=identities, chopped=chopped) for _ in range(1 if dice.random() < 0.75 else 2)
    )
    if calm:
        # An extension of which one server knows nothing, and a limit of one: nothing to do with calm.
        servers = servers[:1]
    steps = _steps(dice, calm, identities, len(servers))
    ending = SETTLE if calm or dice.random() < 0.65 else dice.choice((DRAIN, CLOSE, CLOSE, CANCELLED_CLOSE))
    if identities:
        options["auth"] = ("main", identities["main"])
    return Scenario(
        seed,
        calm,
        options,
        network,
        servers,
        steps,
        ending,
        patience=dice.choice((0.0, 0.2, 0.5, 3.0, 10.0)),
        storm=0.0 if calm else dice.choice((0.0, 3.0, 60.0)),
        rude_handlers=dice.random() < 0.1,
        identities=identities,
    )


def _options(dice: random.Random, calm: bool) -> dict[str, Any]:
    pool = dice.random() < 0.88
    most = dice.choice((1, 1, 2, 2, 3, 5))
    chosen: dict[str, Any] = {
        "pool": pool,
        "max_connections": most,
        "max_messages": dice.choice((1, 2, 3, 5, 10, 100, -1)),
        "max_requeues": dice.choice((-1, -1, 0, 1, 2, 5)),
        "pipeline_depth": dice.choice((1, 1, 2, 4, 8)),
        "on_uncertain": dice.choice(("requeue", "requeue", "fail")),
        "max_duplicates": dice.choice((0, 1, 1, 2)),
        "idle_timeout": dice.choice((2.0, 8.0, 60.0)),
        "max_age": dice.choice((None, None, 5.0, 20.0)),
        "check_after": dice.choice((None, None, 0, 0.5, 5.0)),
        "min_connections": dice.choice((0, 0, 0, 1, most)) if pool else 0,
        "max_queue": dice.choice((10_000, 10_000, 1, 5, 20)),
        "max_recipients": dice.choice((None, None, 1, 2)),
        "rate": _rates(dice),
        "command_timeout": dice.choice((5.0, 20.0)),
        "greeting_timeout": 5.0,
        "connection_timeout": dice.choice((5.0, 15.0)),
        "connection_wait": 600.0 if calm else dice.choice((0.5, 30.0, 120.0)),
        "auth_retry_after": dice.choice((5.0, 60.0)),
        "max_throttle_wait": dice.choice((0, 5.0, 30.0)),
        "deadline": None if calm else dice.choice((None, None, None, 10.0, 60.0)),
    }
    return chosen


def _rates(dice: random.Random) -> tuple[Rate, ...]:
    several = {
        "none": (),
        "few": (Rate(3, 1.0),),
        "minute": (Rate(30, 60.0),),
        "burst": (Rate(6, 2.0, burst=2),),
        "recipients": (Rate(4, 1.0, unit="recipients"),),
        "two": (Rate(2, 0.5), Rate(20, 30.0)),
        "both units": (Rate(5, 1.0), Rate(12, 2.0, unit="recipients")),
    }
    return several[dice.choice(["none"] * 8 + list(several))]


def _calm_network(dice: random.Random) -> NetworkManners:
    return NetworkManners(
        latency=dice.choice((0.0, 0.001, 0.05, 0.2)), window=dice.choice((65_536, 65_536, 4_096))
    )


def _stormy_network(dice: random.Random) -> NetworkManners:
    def maybe(*chances: float) -> float:
        return dice.choice((0.0, 0.0, *chances))

    return NetworkManners(
        latency=dice.choice((0.0, 0.001, 0.02, 0.2)),
        jitter=maybe(0.01, 0.3),
        window=dice.choice((65_536, 65_536, 4_096)),
        unknown_for_now=maybe(0.1, 0.4),
        unknown_host=maybe(0.0, 0.0, 0.03),
        refused=maybe(0.1, 0.4),
        black_hole=maybe(0.0, 0.1),
        cut_sending=maybe(0.1, 0.3),
        cut_receiving=maybe(0.1, 0.3),
        falls_silent=maybe(0.0, 0.1),
    )


def _steps(dice: random.Random, calm: bool, identities: dict[str, str], servers: int) -> tuple[Step, ...]:
    """Some 5 to 40 messages, by all ways of sending, and what befalls them."""
    count = dice.choice((5, 10, 15, 20, 30)) if dice.random() < 0.97 else 80
    eight_bit, large = dice.random() < 0.45, dice.random() < 0.06
    priorities = dice.random() < 0.25
    rhythm = dice.choice(("burst", "burst", "drops", "waves"))
    steps: list[Step] = []
    made = 0

    def pause() -> float:
        if rhythm == "burst":
            return 0.0 if dice.random() < 0.9 else dice.random()
        if rhythm == "drops":
            return dice.expovariate(2.0)
        return 0.0 if dice.random() < 0.8 else dice.choice((0.3, 1.5, 4.0, 12.0, 70.0))

    def next_letter(own: bool = True) -> Letter:
        nonlocal made
        made += 1
        identity = None
        if own and identities and dice.random() < 0.4:
            identity = dice.choice(("other", "wrong")) if not calm else "other"
        return letter(dice, made - 1, identity=identity, eight_bit=eight_bit, large=large)

    while made < count:
        priority = dice.choice((-1, 0, 0, 1, 5)) if priorities else 0
        chance = dice.random()
        if chance < 0.75 or calm:
            deadline = None if calm or dice.random() < 0.9 else dice.choice((0.05, 0.5, 3.0, 30.0))
            steps.append(Step(pause(), "send", (next_letter(),), priority, deadline))
        elif chance < 0.85:
            steps.append(Step(pause(), "soon", (next_letter(),), priority, None))
        else:
            batch = tuple(next_letter(own=False) for _ in range(dice.choice((3, 8, 20))))
            steps.append(Step(pause(), dice.choice(("many", "pull")), batch))
        if not calm:
            steps += _fate(dice, made, servers)
    return tuple(steps)


def _fate(dice: random.Random, made: int, servers: int) -> list[Step]:
    happens: list[Step] = []
    if dice.random() < 0.08:
        wait = dice.choice((0.0, 0.0, dice.random() * 0.1, dice.random() * 3))
        happens.append(Step(wait, "cancel", number=dice.randrange(made)))
    if dice.random() < 0.02:
        happens.append(Step(dice.random(), "block", seconds=dice.choice((0.1, 2.0, 30.0))))
    if dice.random() < 0.02:
        down = dice.choice((0.1, 3.0, 20.0))
        happens.append(Step(dice.random(), "restart", number=dice.randrange(servers), seconds=down))
    if dice.random() < 0.015:
        happens.append(Step(dice.random(), dice.choice(("cut", "silence"))))
    if dice.random() < 0.01:
        happens.append(Step(dice.random(), "goodbye", number=dice.randrange(servers)))
    return happens
