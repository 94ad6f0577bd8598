"""P-24: a thousand messages through what known providers allow. No error that waiting avoids, and near to what is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mailpool import SendResult
from mailpool.testing.providers import (
    AmazonSES,
    Gmail,
    MailerSend,
    Microsoft365,
    Provider,
    SilentCloser,
    SocketLabs,
)

COUNT = 1_000
CLEAR = {"starttls": "never", "allow_cleartext_auth": True}

pytestmark = pytest.mark.rule("P-24")


class Run:
    """A thousand messages: when each was taken, and what was learnt."""

    def __init__(
        self, play: Any, server: Provider, *, recipients: Callable[[int], int] = lambda _: 1, **options: Any
    ) -> None:
        self.server = server
        self.seen: list[Any] = []

        async def story(relay: Any) -> None:
            relay.listen("throttled", "requeued")
            sends = [relay.send(n, [f"r{r}@example.org" for r in range(recipients(n))]) for n in range(COUNT)]
            ends = await relay.ends(*sends)
            assert [end for end in ends if not isinstance(end, SendResult) or end.rejected] == []
            assert not any(end.maybe_duplicate for end in ends)
            self.stats = relay.transporter.stats()
            self.throttled = relay.heard("throttled")
            self.requeued = len(relay.heard("requeued"))

        play(story, server, latency=0.02, **options)
        assert len(server.messages) == COUNT

    def speed(self, weight: Callable[[Any], int] = lambda _: 1) -> float:
        """Units a second in the second half of the messages, the warming up left out."""
        messages = sorted(self.server.messages, key=lambda message: message.time)
        half = messages[COUNT // 2 :]
        return sum(weight(message) for message in half[1:]) / (half[-1].time - half[0].time)


def test_microsoft_365(play: Any) -> None:
    run = Run(play, Microsoft365(keep_content=False), max_connections=5)
    assert run.speed() >= 0.9 * 30 / 60
    assert run.server.refused <= 0.1 * COUNT
    assert run.stats.throttled == len(run.throttled) > 0
    (learnt,) = run.stats.learnt
    assert 0.4 < learnt.rate < 0.6


def test_microsoft_365_with_three_connections_only(play: Any) -> None:
    run = Run(play, Microsoft365(rate=10**6, keep_content=False), max_connections=5, max_messages=-1)
    assert run.stats.max_connections == run.stats.learnt[0].max_connections == 3
    ideal = Run(play, Microsoft365(rate=10**6, keep_content=False), max_connections=3, max_messages=-1)
    assert ideal.server.refused == 0
    assert run.speed() >= 0.9 * ideal.speed()


@pytest.mark.parametrize("recipients", [lambda n: 1, lambda n: 1 + n % 3], ids=["one", "some"])
def test_amazon_ses(play: Any, recipients: Any) -> None:
    run = Run(play, AmazonSES(keep_content=False), recipients=recipients, max_connections=5, max_messages=-1)
    tuned = Run(
        play,
        AmazonSES(keep_content=False),
        recipients=recipients,
        max_connections=5,
        max_messages=-1,
        rate="14 recipients/s",
    )

    def weight(message: Any) -> int:
        return len(message.recipients)

    assert run.speed(weight) >= 0.9 * tuned.speed(weight)
    assert run.server.refused <= 0.1 * COUNT
    assert run.stats.learnt[0].unit == "recipients"


def test_amazon_ses_ends_what_is_idle_and_keeps_its_extensions(play: Any) -> None:
    """The last word of an idle connection, 451, answered nothing; it was held against PIPELINING."""
    server = AmazonSES(capabilities=("PIPELINING", "8BITMIME"))

    async def story(relay: Any) -> None:
        relay.listen("extension_disabled", "connection_lost")
        for number in range(3):
            assert isinstance(await relay.end(relay.send(number)), SendResult)
            await asyncio.sleep(15)
        assert relay.heard("extension_disabled") == []
        assert len(relay.heard("connection_lost")) == 3

    play(story, server)
    assert [connection.messages for connection in server.connections] == [1, 1, 1]


def test_amazon_ses_ends_a_session(play: Any) -> None:
    run = Run(play, AmazonSES(rate=10**6, session=40, keep_content=False), max_messages=-1, max_connections=2)
    assert run.stats.learnt[0].max_messages == 40
    assert run.server.refused <= 6


def test_socketlabs(play: Any) -> None:
    run = Run(play, SocketLabs(connections=4, keep_content=False), max_connections=10)
    ideal = Run(play, SocketLabs(connections=4, keep_content=False), max_connections=4, max_messages=50)
    assert run.stats.max_connections == 4
    assert run.speed() >= 0.9 * ideal.speed()


def test_mailersend(play: Any) -> None:
    run = Run(play, MailerSend(keep_content=False), max_connections=5)
    ideal = Run(play, MailerSend(keep_content=False), max_connections=5, max_messages=5)
    assert ideal.server.refused == 0
    assert run.speed() >= 0.9 * ideal.speed()
    assert run.stats.learnt[0].max_messages in (5, 7)
    assert run.server.refused <= 0.03 * COUNT


@pytest.mark.parametrize("at_mail", [False, True])
def test_a_server_that_closes_silently(play: Any, at_mail: bool) -> None:
    run = Run(play, SilentCloser(at_mail=at_mail, keep_content=False), max_connections=5)
    ideal = Run(play, SilentCloser(at_mail=at_mail, keep_content=False), max_connections=5, max_messages=20)
    assert run.speed() >= 0.9 * ideal.speed()
    assert run.stats.learnt[0].max_messages in (20, 25)


def test_gmail_and_its_logins(play: Any) -> None:
    server = Gmail(auth={"u": "p"}, keep_content=False)
    run = Run(play, server, auth=("u", "p"), max_messages=10, max_connections=5, **CLEAR)
    assert run.speed() >= 0.9 * 10 * 10 / 60
    assert run.server.refused <= 60
