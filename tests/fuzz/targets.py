"""What is fuzzed: functions from octets that raise when a promise is broken.

They need no fuzzer: ``test_seeds.py`` calls them with every input that was ever worth keeping, ``__main__.py`` with
what atheris thinks of.
"""

from __future__ import annotations

import contextlib
import datetime
import email.policy
import re
from collections.abc import Callable
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser, HeaderParser, Parser
from email.utils import getaddresses
from typing import Any, Final

from source import Source
from whole_client import client

from mailpool import Credentials, Envelope, Mailbox, MailpoolError, MessageError, parse_addresses
from mailpool.address import display, parse_mailboxes
from mailpool.errors import AddressError
from mailpool.message import seal
from mailpool.message.folding import fold_pieces, fold_text
from mailpool.message.parameters import media_type, with_parameters
from mailpool.results import Reply
from mailpool.smtp.capabilities import Capabilities
from mailpool.smtp.replies import ReplyParser
from mailpool.smtp.sasl import Exchange, LoginContext, choose

NOW: Final = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)


# -- addresses -------------------------------------------------------------------------------------------------------


def addresses(data: bytes) -> None:
    """Strict and lenient reading: only ``AddressError``, nothing dangerous, and what is written is read again."""
    text = data.decode("utf-8", "replace")
    if data[:1] == b"\xff":  # lone surrogates, too
        text = data[1 : len(data) - (len(data) - 1) % 2].decode("utf-16-le", "surrogatepass")
    strict: tuple[Mailbox, ...] | None = None
    with contextlib.suppress(AddressError):
        strict = tuple(parse_addresses(text))
    try:
        lenient = parse_addresses(text, lenient=True)
    except AddressError:
        assert strict is None, "the lenient grammar refuses what the strict one takes"
        return
    assert strict is None or (strict == tuple(lenient) and not lenient.repairs)
    assert len(lenient) <= text.count("@")
    if not lenient:
        return
    written = ", ".join(map(display, lenient))
    assert not re.search(r"[\x00-\x1f\x7f]", written)
    assert parse_mailboxes(written, "to") == tuple(lenient)
    told = [mailbox.address for mailbox in lenient]
    assert [Mailbox("", address).address for _, address in getaddresses([written])] == told
    envelope = Envelope.between(None, lenient)
    assert list(envelope.recipients) == list(dict.fromkeys(told))
    assert Envelope("", told) == envelope


# -- header fields ---------------------------------------------------------------------------------------------------


def headers(data: bytes) -> None:
    """Folding, encoded words and parameters: right lines, and the standard library reads the same value."""
    source = Source(data)
    kind, name, value = source.number() % 3, "X-" + "n" * (source.number() % 70), source.text()
    try:
        if kind == 0:
            field = fold_text(name, value, "value")
        elif kind == 1:
            field = fold_pieces(name, [piece for piece in re.split(r"[^!-~]+", value[:900]) if piece])
        else:
            field = with_parameters("Content-Disposition", "attachment", {"filename": value}, "filename")
    except MessageError:
        return
    if not field.strip() or field == f"{name}:\r\n":
        return
    assert re.fullmatch(r"(?:[^\r\n\x00]{1,998}\r\n)+", field), field
    assert field.isascii()
    lines = field[:-2].split("\r\n")
    assert all(line[:1] == " " and line.strip() for line in lines[1:]), "a line that is no continuation"
    message = HeaderParser(EmailMessage, policy=email.policy.default).parsestr(field + "\r\n")
    assert len(message) == 1
    text = _as_written(value)
    if kind == 2:
        assert message["content-disposition"].params.get("filename", "") == text
    elif kind == 0:
        raw = field.partition(":")[2].replace("\r\n", "")[1:]
        read = str(make_header(decode_header(raw))) if "=?" in raw else raw
        assert read == (text if value.strip(" \t") else "")
    if kind == 0:
        with contextlib.suppress(MessageError):
            media_type(value, "content_type")


