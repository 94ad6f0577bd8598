"""Exim 4.96 forgets to answer BDAT when its disk gets full meanwhile: the reply to the RSET behind was taken for it."""

from __future__ import annotations

from typing import Any

import pytest

from mailpool import SendResult
from mailpool.testing import Fault, ScriptedServer, reply


@pytest.mark.rule("P-14")
@pytest.mark.rule("P-15")
@pytest.mark.rule("P-18")
@pytest.mark.parametrize("goes_on", [True, False])
def test_p14_a_message_whose_reply_is_missing_is_sent_again(play: Any, received: Any, goes_on: bool) -> None:
    server = ScriptedServer(
        capabilities=("PIPELINING", "CHUNKING", "8BITMIME", "SIZE 1000000"),
        faults=[
            Fault(at="RSET", do=reply("250 Reset OK"), times=None),
            Fault(at="END", message=3, connection=0, do=lambda it: it.conclude("452 4.3.1 full")),
        ],
    )
    if not goes_on:
        server.faults.add(Fault(at="MAIL", message=4, connection=0, do=reply("452 4.3.1 full")))

    async def story(relay: Any) -> None:
        relay.listen("extension_disabled")
        ends = await relay.ends(*relay.burst(8))
        assert all(isinstance(end, SendResult) for end in ends)
        # Whether it was taken is not known, and so it may be there twice.
        assert [end.maybe_duplicate for end in ends] == [number == 3 for number in range(8)]
        assert [details[0] for details in relay.heard("extension_disabled")] == ["CHUNKING"]

    play(story, server, latency=0.01, max_connections=1)
    assert sorted(received(server)) == [str(number) for number in range(8)]
