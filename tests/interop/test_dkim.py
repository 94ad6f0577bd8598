"""What we sign, npm's mailauth verifies: another language, other people, their own canonical forms."""

from __future__ import annotations

import datetime
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from servers import NotAvailable
from servers.mailauth import verdicts

from mailpool import DkimKey
from mailpool.content import BytesContent
from mailpool.message import seal
from mailpool.message.dkim import dkim_record, load_key, signed
from mailpool.message.raw import raw_content

pytestmark = pytest.mark.interop

FORMS: list[Any] = ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"]
PRIVATE: dict[str, PrivateKeyTypes] = {
    "rsa": rsa.generate_private_key(65_537, 2_048),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}
KEYS = [
    DkimKey("example.org", f"{kind}-{form.replace('/', '-')}", private, canonicalization=form)
    for kind, private in PRIVATE.items()
    for form in FORMS
]
INTERNATIONAL = DkimKey("bücher.example", "s1", PRIVATE["rsa"], identity="me@mail.bücher.example")
RECORDS = dict(map(dkim_record, [*KEYS, INTERNATIONAL]))


def octets(content: BytesContent, keys: list[DkimKey], now: float | None = None) -> bytes:
    loaded = [load_key(key) for key in keys]
    return b"".join(signed(content, loaded, int(time.time() if now is None else now)).blocks())


@pytest.fixture
def verified() -> Callable[[list[bytes]], list[list[str]]]:
    def ask(messages: list[bytes]) -> list[list[str]]:
        try:
            found = verdicts(messages, RECORDS)
        except NotAvailable as reason:
            pytest.skip(str(reason))
        return [[one["result"] for one in verdict["dkim"]] for verdict in found]

    return ask


def generated(dice: random.Random) -> BytesContent:
    """A raw message with folds, tabs, fields that occur twice, and any kind of end.

    It has an empty line after the header, without which mailauth does not see a header at all.
    """

    def words(count: int) -> str:
        white = [" ", "  ", "\t", " \t", "\r\n ", "\r\n\t", "\r\n  \t"]
        return "".join(
            dice.choice("abé;=:<>@") * dice.randint(1, 9) + dice.choice(white) for _ in range(count)
        )

    names = ["To", "Subject", "SUBJECT", "Date", "Cc", "X-Own", "List-Id", "Received", "Sender", "message-id"]
    fields = [
        f"{dice.choice(names)}:{dice.choice(['', ' ', '  '])}{words(dice.randint(0, 6))}x" for _ in range(7)
    ]
    fields.insert(dice.randint(0, 7), "From: a@example.org")
    lines = [
        dice.choice(["", " ", "\t", "text", " a  b\t c ", "é \t", ".", ".."])
        for _ in range(dice.randint(1, 9))
    ]
    return raw_content("\r\n".join([*fields, "", *lines]), "raw")[0]


@pytest.mark.rule("DAT-10")
def test_mailauth_verifies_generated_messages(verified: Any) -> None:
    dice = random.Random(6_376)
    messages = [octets(generated(dice), KEYS) for _ in range(200)]
    assert verified(messages) == [["pass"] * len(KEYS)] * len(messages)


@pytest.mark.rule("DAT-10")
def test_mailauth_verifies_what_we_compose(verified: Any) -> None:
    now = datetime.datetime.now().astimezone()
    people = {"from": "Ä <a@example.org>", "to": [f"reader{n}@example.net" for n in range(30)]}
    contents = [
        seal(people | fields, now=now, token=lambda: "0123456789abcdef").content
        for fields in (
            {},
            {"text": ""},
            {"subject": "é" * 300, "text": "Grüße \n\n.\n \n" * 30, "html": "<p>\t" * 900},
            {"text": "x\n", "attachments": [{"content": bytes(range(256)) * 300, "filename": "é.bin"}]},
            {
                "from": "jörg@bücher.example",
                "text": "SMTPUTF8",
                "list": {"unsubscribe": "https://example.org/u"},
            },
        )
    ]
    messages = [
        octets(content, [*KEYS, INTERNATIONAL]) for content in contents if isinstance(content, BytesContent)
    ]
    assert len(messages) == 5
    assert verified(messages) == [["pass"] * 9] * 5


def test_mailauth_refuses_what_was_changed(verified: Any) -> None:
    content = raw_content("From: a@example.org\nSubject: Hi\n\nHello  there\n", "raw")[0]
    good = octets(content, KEYS[:1])
    worse = octets(content, [DkimKey("example.org", KEYS[1].selector, PRIVATE["ed25519"])])
    expiring = DkimKey("example.org", KEYS[0].selector, PRIVATE["rsa"], expires_after=60)
    messages = {
        good: "pass",
        good.replace(b"Subject: Hi", b"SUBJECT:  Hi"): "pass",
        good.replace(b"Subject: Hi", b"Subject: Ho"): "fail",
        b"Subject: Ho\r\n" + good: "fail",
        b"Content-Type: text/html\r\n" + good: "fail",
        good.replace(b"Hello  there", b"Hello there"): "pass",
        good.replace(b"Hello  there", b"Hello here"): "neutral",  # the body hash did not verify
        worse: "fail",  # the record is of another kind of key
        octets(content, [expiring]): "pass",
        octets(content, [expiring], time.time() - 3_600): "neutral",
    }
    assert verified(list(messages)) == [[result] for result in messages.values()]
