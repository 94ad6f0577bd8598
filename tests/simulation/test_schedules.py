"""P-14: whatever goes wrong, every message ends exactly once, and what is said of it is true.

Seeded schedules of many faults at once, on several connections; each run is compared with what the server took.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from mailpool import DeliveryUncertain, PoolClosed, SendError, SendResult
from mailpool.testing import (
    Fault,
    ScriptedServer,
    close,
    deliver_then_close,
    deliver_then_reset,
    drip,
    extra,
    partial,
    raw,
    reply,
    reply_then_close,
    reset,
    stall,
)

BYE = "421 4.3.2 bye"
ANYWHERE = [
    close(), reset(), raw(b"\x80 rubbish\r\n"), reply_then_close("421 4.3.2 bye"), reply(BYE),
    partial("250 2.0.0 fine", 6), stall(), stall(2), drip(interval=0.5), reply("451 4.3.0 later"), reply("550 5.7.1 no"),
    reply_then_close("221 2.0.0 bye"),
]  # fmt: skip
AT_END = [deliver_then_close(), deliver_then_reset(), close(), reset()]
PLACES = ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "END", "RSET", "QUIT", "IDLE", "CONTENT"]
CLOSING = [close(), reset(), raw(b"rubbish\r\n"), reply_then_close("421 4.3.2 bye")]


# A drip is given up after five seconds; silence strikes after six, and never into one.
def faults(dice: random.Random) -> list[Fault]:
    made = []
    for place in PLACES:
        for _ in range(3):
            actions = CLOSING if place in ("IDLE", "CONTENT") else ANYWHERE
            made.append(
                Fault(
                    at=place,
                    do=dice.choice(actions),
                    after={"IDLE": 6, "CONTENT": dice.choice((0, 50, 200))}.get(place, 0),
                    probability=dice.choice((0.01, 0.03, 0.1)),
                    seed=dice.randrange(10**6),
                    times=None,
                )
            )
    made += [
        Fault(at="END", do=do, probability=0.02, seed=dice.randrange(10**6), times=None) for do in AT_END
    ]
    return made


def options(dice: random.Random) -> dict[str, Any]:
    return {
        "max_connections": dice.choice((1, 2, 5)),
        "max_messages": dice.choice((1, 4, 100, -1)),
        "max_requeues": dice.choice((-1, 0, 1, 5)),
        "max_duplicates": dice.choice((0, 1, 2)),
        "on_uncertain": dice.choice(("requeue", "fail")),
        "max_recipients": dice.choice((None, 1, 2)),
        "min_connections": dice.choice((0, 1)),
        "check_after": dice.choice((None, 0.5)),
        "max_age": dice.choice((None, 20)),
        "command_timeout": 5,
        "greeting_timeout": 5,
        "connection_wait": 120,
        "idle_timeout": 8,
        "max_throttle_wait": 5,
    }


def judge(number: int, end: Any, taken: Counter[tuple[str, str]]) -> None:
    """Whether what was said of a message is what the server knows of it."""
    copies = {
        recipient: taken[str(number), recipient]
        for recipient in (f"a{number}@example.org", f"b{number}@example.org")
    }
    if isinstance(end, SendResult):
        for recipient in end.accepted:
            assert copies[recipient] >= 1, f"{number} is said to be accepted, and {recipient} has nothing"
        if not end.maybe_duplicate:
            assert all(count <= 1 for count in copies.values()), f"{number} was doubled and is not marked"
            assert all(not copies[recipient] for recipient in end.rejected), (
                f"{number} was refused and is there"
            )
        return
    assert isinstance(end, SendError), end
    if not end.may_have_been_delivered:
        for recipient, count in copies.items():
            assert count == (recipient in end.accepted), (
                f"{number} failed without doubt, and {recipient} has {count}"
            )
    assert not isinstance(end, DeliveryUncertain) or end.may_have_been_delivered
    if not end.may_have_been_delivered:
        assert all(count <= 1 for count in copies.values())


@pytest.mark.rule("P-14")
@pytest.mark.parametrize("seed", range(80))
def test_p14_under_any_schedule_every_outcome_is_true(play: Any, received: Any, seed: int) -> None:
    dice = random.Random(seed)
    capabilities = ("SIZE 1000000", "8BITMIME", *(("PIPELINING",) if dice.random() < 0.7 else ()))
    made = faults(dice)
    if seed % 3 == 0:
        capabilities = (*capabilities, "CHUNKING")
        # Who says 421 and goes on to take what was sent behind it has lied about all of it (P-06).
        made = [fault for fault in made if repr(fault.do) != repr(reply(BYE))]
        if seed % 2 == 0:
            # Who keeps the sender of a refused BDAT and refuses RSET as well gives one message to two.
            made = [fault for fault in made if fault.at != "RSET" or not repr(fault.do).startswith("reply(")]
    lmtp = seed >= 120
    server = ScriptedServer(
        faults=made, capabilities=capabilities, keeps_sender_after_bdat=seed % 2 == 0, lmtp=lmtp
    )
    chosen = options(dice) | {"pipeline_depth": (1, 2, 8)[seed % 5 % 3]}
    if lmtp:
        chosen |= {"lmtp": True, "port": 24}
    closes = dice.random() < 0.2
    ends: list[Any] = []
    cancelled: set[int] = set()

    async def story(relay: Any) -> None:
        sends = []
        for number in range(60):
            to = [f"a{number}@example.org", f"b{number}@example.org"][: dice.choice((1, 2))]
            sends.append(asyncio.ensure_future(relay.send(number, to)))
            if dice.random() < 0.2:
                await asyncio.sleep(dice.random() * 4)
            if dice.random() < 0.05:
                victim = dice.randrange(len(sends))
                if sends[victim].cancel():
                    cancelled.add(victim)
        if closes:
            await relay.transporter.close(3)
        ends.extend(await asyncio.wait_for(asyncio.gather(*sends, return_exceptions=True), 20_000))
        if not closes:
            stats = relay.transporter.stats()
            assert stats.queued == 0
            assert stats.connections <= chosen["max_connections"]

    play(story, server, latency=dice.choice((0.0, 0.02)), right=False, **chosen)
    assert server.peak_connections <= chosen["max_connections"]
    taken = Counter(
        (number, recipient)
        for number, message in zip(received(server), server.messages, strict=True)
        for recipient in message.recipients
    )
    for number, end in enumerate(ends):
        if isinstance(end, asyncio.CancelledError):
            assert number in cancelled
        else:
            judge(number, end, taken)
    # The client did nothing that no server may ask for; what comes out of step is the server's doing.
    assert not [words for words in server.violations if "bare CR" in words or "dot" in words]


@pytest.mark.rule("P-14")
@pytest.mark.parametrize("seed", range(30))
def test_p14_surplus_replies_never_turn_into_acceptance(play: Any, received: Any, seed: int) -> None:
    dice = random.Random(1_000 + seed)
    words = ["250 2.0.0 ok", "354 go on", "550 5.7.1 no", "221 bye", "421 4.3.2 bye"]
    made = [
        Fault(at=at, do=extra(dice.choice(words)), probability=0.05, seed=dice.randrange(10**6), times=None)
        for at in ("MAIL", "RCPT", "DATA", "END", "RSET")
    ]
    # Every third message is refused for good by its content.
    made.append(Fault(at="END", match=r"Subject: number \d*[369]\r", do=reply("554 5.6.0 never"), times=None))
    lmtp = seed >= 20
    server = ScriptedServer(faults=made, lmtp=lmtp)
    way = {"lmtp": True, "port": 24} if lmtp else {}
    ends: list[Any] = []

    async def story(relay: Any) -> None:
        ends.extend(await relay.ends(*relay.burst(80)))

    play(story, server, latency=0.01, max_connections=2, right=False, max_duplicates=3, **way)
    numbers = Counter(received(server))
    for number, end in enumerate(ends):
        assert not isinstance(end, PoolClosed)
        if isinstance(end, SendResult):
            assert numbers[str(number)] >= 1, f"{number}: taken for accepted"
            assert end.maybe_duplicate or numbers[str(number)] == 1
        elif not end.may_have_been_delivered:
            assert numbers[str(number)] == 0
