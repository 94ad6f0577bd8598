"""Amazon SES: raw messages to moto's server over HTTP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from mailpool import (
    AuthenticationFailed,
    ConfigurationError,
    MessageError,
    Rejected,
    Sealed,
    SESCarrier,
    UnsupportedByServer,
    create_transport,
)

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")
backends = pytest.importorskip("moto.ses.models")

KEY = ("AKIAEXAMPLE", "s3cret-of-aws")
# 10,000 take half a minute: MAILPOOL_SES_MESSAGES=10000 make test ARGS="tests/contract/test_ses.py"
MANY = int(os.environ.get("MAILPOOL_SES_MESSAGES", "1000"))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def account(server: str) -> Any:
    """What moto knows of the account, with nothing sent yet and one domain verified."""
    backend = backends.ses_backends["123456789012"]["eu-west-1"]
    backend.reset()
    backend.verify_domain("example.org")
    return backend


def carrier(server: str, **arguments: Any) -> SESCarrier:
    return SESCarrier("eu-west-1", endpoint_url=server, access_key=KEY, **arguments)


def mail(number: object, **fields: Any) -> dict[str, Any]:
    return {
        "from": "News <news@example.org>",
        "to": f"reader{number}@example.net",
        "subject": f"Issue {number}",
        "text": "Hello",
        **fields,
    }


def to(message: Any) -> set[str]:
    """moto adds those of the header to those that it was given."""
    return set(message.destinations)


async def test_a_raw_message_arrives_as_it_is(server: str, account: Any) -> None:
    async with create_transport(
        carrier(server, configuration_set="news", tags={"issue": "7"})
    ) as transporter:
        result = await transporter.send_mail(mail(1, bcc="boss@example.net", subject="Grüße"))
    (received,) = account.sent_messages
    assert to(received) == {"reader1@example.net", "boss@example.net"}
    assert "Subject: =?utf-8?" in received.raw_data
    assert "boss" not in received.raw_data
    assert result.accepted == ("reader1@example.net", "boss@example.net")
    assert result.response == f"250 2.0.0 <{received.id}@eu-west-1.amazonses.com>"
    assert f"Message-ID: {result.message_id}" in received.raw_data


@pytest.mark.timeout(900)
async def test_many_messages(server: str, account: Any) -> None:
    async with create_transport(carrier(server), max_connections=10) as transporter:
        identities = set()
        async for outcome in transporter.send_many(mail(n) for n in range(MANY)):
            assert outcome.result is not None, outcome.error
            identities.add(outcome.result.response)
        stats = transporter.stats()
        assert (stats.sent, stats.failed, stats.connections) == (MANY, 0, 0)
    assert len(identities) == MANY
    received = [to(message) for message in account.sent_messages]
    assert len(received) == MANY
    assert set().union(*received) == {f"reader{n}@example.net" for n in range(MANY)}


@pytest.mark.rule("P-12")
async def test_more_than_fifty_recipients_are_split_and_the_result_is_one(server: str, account: Any) -> None:
    readers = [f"r{n}@example.net" for n in range(120)]
    async with create_transport(carrier(server)) as transporter:
        # In Bcc: moto would count those of the header once more.
        result = await transporter.send_mail(mail(1, to=None, bcc=readers))
    assert result.accepted == tuple(readers)
    assert [len(message.destinations) for message in account.sent_messages] == [50, 50, 20]
    assert len({recipient.reply for recipient in result.recipients}) == 3


async def test_an_unverified_sender_is_rejected(server: str, account: Any) -> None:
    async with create_transport(carrier(server)) as transporter:
        with pytest.raises(Rejected, match="MessageRejected") as caught:
            await transporter.send_mail(mail(1, **{"from": "me@elsewhere.example"}))
        assert not caught.value.temporary
        await transporter.send_mail(mail(2))
    assert len(account.sent_messages) == 1


async def test_raw_utf8_addresses_are_refused_before(server: str, account: Any) -> None:
    async with create_transport(carrier(server)) as transporter:
        with pytest.raises(UnsupportedByServer):
            await transporter.send_mail(mail(1, to="jürgen@example.net"))
    assert account.sent_messages == []


@pytest.mark.rule("FIL-01")
async def test_fil_01_ses_sees_no_message_that_may_not_read(server: str, account: Any, tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    async with create_transport(carrier(server), access="none") as transporter:
        with pytest.raises(MessageError):
            await transporter.send_mail(mail(1, attachments=[{"path": str(secret)}]))
    assert account.sent_messages == []


async def test_parameters_of_single_messages(
    server: str, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    original = SESCarrier._call

    async def call(self: Any, operation: str, parameters: Any) -> Any:
        seen.append(parameters)
        return await original(self, operation, parameters)

    monkeypatch.setattr(SESCarrier, "_call", call)
    ses = carrier(
        server,
        configuration_set="usual",
        tags={"a": "b"},
        parameters=lambda sealed: {"ConfigurationSetName": sealed.envelope.recipients[0].partition("@")[0]},
    )
    async with create_transport(ses) as transporter:
        await transporter.send_mail(mail(1))
    sent = next(parameters for parameters in seen if "Content" in parameters)
    assert sent["ConfigurationSetName"] == "reader1"
    assert sent["EmailTags"] == [{"Name": "a", "Value": "b"}]


async def test_no_credentials(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with create_transport(SESCarrier("eu-west-1", endpoint_url=server)) as transporter:
        with pytest.raises(AuthenticationFailed, match="no AWS credentials"):
            await transporter.send_mail(mail(1))


async def test_closing_leaves_no_connection(server: str, account: Any) -> None:
    before = asyncio.all_tasks()
    transporter = create_transport(carrier(server))
    await asyncio.gather(*[transporter.send_mail(mail(n)) for n in range(5)])
    await transporter.close()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"access_key": 5},
        {"access_key": ("id", 5)},
        {"parameters": {"a": "b"}},
        {"timeout": "soon"},
        {"timeout": None},
        {"connections": 0},
        {"region": "KEY:s3cret@eu-west-1"},
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SESCarrier(**arguments)
    assert caught.value.option == next(iter(arguments))
    assert "s3cret" not in str(caught.value)


async def test_parameters_that_fail_are_no_uncertain_delivery(server: str, account: Any) -> None:
    def failing(sealed: Sealed) -> dict[str, Any]:
        raise KeyError("no such customer")

    async with create_transport(carrier(server, parameters=failing)) as transporter:
        with pytest.raises(MessageError, match="parameters: it failed with KeyError"):
            await transporter.send_mail(mail(1))
    assert account.sent_messages == []
