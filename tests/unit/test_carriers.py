"""The carriers that come with mailpool: what they write, under which names, and who is told of Bcc."""

from __future__ import annotations

import asyncio
import base64
import errno
import io
import json
import mailbox
import os
import stat
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import mailpool
from mailpool import (
    ConfigurationError,
    Deferred,
    Envelope,
    FileCarrier,
    JSONCarrier,
    MemoryCarrier,
    MessageError,
    Options,
    Sealed,
    SendmailCarrier,
    StreamCarrier,
    create_transport,
)
from mailpool.content import BytesContent
from mailpool.transports.json_lines import as_dictionary
from mailpool.transports.octets import with_lf

MAIL: dict[str, Any] = {
    "from": "Me <me@example.org>",
    "to": "you@example.org",
    "bcc": "hidden@example.org",
    "subject": "Grüße",
    "text": "Hello\nWörld\n",
    "html": "<p>Hello</p>",
    "message_id": "<1@example.org>",
}


async def send(carrier: Any, *messages: Any, **options: Any) -> list[Any]:
    async with create_transport(carrier, **options) as transporter:
        return [await transporter.send_mail(message) for message in messages or [MAIL]]


# -- memory ----------------------------------------------------------------------------------------------------------


async def test_memory_keeps_messages_as_they_would_have_gone_out() -> None:
    carrier = MemoryCarrier()
    (result,) = await send(carrier)
    (kept,) = carrier.messages
    assert (kept.sender, kept.recipients) == ("me@example.org", ("you@example.org", "hidden@example.org"))
    assert (kept.subject, kept.text, kept.html) == ("Grüße", "Hello\nWörld\n", "<p>Hello</p>")
    assert kept.message_id == result.message_id == "<1@example.org>"
    assert kept.email["To"] == "you@example.org"
    assert b"hidden" not in kept.raw
    assert kept.raw.count(b"\n") == kept.raw.count(b"\r\n") > 5
    assert result.response == "250 2.0.0 kept in memory"
    carrier.clear()
    assert carrier.messages == []


async def test_a_message_without_bodies_has_empty_ones() -> None:
    carrier = MemoryCarrier()
    await send(carrier, {"from": "a@example.org", "to": "b@example.org"})
    assert (carrier.messages[0].subject, carrier.messages[0].html) == ("", "")


async def test_defaults_hold_for_carriers_too() -> None:
    carrier = MemoryCarrier()
    await send(carrier, {"to": "you@example.org"}, defaults={"from": "news@example.org", "subject": "Issue"})
    assert (carrier.messages[0].sender, carrier.messages[0].subject) == ("news@example.org", "Issue")


# -- stream ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newline", ["crlf", "lf"])
async def test_stream_writes_whole_messages_one_after_another(newline: Any) -> None:
    written, told = io.BytesIO(), []
    carrier = StreamCarrier(written, newline=newline, envelopes=lambda sealed: told.append(sealed.envelope))
    await send(carrier, MAIL, MAIL)
    text = written.getvalue()
    assert text.count(b"Subject:") == 2
    assert (b"\r" in text) == (newline == "crlf")
    assert b"hidden" not in text
    assert [envelope.recipients for envelope in told] == [("you@example.org", "hidden@example.org")] * 2


async def test_a_failure_before_the_first_octet_is_no_uncertain_delivery() -> None:
    written = io.BytesIO()

    def note(sealed: Sealed) -> None:
        raise KeyError("nobody there")

    with pytest.raises(MessageError, match="envelopes: it failed with KeyError"):
        await send(StreamCarrier(written, envelopes=note))
    assert written.getvalue() == b""


