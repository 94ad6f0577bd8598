"""How users write it, for mypy alone: nothing here is run.

``assert_type`` fails when an inferred type is another one, also when it has become ``Any``. A line with an ignore must stay
an error, for mypy also refuses ignores that nothing needs.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any, assert_type

import mailpool
from mailpool import (
    AddressError,
    Attachment,
    ConfigurationError,
    Credentials,
    Deferred,
    DeliveryUncertain,
    Envelope,
    Histogram,
    LoginContext,
    Mailbox,
    MailMerge,
    MailpoolError,
    Markup,
    Mechanism,
    Merged,
    Message,
    MessageError,
    OAuth2,
    Options,
    Outcome,
    Phase,
    PoolStats,
    Rate,
    RecipientResult,
    Rejected,
    Reply,
    Sealed,
    SendError,
    SendOutcome,
    SendResult,
    Throttled,
    TLSOptions,
    Transporter,
    Verification,
    create_transport,
)
from mailpool.testing import Authority, ReceivedMessage, ScriptedServer, in_thread

FIELDS = {"from": "me@example.org", "to": "you@example.org", "subject": "Hi", "text": "Hello"}


class OwnMechanism(Mechanism):
    name = "X-OWN"

    def __init__(self, credentials: Credentials, context: LoginContext) -> None:
        assert_type(context.token, str | None)
        self.said = context.nonce.encode()

    @staticmethod
    def made(credentials: Credentials, context: LoginContext) -> Mechanism:
        return OwnMechanism(credentials, context)

    def start(self) -> bytes:
        self.complete = True
        return self.said


def making() -> None:
    assert_type(create_transport(), Transporter)
    assert_type(create_transport("smtps://me:secret@smtp.example.org"), Transporter)
    assert_type(create_transport({"host": "smtp.example.org", "pool": True}), Transporter)
    assert_type(create_transport(host="smtp.example.org", rate="14/s"), Transporter)
    assert_type(create_transport(Options(host="smtp.example.org"), pool=True), Transporter)
    assert_type(create_transport("smtp://smtp.example.org", tls=ssl.create_default_context()), Transporter)
    create_transport(25)  # type: ignore[arg-type]


def options() -> None:
    made = Options(
        host="smtp.example.org",
        port=587,
        starttls="required",
        auth=Credentials("me", "secret"),
        tls=TLSOptions(ca_file="ca.pem", min_version="TLSv1.3"),
        rate=(Rate(14), Rate(10_000, 86_400.0, unit="recipients")),
        on_uncertain="fail",
        disable=frozenset({"PIPELINING"}),
    )
    assert_type(made.host, str)
    assert_type(made.port, int | None)
    assert_type(made.effective_port, int)
    assert_type(made.effective_secure, bool)
    assert_type(made.auth, Credentials | None)
    assert_type(made.rate, tuple[Rate, ...])
    assert_type(made.idle_timeout, float)
    assert_type(made.max_age, float | None)
    assert_type(made.redacted_url(), str)
    assert_type(Rate.parse("14/s"), Rate)
    Options(starttls="sometimes")  # type: ignore[arg-type]
    Options(max_connection=5)  # type: ignore[call-arg]
    Rate(14, unit="letters")  # type: ignore[arg-type]
    made.host = "other.example.org"  # type: ignore[misc]


def credentials() -> None:
    async def token() -> str:
        return "token"

    Credentials("me", access_token="token")
    Credentials("me", access_token=lambda: "token")
    Credentials("me", access_token=token)
    Credentials("me", access_token=lambda: ("token", 3_600))
    Credentials("me", access_token=OAuth2(provider="google", client_id="app", refresh_token="r"))
    Credentials("me", "secret", method="SCRAM-SHA-256")
    Credentials(method="EXTERNAL")
    Credentials("me", "secret", method=OwnMechanism)
    Credentials("me", method=OwnMechanism.made)
    Credentials("me", "secret", method=7)  # type: ignore[arg-type]
    Credentials("me", access_token=lambda: 1)  # type: ignore[arg-type, return-value]


async def sending(transporter: Transporter) -> None:
    assert_type(transporter.send_mail(FIELDS), Awaitable[SendResult])
    info = await transporter.send_mail(FIELDS, priority=10, deadline=30.0, auth=("me", "secret"))
    assert_type(info, SendResult)
    assert_type(info.message_id, str)
    assert_type(info.accepted, tuple[str, ...])
    assert_type(info.rejected, tuple[str, ...])
    assert_type(info.recipients, tuple[RecipientResult, ...])
    assert_type(info.recipients[0].reply, Reply | None)
    assert_type(info.recipients[0].outcome, Outcome)
    assert_type(info.reply, Reply)
    assert_type(info.response, str)
    assert_type(info.maybe_duplicate, bool)
    assert_type(info.took, float)

    results = await asyncio.gather(transporter.send_mail(FIELDS), transporter.send_mail(FIELDS))
    assert_type(results, tuple[SendResult, SendResult])
    either = await asyncio.gather(transporter.send_mail(FIELDS), return_exceptions=True)
    assert_type(either, tuple[SendResult | BaseException])

    async with asyncio.timeout(5):
        await transporter.send_mail(Message(from_="me@example.org", to=["you@example.org"]))
    transporter.send_soon(EmailMessage())
    transporter.send_mail("Subject: Hi")  # type: ignore[arg-type]
    transporter.send_mail(FIELDS, priority="high")  # type: ignore[arg-type]


async def messages(transporter: Transporter) -> None:
    message = Message(
        from_=Mailbox("Me", "me@example.org"),
        to=[("You", "you@example.org"), "them@example.org", {"name": None, "address": "us@example.org"}],
        attachments=[Attachment(path="invoice.pdf"), {"content": b"x", "filename": "x.bin"}],
        headers={"List-Unsubscribe": "<https://example.org/u>", "X-Many": ["a", "b"]},
        envelope=Envelope("bounces@example.org", ["you@example.org"]),
        priority="high",
    )
    assert_type(await transporter.send_mail(message), SendResult)
    assert_type(
        await transporter.send_mail(
            {"raw": b"Subject: Hi\r\n\r\n", "envelope": {"from": "", "to": ["you@example.org"]}}
        ),
        SendResult,
    )
    Message(priority="urgent")  # type: ignore[arg-type]
    Message(subjekt="Hi")  # type: ignore[call-arg]
    envelope = Envelope("me@example.org", ["you@example.org"])
    assert_type(envelope.recipients, tuple[str, ...])
    assert_type(Mailbox("Me", "me@example.org").domain, str)


async def many(transporter: Transporter) -> None:
    async for first in transporter.send_many([FIELDS]):
        assert_type(first, SendOutcome[dict[str, str]])
        assert_type(first.message, dict[str, str])
        assert_type(first.result, SendResult | None)
        assert_type(first.error, Exception | None)
        assert_type(first.ok, bool)

    def letters() -> Iterator[Message]:
        yield Message(from_="me@example.org", to="you@example.org")

    async for second in transporter.send_many(letters(), priority=-5):
        assert_type(second.message, Message)

    async def arriving() -> AsyncIterator[EmailMessage]:
        yield EmailMessage()

    async for third in transporter.send_many(arriving()):
        assert_type(third.message, EmailMessage)


async def errors(transporter: Transporter) -> None:
    try:
        await transporter.send_mail(FIELDS)
    except (Rejected, Throttled, Deferred) as refused:
        assert_type(refused.phase, Phase)
        assert_type(refused.reply, Reply | None)
        assert_type(refused.retry_after, float | None)
        if refused.reply is not None:
            assert_type(refused.reply.code, int)
            assert_type(refused.reply.enhanced_code, str | None)
    except DeliveryUncertain as uncertain:
        assert_type(uncertain.may_have_been_delivered, bool)
    except SendError as error:
        assert_type(error.temporary, bool)
        assert_type(error.recipients, tuple[RecipientResult, ...])
        assert_type(error.message_id, str | None)
        assert_type(error.outcome, Outcome)
    except AddressError as wrong_address:
        assert_type(wrong_address.field, str | None)
    except MessageError as wrong_field:
        assert_type(wrong_field.field, str | None)
    except MailpoolError:
        raise
    try:
        create_transport(hots="smtp.example.org")
    except ConfigurationError as wrong_option:
        assert_type(wrong_option.option, str | None)


def events(transporter: Transporter) -> None:
    @transporter.on("idle")
    def pull() -> None: ...

    assert_type(pull, Callable[[], None])

    @transporter.on("requeued")
    async def note(message_id: str, times: int) -> None: ...

    def report(error: SendError) -> None: ...

    same: Callable[[SendError], None] = transporter.on("error", report)
    transporter.off("error", same)
    other: Callable[[int], None] = transporter.on("error", report)  # type: ignore[assignment]
    del other
    transporter.on("idle", 1)  # type: ignore[call-overload]


async def seeing(transporter: Transporter) -> None:
    assert_type(transporter.is_idle(), bool)
    stats = transporter.stats()
    assert_type(stats, PoolStats)
    assert_type(stats.sent, int)
    assert_type(stats.rates, tuple[Rate, ...])
    assert_type(stats.waited, Histogram)
    assert_type(stats.took.quantile(0.95), float)
    found = await transporter.verify()
    assert_type(found, Verification)
    assert_type(found.tls_version, str | None)
    assert_type(found.total, float)


async def ending(transporter: Transporter) -> None:
    unsent = await transporter.close(timeout=5.0)
    assert_type(unsent, list[Sealed])
    assert_type(await transporter.drain(), list[Sealed])
    async with create_transport("smtp://smtp.example.org") as another:
        assert_type(another, Transporter)
        for sealed in unsent:
            assert_type(await another.send_mail(sealed), SendResult)


@dataclass
class Job:
    """What is no message cannot be sent, and the type says so."""

    number: int


async def not_a_message(transporter: Transporter) -> None:
    transporter.send_soon(Job(1))  # type: ignore[arg-type]


async def testing() -> None:
    async with ScriptedServer(auth={"me": "secret"}) as server:
        assert_type(server, ScriptedServer)
        assert_type(server.messages, list[ReceivedMessage])
    with in_thread(ScriptedServer(tls=Authority().server_context("127.0.0.1"))) as other:
        assert_type(other, ScriptedServer)


def everything_public_is_typed() -> None:
    names: list[str] = mailpool.__all__
    assert_type(mailpool.__version__, str)
    anything: Any = names
    del anything


class Pigeon:
    """A carrier is told by what it can do."""

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        return mailpool.all_accepted(sealed)


class Rock:
    async def deliver(self, sealed: Sealed, /) -> str:
        return ""


def other_ways_out() -> None:
    carrier: mailpool.Carrier = Pigeon()
    assert_type(mailpool.create_transport(carrier, rate="1/s").carrier, mailpool.Carrier | None)
    mailpool.create_transport(Pigeon())
    mailpool.create_transport(mailpool.MemoryCarrier())
    mailpool.create_transport(Rock())  # type: ignore[arg-type]
    mailpool.FileCarrier("x", format="mbox")  # type: ignore[arg-type]


async def mail_merge(transporter: Transporter, rows: list[dict[str, str]]) -> None:
    letter = MailMerge({"from": "a@x.example", "subject": "{name}"})
    merged: Merged = letter.fill(rows[0], to=rows[0]["email"], number=7, html=Markup("<b>"))
    assert_type(merged.fields(), dict[str, Any])
    assert_type(await transporter.send_mail(merged), SendResult)
    async for outcome in transporter.send_many(letter.fill(row, to=row["email"]) for row in rows):
        assert_type(outcome.message, Merged)
    letter.fill(to="a@x.example", price=1.5)  # type: ignore[arg-type]


def addresses_in_all_their_forms() -> list[Message]:
    people = Address("Ana", addr_spec="ana@example.org")
    mailpool.parse_addresses(people)
    return [
        Message(from_=people, to=[people, {"name": "Eve", "address": "eve@example.org"}]),
    ]
