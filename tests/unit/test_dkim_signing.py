"""Which fields a signature is over, its tags, and which keys sign which message."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

import mailpool
from mailpool import DkimKey
from mailpool.content import BytesContent, StreamedContent
from mailpool.errors import MessageError
from mailpool.message.dkim import load_key, signed
from mailpool.options import parse_options
from mailpool.preparing import Preparation

ED25519 = ed25519.Ed25519PrivateKey.generate()
NOW = int(datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC).timestamp())
MESSAGE: dict[str, Any] = {"from": "a@example.org", "to": "b@example.net", "subject": "Hi", "text": "Hello"}


def key(selector: str = "s1", **more: Any) -> DkimKey:
    return DkimKey("example.org", selector, ED25519, **more)


def content(header: str, body: str = "Hi.\r\n") -> BytesContent:
    return BytesContent((header.replace("\n", "\r\n") + "\r\n" + body).encode(), crlf_only=True)


def tags(octets: bytes, number: int = 0) -> dict[str, str]:
    found = re.findall(rb"^DKIM-Signature:((?:.*\r\n)(?:[ \t].*\r\n)*)", octets, re.MULTILINE)
    text = re.sub(r"\s+", "", found[number].decode())
    return dict(tag.split("=", 1) for tag in text.split(";"))


def octets_of(content: Any) -> bytes:
    return b"".join(content.blocks())


def names_signed(header: str, **more: Any) -> list[str]:
    return tags(octets_of(signed(content(header), [load_key(key(**more))], NOW)))["h"].split(":")


def test_what_is_signed_by_default() -> None:
    names = names_signed("From: a@b\nDate: today\nTo: c@d\nX-Own: 1\nReceived: x\nList-Id: <l>\nTo: e@f\n")
    assert {name: names.count(name) for name in names} == {
        "from": 2,
        "to": 3,
        "cc": 1,
        "subject": 1,
        "reply-to": 1,
        "in-reply-to": 1,
        "references": 1,
        "mime-version": 1,
        "content-type": 1,
        "content-transfer-encoding": 1,
        "date": 2,
        "list-id": 2,
    }


def test_fields_that_relays_add_may_be_added() -> None:
    assert not {"date", "message-id", "sender", "list-unsubscribe"} & set(names_signed("From: a@b\n"))


def test_own_lists_of_fields() -> None:
    header = "From: a@b\nSubject: s\nDate: today\nMessage-ID: <1@b>\nX-Own: 1\n"
    assert names_signed(header, headers=["From", "X-Own", "x-other"]) == [
        *("from", "from", "x-own", "x-own", "x-other")
    ]
    assert names_signed(header, headers=("from", "x-own", "x-other"), oversign=False) == ["from", "x-own"]
    without = names_signed(header, skip_fields=["Date", "message-id"])
    assert {"date", "message-id"} & set(without) == set()
    assert "subject" in without
    assert names_signed(header, oversign=False) == ["from", "subject", "date", "message-id"]


def test_the_tags() -> None:
    octets = octets_of(signed(content("From: a@b\n"), [load_key(key())], NOW))
    found = tags(octets)
    assert list(found) == ["v", "a", "c", "d", "s", "t", "h", "bh", "b"]
    assert found["t"] == str(NOW)
    assert "l" not in found
    more = key(expires_after=3_600.5, identity="me@sub.example.org", canonicalization="simple/relaxed")
    found = tags(octets_of(signed(content("From: a@b\n"), [load_key(more)], NOW)))
    assert (found["x"], found["i"], found["c"]) == (str(NOW + 3_600), "me@sub.example.org", "simple/relaxed")


def test_international_domains_are_written_with_a_labels() -> None:
    one = DkimKey("Bücher.Example", "S1", ED25519, identity="me@mail.bücher.example")
    assert (one.domain, one.selector, one.identity) == (
        *("xn--bcher-kva.example", "s1", "me@mail.xn--bcher-kva.example"),
    )


def test_lines_are_short_and_the_original_is_unchanged() -> None:
    many = "".join(f"X-Number-{n}: {n}\n" for n in range(50))
    original = content("From: a@b\n" + many)
    strong = DkimKey(
        "a-quite-long-subdomain.of.another-subdomain.example.org",
        "a-quite-long.selector",
        rsa.generate_private_key(65_537, 4_096),
        headers=["From", *(f"x-number-{n}" for n in range(50))],
    )
    octets = octets_of(signed(original, [load_key(strong)], NOW))
    assert octets.endswith(original.data)
    assert all(len(line) <= 78 for line in octets.removesuffix(original.data).split(b"\r\n"))


def test_a_signature_that_is_there_already_stays() -> None:
    header = "DKIM-Signature: v=1; d=other.example\nFrom: a@b\n"
    octets = octets_of(signed(content(header), [load_key(key())], NOW))
    assert [tags(octets, n)["d"] for n in (0, 1)] == ["example.org", "other.example"]


@pytest.mark.parametrize("said", [0, 1_000])
def test_a_source_that_cannot_be_read_is_an_error(said: int) -> None:
    class Wrong(InPieces):
        size = said

    streamed = StreamedContent([b"From: a@b\r\n\r\n", Wrong(b"Hi\r\n", 2)])
    with pytest.raises(MessageError, match="octets than it said"):
        signed(streamed, [load_key(key())], NOW)


@pytest.mark.rule("DAT-10")
@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_binary_parts_are_not_signed(size: int) -> None:
    """A relay that hands the message to a server without BINARYMIME has to recode it (RFC 3030 §3)."""
    part = {"content": b"x" * size, "filename": "a.bin", "transfer_encoding": "binary"}
    message = MESSAGE | {"attachments": [part]}
    ours = Preparation(parse_options(host="relay.example", dkim=key()))
    for preparation, own in ((ours, message), (Preparation(parse_options()), message | {"dkim": key()})):
        with pytest.raises(MessageError, match="'binary' cannot be signed") as caught:
            preparation.seal(own)
        assert caught.value.field == "dkim"
    assert ours.seal(message | {"dkim": False}).content.binary


class InPieces:
    """Content from a source that is read again for each attempt."""

    eight_bit = True
    binary = utf8_headers = False

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.piece = data, size
        self.times = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def blocks(self) -> Iterator[bytes]:
        self.times += 1
        for start in range(0, len(self.data), self.piece):
            yield self.data[start : start + self.piece]
            yield b""


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 64, 1_000])
def test_a_source_in_blocks_is_signed_as_if_it_were_one(piece: int) -> None:
    whole = content("From: a@b\nSubject: s\n", "Hi  there \r\n\r\n.\r\n \t\r\n\r\n")
    source = InPieces(whole.data, piece)
    result = signed(source, [load_key(key()), load_key(key("s2", canonicalization="simple/simple"))], NOW)
    again = signed(whole, [load_key(key()), load_key(key("s2", canonicalization="simple/simple"))], NOW)
    assert source.times == 1
    assert octets_of(result) == octets_of(result) == octets_of(again)
    assert result.size == again.size == len(octets_of(result))
    assert (result.eight_bit, result.utf8_headers) == (True, False)
    assert "octets" in repr(result)


def test_memory_stays_flat_over_a_large_source() -> None:
    import tracemalloc

    class Large(InPieces):
        def blocks(self) -> Iterator[bytes]:
            yield b"From: a@b\r\n\r\n"
            for _ in range(1_000):
                yield b"0123456789abcde\r\n" * 1_000
                yield b"\r\n" * 10_000

    keys = [load_key(key())]
    tracemalloc.start()
    try:
        signed(Large(b"", 1), keys, NOW)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000  # of 37 MB
    finally:
        tracemalloc.stop()


# -- whose keys ------------------------------------------------------------------------------------------------------


def selectors(message: Any, option: Any = None) -> list[str]:
    octets = octets_of(Preparation(parse_options(host="h", dkim=option)).prepare(message).content)
    return [one.decode() for one in re.findall(rb"^ d=[^ ]+ s=([^;]+);", octets, re.MULTILINE)]


def test_the_keys_of_the_transporter_sign_every_kind_of_message() -> None:
    raw = {"raw": "From: a@b\n\nHi", "envelope": {"from": "a@example.org", "to": "b@example.net"}}
    parsed = EmailMessage()
    parsed["From"], parsed["To"] = "a@example.org", "b@example.net"
    parsed["dkim"] = "no field of ours"
    record = mailpool.Message(from_="a@example.org", to="b@example.net")
    for message in (MESSAGE, raw, parsed, record):
        assert selectors(message) == []
        assert selectors(message, key()) == ["s1"]
        assert selectors(message, [key(), key("s2")]) == ["s1", "s2"]


@pytest.mark.parametrize("option", [None, DkimKey("example.org", "usual", ED25519)])
def test_a_message_may_bring_its_own(option: Any) -> None:
    raw = {"raw": "From: a@b\n\nHi", "envelope": {"from": "a@example.org", "to": "b@example.net"}}
    record = mailpool.Message(from_="a@example.org", to="b@example.net", dkim=key("own"))
    assert selectors(record, option) == ["own"]
    for message in (MESSAGE, raw):
        assert selectors(message | {"dkim": (key("own"), key("more"))}, option) == ["own", "more"]
        assert selectors(message | {"dkim": False}, option) == []
        assert selectors(message | {"dkim": None}, option) == (["usual"] if option else [])


def test_a_message_that_is_sealed_is_not_signed_again() -> None:
    preparation = Preparation(parse_options(host="h", dkim=key()))
    sealed = preparation.prepare(MESSAGE)
    assert isinstance(sealed, mailpool.Sealed)
    assert preparation.prepare(sealed) is sealed
    assert octets_of(sealed.content).count(b"DKIM-Signature") == 1


def test_a_key_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from mailpool.message.dkim import choice

    loads: list[DkimKey] = []
    monkeypatch.setattr(choice, "load_key", lambda one: loads.append(one) or load_key(one))
    preparation = Preparation(parse_options(host="h", dkim=key()))
    for _ in range(3):
        preparation.prepare(MESSAGE)
        preparation.prepare(MESSAGE | {"dkim": key("own")})
    assert [one.selector for one in loads] == ["s1", "own"]