async def test_stream_waits_for_an_asynchronous_writer_and_does_not_mix_messages() -> None:
    class Slow:
        def __init__(self) -> None:
            self.blocks: list[bytes] = []
            self.drained = 0

        async def write(self, data: bytes, /) -> None:
            await asyncio.sleep(0)
            self.blocks.append(data)

        async def drain(self) -> None:
            await asyncio.sleep(0)
            self.drained += 1

    slow = Slow()
    contents = [(bytes([letter]) * 98 + b"\r\n") * 2_000 for letter in b"abc"]
    async with create_transport(StreamCarrier(slow)) as transporter:
        raw = [
            {"raw": b"X: y\r\n\r\n" + c, "envelope": {"from": "", "to": "b@example.org"}} for c in contents
        ]
        sends = [asyncio.ensure_future(transporter.send_mail(message)) for message in raw]
        await asyncio.sleep(0.005)
        sends[0].cancel()  # and yet it is written to its end
        await asyncio.gather(*sends, return_exceptions=True)
    written = b"".join(slow.blocks)
    assert [c for c in contents if c in written]
    assert written.count(b"X: y\r\n\r\n") * (200_000 + 8) == len(written)
    assert slow.drained == len(slow.blocks)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc", b""])))
def test_line_ends_are_found_across_blocks(blocks: list[bytes]) -> None:
    assert b"".join(with_lf(blocks)) == b"".join(blocks).replace(b"\r\n", b"\n")


# -- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["base64", "text"])
async def test_json_has_everything(content: Any) -> None:
    shown: list[dict[str, Any]] = []
    kept = MemoryCarrier()
    async with create_transport(JSONCarrier(shown.append, content=content)) as transporter:
        await transporter.send_mail(MAIL)
    (one,) = shown
    assert json.loads(json.dumps(one)) == one
    assert one["message_id"] == "<1@example.org>"
    assert one["envelope"] == {"from": "me@example.org", "to": ["you@example.org", "hidden@example.org"]}
    headers = dict(one["headers"])
    assert (headers["Subject"], headers["To"]) == ("Grüße", "you@example.org")
    assert "hidden" not in json.dumps(one["headers"])
    raw = one["content"].encode() if content == "text" else base64.b64decode(one["content"])
    assert one["encoding"] == content
    assert len(raw) == one["size"]
    assert message_from_bytes(raw)["Message-ID"] == "<1@example.org>"
    del kept


async def test_json_lines_are_appended_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    async with create_transport(f"json://{path}?content=text&max_connections=3") as transporter:
        await asyncio.gather(*[transporter.send_mail({**MAIL, "subject": str(n)}) for n in range(20)])
    lines = path.read_text("utf-8").splitlines()
    assert sorted(int(dict(json.loads(line)["headers"])["Subject"]) for line in lines) == list(range(20))


async def test_what_is_no_text_is_base64_in_json() -> None:
    shown: list[dict[str, Any]] = []

    async def take(one: dict[str, Any]) -> None:
        shown.append(one)

    raw = b"Subject: caf\xe9\r\n\r\n\xff\r\n"
    await send(
        JSONCarrier(take, content="text"), {"raw": raw, "envelope": {"from": "", "to": "b@example.org"}}
    )
    assert shown[0]["encoding"] == "base64"
    assert base64.b64decode(shown[0]["content"]) == raw
    json.dumps(shown).encode("utf-8")


async def test_a_file_that_cannot_be_written_is_no_uncertain_delivery(tmp_path: Path) -> None:
    for carrier in (JSONCarrier(tmp_path / "no" / "such"), FileCarrier(tmp_path / "file" / "dir")):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(Deferred, match="cannot be written") as caught:
            await send(carrier)
        assert not caught.value.may_have_been_delivered


ODD = st.one_of(
    st.binary(max_size=40),
    st.text(alphabet="<>@\"\\()[]:;,.=?_ \r\n\tabqQ8utf-=*%'é", max_size=60).map(str.encode),
)
NAMES = st.sampled_from(
    [b"To", b"Date", b"Content-Type", b"Content-Disposition", b"Message-ID", b"MIME-Version", b"X-A"]
)


@given(st.lists(st.tuples(NAMES, ODD), max_size=4))
@example([(b"To", b"<")])  # an IndexError in the standard library
def test_whatever_is_in_a_header_can_be_shown_as_json(header: list[tuple[bytes, bytes]]) -> None:
    raw = b"".join(name + b": " + value + b"\r\n" for name, value in header) + b"\r\nx\r\n"
    sealed = Sealed(Envelope("", ["b@example.org"]), BytesContent(raw), "")
    shown = json.loads(json.dumps(as_dictionary(sealed)).encode("utf-8"))
    assert base64.b64decode(shown["content"]) == raw