def _as_written(text: str) -> str:
    """Lone surrogates are replaced, pairs are joined (HDR-07)."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# -- the composer ----------------------------------------------------------------------------------------------------


def composer(data: bytes) -> None:
    """A message of any fields: an error that names a field, or octets that say what was given and nothing else."""
    source = Source(data)
    fields: dict[str, Any] = {"from": "a@x.example", "to": "b@y.example"}
    while not source.is_empty:
        make = source.choice(_FIELDS)
        make(source, fields)
    try:
        message = seal(fields, now=NOW, token=lambda: "0123456789abcdef", lenient=bool(len(data) % 2))
    except MessageError as error:
        refusal = str(error)
    else:
        refusal = ""
    assert refusal.isprintable()
    if refusal:
        return
    octets = b"".join(message.content.blocks())
    assert octets.endswith(b"\r\n")
    assert b"\0" not in octets
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", octets)
    head = octets.partition(b"\r\n\r\n")[0]
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert octets.isascii() or message.content.eight_bit
    assert head.isascii() or message.content.utf8_headers
    for recipient in (message.envelope.sender, *message.envelope.recipients):
        assert not re.search(r"[\x00-\x20<>]", re.sub(r'"(?:[^"\\]|\\.)*"', "", recipient))

    policy = email.policy.default
    if head.isascii():
        read = BytesParser(EmailMessage, policy=policy).parsebytes(octets)
    else:
        read = Parser(EmailMessage, policy=policy).parsestr(octets.decode("utf-8", "surrogateescape"))
    assert "bcc" not in read
    assert not read.defects, read.defects
    names = [name.lower() for name in read.keys()]  # noqa: SIM118  a message is no mapping
    once = (
        "from",
        "to",
        "cc",
        "subject",
        "date",
        "message-id",
        "mime-version",
        "content-type",
        "sender",
        "reply-to",
    )
    assert all(names.count(name) <= 1 for name in once)
    assert set(names) <= _KNOWN | {"x-fuzz"}
    told = dict.fromkeys(
        Mailbox("", found.addr_spec).address
        for name in ("to", "cc")
        if read[name] is not None
        for found in read[name].addresses
    )
    assert set(told) <= set(message.envelope.recipients)
    subject = fields.get("subject")
    if subject is not None and subject.strip(" \t"):
        raw = next(value for key, value in read.raw_items() if key == "Subject").replace("\r\n", "")
        assert (str(make_header(decode_header(raw))) if "=?" in raw else raw) == _as_written(subject)
    _compare_bodies(fields, read)


_KNOWN: Final = {
    "from", "sender", "to", "cc", "reply-to", "subject", "message-id", "date", "in-reply-to", "references", "mime-version",
    "content-type", "content-transfer-encoding", "content-disposition", "x-priority", "importance", "x-mailer", "list-help", "list-unsubscribe", "list-id", "list-post",
}  # fmt: skip


def _compare_bodies(fields: dict[str, Any], read: EmailMessage) -> None:
    leaves = [part for part in read.walk() if not part.is_multipart()]
    if "attachments" in fields and all("raw" not in item for item in fields["attachments"]):
        attached = [
            part
            for part in leaves
            if part["content-disposition"] is not None and part.get_content_type() != "application/ics"
        ]
        given = fields["attachments"]
        assert [part.get_payload(decode=True) for part in attached] == [item["content"] for item in given]
        read_names = [part["content-disposition"].params.get("filename", "") for part in attached]
        assert read_names == [_as_written(item["filename"]) for item in given]
        leaves = [part for part in leaves if part not in attached]
    for name, kind in (("text", "text/plain"), ("html", "text/html")):
        value = fields.get(name)
        if value is None or (name == "text" and "text_format" in fields):
            continue
        part = next(part for part in leaves if part.get_content_type() == kind)
        found = part.get_payload(decode=True)
        assert isinstance(found, bytes)
        wanted = re.sub(r"\r\n|\r|\n", "\r\n", _as_written(value))
        assert found.decode() in (wanted, wanted + "\r\n")


def _put(name: str) -> Callable[[Source, dict[str, Any]], None]:
    def put(source: Source, fields: dict[str, Any]) -> None:
        fields[name] = source.text()

    return put


def _put_person(source: Source, fields: dict[str, Any]) -> None:
    name = source.choice(("to", "cc", "bcc", "reply_to", "sender", "from"))
    person = {
        "name": source.text(),
        "address": source.choice(("c@z.example", "ü@z.example", '"a b"@z.example')),
    }
    fields[name] = source.choice((person, [person, "d@z.example"], [person, person]))


def _put_header(source: Source, fields: dict[str, Any]) -> None:
    name = source.choice(
        ("X-Fuzz", "x-fuzz", "Bcc", "bCC ", "MIME-Version", "Content-Type", "Cc", source.text())
    )
    lower = name.strip(" \t").lower()
    if lower == "x-fuzz" or (lower in _KNOWN and lower != "subject") or lower == "bcc":
        fields.setdefault("headers", []).append((name, source.text()))
    elif not lower.startswith(("list-", "resent-")):  # anything else must at least not crash
        with contextlib.suppress(MessageError):
            seal({"from": "a@x", "to": "b@y", "headers": [(name, source.text())]}, now=NOW, token=lambda: "0")


def _put_attachment(source: Source, fields: dict[str, Any]) -> None:
    item = {
        "filename": source.text(),
        "content": source.block(),
        "content_type": source.choice(("a/b", "image/png")),
    }
    fields.setdefault("attachments", []).append(item)


def _put_more(source: Source, fields: dict[str, Any]) -> None:
    name = source.choice(
        (
            "x_mailer",
            "amp",
            "watch_html",
            "calendar",
            "list",
            "text_encoding",
            "encoding",
            "text_format",
            "alternatives",
        )
    )
    if name == "list":
        key = source.choice(("help", "unsubscribe", "id", "post"))
        value = source.choice(
            (source.text(), {"url": f"https://x.example/{source.text()}", "comment": source.text()})
        )
        fields.setdefault("list", {})[key] = value
    elif name == "text_encoding":
        fields[name] = source.choice(("Q", "B", source.text()))
    elif name == "encoding":
        fields[name] = source.choice(("base64", "quoted-printable", "7bit", "8bit", source.text()))
    elif name == "text_format":
        fields[name] = "flowed"
    elif name == "alternatives":
        fields[name] = [{"content_type": f"text/x-{source.text()}", "content": source.text()}]
    else:
        fields[name] = source.text()


def _put_identity(source: Source, fields: dict[str, Any]) -> None:
    fields[source.choice(("message_id", "in_reply_to", "references", "date", "priority"))] = source.text()


_FIELDS: Final = (
    _put("subject"), _put("text"), _put("html"), _put("to"), _put("cc"), _put("bcc"), _put("from"), _put_person, _put_header,
    _put_attachment, _put_identity, _put_more,
)  # fmt: skip


# -- what servers say ------------------------------------------------------------------------------------------------


def replies(data: bytes) -> None:
    """However the octets are cut, the replies and the violation are the same, and no reply can drive a terminal."""
    source = Source(data)
    cuts = sorted({source.number() for _ in range(source.number() % 8)})
    stream = source.octets(len(data))
    whole = _parsed(stream, [])
    assert _parsed(stream, [cut for cut in cuts if cut < len(stream)]) == whole
    if len(stream) < 300:
        assert _parsed(stream, list(range(1, len(stream)))) == whole
    for reply in whole[0]:
        assert 200 <= reply.code <= 599
        assert str(reply).isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f]", str(reply))


def _parsed(stream: bytes, cuts: list[int]) -> tuple[list[Reply], str | None]:
    parser = ReplyParser()
    found: list[Reply] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += parser.feed(stream[start:end])
    return found, parser.violation


def ehlo(data: bytes) -> None:
    """Any answer to EHLO: no exception, whole keywords, sane numbers."""
    lines = tuple(data.split(b"\n"))
    capabilities = Capabilities.parse(Reply(250, lines))
    assert all(re.fullmatch(r"[A-Z0-9][A-Z0-9-]*", name) for name in capabilities.keywords)
    assert capabilities.size is None or capabilities.size > 0
    assert all(re.fullmatch(r"[A-Z0-9_-]{1,20}", name) for name in capabilities.auth)
    assert capabilities == Capabilities.parse(Reply(250, (b"", *lines[1:])))


_SECRET: Final = "s3cret-Passw0rd"
_MECHANISMS: Final = (
    "PLAIN",
    "LOGIN",
    "CRAM-MD5",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "EXTERNAL",
    "XOAUTH2",
    "OAUTHBEARER",
)


def sasl(data: bytes) -> None:
    """A server that says anything during a login: errors of ours only, whole lines, no secret told, and an end."""
    source = Source(data)
    name = source.choice(_MECHANISMS)
    token = name in ("XOAUTH2", "OAUTHBEARER")
    given = (
        Credentials("me@x.example", access_token=_SECRET, method=name)
        if token
        else Credentials("me@x.example", None if name == "EXTERNAL" else _SECRET, method=name)
    )
    context = LoginContext(
        token=_SECRET if token else None, nonce="fyko+d2lbbFgONRv9qkxdawL", host="mail.x.example"
    )
    try:
        exchange = Exchange(choose(given, (name,), encrypted=True, context=context))
        line: bytes | None = exchange.begin()
        for turn in range(20):
            assert line is not None
            assert re.fullmatch(rb"[!-~ ]*\r\n", line)
            code = source.choice((334, 334, 334, 235, 535, 250, 421, 500))
            line = exchange.answer(Reply(code, (source.block(),)))
            if line is None:
                assert code != 334
                return
            assert turn < 15, "asked without end"
    except MailpoolError as error:
        told = str(error) + repr(error)
    else:
        told = ""
    assert _SECRET not in told


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (addresses, headers, composer, replies, ehlo, sasl, client)
}
