"""What the pool has to get through with every real server. The tests play these, and so does the matrix."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import mailpool

MESSAGES = 1_000
CONNECTIONS = 5
PER_CONNECTION = 100


class DoesNotApply(Exception):
    """The server has nothing of what the scenario is about; the text says what it lacks."""


def transporter_for(server: Any, **options: Any) -> mailpool.Transporter:
    """As secure as the server can be: STARTTLS and the login are mailpool's own choice then."""
    # A server may take its time to be there again, on a machine that others use.
    options = {
        "pool": True,
        "max_connections": CONNECTIONS,
        "max_messages": PER_CONNECTION,
        "connection_wait": 200,
        **options,
    }
    return mailpool.create_transport(
        host=server.host,
        port=server.port,
        secure=server.tls == "implicit",
        tls={"ca_file": str(server.ca_file)},
        auth={"user": server.username, "pass": server.password} if server.requires_auth else None,
        **options,
    )


def letter(number: int, to: str = "reader@example.net") -> dict[str, Any]:
    return {
        "from": "Newsletter <news@example.org>",
        "to": to,
        "message_id": f"<{number}@example.org>",
        "subject": f"Issue {number} – grüße",
        "text": f"Hello,\n.\n..\nthis is number {number}.\n",
        "html": f"<p>Hello, this is <b>number {number}</b>.</p>",
    }


def most_handshakes(connections: int, messages: int = MESSAGES) -> int:
    """How many connections so many messages can take at most.

    Not a login for each: whoever has an heir has served its life, but for the six messages before whose time that one is
    made. The first ones live shorter, each by another share, up to half.
    """
    shares = ((number + 1) / connections / 2 for number in range(connections))
    lives = sorted(PER_CONNECTION - int(PER_CONNECTION * share) for share in shares)
    heirs = 0
    while sum(lives[: heirs + 1]) - 6 * min(heirs + 1, connections) <= messages:
        heirs += 1
        lives.append(PER_CONNECTION)
    return connections + heirs


async def a_thousand(server: Any) -> None:
    """1,000 messages over five connections, each there once, and no more logins than connections need."""
    async with transporter_for(server) as transporter:
        outcomes = [
            outcome async for outcome in transporter.send_many(letter(number) for number in range(MESSAGES))
        ]
        stats = transporter.stats()
    errors = [outcome.error for outcome in outcomes if not outcome.ok]
    assert errors == []
    assert len(outcomes) == MESSAGES
    deliveries = await asyncio.to_thread(server.wait_for_deliveries, MESSAGES)
    assert sorted(deliveries) == sorted((f"<{n}@example.org>", "reader@example.net") for n in range(MESSAGES))
    assert MESSAGES // PER_CONNECTION <= stats.handshakes <= most_handshakes(CONNECTIONS)
    assert stats.requeued == stats.uncertain == 0
    assert stats.disabled == frozenset()


async def everything_is_there(
    server: Any, results: Collection[mailpool.SendResult], doubted: Collection[str] = ()
) -> None:
    """Each message that was accepted, and nothing else; what is there twice was said to be so perhaps."""
    accepted = {result.message_id for result in results}
    await asyncio.to_thread(server.wait_for_deliveries, len(accepted))
    # What is there twice may have been counted in place of another.
    while len(found := {delivery.message_id for delivery in server.deliveries()}) < len(accepted):
        await asyncio.sleep(0.05)
    assert found == accepted
    marked = {result.message_id for result in results if result.maybe_duplicate} | {*doubted}
    assert {delivery.message_id for delivery in server.duplicates()} <= marked


async def restart(server: Any) -> None:
    """The server is restarted when 100 of 500 are done: all arrive, and none twice that was not said to be so perhaps."""
    async with transporter_for(server) as transporter:
        results: dict[str, mailpool.SendResult] = {}
        restarting: asyncio.Task[None] | None = None
        async for outcome in transporter.send_many(letter(number) for number in range(500)):
            assert outcome.ok, outcome.error
            results[outcome.result.message_id] = outcome.result
            if len(results) == 100:
                restarting = asyncio.create_task(asyncio.to_thread(server.restart))
        assert restarting is not None
        await restarting
    assert len(results) == 500
    await everything_is_there(server, results.values())


async def refused_content(server: Any) -> None:
    """A content is refused after DATA, for good and between two others on one connection, which is kept."""
    if server.refused_content is None:
        raise DoesNotApply("refuses no content")
    async with transporter_for(server, max_connections=1) as transporter:
        messages = [letter(1), {**letter(2), **server.refused_content}, letter(3)]
        first, refused, last = await asyncio.gather(
            *(transporter.send_mail(message) for message in messages), return_exceptions=True
        )
        assert isinstance(refused, mailpool.Rejected), refused
        assert refused.reply is not None
        assert refused.reply.code in (550, 554)
        assert not isinstance(first, BaseException)
        assert not isinstance(last, BaseException)
        assert transporter.stats().handshakes == 1
    deliveries = await asyncio.to_thread(server.wait_for_deliveries, 2)
    assert sorted(delivery.message_id for delivery in deliveries) == ["<1@example.org>", "<3@example.org>"]


