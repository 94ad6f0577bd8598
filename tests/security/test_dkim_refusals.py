"""No signature with a tag that somebody else wrote, and never an unsigned message in place of a signed one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailpool import ConfigurationError, DkimKey, MessageError, create_transport
from mailpool.options import parse_options
from mailpool.preparing import Preparation
from mailpool.testing import ScriptedServer, in_thread

ED25519 = ed25519.Ed25519PrivateKey.generate()
PEM = ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
EVIL = [
    ";",
    "=",
    "\r\n",
    "\r",
    "\n",
    "\0",
    "\t",
    " ",
    "\x0b",
    "\x1f",
    "\x7f",
    "\x85",
    ",",
    ":",
    '"',
    "\u2028",
]
MESSAGE: dict[str, Any] = {"from": "a@example.org", "to": "b@example.net", "text": "Hello"}


@pytest.mark.rule("HDR-09")
@pytest.mark.parametrize("evil", EVIL, ids=repr)
@pytest.mark.parametrize(
    ("option", "make"),
    [
        ("domain", lambda evil: {"domain": f"example{evil}l=0.org"}),
        ("domain", lambda evil: {"domain": f"example.org{evil}"}),
        ("selector", lambda evil: {"selector": f"s1{evil}x"}),
        ("selector", lambda evil: {"selector": f"s1{evil}"}),
        ("selector", lambda evil: {"selector": evil}),
        ("identity", lambda evil: {"identity": f"me@example{evil}.org"}),
        ("headers", lambda evil: {"headers": ["From", f"{evil}"]}),
    ],
)
def test_what_would_end_a_tag_is_refused(option: str, make: Any, evil: str) -> None:
    fields = {"domain": "example.org", "selector": "s1", "private_key": ED25519, **make(evil)}
    with pytest.raises(ConfigurationError) as caught:
        create_transport(host="relay.example", dkim=fields)
    assert caught.value.option == f"dkim.{option}"
    assert str(caught.value).isprintable()
    # The same in a message: nothing is sent.
    with pytest.raises(MessageError) as refused:
        Preparation(parse_options(host="relay.example")).seal(MESSAGE | {"dkim": fields})
    assert refused.value.field == "dkim"


@pytest.mark.rule("HDR-09")
@pytest.mark.parametrize("evil", [*EVIL, "é"], ids=repr)
@pytest.mark.parametrize("option", ["identity", "headers", "skip_fields"])
def test_what_would_end_a_tag_in_the_middle_of_a_value(option: str, evil: str) -> None:
    value: Any = f"m{evil}e@example.org" if option == "identity" else ["from", f"x{evil}y"]
    if option == "skip_fields":
        value = value[1:]
    with pytest.raises(ConfigurationError) as caught:
        DkimKey("example.org", "s1", ED25519, **{option: value})
    assert caught.value.option == f"dkim.{option}"


@pytest.mark.rule("HDR-09")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("domain", "localhost"),
        ("domain", "example.org."),
        ("domain", "192.0.2.1"),
        ("domain", "[::1]"),
        ("domain", "a..example.org"),
        ("domain", "x" * 64 + ".org"),
        ("domain", ""),
        ("domain", None),
        ("selector", ""),
        ("selector", "a..b"),
        ("selector", ".a"),
        ("selector", "-a"),
        ("selector", "é"),
        ("selector", "a" * 64),
        ("selector", 1),
        ("identity", "me"),
        ("identity", "me@example.net"),
        ("identity", "me@evilexample.org"),
        ("identity", "@"),
        ("headers", []),
        ("headers", ["Subject"]),
        ("headers", "From"),
        ("headers", [1]),
        ("skip_fields", ["From"]),
        ("skip_fields", 1),
        ("canonicalization", "relaxed"),
        ("canonicalization", "nowsp/simple"),
        ("expires_after", 0),
        ("expires_after", 0.5),
        ("expires_after", "1h"),
        ("oversign", 1),
        ("passphrase", 1),
    ],
)
def test_values_that_are_none(field: str, value: Any) -> None:
    fields = {"domain": "example.org", "selector": "s1", "private_key": ED25519, field: value}
    with pytest.raises(ConfigurationError) as caught:
        DkimKey(**fields)
    assert caught.value.option == f"dkim.{field}"


# -- errors, and not unsigned messages ---------------------------------------------------------------------------------


class Broken(ed25519.Ed25519PrivateKey):
    """A key in a device that was pulled out."""

    def sign(self, data: Any) -> bytes:
        raise OSError("the device is gone")

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return ED25519.public_key()

    def private_bytes(self, *_: Any) -> bytes:
        raise NotImplementedError

    def private_bytes_raw(self) -> bytes:
        raise NotImplementedError

    def __copy__(self) -> Broken:
        return self

    def __deepcopy__(self, memo: Any) -> Broken:
        return self


def sent(option: Any, message: dict[str, Any]) -> tuple[Exception | None, int]:
    """The error of sending ``message``, and how many messages the server got."""

    async def send() -> Exception | None:
        async with create_transport(host=server.host, port=server.port, dkim=option) as transporter:
            try:
                await transporter.send_mail(message)
            except MessageError as error:
                return error
        return None

    server = ScriptedServer()
    with in_thread(server):
        error = asyncio.run(send())
    return error, len(server.messages)


GOOD = DkimKey("example.org", "good", ED25519)
BAD = DkimKey("example.org", "bad", Broken())


@pytest.mark.rule("DAT-11")
@pytest.mark.parametrize("option", [BAD, [GOOD, BAD], [BAD, GOOD]])
def test_a_key_that_fails_is_an_error_and_nothing_is_sent(option: Any) -> None:
    error, received = sent(option, MESSAGE)
    assert isinstance(error, MessageError)
    assert error.field == "dkim"
    assert "bad._domainkey.example.org could not sign" in str(error)
    assert received == 0
    assert sent(GOOD, MESSAGE) == (None, 1)


@pytest.mark.rule("DAT-11")
@pytest.mark.parametrize(
    "own",
    [
        BAD,
        (GOOD, BAD),
        (),
        [],
        True,
        "s1",
        {"domain": "example.org", "selector": "s1"},
        {"domain": "example.org", "selector": "s1", "private_key": "-----BEGIN nothing"},
        {"domain": "example.org", "selector": "s1", "private_key": PEM, "passphrase": "x"},
    ],
    ids=lambda own: repr(own)[:40],
)
def test_a_key_of_a_message_that_cannot_be_used_is_an_error_and_nothing_is_sent(own: Any) -> None:
    error, received = sent(GOOD, MESSAGE | {"dkim": own})
    assert isinstance(error, MessageError)
    assert error.field == "dkim"
    assert received == 0
    assert PEM.splitlines()[1] not in str(error)


@pytest.mark.rule("DAT-11")
@pytest.mark.parametrize(
    "raw", ["Subject: no author\n\nFrom: a@example.org\n\nHi", "\nFrom: a@example.org\n\nHi"]
)
def test_a_message_without_from_cannot_be_signed(raw: str) -> None:
    envelope = {"from": "a@example.org", "to": "b@example.net"}
    error, received = sent(GOOD, {"raw": raw, "envelope": envelope})
    assert isinstance(error, MessageError)
    assert error.field == "from"
    assert received == 0


@pytest.mark.rule("FIL-01")
def test_a_message_never_names_the_file_of_a_key(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(PEM)
    named = DkimKey("example.org", "s1", path)
    for own in (named, [GOOD, named], {"domain": "example.org", "selector": "s1", "private_key": path}):
        error, received = sent(None, MESSAGE | {"dkim": own})
        assert isinstance(error, MessageError)
        assert "cannot name the file" in str(error)
        assert received == 0
    assert sent(named, MESSAGE) == (None, 1)