# -- files -----------------------------------------------------------------------------------------------------------


async def test_eml_files_are_the_message_exactly(tmp_path: Path) -> None:
    kept = MemoryCarrier()
    sealed = mailpool.preparing.Preparation(Options()).seal(MAIL)
    await send(kept, sealed)
    results = await send(FileCarrier(tmp_path / "out"), sealed, sealed)
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == 2
    assert all(file.suffix == ".eml" for file in files)
    assert sorted(result.response for result in results) == [
        f"250 2.0.0 written to {file.name}" for file in files
    ]
    assert [file.read_bytes() for file in files] == [kept.messages[0].raw] * 2
    assert b"hidden" not in files[0].read_bytes()
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600


async def test_a_maildir_is_one_to_the_standard_library(tmp_path: Path) -> None:
    async with create_transport(f"file://{tmp_path}/mail%20dir?format=maildir&sync=false") as transporter:
        await asyncio.gather(*[transporter.send_mail({**MAIL, "subject": str(n)}) for n in range(50)])
    directory = tmp_path / "mail dir"
    box = mailbox.Maildir(directory, create=False)
    assert sorted(int(message["Subject"]) for message in box) == list(range(50))
    assert list((directory / "tmp").iterdir()) == []
    assert list((directory / "cur").iterdir()) == []
    for file in (directory / "new").iterdir():
        assert ":" not in file.name
        assert b"\r" not in file.read_bytes()
    box.close()


async def test_a_file_that_exists_or_a_link_is_never_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailpool.transports.file.secrets.token_hex", lambda _: "same")
    monkeypatch.setattr("mailpool.transports.file.time.strftime", lambda *_: "now")
    (tmp_path / "out").mkdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "out" / ".now.same.tmp").symlink_to(victim)
    with pytest.raises(Deferred):
        await send(FileCarrier(tmp_path / "out"))
    (tmp_path / "out" / ".now.same.tmp").unlink(missing_ok=True)
    (tmp_path / "out" / "now.same.eml").symlink_to(victim)
    with pytest.raises(Deferred):
        await send(FileCarrier(tmp_path / "out"))
    assert victim.read_bytes() == b"precious"


