"""How the servers of a scenario behave: what they announce, how they fail, and when."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from mailpool.testing import (
    Action,
    Fault,
    Incident,
    close,
    deliver_then_close,
    deliver_then_reset,
    deliver_then_stall,
    drip,
    extra,
    partial,
    raw,
    refuse_connection,
    reply,
    reply_then_close,
    reset,
    stall,
)

BYE = "421 4.3.2 going down"


@dataclass(frozen=True, slots=True)
class _Later:
    """Says goodbye, does nothing more, and closes a while later: what comes behind it is not looked at."""

    text: str
    seconds: float

    def __call__(self, incident: Incident) -> None:
        incident.answer(self.text)
        incident.hold(self.seconds, incident.close)


@dataclass(frozen=True, slots=True)
class ServerManners:
    """One server.

    ``forgets`` are extensions that it offers and does not do: after EHLO, BDAT is not known to it. ``drops_input``: it
    throws away what came with MAIL, as servers do that read from a fresh buffer after each command. ``piece``: the most
    octets that it writes at once, with ``gap`` seconds between.
    """

    capabilities: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    accounts: dict[str, str] = field(default_factory=dict)
    most_connections: int | None = None
    forgets: frozenset[str] = frozenset()
    drops_input: bool = False
    keeps_sender_after_bdat: bool = False
    piece: int = 0
    gap: float = 0.0
    lmtp: bool = False
    offers_tls: float = 0.0  # how often STARTTLS is offered, which is refused then

    @property
    def is_in_step(self) -> bool:
        """Whether each of its replies answers a command, and a goodbye is one."""
        odd = any(repr(fault.do).startswith(("extra(", f"reply({BYE!r}")) for fault in self.faults)
        return not (odd or self.forgets or self.drops_input)


def calm_server(dice: random.Random, *, identities: dict[str, str], chopped: bool) -> ServerManners:
    """A server that does all well, at its own pace, and keeps to the bounds that it announces."""
    faults = []
    if dice.random() < 0.5:
        faults.append(_some("END", stall(dice.choice((0.02, 0.5))), dice.choice((0.3, 1.0)), dice))
    if dice.random() < 0.2:
        faults.append(_some("GREETING", stall(1.0), 0.5, dice))
    return ServerManners(
        _capabilities(dice, eight_bit=True),
        tuple(faults),
        accounts=dict(identities),
        keeps_sender_after_bdat=dice.random() < 0.5,
    )


def stormy_server(dice: random.Random, *, identities: dict[str, str], chopped: bool) -> ServerManners:
    """A server that fails at some places, in some ways, now and then."""
    size = 10_485_760 if dice.random() < 0.8 else 2_000
    capabilities = _capabilities(dice, eight_bit=dice.random() < 0.7, size=size)
    chunking, pipelining = "CHUNKING" in capabilities, "PIPELINING" in capabilities
    harm = dice.choice((0.0, 0.01, 0.03, 0.1, 0.25))
    faults: list[Fault] = []
    if harm:
        places = dice.sample(_PLACES, k=dice.randrange(1, 6))
        for place in places:
            faults += [
                _some(place, dice.choice(_ways(place, chunking))(dice), harm, dice, after=_after(place, dice))
                for _ in range(dice.randrange(1, 4))
            ]
    if dice.random() < 0.2:
        # Nothing is wrong with this server: it only refuses.
        words = dice.choice(("550 5.7.1 not this one", "451 4.3.0 not now"))
        faults.append(_some(dice.choice(("RCPT", "DATA", "END", "END")), reply(words), 0.2, dice))
    if dice.random() < 0.15:
        # Nearly nobody gets past this place, again and again.
        place = dice.choice(("MAIL", "RCPT", "DATA", "CONTENT", "END", "END"))
        stubborn = [*_GONE[:2], _STALL] if place == "CONTENT" else [*_GONE, _STALL, _STALL]
        if place == "END":
            stubborn = [*stubborn, *_DELIVERED]
        faults.append(_some(place, dice.choice(stubborn)(dice), dice.choice((0.5, 0.8)), dice))
    if not chunking and not chopped and dice.random() < 0.1:
        at = dice.choice(("MAIL", "RCPT", "DATA", "END", "RSET"))
        faults.append(
            _some(at, extra(dice.choice(("250 2.0.0 ok", "550 5.7.1 no", "354 go on"))), 0.05, dice)
        )
    if dice.random() < 0.3:
        faults.append(_some("END", stall(dice.choice((0.02, 0.5, 2.0))), 0.5, dice))
    if dice.random() < 0.2:
        faults.append(_some("GREETING", stall(dice.choice((0.5, 4.0))), 0.7, dice))
    return ServerManners(
        capabilities,
        tuple(faults),
        accounts=dict(identities),
        most_connections=dice.choice((None, None, None, 1, 2)),
        forgets=frozenset({"CHUNKING"}) if chunking and dice.random() < 0.2 else frozenset(),
        drops_input=pipelining and not chunking and dice.random() < 0.08,
        keeps_sender_after_bdat=dice.random() < 0.5,
        piece=dice.choice((1, 2, 7, 20)) if chopped else 0,
        gap=0.0005,
    )


def _some(at: str, do: Action, probability: float, dice: random.Random, *, after: float = 0) -> Fault:
    return Fault(at=at, do=do, probability=probability, seed=dice.randrange(10**6), times=None, after=after)


def _capabilities(dice: random.Random, *, eight_bit: bool, size: int = 10_485_760) -> tuple[str, ...]:
    chosen = [f"SIZE {size}", "ENHANCEDSTATUSCODES"]
    if eight_bit:
        chosen.append("8BITMIME")
    if dice.random() < 0.75:
        chosen.append("PIPELINING")
        if dice.random() < 0.5:
            chosen.append("CHUNKING")
    if dice.random() < 0.2:
        chosen.append(
            dice.choice(("LIMITS MAILMAX=3", "LIMITS RCPTMAX=2", "LIMITS RCPTDOMAINMAX=1 MAILMAX=5"))
        )
    return tuple(chosen)


_PLACES = [
    "CONNECT",
    "GREETING",
    "EHLO",
    "AUTH",
    "MAIL",
    "RCPT",
    "DATA",
    "CONTENT",
    "END",
    "RSET",
    "NOOP",
    "QUIT",
    "IDLE",
]
_Way = Callable[[random.Random], Action]
_GONE: list[_Way] = [
    lambda dice: close(),
    lambda dice: reset(),
    lambda dice: raw(b"\x80 rubbish\r\n"),
    lambda dice: reply_then_close(BYE),
    lambda dice: reply_then_close("221 2.0.0 bye"),
    lambda dice: _Later(BYE, dice.choice((0.3, 30.0))),
]
_STALL: _Way = lambda dice: stall()  # noqa: E731
_SAID: list[_Way] = [
    lambda dice: reply("451 4.3.0 later"),
    lambda dice: reply("550 5.7.1 no"),
    lambda dice: reply("450-4.2.0 greylisted\n450 4.2.0 come back"),
    lambda dice: reply("450 4.7.0 too many messages, slow down"),
    _STALL,
    lambda dice: stall(dice.choice((0.1, 2.0, 7.0))),
    lambda dice: drip(interval=dice.choice((0.01, 0.5))),
    lambda dice: partial("250 2.0.0 fine", dice.randrange(1, 15)),
]
_DELIVERED: list[_Way] = [
    lambda dice: deliver_then_close(),
    lambda dice: deliver_then_reset(),
    lambda dice: deliver_then_stall(),
]
_MORE: dict[str, list[_Way]] = {
    "CONNECT": [lambda dice: refuse_connection(), lambda dice: close(), lambda dice: reset()],
    "GREETING": [*_GONE, lambda dice: reply("554 5.7.1 not you"), lambda dice: reply("421 4.7.0 too many connections"), lambda dice: stall()],
    "AUTH": [*_GONE, lambda dice: reply("454 4.7.0 later"), lambda dice: reply("535 5.7.8 no"), lambda dice: stall()],
    "RCPT": [*_GONE, *_SAID, lambda dice: reply("452 4.5.3 too many recipients"), lambda dice: reply("552 5.2.2 mailbox full")],
    "MAIL": [*_GONE, *_SAID, lambda dice: reply("452 4.3.1 no room"), lambda dice: reply("550 5.4.5 Daily sending quota exceeded, try again in 20 seconds")],
    "CONTENT": [lambda dice: close(), lambda dice: reset(), lambda dice: stall(), lambda dice: raw(b"552 5.3.4 enough\r\n", close())],
    "END": [*_GONE, *_SAID, *_DELIVERED],
    "QUIT": [lambda dice: stall(), lambda dice: close(), lambda dice: reset()],
    "IDLE": [lambda dice: close(), lambda dice: reset(), lambda dice: reply_then_close(BYE), lambda dice: raw(b"rubbish\r\n")],
}  # fmt: skip


def _ways(place: str, chunking: bool) -> list[_Way]:
    ways = _MORE.get(place, [*_GONE, *_SAID])
    if place == "RSET" and chunking:
        # RFC 5321 §4.1.1.5 knows no refusal of RSET. Who refuses it, and the next MAIL because of it, and takes the content
        # that came in the same group for the message before, cannot be helped.
        return [*_GONE, _STALL]
    if not chunking and place not in ("CONNECT", "CONTENT", "IDLE", "GREETING"):
        # Who says 421 and goes on to take the whole messages that were sent behind it has lied about all of them (P-06).
        ways = [*ways, lambda dice: reply(BYE)]
    return ways


def _after(place: str, dice: random.Random) -> float:
    if place == "IDLE":
        return dice.choice((0.5, 3.0, 6.0, 20.0))
    return dice.choice((0, 50, 200)) if place == "CONTENT" else 0
