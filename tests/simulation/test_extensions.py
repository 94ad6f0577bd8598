"""What a message asks of the server goes with it through splits, requeues and closing, and with no other message (P-03)."""

from __future__ import annotations

from typing import Any

import pytest

from mailpool import DeadlineExceeded, MemoryCarrier, UnsupportedByServer, create_transport
from mailpool.testing import Fault, ScriptedServer, close, reply, run_virtual
from mailpool.transports.carrier import all_accepted

OFFERED = ("PIPELINING", "SIZE 10485760", "DSN", "MT-PRIORITY MIXER", "DELIVERBY 5", "FUTURERELEASE 600")
DSN = {"notify": "failure", "return": "headers", "envid": "batch 1", "orcpt": True}


def told(server: ScriptedServer) -> list[tuple[dict[str, str | None], list[dict[str, str | None]]]]:
    """The parameters of MAIL, without SIZE, and of each RCPT."""
    return [
        (
            {name: value for name, value in message.mail_parameters.items() if name != "SIZE"},
            list(message.recipient_parameters.values()),
        )
        for message in server.messages
    ]


@pytest.mark.rule("P-03")
@pytest.mark.parametrize("chunking", [True, False])
def test_p03_nothing_that_one_message_asks_reaches_the_next(play: Any, chunking: bool) -> None:
    server = ScriptedServer(capabilities=(*OFFERED, *(["CHUNKING"] if chunking else [])))

    async def story(relay: Any) -> None:
        await relay.ends(
            relay.send(0, dsn=DSN, mt_priority=4),
            relay.send(1),
            relay.send(2, deliver_by=60),
            relay.send(3, hold_for=60, dsn={"notify": "never"}),
            relay.send(4),
        )

    play(story, server, max_connections=1, pipeline_depth=3)
    ours = {"NOTIFY": "FAILURE", "ORCPT": "rfc822;to@example.org"}
    assert told(server) == [
        ({"RET": "HDRS", "ENVID": "batch+201", "MT-PRIORITY": "4"}, [ours]),
        ({}, [{}]),
        ({"BY": "60;R"}, [{}]),
        ({"HOLDFOR": "60"}, [{"NOTIFY": "NEVER"}]),
        ({}, [{}]),
    ]


@pytest.mark.rule("P-12")
def test_p12_each_recipient_keeps_its_own_when_a_message_is_split(play: Any) -> None:
    server = ScriptedServer(
        capabilities=(*OFFERED, "LIMITS RCPTMAX=2"),
        faults=[Fault(at="RCPT", match="r3", do=reply("452 4.5.3 too many"), times=1)],
    )
    to = [f"r{n}@example.org" for n in range(5)]
    own = {address: {"notify": "success", "orcpt": f"o{address}"} for address in to[::2]}

    async def story(relay: Any) -> None:
        assert sorted((await relay.send(0, to, dsn={**DSN, "recipients": own})).accepted) == to

    play(story, server)
    assert {envelope["ENVID"] for envelope, _ in told(server)} == {"batch+201"}
    seen = {r: p for message in server.messages for r, p in message.recipient_parameters.items()}
    for number, address in enumerate(to):
        expected = ("FAILURE", address) if number % 2 else ("SUCCESS", f"o{address}")
        assert seen[address] == {"NOTIFY": expected[0], "ORCPT": f"rfc822;{expected[1]}"}


@pytest.mark.rule("P-18")
def test_p18_a_requeued_message_asks_for_the_same_and_for_less_time(play: Any) -> None:
    server = ScriptedServer(capabilities=OFFERED, faults=[Fault(at="DATA", do=close(), times=3)], latency=0.0)

    async def story(relay: Any) -> None:
        result = await relay.send(0, dsn=DSN, deliver_by=600)
        assert result.attempts == 4

    play(story, server)
    ((envelope, recipients),) = told(server)
    assert envelope.pop("BY") in {f"{left};R" for left in range(590, 600)}
    assert envelope == {"RET": "HDRS", "ENVID": "batch+201"}
    assert recipients == [{"NOTIFY": "FAILURE", "ORCPT": "rfc822;to@example.org"}]


def test_a_message_whose_time_is_over_is_not_sent(play: Any) -> None:
    server = ScriptedServer(capabilities=OFFERED, faults=[Fault(at="DATA", do=close(), times=None)])

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0, deliver_by=30))
        assert isinstance(error, DeadlineExceeded | UnsupportedByServer)
        assert "deliver_by" in str(error)

    play(story, server)


@pytest.mark.parametrize("pool", [True, False])
def test_what_the_server_lacks_ends_one_message_before_mail(play: Any, pool: bool) -> None:
    server = ScriptedServer(capabilities=("PIPELINING",))

    async def story(relay: Any) -> None:
        bad, good, plain = await relay.ends(
            relay.send(0, dsn=DSN),
            relay.send(1, dsn=DSN, mt_priority=1, optional_extensions={"DSN", "MT-PRIORITY"}),
            relay.send(2),
        )
        assert isinstance(bad, UnsupportedByServer)
        assert "DSN" in str(bad)
        assert not bad.may_have_been_delivered
        assert good.accepted == plain.accepted == ("to@example.org",)

    play(story, server, pool=pool, max_connections=1)
    assert told(server) == [({}, [{}])] * 2
    assert sum(line.startswith("MAIL") for line in server.commands()) == 2


@pytest.mark.rule("TLS-11")
def test_tls11_no_tls_and_an_offer_all_the_same(play: Any) -> None:
    server = ScriptedServer(capabilities=("PIPELINING", "REQUIRETLS"))

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0, require_tls=True))
        assert isinstance(error, UnsupportedByServer)
        assert "REQUIRETLS" in str(error)

    play(story, server)
    assert not [line for line in server.commands() if line.startswith("MAIL")]


@pytest.mark.rule("P-29")
def test_p29_a_message_that_was_not_sent_keeps_what_it_asks_for(play: Any) -> None:
    server = ScriptedServer(capabilities=OFFERED)

    async def story(relay: Any) -> None:
        pending = relay.send(0, dsn=DSN)
        (left,) = await relay.transporter.close()
        await relay.ends(pending)
        other = relay.another()
        await other.send_mail(left)
        await other.close()

    play(story, server)
    ((envelope, _),) = told(server)
    assert envelope == {"RET": "HDRS", "ENVID": "batch+201"}


class Modest:
    """A carrier that knows nothing but notifications."""

    extensions = ("DSN",)

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def deliver(self, sealed: Any) -> Any:
        self.seen.append(sealed.extensions and sealed.extensions.asked)
        return all_accepted(sealed)


def test_a_carrier_is_given_only_what_it_can_do() -> None:
    async def main() -> None:
        message = {"from": "a@example.org", "to": "b@example.org", "text": "x"}
        for carrier in (Modest(), MemoryCarrier()):
            async with create_transport(carrier) as transporter:
                await transporter.send_mail({**message, "dsn": DSN})
                sending = transporter.send_mail({**message, "dsn": DSN, "require_tls": True})
                if isinstance(carrier, MemoryCarrier):
                    await sending
                    assert carrier.messages[1].extensions.asked == ("DSN", "REQUIRETLS")
                    continue
                with pytest.raises(UnsupportedByServer, match="REQUIRETLS, which Modest"):
                    await sending
                await transporter.send_mail(
                    {**message, "mt_priority": 1, "optional_extensions": ["MT-PRIORITY"]}
                )
                assert carrier.seen == [("DSN",), ("MT-PRIORITY",)]

    run_virtual(main)
