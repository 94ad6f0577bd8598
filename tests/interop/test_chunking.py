"""CHUNKING with real servers (RFC 3030): Exim, which keeps the first sender when BDAT fails, and Postfix."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from typing import Any

import pytest
from running import running
from scenarios import most_handshakes
from servers import Postfix

import mailpool

pytestmark = pytest.mark.interop

SERVERS = ["exim", "postfix_that_refuses"]
MESSAGES = 1_000
# Exim cuts a connection when it reads the twelfth RSET without a message that was taken between them.
MOST_RESETS = 12


@pytest.fixture
def postfix_that_refuses(authority: Any) -> Any:
    """A Postfix that refuses recipients whose local part starts with refused."""
    postfix = Postfix(
        authority,
        {
            "smtpd_recipient_restrictions": "check_recipient_access "
            "inline:{refused@example.net=REJECT, refused1@example.net=REJECT, refused2@example.net=REJECT}, "
            "permit_sasl_authenticated, reject",
            # How many refused recipients a connection may have is not what is looked at here.
            "smtpd_soft_error_limit": "10000",
            "smtpd_hard_error_limit": "10000",
        },
    )
    yield from running(postfix)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def transporter_for(server: Any, **options: Any) -> mailpool.Transporter:
    options = {"pool": True, "max_connections": 1, "max_messages": -1, **options}
    return mailpool.create_transport(
        host=server.host,
        port=server.port,
        secure=False,
        tls={"ca_file": str(server.ca_file)},
        auth={"user": server.username, "pass": server.password},
        **options,
    )


def letter(number: int, to: Any = None, **fields: Any) -> dict[str, Any]:
    """Each from a sender and to a recipient of its own."""
    return {
        "from": f"sender{number}@example.org",
        "to": f"reader{number}@example.net" if to is None else to,
        "message_id": f"<{number}@example.org>",
        "subject": f"Issue {number}",
        "text": f".\n..\nthis is number {number}.\n",
        **fields,
    }


async def check(server: Any, numbers: set[int]) -> None:
    """These messages were delivered, each once, under its own sender and to its own recipient; and no others."""
    deliveries = await asyncio.to_thread(server.wait_for_deliveries, len(numbers))
    assert sorted(deliveries) == sorted((f"<{n}@example.org>", f"reader{n}@example.net") for n in numbers)
    assert server.senders() == {f"<{n}@example.org>": f"sender{n}@example.org" for n in numbers}


@pytest.mark.rule("P-02")
@pytest.mark.rule("P-03")
@pytest.mark.parametrize("server", SERVERS, indirect=True)
def test_the_hazard_is_real(server: Any) -> None:
    """What a client without the RSET does to the second message: it goes out under the sender of the first."""
    with smtplib.SMTP(server.host, server.port, timeout=200) as client:
        client.starttls(context=ssl.create_default_context(cafile=server.ca_file))
        client.login(server.username, server.password)
        content = b"Message-ID: <2@example.org>\r\nSubject: 2\r\n\r\nhello\r\n"
        first = b"MAIL FROM:<sender1@example.org>\r\nRCPT TO:<refused@example.net>\r\nBDAT 4 LAST\r\nhi\r\n"
        second = b"MAIL FROM:<sender2@example.org>\r\nRCPT TO:<reader2@example.net>\r\nBDAT %d LAST\r\n%s"
        client.send(first + second % (len(content), content))
        codes = [client.getreply()[0] // 100 for _ in range(6)]
    assert codes[:3] == [2, 5, 5]
    keeps_the_first = server.name == "Exim"
    # Postfix forgets the first sender with the failure, which RFC 3030 allows as little as it demands the RSET.
    assert codes[3:] == ([5, 2, 2] if keeps_the_first else [2, 2, 2])
    server.wait_for_deliveries(1)
    whose = "sender1@example.org" if keeps_the_first else "sender2@example.org"
    assert server.senders() == {"<2@example.org>": whose}


@pytest.mark.rule("P-02")
@pytest.mark.rule("P-03")
@pytest.mark.rule("P-05")
@pytest.mark.parametrize("depth", [1, 2, 8])
@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_after_a_message_that_nobody_is_to_have_the_next_goes_under_its_own_sender(
    server: Any, depth: int
) -> None:
    async with transporter_for(server, pipeline_depth=depth) as transporter:
        refused = letter(1, ["refused1@example.net", "refused2@example.net"])
        first, *others = await asyncio.gather(
            *(transporter.send_mail(message) for message in (refused, letter(2), letter(3))),
            return_exceptions=True,
        )
        stats = transporter.stats()
    assert isinstance(first, mailpool.Rejected)
    assert first.rejected == ("refused1@example.net", "refused2@example.net")
    assert [result.accepted for result in others] == [("reader2@example.net",), ("reader3@example.net",)]
    assert (stats.handshakes, stats.requeued, stats.disabled) == (1, 0, frozenset())
    await check(server, {2, 3})


@pytest.mark.rule("P-02")
@pytest.mark.rule("P-05")
@pytest.mark.rule("P-15")
@pytest.mark.parametrize("depth", [1, 8])
@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_a_thousand_messages_and_every_twentieth_is_refused(server: Any, depth: int) -> None:
    def refused(number: int) -> bool:
        return number % 20 == 7

    async with transporter_for(
        server, pipeline_depth=depth, max_connections=5, max_messages=100
    ) as transporter:
        letters = (letter(n, "refused@example.net" if refused(n) else None) for n in range(MESSAGES))
        outcomes = [outcome async for outcome in transporter.send_many(letters)]
        stats = transporter.stats()
    assert [outcome.ok for outcome in outcomes].count(True) == MESSAGES * 19 // 20
    errors = [outcome.error for outcome in outcomes if not outcome.ok]
    assert {type(error) for error in errors} == {mailpool.Rejected}
    assert {error.phase for error in errors} == {mailpool.Phase.RCPT}
    assert stats.handshakes <= most_handshakes(5)
    assert stats.requeued == stats.uncertain == 0
    assert stats.disabled == frozenset()
    await check(server, {n for n in range(MESSAGES) if not refused(n)})


@pytest.mark.rule("P-15")
@pytest.mark.parametrize("depth", [1, 8])
@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_some_of_the_recipients_are_refused(server: Any, depth: int) -> None:
    async with transporter_for(server, pipeline_depth=depth) as transporter:
        to = ["refused@example.net", "{}", "refused1@example.net"]
        sends = [
            transporter.send_mail(letter(n, [one.format(f"reader{n}@example.net") for one in to]))
            for n in range(20)
        ]
        for number, result in enumerate(await asyncio.gather(*sends)):
            assert result.accepted == (f"reader{number}@example.net",)
            assert result.rejected == ("refused@example.net", "refused1@example.net")
    await check(server, set(range(20)))


@pytest.mark.rule("DAT-09")
@pytest.mark.parametrize("depth", [1, 8])
@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_a_megabyte_among_small_ones(server: Any, depth: int) -> None:
    """It goes in blocks, and what comes after it is in step."""
    noise = {"filename": "noise.bin", "content": bytes(range(256)) * 4096}
    async with transporter_for(server, pipeline_depth=depth) as transporter:
        sends = [
            transporter.send_mail(letter(n, **({"attachments": [noise]} if n % 3 == 0 else {})))
            for n in range(10)
        ]
        results = await asyncio.gather(*sends)
        assert transporter.stats().handshakes == 1
    assert all(result.attempts == 1 for result in results)
    await check(server, set(range(10)))


@pytest.mark.rule("P-11")
@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_after_a_pause(server: Any) -> None:
    async with transporter_for(server, pipeline_depth=8) as transporter:
        await transporter.send_mail(letter(0))
        await asyncio.sleep(1.2)
        await asyncio.gather(*(transporter.send_mail(letter(n)) for n in range(1, 10)))
        assert transporter.stats().handshakes == 1
    await check(server, set(range(10)))


@pytest.mark.rule("P-05")
@pytest.mark.rule("P-18")
@pytest.mark.parametrize(("depth", "chunking"), [(1, True), (8, True), (1, False)])
@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_forty_refused_messages_in_a_row(server: Any, depth: int, chunking: bool) -> None:
    """Exim counts the RSETs between them and cuts the connection without a word at the twelfth.

    What was in flight then is in doubt, which is what a greater depth costs: it may need more than one further try.
    """
    options = {"disable": set() if chunking else {"CHUNKING"}, "max_duplicates": 10 if depth > 1 else 1}
    async with transporter_for(server, pipeline_depth=depth, **options) as transporter:
        sends = [transporter.send_mail(letter(n, "refused@example.net")) for n in range(40)]
        sends += [transporter.send_mail(letter(n)) for n in range(40, 50)]
        ends = await asyncio.gather(*sends, return_exceptions=True)
        stats = transporter.stats()
    assert {type(end) for end in ends[:40]} == {mailpool.Rejected}
    assert {type(end) for end in ends[40:]} == {mailpool.SendResult}
    # When Exim reads the twelfth RSET, no more than `depth` of the messages before it are unanswered: a connection that it
    # cuts has ended all others, and that is the least that may be learnt as what it takes on one.
    least = MOST_RESETS - depth
    assert stats.handshakes <= (1 if server.name == "Postfix" else -(-len(ends) // least))
    assert stats.disabled == (frozenset() if chunking else frozenset({"CHUNKING"}))
    await check(server, set(range(40, 50)))
