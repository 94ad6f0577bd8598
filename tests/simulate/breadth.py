"""What some scenarios have besides: several relays, LMTP, contents that come as streams, hooks, tokens, outages.

It is chosen by dice of its own, so that a scenario which is not given any of it is what it always was.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from letters import Letter, Stream, letter
from manners import calm_server, stormy_server
from scenario import HookManners, Scenario, Step, TokenManners


def widened(plain: Scenario) -> Scenario:
    """The scenario with some of all this, or as it is: that is so for four in ten."""
    dice = random.Random(f"breadth of {plain.seed}")
    if dice.random() < 0.4:
        return plain
    found = plain
    for kind in dice.sample(_KINDS, k=dice.choice((1, 1, 2, 3))):
        found = kind(found, dice)
    return found


def _lmtp(plain: Scenario, dice: random.Random) -> Scenario:
    """Each recipient has a reply of its own."""
    return replace(
        plain,
        lmtp=True,
        servers=tuple(replace(server, lmtp=True) for server in plain.servers),
        options={**plain.options, "lmtp": True},
    )


def _relays(plain: Scenario, dice: random.Random) -> Scenario:
    """Two or three relays, each with a server of its own, and perhaps outages."""
    make = calm_server if plain.calm else stormy_server
    servers, relays = plain.servers, [tuple(range(len(plain.servers)))]
    chopped = any(server.piece for server in servers)
    for _ in range(dice.choice((1, 1, 2))):
        relays.append((len(servers),))
        another = make(dice, identities=plain.identities, chopped=chopped)
        servers = (*servers, replace(another, lmtp=plain.lmtp))
    steps = plain.steps
    if not plain.calm:
        for _ in range(dice.choice((0, 1, 2))):
            down = dice.choice((1.0, 10.0, 60.0))
            steps = _put(dice, steps, [Step(0.0, "outage", number=dice.randrange(len(relays)), seconds=down)])
    return replace(
        plain,
        servers=servers,
        relays=tuple(relays),
        strategy=dice.choice(("failover", "failover", "round-robin", "least-busy")),
        move_deferred=dice.random() < 0.3,
        steps=steps,
    )


def _streams(plain: Scenario, dice: random.Random) -> Scenario:
    """Contents that come slowly, and some that break off."""

    def stream(one: Letter) -> Letter:
        if dice.random() < 0.5:
            return one
        pieces = dice.choice((1, 2, 5, 20))
        breaks = not plain.calm and dice.random() < 0.3
        return replace(
            one,
            stream=Stream(
                dice.choice(("raw", "attachment", "source", "source")),
                pieces,
                dice.choice((0.0, 0.01, 0.5)),
                dice.randrange(pieces) if breaks else None,
            ),
        )

    return replace(plain, steps=_each_letter(plain.steps, stream))


def _hooks(plain: Scenario, dice: random.Random) -> Scenario:
    numbers = [one.number for step in plain.steps for one in step.letters]
    share = 0.0 if plain.calm else dice.choice((0.0, 0.1, 0.5))
    breaks = frozenset(number for number in numbers if dice.random() < share)
    hook = HookManners(dice.choice(("compose", "sealed")), dice.choice((0.0, 0.0, 0.2, 2.0)), breaks)
    return replace(plain, hook=hook)


def _token(plain: Scenario, dice: random.Random) -> Scenario:
    """The transporter's own login needs a token, which lives for a while."""
    token = TokenManners(
        lifetime=dice.choice((2.0, 10.0, 100.0, 3_600.0)),
        takes=dice.choice((0.0, 0.1, 3.0)),
        fails=0.0 if plain.calm else dice.choice((0.0, 0.0, 0.3)),
    )
    # A password of the same name would let in whoever has it.
    identities = {**plain.identities, "main": ""}
    servers = tuple(replace(server, accounts={**server.accounts, "main": ""}) for server in plain.servers)
    return replace(plain, token=token, identities=identities, servers=servers)


def _starttls(plain: Scenario, dice: random.Random) -> Scenario:
    """Some connections are offered STARTTLS and then refused it: nothing may be said in clear text there."""
    if plain.calm:
        return plain
    chance = dice.choice((0.1, 0.5))
    return replace(plain, servers=tuple(replace(server, offers_tls=chance) for server in plain.servers))


def _crowd(plain: Scenario, dice: random.Random) -> Scenario:
    """Many messages of two or three priorities at once."""
    priorities = dice.choice(((0, 1), (-1, 5), (-1, 0, 5)))
    first = _next_number(plain)
    crowd = [
        Step(0.0, "send", (_small(dice, first + k),), dice.choice(priorities))
        for k in range(dice.choice((15, 30)))
    ]
    return replace(plain, steps=_put(dice, plain.steps, crowd))


def _chain(plain: Scenario, dice: random.Random) -> Scenario:
    """One message after the other, each when the one before it has ended: what a gap would be seen in (P-08)."""
    first = _next_number(plain)
    chain = tuple(_small(dice, first + k) for k in range(dice.choice((8, 15, 30))))
    options = plain.options
    if dice.random() < 0.5:
        most = max(2, options["max_connections"])
        options = {
            **options,
            "max_messages": dice.choice((2, 3, 5, 10)),
            "max_connections": most,
            "max_age": None,
        }
    return replace(plain, options=options, steps=_put(dice, plain.steps, [Step(0.0, "chain", chain)]))


def _impatience(plain: Scenario, dice: random.Random) -> Scenario:
    """Outages that are longer than messages wait for a connection."""
    if plain.calm:
        return plain
    steps = plain.steps
    for _ in range(dice.choice((1, 2))):
        down = Step(dice.random(), "outage", number=0, seconds=dice.choice((2.0, 15.0, 100.0)))
        steps = _put(dice, steps, [down])
    return replace(
        plain, steps=steps, options={**plain.options, "connection_wait": dice.choice((0.0, 1.0, 3.0, 10.0))}
    )


_KINDS: tuple[Callable[[Scenario, random.Random], Scenario], ...] = (
    _lmtp,
    _relays,
    _streams,
    _hooks,
    _token,
    _starttls,
    _crowd,
    _chain,
    _impatience,
)


def _put(dice: random.Random, steps: tuple[Step, ...], more: list[Step]) -> tuple[Step, ...]:
    at = dice.randrange(len(steps) + 1)
    return (*steps[:at], *more, *steps[at:])


def _each_letter(steps: tuple[Step, ...], change: Callable[[Letter], Letter]) -> tuple[Step, ...]:
    return tuple(replace(step, letters=tuple(change(one) for one in step.letters)) for step in steps)


def _next_number(plain: Scenario) -> int:
    return 1 + max(one.number for step in plain.steps for one in step.letters)


def _small(dice: random.Random, number: int) -> Letter:
    return letter(dice, number, identity=None, eight_bit=False, large=False)
