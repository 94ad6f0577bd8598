"""Once wrong, found by a seed of ``make simulate``, now proven."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import SendResult
from mailpool.errors import UnsupportedByServer
from mailpool.testing import ScriptedServer

PLAIN = ("SIZE 10485760",)


@pytest.mark.rule("P-09")
def test_p09_an_idle_connection_closes_when_the_last_message_could_not_be_begun(play: Any) -> None:
    """A message that the server cannot take is refused before a byte of it is written, on a connection that has
    just become free. Nobody looked at that connection again until the next message came."""
    server = ScriptedServer(capabilities=PLAIN)

    async def story(relay: Any) -> None:
        raw = b"Subject: 1\r\nMessage-ID: <1@example.org>\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n"
        does_not = {"raw": raw, "envelope": {"from": "from@example.org", "to": ["to@example.org"]}}
        send = relay.transporter.send_mail
        ends = await relay.ends(send(relay.mail(0)), send(does_not))
        assert [type(end) for end in ends] == [SendResult, UnsupportedByServer]
        await asyncio.sleep(10)
        assert relay.transporter.stats().connections == 0

    play(story, server, max_connections=1, idle_timeout=5)
