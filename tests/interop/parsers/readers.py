"""The parsers: Python's ``email``, npm's ``mailparser``, and Perl's ``Email::MIME``, which share no code."""

from __future__ import annotations

import email.policy
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesFeedParser, BytesParser, Parser
from email.utils import getaddresses
from pathlib import Path
from typing import ClassVar

from servers import NotAvailable
from servers.npm import installed
from servers.packages import unpack
from servers.real_server import once

from .reading import Part, People, Read, Reader, from_json, mailbox

_HERE = Path(__file__).parent


class StandardLibrary(Reader):
    """Python's ``email`` with its newer policy."""

    name = "email"

    def read(self, messages: Sequence[bytes]) -> list[Read]:
        return [self._read(self._parsed(octets)) for octets in messages]

    @staticmethod
    def _parsed(octets: bytes) -> EmailMessage:
        policy = email.policy.default
        if b"\nContent-Transfer-Encoding: binary\r\n" in octets:
            # The others change line ends.
            feed = BytesFeedParser(EmailMessage, policy=policy)
            feed.feed(octets)
            return feed.close()
        # The parser of octets does not know of RFC 6532, the one of texts does.
        if octets.partition(b"\r\n\r\n")[0].isascii():
            return BytesParser(EmailMessage, policy=policy).parsebytes(octets)
        return Parser(EmailMessage, policy=policy).parsestr(octets.decode())

    def _read(self, message: EmailMessage) -> Read:
        def people(name: str) -> People:
            header = message[name]
            if not header:
                return ()
            # The names by the older parser: the newer one keeps the space between two encoded words (RFC 2047 §6.2).
            raw = next(value for key, value in message.raw_items() if key.lower() == name)
            names = [str(make_header(decode_header(found))) for found, _ in getaddresses([_unfolded(raw)])]
            return tuple(zip(names, (mailbox(found.addr_spec) for found in header.addresses), strict=True))

        texts: dict[str, str | None] = {"text/plain": None, "text/html": None}
        parts: list[Part] = []
        for part in _leaves(message):
            kind = part.get_content_type()
            disposition = part["content-disposition"]
            if kind in texts and disposition is None and texts[kind] is None:
                octets = part.get_payload(decode=True)
                assert isinstance(octets, bytes)
                texts[kind] = octets.decode(part.get_content_charset("utf-8")).replace("\r\n", "\n")
                continue
            # By the parsed header: get_filename() takes quotes and angle brackets off a name that is unquoted already.
            name = disposition.params.get("filename", "") if disposition is not None else ""
            name = name or str(part.get_param("name", ""))
            parts.append(Part(name, kind, self._octets(part), str(part.get("content-id", "")).strip("<>")))
        return Read(
            subject=str(message["subject"] or ""),
            senders=people("from"),
            to=people("to"),
            cc=people("cc"),
            reply_to=people("reply-to"),
            text=texts["text/plain"],
            html=texts["text/html"],
            parts=tuple(parts),
        )

    @staticmethod
    def _octets(part: EmailMessage) -> bytes:
        if part.get_content_type() == "message/rfc822":
            return b""  # it is parsed, and its octets are gone
        octets = part.get_payload(decode=True)
        assert isinstance(octets, bytes)
        return octets


def _leaves(message: EmailMessage) -> Iterator[EmailMessage]:
    """The parts that have no parts. ``walk()`` would also go into messages that are embedded."""
    if message.get_content_maintype() != "multipart":
        yield message
        return
    for part in message.iter_parts():
        yield from _leaves(part)


def _unfolded(value: str) -> str:
    return value.replace("\r\n", "")


class _Program(Reader):
    """A parser in another language."""

    def _command(self) -> list[str]:
        raise NotImplementedError

    def read(self, messages: Sequence[bytes]) -> list[Read]:
        lines = "".join(f"{octets.hex()}\n" for octets in messages)
        done = subprocess.run(
            self._command(), input=lines, capture_output=True, text=True, timeout=250, check=False
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr, done.stderr
        return [from_json(json.loads(line)) for line in done.stdout.split("\n")[:-1]]


class Mailparser(_Program):
    """npm's ``mailparser``."""

    name = "mailparser"

    def _command(self) -> list[str]:
        node = shutil.which("node")
        if node is None:
            raise NotAvailable("node is not installed, so that mailparser cannot run")
        return [node, str(_HERE / "mailparser_program.cjs"), str(_mailparser() / "mailparser")]


class EmailMime(_Program):
    """Perl's ``Email::MIME`` and ``Email::Address::XS``."""

    name = "Email::MIME"
    packages: ClassVar[tuple[str, ...]] = (
        "libemail-mime-perl",
        "libemail-address-xs-perl",
        "libemail-date-format-perl",
        "libemail-messageid-perl",
        "libemail-mime-contenttype-perl",
        "libemail-mime-encodings-perl",
        "libemail-simple-perl",
        "libmime-types-perl",
        "libmodule-runtime-perl",
        "libtext-unidecode-perl",
    )

    def _command(self) -> list[str]:
        perl = shutil.which("perl")
        if perl is None:
            raise NotAvailable("perl is not installed, so that Email::MIME cannot run")
        root = _email_mime()
        folders = [root / "usr/share/perl5", *root.glob("usr/lib/*/perl5/*")]
        return [perl, *(f"-I{folder}" for folder in folders), str(_HERE / "email_mime_program.pl")]


@once
def _mailparser() -> Path:
    return installed("npm-mailparser", "mailparser", "^3.7")


@once
def _email_mime() -> Path:
    return unpack("debian-email-mime", EmailMime.packages)


READERS: tuple[Reader, ...] = (StandardLibrary(), Mailparser(), EmailMime())
