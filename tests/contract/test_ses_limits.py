"""Amazon SES as moto does not know it: rates, quotas, throttling, refusals, silence. A scripted server speaks its HTTP."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mailpool import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    Deferred,
    DeliveryUncertain,
    QuotaExceeded,
    Rate,
    Rejected,
    SendError,
    SendResult,
    SESCarrier,
    Throttled,
    TimedOut,
    create_transport,
)
from mailpool.transports.ses.quota import Quota

web = pytest.importorskip("aiohttp.web")
aiobotocore_session = pytest.importorskip("aiobotocore.session")

KEY = ("AKIAEXAMPLE", "s3cret-of-aws", "s3cret-session-token")
Answer = Callable[[Any], Awaitable[Any]]


def refuse(status: int, code: str, message: str = "no") -> Answer:
    async def answer(request: Any) -> Any:
        return web.json_response({"message": message}, status=status, headers={"x-amzn-ErrorType": code})

    return answer


def account(rate: float = 1_000, most: float = 50_000, sent: float = 0, **more: Any) -> Answer:
    async def answer(request: Any) -> Any:
        quota = {"MaxSendRate": rate, "Max24HourSend": most, "SentLast24Hours": sent}
        return web.json_response({"SendQuota": quota, "SendingEnabled": True, **more})

    return answer


class Amazon:
    """Answers GetAccount by ``account``, and SendEmail by the next of ``script``, or by accepting it."""

    def __init__(self) -> None:
        self.account: Answer = account()
        self.asked = 0
        self.script: deque[Answer] = deque()
        self.always: Answer | None = None
        self.accepted: list[list[str]] = []
        self.calls = 0
        self.at_once = 0
        self.most_at_once = 0
        self.url = ""

    async def get_account(self, request: Any) -> Any:
        self.asked += 1
        return await self.account(request)

    async def send_email(self, request: Any) -> Any:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            body = await request.json()
            assert base64.b64decode(body["Content"]["Raw"]["Data"]).endswith(b"\r\n")
            await asyncio.sleep(0)
            answer = self.script.popleft() if self.script else self.always
            if answer is not None:
                response = await answer(request)
                if response is not None:
                    return response
            return self.accept(body)
        finally:
            self.at_once -= 1

    def accept(self, body: Any) -> Any:
        self.accepted.append(body["Destination"]["ToAddresses"])
        return web.Response(
            text=json.dumps({"MessageId": f"id-{len(self.accepted)}"}), content_type="application/json"
        )


@pytest.fixture
async def amazon(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Amazon]:
    # The pauses themselves are proved on a virtual clock.
    monkeypatch.setattr("mailpool.policy.backoff._BASE", 0.02)
    served = Amazon()
    app = web.Application(client_max_size=2**26)
    app.router.add_get("/v2/email/account", served.get_account)
    app.router.add_post("/v2/email/outbound-emails", served.send_email)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    served.url = f"http://{host}:{port}"
    yield served
    await runner.cleanup()


@functools.cache
def session() -> Any:
    """One for all: it remembers the description of the service, which takes a while to read."""
    return aiobotocore_session.get_session()


def carrier(amazon: Amazon, **arguments: Any) -> SESCarrier:
    return SESCarrier(
        "us-east-1", endpoint_url=amazon.url, access_key=KEY, **{"session": session(), **arguments}
    )


def mail(number: object, *to: str) -> dict[str, Any]:
    return {"from": "news@example.org", "to": list(to) or [f"r{number}@example.net"], "text": "Hello"}


async def ends(*sends: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*sends, return_exceptions=True)


# -- rate and quota --------------------------------------------------------------------------------------------------


async def test_the_accounts_rate_is_asked_once_and_obeyed(amazon: Amazon) -> None:
    amazon.account = account(rate=14)
    async with create_transport(carrier(amazon), rate="100/s") as transporter:
        results = await ends(*[transporter.send_mail(mail(n)) for n in range(10)])
        assert all(isinstance(result, SendResult) for result in results)
        assert transporter.stats().rates == (Rate(100), Rate(14, unit="recipients"))
        assert results[0].response.endswith("@email.amazonses.com>")
    assert amazon.asked == 1


async def test_a_message_is_split_so_that_the_rate_can_be_kept(amazon: Amazon) -> None:
    amazon.account = account(rate=3)
    async with create_transport(carrier(amazon)) as transporter:
        result = await transporter.send_mail(mail(1, *[f"r{n}@example.net" for n in range(5)]))
    assert len(result.accepted) == 5
    assert [len(recipients) for recipients in amazon.accepted] == [3, 2]


async def test_a_server_that_counts_itself_loses_nothing(amazon: Amazon) -> None:
    sent = 0

    async def count(request: Any) -> Any:
        # Five, and then it says that this was too fast: by a clock, a slow machine would never hear that.
        nonlocal sent
        if sent == 5:
            sent = 0
            return await refuse(400, "Throttling", "Maximum sending rate exceeded.")(request)
        sent += 1
        return None

    # The account says more than it means, so that both sides of it are seen.
    amazon.account, amazon.always = account(rate=1_000), count
    async with create_transport(carrier(amazon), max_connections=10) as transporter:
        results = await ends(*[transporter.send_mail(mail(n)) for n in range(60)])
        assert all(isinstance(result, SendResult) for result in results)
        assert transporter.stats().requeued > 0
    assert sorted(amazon.accepted) == sorted([f"r{n}@example.net"] for n in range(60))


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (429, "TooManyRequestsException", "Too many requests"),
        (400, "Throttling", "Maximum sending rate exceeded."),
        (400, "ThrottlingException", "Rate exceeded"),
        (454, "Whatever", "Maximum sending rate exceeded."),
        (429, "", ""),
    ],
)
async def test_throttling_is_repeated(amazon: Amazon, status: int, code: str, text: str) -> None:
    amazon.script.extend([refuse(status, code, text)] * 3)
    async with create_transport(carrier(amazon)) as transporter:
        result = await transporter.send_mail(mail(1))
        assert result.attempts == 4
    assert amazon.calls == 4
    assert amazon.accepted == [["r1@example.net"]]


async def test_throttling_is_not_repeated_for_ever(amazon: Amazon) -> None:
    amazon.always = refuse(429, "TooManyRequestsException")
    async with create_transport(carrier(amazon), max_throttle_wait=2) as transporter:
        with pytest.raises(Throttled):
            await transporter.send_mail(mail(1))
    assert amazon.calls > 1


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (400, "Throttling", "Daily message quota exceeded."),
        (400, "ThrottlingException", "Daily sending quota exceeded"),
        (400, "LimitExceededException", "There are too many instances of the specified resource type."),
        (429, "TooManyRequestsException", "Daily message quota exceeded"),
    ],
)
async def test_a_quota_that_is_used_up_is_another_thing(
    amazon: Amazon, status: int, code: str, text: str
) -> None:
    amazon.script.append(refuse(status, code, text))
    async with create_transport(carrier(amazon), max_connections=1) as transporter:
        outcomes = await ends(*[transporter.send_mail(mail(n)) for n in range(3)])
        assert [type(outcome) for outcome in outcomes] == [QuotaExceeded] * 3
        assert all(0 < outcome.retry_after <= 600 for outcome in outcomes)
    assert amazon.calls == 1


async def test_no_more_than_the_quota_is_tried(amazon: Amazon) -> None:
    amazon.account = account(most=200, sent=190)
    async with create_transport(carrier(amazon), max_connections=3) as transporter:
        outcomes = await ends(*[transporter.send_mail(mail(n)) for n in range(20)])
        failed = [outcome for outcome in outcomes if isinstance(outcome, QuotaExceeded)]
        assert len(failed) == 10
        assert "200 recipients in 24 hours" in str(failed[0])
    assert (len(amazon.accepted), amazon.asked) == (10, 1)


async def test_what_was_refused_does_not_count_against_the_quota(amazon: Amazon) -> None:
    amazon.account = account(most=200, sent=199)
    amazon.script.append(refuse(400, "MessageRejected", "Email address is not verified."))
    async with create_transport(carrier(amazon)) as transporter:
        with pytest.raises(Rejected):
            await transporter.send_mail(mail(1))
        assert (await transporter.send_mail(mail(2))).accepted


async def test_a_quota_that_seems_used_up_is_asked_for_again(
    amazon: Amazon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailpool.transports.ses.carrier._ASK_AGAIN", 0.0)
    amazon.account = account(most=200, sent=200)
    ses = carrier(amazon)
    await ses.rates()
    amazon.account = account(most=200, sent=100)
    async with create_transport(ses) as transporter:
        assert (await transporter.send_mail(mail(1))).accepted


async def test_an_account_that_may_not_ask_sends_all_the_same(
    amazon: Amazon, caplog: pytest.LogCaptureFixture
) -> None:
    amazon.account = refuse(403, "AccessDeniedException", "not authorized to perform ses:GetAccount")
    async with create_transport(carrier(amazon)) as transporter:
        assert (await transporter.send_mail(mail(1))).accepted
        assert transporter.stats().rates == ()
    assert "ses:GetAccount" in caplog.text


@pytest.mark.parametrize(
    ("answer", "rates"),
    [
        ({"MaxSendRate": 14.0}, (Rate(14, unit="recipients"),)),
        ({"MaxSendRate": 1.9}, (Rate(1, unit="recipients"),)),
        ({"MaxSendRate": 0.5}, (Rate(1, 2.0, unit="recipients"),)),
        ({"MaxSendRate": 0}, ()),
        ({"MaxSendRate": "fast"}, ()),
        ({"MaxSendRate": float("nan")}, ()),
        ({}, ()),
    ],
)
def test_the_rate_is_never_more_than_the_accounts(answer: Any, rates: Any) -> None:
    quota = Quota()
    quota.told(answer, 0.0)
    assert quota.rates == rates
    assert quota.left == float("inf")


def test_minus_one_is_no_quota() -> None:
    quota = Quota()
    quota.told({"Max24HourSend": -1.0, "SentLast24Hours": 10**9}, 0.0)
    assert quota.left == float("inf")
    quota.told({"Max24HourSend": 200.0, "SentLast24Hours": 50.0}, 0.0)
    assert quota.left == 150


# -- outcomes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "MessageRejected", Rejected),
        (400, "BadRequestException", Rejected),
        (400, "MailFromDomainNotVerifiedException", Rejected),
        (404, "NotFoundException", Rejected),
        (413, "RequestEntityTooLarge", Rejected),
        (400, "SendingPausedException", Deferred),
        (400, "AccountSuspendedException", AuthenticationFailed),
        (403, "AccessDeniedException", AuthenticationFailed),
        (403, "SignatureDoesNotMatch", AuthenticationFailed),
        (403, "ExpiredTokenException", AuthenticationFailed),
        (400, "UnrecognizedClientException", AuthenticationFailed),
        (503, "ServiceUnavailable", Deferred),
        (500, "InternalFailure", DeliveryUncertain),
        (502, "", DeliveryUncertain),
    ],
)
async def test_refusals(amazon: Amazon, status: int, code: str, kind: type[SendError]) -> None:
    text = (
        "the canonical request: x-amz-security-token:s3cret-session-token" if status == 403 else "no\x1b[31m"
    )
    amazon.script.append(refuse(status, code, text))
    async with create_transport(carrier(amazon)) as transporter:
        with pytest.raises(SendError) as caught:
            await transporter.send_mail(mail(1))
    error = caught.value
    assert type(error) is kind
    assert error.temporary == (kind in (Deferred, DeliveryUncertain))
    assert error.may_have_been_delivered == (kind is DeliveryUncertain)
    assert code in str(error)
    assert str(error).isprintable()
    assert "s3cret" not in f"{error} {error!r} {error.__cause__!r}"
    assert amazon.calls == 1  # botocore repeats nothing on its own


async def test_a_connection_that_breaks_or_hangs_is_uncertain(amazon: Amazon, pass_time: Any) -> None:
    hanging = asyncio.Event()

    async def cut(request: Any) -> Any:
        request.transport.abort()
        return web.Response()

    async def hang(request: Any) -> Any:
        hanging.set()
        await asyncio.sleep(10_000)

    amazon.script.extend([cut, hang])
    async with create_transport(carrier(amazon, timeout=1_000), max_connections=1) as transporter:
        for hangs in (False, True):
            sending = asyncio.ensure_future(transporter.send_mail(mail(1)))
            if hangs:
                await hanging.wait()
                pass_time(1_001)
            with pytest.raises(DeliveryUncertain, match="did not answer") as caught:
                await sending
            assert caught.value.may_have_been_delivered
    assert amazon.calls == 2


async def test_no_server_is_no_delivery() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with create_transport(SESCarrier("us-east-1", endpoint_url=url, access_key=KEY)) as transporter:
            with pytest.raises(ConnectionFailed) as caught:
                await transporter.send_mail(mail(1))
    assert not isinstance(caught.value, TimedOut)
    assert caught.value.temporary
    assert not caught.value.may_have_been_delivered


async def test_wrong_parameters_are_refused(amazon: Amazon) -> None:
    ses = carrier(amazon, parameters=lambda sealed: {"Nonsense": 1})
    async with create_transport(ses) as transporter:
        with pytest.raises(Rejected, match="takes no such parameters"):
            await transporter.send_mail(mail(1))
    assert amazon.calls == 0


async def test_concurrency_is_bounded(amazon: Amazon) -> None:
    async def slowly(request: Any) -> None:
        await asyncio.sleep(0.01)

    amazon.always = slowly
    async with create_transport(carrier(amazon), max_connections=4) as transporter:
        assert transporter.is_idle()
        sends = [transporter.send_mail(mail(n)) for n in range(30)]
        assert not transporter.is_idle()
        await ends(*sends)
        assert transporter.is_idle()
    assert amazon.most_at_once == 4


@pytest.mark.rule("P-27")
async def test_what_is_on_its_way_is_finished_without_its_caller(amazon: Amazon) -> None:
    go_on = asyncio.Event()

    async def wait(request: Any) -> None:
        await go_on.wait()

    amazon.script.append(wait)
    heard: list[Any] = []
    transporter = create_transport(carrier(amazon))
    transporter.on("detached", lambda *details: heard.append(details))
    sending = asyncio.ensure_future(transporter.send_mail(mail(1)))
    while not amazon.calls:
        await asyncio.sleep(0.01)
    sending.cancel()
    await asyncio.sleep(0)
    go_on.set()
    await transporter.drain()
    assert sending.cancelled()
    assert [outcome.accepted for _, outcome in heard] == [("r1@example.net",)]
    assert transporter.stats().detached == 1


@pytest.mark.rule("P-29")
async def test_closing_cuts_what_hangs(amazon: Amazon) -> None:
    async def hang(request: Any) -> None:
        await asyncio.sleep(600)

    amazon.script.append(hang)
    before = asyncio.all_tasks()
    transporter = create_transport(carrier(amazon), max_connections=1)
    sends = [transporter.send_mail(mail(n)) for n in range(2)]
    while not amazon.calls:
        await asyncio.sleep(0.01)
    (left,) = await transporter.close(0.1)
    first, _ = await ends(*sends)
    assert isinstance(first, DeliveryUncertain)
    assert left.envelope.recipients == ("r1@example.net",)
    assert {task for task in asyncio.all_tasks() - before if "Carriage" in repr(task)} == set()


async def test_verify_tells_of_the_account(amazon: Amazon) -> None:
    amazon.account = account(rate=14, most=50_000, sent=10, ProductionAccessEnabled=True)
    ses = carrier(amazon)
    transporter = create_transport(ses)
    found = await transporter.verify()
    assert found.greeting == "production, 14 recipients/s, 49990 of 50000 in 24 hours are left"
    amazon.account = account(SendingEnabled=False)
    with pytest.raises(AuthenticationFailed, match="switched off"):
        await transporter.verify()
    amazon.account = refuse(403, "InvalidClientTokenId")
    with pytest.raises(AuthenticationFailed, match="InvalidClientTokenId"):
        await transporter.verify()
    await transporter.close()


def told(caplog: pytest.LogCaptureFixture) -> str:
    return " ".join(record.getMessage() for record in caplog.records if record.name.startswith("mailpool"))


async def test_no_secret_is_shown(amazon: Amazon, caplog: pytest.LogCaptureFixture) -> None:
    amazon.script.append(refuse(403, "SignatureDoesNotMatch", "s3cret-session-token"))
    ses = carrier(amazon)
    with caplog.at_level(logging.DEBUG, "mailpool"):
        async with create_transport(ses) as transporter:
            shown = f"{transporter!r} {ses!r} {transporter.options!r}"
            transporter.send_soon(mail(1))
            async with asyncio.timeout(200):
                while "a message was not sent" not in (ours := told(caplog)):
                    await asyncio.sleep(0.01)
    assert "s3cret" not in shown + ours


# -- making one ------------------------------------------------------------------------------------------------------


def test_urls_and_wrong_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    found = create_transport("ses://eu-west-1?configuration_set=news&rate=5/s").carrier
    assert repr(found) == "<SESCarrier eu-west-1>"
    assert repr(create_transport("ses:").carrier) == "<SESCarrier of the default region>"
    for wrong in ("ses://eu-west-1/path", "ses:?access_key=x", "ses:?colour=red"):
        with pytest.raises(ConfigurationError):
            create_transport(wrong)
    with pytest.raises(ConfigurationError, match="access_key"):
        SESCarrier(access_key="AKIA")
    with pytest.raises(ConfigurationError, match="tags"):
        SESCarrier(tags={"a": 1})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install mailpool\[ses\]"):
        SESCarrier("eu-west-1")


async def test_without_a_region(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    async with create_transport(SESCarrier(access_key=KEY)) as transporter:
        with pytest.raises(ConfigurationError, match="region"):
            await transporter.send_mail(mail(1))


async def test_a_question_about_the_quota_that_goes_unanswered_is_no_message_that_was_sent(
    amazon: Amazon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailpool.transports.ses.carrier._ASK_AGAIN", 0.0)
    amazon.account = account(most=1)
    async with create_transport(carrier(amazon)) as transporter:
        await transporter.send_mail(mail(1))
        amazon.account = refuse(500, "InternalFailure", "try again")
        with pytest.raises(Deferred) as caught:
            await transporter.send_mail(mail(2))
        assert not caught.value.may_have_been_delivered
        assert transporter.stats().uncertain == 0
