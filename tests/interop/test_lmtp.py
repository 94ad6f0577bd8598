"""LMTP with a real Dovecot: what is in the mailboxes is what the results say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import mailpool
from mailpool import Outcome, Phase

pytestmark = pytest.mark.interop


def transporter_for(dovecot: Any, **options: Any) -> mailpool.Transporter:
    return mailpool.create_transport(f"lmtp://{dovecot.socket}", **{"pool": True, **options})


def letter(number: int, to: list[str], size: int = 100) -> dict[str, Any]:
    return {
        "from": "shop@example.org",
        "to": [f"{name}@example.org" for name in to],
        "text": "." * size + "\r\n.\r\n",
        "message_id": f"<{number}@example.org>",
    }


async def test_what_dovecot_offers(dovecot_lmtp: Any) -> None:
    found = await transporter_for(dovecot_lmtp).verify()
    assert {"PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING"} <= set(found.capabilities.keywords)


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("disable", [(), ("CHUNKING",), ("PIPELINING", "CHUNKING")])
async def test_every_mailbox_has_its_own_outcome(dovecot_lmtp: Any, disable: Any, pool: bool) -> None:
    async with transporter_for(dovecot_lmtp, disable=disable, pool=pool) as transporter:
        to = ["ann", "nobody", "full", "eve"]
        sends = [transporter.send_mail(letter(n, to, size=5_000)) for n in range(20)]
        results = await asyncio.gather(*sends)
    for result in results:
        ann, nobody, full, eve = result.recipients
        assert (ann.outcome, eve.outcome) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
        assert "ann@example.org" in str(ann.reply)
        assert "eve@example.org" in str(eve.reply)
        assert (nobody.outcome, nobody.phase) == (Outcome.REJECTED, Phase.RCPT)
        assert (full.accepted, full.phase) == (False, Phase.END_OF_DATA)
        assert full.reply.enhanced_code == "5.2.2"
        assert result.attempts == 1
    expected = sorted((f"<{n}@example.org>", name) for n in range(20) for name in ("ann", "eve"))
    assert dovecot_lmtp.deliveries() == expected, dovecot_lmtp.log()


@pytest.mark.parametrize("disable", [(), ("CHUNKING",)])
async def test_all_mailboxes_are_full_and_the_connection_goes_on(dovecot_lmtp: Any, disable: Any) -> None:
    async with transporter_for(dovecot_lmtp, disable=disable, max_connections=1) as transporter:
        for number in range(5):
            with pytest.raises(mailpool.SendError) as caught:
                await transporter.send_mail(letter(number, ["full"], size=5_000))
            assert caught.value.phase is Phase.END_OF_DATA
            assert (await transporter.send_mail(letter(10 + number, ["bob"]))).accepted
        assert transporter.stats().handshakes == 1
    assert len(dovecot_lmtp.deliveries()) == 5


async def test_five_hundred_messages(dovecot_lmtp: Any) -> None:
    async with transporter_for(dovecot_lmtp, pipeline_depth=5) as transporter:
        source = (letter(n, ["ann", "bob", "eve"]) for n in range(500))
        outcomes = [outcome async for outcome in transporter.send_many(source)]
    assert all(outcome.result and len(outcome.result.accepted) == 3 for outcome in outcomes)
    assert len(set(dovecot_lmtp.deliveries())) == len(dovecot_lmtp.deliveries()) == 1_500
