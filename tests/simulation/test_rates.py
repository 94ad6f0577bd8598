"""P-23: what counts is the moment MAIL is written, and never more than the limit in any window."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import Rate, SendResult
from mailpool.testing import Fault, ScriptedServer, close, reply, stall

# asyncio may run a timer early by the resolution of its clock.
TICK = 1e-6


def most_in_window(moments: list[tuple[float, int]], per: float) -> int:
    """The largest sum in any window of ``per`` seconds; what is exactly ``per`` apart is in two windows."""
    most = begin = total = 0
    for when, weight in moments:
        total += weight
        while moments[begin][0] <= when - per + TICK:
            total -= moments[begin][1]
            begin += 1
        most = max(most, total)
    return most


class Watched:
    """A server that notes when MAIL and RCPT came in. All connections are equally far away."""

    def __init__(self, *faults: Fault, **options: Any) -> None:
        self.mails: list[tuple[float, int]] = []
        self.recipients: list[tuple[float, int]] = []
        notes = [
            Fault(at="MAIL", match=self._mail, do=reply("never"), times=None),
            Fault(at="RCPT", match=self._rcpt, do=reply("never"), times=None),
        ]
        self.server = ScriptedServer(faults=[*notes, *faults], **options)

    def _mail(self, line: str) -> bool:
        self.mails.append((asyncio.get_running_loop().time(), 1))
        return False

    def _rcpt(self, line: str) -> bool:
        self.recipients.append((asyncio.get_running_loop().time(), 1))
        return False


@pytest.mark.rule("P-23")
@pytest.mark.rule("POL-04")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    "rate", ["5/s", "1/s", "40/10s", "30/min", Rate(3, per=2, burst=1), Rate(10, per=10, burst=2)], ids=str
)
def test_p23_never_more_than_the_limit_in_any_window(
    play: Any, capabilities: Any, rate: Any, pipelining: bool
) -> None:
    watched = Watched(capabilities=capabilities(pipelining))
    parsed = Rate.parse(rate) if isinstance(rate, str) else rate

    async def story(relay: Any) -> None:
        started = relay.now
        ends = await relay.ends(*relay.burst(100))
        assert all(isinstance(end, SendResult) and end.attempts == 1 for end in ends)
        # Exact, and not slower than it has to be either.
        ideal = parsed.per * (100 - (parsed.burst or parsed.limit)) / parsed.limit
        assert relay.now - started <= ideal * 1.15 + parsed.per + 2

    play(story, watched.server, latency=0.02, max_connections=5, rate=rate)
    assert len(watched.mails) == 100
    assert most_in_window(watched.mails, parsed.per) <= parsed.limit


@pytest.mark.rule("P-23")
@pytest.mark.parametrize("burst", [1, 2, 4])
def test_p23_burst_caps_how_many_go_back_to_back(play: Any, burst: int) -> None:
    watched = Watched()

    async def story(relay: Any) -> None:
        for _ in range(3):
            await relay.ends(*relay.burst(15))
            await asyncio.sleep(100)

    play(story, watched.server, latency=0.001, max_connections=10, rate=Rate(10, per=10, burst=burst))
    assert most_in_window(watched.mails, 10) <= 10
    assert most_in_window(watched.mails, 0.9) <= burst


@pytest.mark.rule("P-23")
def test_p23_tokens_that_are_not_used_do_not_pile_up(play: Any) -> None:
    watched = Watched()

    async def story(relay: Any) -> None:
        for pause in (0, 0.3, 0.95, 1.05, 500, 0.5, 3_000):
            await asyncio.sleep(pause)
            await relay.ends(*relay.burst(12))

    play(story, watched.server, latency=0.005, max_connections=5, rate="5/s")
    assert most_in_window(watched.mails, 1) == 5


@pytest.mark.rule("P-23")
def test_p23_slow_connecting_does_not_bunch_messages_up(play: Any) -> None:
    """A token that was held while a connection was made would be spent with the next one."""
    watched = Watched(
        Fault(at="GREETING", do=stall(3), times=3),
        Fault(at="EHLO", do=stall(1.7), nth=2, times=4),
        Fault(at="GREETING", do=close(), nth=4, times=3),
    )

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(60))

    play(story, watched.server, latency=0.05, max_connections=4, max_messages=5, rate="4/s")
    assert most_in_window(watched.mails, 1) <= 4


@pytest.mark.rule("P-23")
@pytest.mark.parametrize("seed", range(4))
def test_p23_requeues_and_failures_count(play: Any, seed: int) -> None:
    watched = Watched(
        Fault(at="MAIL", do=close(), probability=0.1, seed=seed, times=None),
        Fault(at="MAIL", do=reply("451 4.3.0 later"), probability=0.2, seed=seed + 1, times=None),
        Fault(at="RCPT", do=reply("550 5.1.1 nobody"), probability=0.3, seed=seed + 2, times=None),
        Fault(at="DATA", do=close(), probability=0.1, seed=seed + 3, times=None),
        Fault(at="END", do=close(), probability=0.1, seed=seed + 4, times=None),
    )

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(80))

    play(story, watched.server, latency=0.01, max_connections=5, rate="7/s")
    assert len(watched.mails) > 80
    assert most_in_window(watched.mails, 1) <= 7


@pytest.mark.rule("P-23")
def test_p23_several_rates_hold_at_once(play: Any) -> None:
    watched = Watched()

    async def story(relay: Any) -> None:
        await relay.ends(*relay.burst(100))

    play(story, watched.server, latency=0.01, max_connections=5, rate=["5/s", "60/min", Rate(80, per=180)])
    assert most_in_window(watched.mails, 1) <= 5
    assert most_in_window(watched.mails, 60) <= 60
    assert most_in_window(watched.mails, 180) <= 80
    assert watched.mails[-1][0] < 200


@pytest.mark.rule("P-23")
def test_p23_one_rate_for_all_identities(play: Any) -> None:
    watched = Watched(auth={f"u{n}": "p" for n in range(3)})

    async def story(relay: Any) -> None:
        await relay.ends(*(relay.send(n, auth=(f"u{n % 3}", "p")) for n in range(45)))

    clear = {"starttls": "never", "allow_cleartext_auth": True}
    play(story, watched.server, latency=0.01, max_connections=3, rate="4/s", **clear)
    assert len(watched.mails) == 45
    assert most_in_window(watched.mails, 1) <= 4


@pytest.mark.rule("P-23")
@pytest.mark.parametrize("size", [1, 3, 10])
def test_p23_recipients_can_be_what_counts(play: Any, size: int) -> None:
    watched = Watched()
    to = [f"r{n}@example.org" for n in range(size)]

    async def story(relay: Any) -> None:
        ends = await relay.ends(*(relay.send(n, to) for n in range(40)))
        assert all(isinstance(end, SendResult) for end in ends)
        assert relay.now <= 40 * size / 10 * 1.6 + 2

    play(story, watched.server, latency=0.01, max_connections=5, rate=Rate(10, per=1, unit="recipients"))
    assert most_in_window(watched.recipients, 1) <= 10


@pytest.mark.rule("P-23")
def test_p23_more_recipients_than_the_limit_neither_hang_nor_break_it(play: Any) -> None:
    watched = Watched()

    async def story(relay: Any) -> None:
        end = await relay.end(relay.send(0, [f"r{n}@example.org" for n in range(25)]))
        assert isinstance(end, SendResult)
        assert len(end.accepted) == 25
        assert (await relay.send(1)).accepted

    play(story, watched.server, latency=0.01, rate=Rate(10, per=1, unit="recipients"), timeout=600)
    assert most_in_window(watched.recipients, 1) <= 10


@pytest.mark.rule("P-23")
def test_p23_further_transactions_of_a_message_count_as_mails(play: Any) -> None:
    watched = Watched()

    async def story(relay: Any) -> None:
        to = [f"r{n}@example.org" for n in range(8)]
        ends = await relay.ends(*(relay.send(n, to) for n in range(10)))
        assert all(len(end.accepted) == 8 for end in ends)

    play(story, watched.server, latency=0.01, max_connections=3, max_recipients=2, rate="5/s")
    assert len(watched.mails) == 40
    assert most_in_window(watched.mails, 1) <= 5


@pytest.mark.rule("P-23")
def test_p23_the_deprecated_pair_warns_and_counts_milliseconds(play: Any) -> None:
    watched = Watched()

    async def story(relay: Any) -> None:
        with pytest.warns(DeprecationWarning, match="rate_limit"):
            transporter = relay.another(rate_limit=2, rate_delta=500)
        assert transporter.options.rate == (Rate(2, per=0.5),)
        await relay.ends(*(transporter.send_mail(relay.mail(n)) for n in range(20)))
        assert transporter.stats().rates == (Rate(2, per=0.5),)
        await transporter.close()

    play(story, watched.server, latency=0.01)
    assert most_in_window(watched.mails, 0.5) == 2
    assert 4 <= watched.mails[-1][0] - watched.mails[0][0] <= 6


@pytest.mark.rule("P-23")
def test_p23_a_cancelled_message_costs_no_token(play: Any) -> None:
    watched = Watched()

    async def story(relay: Any) -> None:
        sends = [asyncio.ensure_future(send) for send in relay.burst(20)]
        await asyncio.sleep(1.5)
        for send in sends[4:19]:
            send.cancel()
        assert isinstance(await relay.end(sends[19]), SendResult)
        assert relay.now <= 4.5

    play(story, watched.server, latency=0.01, rate="1/s", max_connections=3)
    assert most_in_window(watched.mails, 1) <= 1