async def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("mailpool.transports.file.os.link", refuse)
    monkeypatch.setattr("mailpool.transports.file.secrets.token_hex", lambda _: "same")
    monkeypatch.setattr("mailpool.transports.file.time.strftime", lambda *_: "now")
    await send(FileCarrier(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["now.same.eml"]
    before = (tmp_path / "now.same.eml").read_bytes()
    with pytest.raises(Deferred):
        await send(FileCarrier(tmp_path), {**MAIL, "subject": "another"})
    assert (tmp_path / "now.same.eml").read_bytes() == before


async def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    class Failing(BytesContent):
        def blocks(self) -> Any:
            yield b"Subject: half\r\n"
            raise OSError(28, os.strerror(28))

    half = Sealed(Envelope("", ["b@example.org"]), Failing(b""), "<1@example.org>")
    with pytest.raises(Deferred, match="No space left"):
        await send(FileCarrier(tmp_path), half)
    assert list(tmp_path.iterdir()) == []


# -- by name ---------------------------------------------------------------------------------------------------------


def test_urls_name_carriers_and_options() -> None:
    transporter = create_transport("memory:?rate=10/s&max_connections=3&deadline=2.5", max_queue=7)
    assert isinstance(transporter.carrier, MemoryCarrier)
    options = transporter.options
    assert (options.max_connections, options.max_queue, options.deadline) == (3, 7, 2.5)
    assert str(options.rate[0]) == "10/s"
    assert isinstance(create_transport("sendmail:").carrier, SendmailCarrier)
    assert isinstance(create_transport("sendmail:///usr/sbin/sendmail?newline=crlf").carrier, SendmailCarrier)
    assert isinstance(create_transport("FILE:///tmp/x").carrier, FileCarrier)
    assert repr(transporter) == "<Transporter memory, not started>"
    assert create_transport("smtp://localhost").carrier is None


@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("memory:?host=a", "host"),
        ("memory:x", "url"),
        ("memory:?rate=fast", "rate"),
        ("memory:?max_connections=x", "max_connections"),
        ("memory:?max_connections=1&max_connections=2", "max_connections"),
        ("memory:?defaults=x", "defaults"),
        ("memory:?a", "url"),
        ("memory: ", "url"),
        ("memory:#x", "url"),
        ("file:", "url"),
        ("file://host/path", "url"),
        ("file:///x?format=mbox", "format"),
        ("file:///x?newline=cr", "newline"),
        ("file:///x?colour=red", "colour"),
        ("file:///x?sync=maybe", "sync"),
        ("json:///x?content=xml", "content"),
        ("sendmail:///x?timeout=soon", "timeout"),
        ("sendmail://host", "url"),
    ],
)
def test_wrong_urls_say_what_is_wrong(url: str, option: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_transport(url)
    assert caught.value.option == option


def test_beside_a_url_options_of_smtp_are_checked_and_have_no_effect() -> None:
    transporter = create_transport(
        "memory:", pool=True, max_messages=7, auth=("me", "secret"), max_connections=2
    )
    assert transporter.options == Options(max_connections=2)
    for wrong in ({"pool": "yes"}, {"nonsense": 1}, {"min_connections": 9}):
        with pytest.raises(ConfigurationError):
            create_transport("memory:", **wrong)


@pytest.mark.rule("LOG-01")
def test_a_key_in_the_url_of_ses_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="access_key") as caught:
        create_transport("ses://AKIAEXAMPLE:s3cret@eu-west-1")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["host", "auth", "pool", "starttls", "max_messages", "format", "nonsense"])
def test_options_that_have_no_meaning_for_a_carrier_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: has no meaning") as caught:
        create_transport(MemoryCarrier(), **{name: 1})
    assert caught.value.option == name


@pytest.mark.parametrize(
    "make",
    [
        lambda: FileCarrier("x", format="mbox"),
        lambda: FileCarrier("x", sync="yes"),
        lambda: JSONCarrier(3),
        lambda: JSONCarrier("x", content="xml"),
        lambda: StreamCarrier(object()),
        lambda: StreamCarrier(io.BytesIO(), newline="cr"),
        lambda: SendmailCarrier(""),
        lambda: SendmailCarrier(args="-t -i"),
        lambda: SendmailCarrier(timeout=0),
        # Once a TypeError, or an uncertain delivery of each message.
        lambda: SendmailCarrier(b"sendmail"),
        lambda: SendmailCarrier(timeout=None),
        lambda: SendmailCarrier(timeout=float("nan")),
        lambda: SendmailCarrier(args=None),
        lambda: SendmailCarrier(args=[5]),
        lambda: SendmailCarrier(args=["a\0b"]),
        lambda: FileCarrier(None),
        lambda: FileCarrier("a\0b"),
        lambda: FileCarrier(""),
        lambda: JSONCarrier("a\0b"),
        lambda: StreamCarrier(io.StringIO()),
        lambda: StreamCarrier(io.BytesIO(), envelopes="x"),
        lambda: create_transport(MemoryCarrier),
    ],
)
def test_wrong_arguments_are_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError):
        make()


async def test_verify_asks_the_carrier() -> None:
    class Healthy(MemoryCarrier):
        closed = 0

        async def verify(self) -> str:
            return "healthy"

        async def close(self) -> None:
            self.closed += 1

    transporter = create_transport(Healthy())
    found = await transporter.verify()
    assert (found.host, found.greeting, list(found.timings)) == ("memory", "healthy", ["verify"])
    await transporter.close()
    assert isinstance(transporter.carrier, Healthy)
    assert transporter.carrier.closed == 1
    assert (await create_transport(MemoryCarrier()).verify()).greeting == ""