async def too_large(server: Any) -> None:
    """A message beyond the size that the server announces is refused before a byte of it, and costs no connection."""
    async with transporter_for(server, max_connections=1) as transporter:
        limit = (await transporter.verify()).capabilities.size
        if not limit or limit > 64 * 1024 * 1024:
            raise DoesNotApply("announces no limit of size")
        try:
            await transporter.send_mail({**letter(0), "text": "x" * limit})
        except mailpool.UnsupportedByServer as refused:
            told = str(refused)
        else:
            raise AssertionError("a message beyond the limit was sent")
        assert str(limit) in told
        await transporter.send_mail(letter(1))
        assert transporter.stats().handshakes == 1
    assert len(await asyncio.to_thread(server.wait_for_deliveries, 1)) == 1


async def many_recipients(server: Any) -> None:
    """More recipients than the server takes in one transaction: each of them gets the message once."""
    if server.most_recipients is None:
        raise DoesNotApply("takes any number of recipients")
    everyone = [f"reader{number}@example.net" for number in range(server.most_recipients * 2 + 5)]
    async with transporter_for(server, max_connections=1) as transporter:
        result = await transporter.send_mail({**letter(1), "to": everyone})
    assert sorted(result.accepted) == sorted(everyone)
    deliveries = await asyncio.to_thread(server.wait_for_deliveries, len(everyone))
    assert sorted(delivery.recipient for delivery in deliveries) == sorted(everyone)


async def wrong_password(server: Any) -> None:
    """A wrong password is told as such to every message, after one attempt."""
    if not server.requires_auth:
        raise DoesNotApply("asks for no login")
    transporter = transporter_for(server)
    wrong = mailpool.create_transport(
        transporter.options, auth={"user": server.username, "pass": "not-the-secret"}
    )
    errors = await asyncio.gather(*(wrong.send_mail(letter(n)) for n in range(20)), return_exceptions=True)
    assert {type(error) for error in errors} == {mailpool.AuthenticationFailed}
    assert "not-the-secret" not in str(errors[0])
    assert wrong.stats().connection_failures == 1
    await wrong.close()
    await transporter.close()
    assert server.deliveries() == []


async def full_disk(server: Any) -> None:
    """The disk is full in mid-batch, and later it is not. What is deferred is not there, and goes through in the end."""
    if server.disk is None:
        raise DoesNotApply("has no queue on a disk")
    results: list[mailpool.SendResult] = []
    deferred: dict[int, mailpool.SendError] = {}
    filled, enough = asyncio.Event(), asyncio.Event()
    turned_away = 0

    def is_turned_away(*_: object) -> None:
        nonlocal turned_away
        turned_away += 1
        if turned_away == 5:
            enough.set()

    async def send(number: int) -> None:
        try:
            results.append(await transporter.send_mail(letter(number)))
        except mailpool.Deferred as error:
            deferred[number] = error
            is_turned_away()
        if len(results) == 20:
            filled.set()

    async with transporter_for(server) as transporter:
        # 421 is how some say it: that costs a connection, and the message waits for the next.
        transporter.on("requeued", is_turned_away)
        batch = asyncio.gather(*(send(number) for number in range(60)))
        await filled.wait()
        if not server.sees_what_finds_no_room:
            await batch
        await asyncio.to_thread(server.disk.fill)
        # The others may have been too early for it, and the last page of a file may have room for some more.
        late: list[asyncio.Task[None]] = []
        stopped = asyncio.ensure_future(enough.wait())
        while not enough.is_set():
            ten = [asyncio.ensure_future(send(number)) for number in range(60 + len(late), 70 + len(late))]
            late += ten
            await asyncio.wait({stopped, asyncio.gather(*ten)}, return_when=asyncio.FIRST_COMPLETED)
        server.disk.make_room()
        await asyncio.gather(batch, *late)
        assert all(error.temporary for error in deferred.values())
        # Where a reply to the end of the data was missing before, the caller is told that it may be there.
        doubted = {error.message_id for error in deferred.values() if error.may_have_been_delivered}
        again = tuple(deferred)
        await asyncio.gather(*(send(number) for number in again))
    assert len(results) == 60 + len(late)
    await everything_is_there(server, results, doubted)


SCENARIOS: Mapping[str, Callable[[Any], Awaitable[None]]] = {
    "1,000 messages": a_thousand,
    "restart": restart,
    "refused content": refused_content,
    "full disk": full_disk,
    "size limit": too_large,
    "recipient limit": many_recipients,
    "wrong password": wrong_password,
}
