"""What we write, three parsers that share no code read as it was meant."""

from __future__ import annotations

import dataclasses
import datetime
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from parsers import READERS, Letter, Part, Read, Reader, corpus
from servers import NotAvailable

from mailpool.message import Sealed, seal

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)


class Defect(NamedTuple):
    """What a parser reads wrong, why that is its fault, and what it makes of a right message."""

    parser: str
    what: str
    makes: Callable[[Read, Read], Read]  # of what is right, and of what it read


def _nothing(right: Read, read: Read) -> Read:
    return dataclasses.replace(
        right,
        text=right.text or (read.text if read.text in (None, "", "\n") else right.text),
        html=right.html or (read.html if read.html in (None, "") else right.html),
    )


def _kinds_by_name(right: Read, read: Read) -> Read:
    if len(right.parts) != len(read.parts):
        return right
    guessed = [
        dataclasses.replace(part, content_type=found.content_type)
        if part.content_type == "application/octet-stream" and part.filename
        else part
        for part, found in zip(right.parts, read.parts, strict=True)
    ]
    return dataclasses.replace(right, parts=tuple(guessed))


def _a_line_end_more(last: bytes) -> Callable[[Read, Read], Read]:
    """For parts whose last octet is ``last``."""

    def makes(right: Read, read: Read) -> Read:
        if len(right.parts) != len(read.parts):
            return right
        parts = [
            dataclasses.replace(part, content=found.content)
            if part.content[-1:] == last and found.content == part.content + b"\r\n"
            else part
            for part, found in zip(right.parts, read.parts, strict=True)
        ]
        return dataclasses.replace(right, parts=tuple(parts))

    return makes


def _without_embedded(right: Read, read: Read) -> Read:
    parts = [
        dataclasses.replace(part, content=b"") if part.content_type == "message/rfc822" else part
        for part in right.parts
    ]
    return dataclasses.replace(right, parts=tuple(parts))


DEFECTS = [
    Defect(
        "email", "an embedded message is parsed, and its octets cannot be had any more", _without_embedded
    ),
    Defect(
        "mailparser",
        "an empty text is none, or an empty line; an empty page is none",
        _nothing,
    ),
    Defect("mailparser", "an empty part without an encoding is an empty line", _a_line_end_more(b"")),
    Defect(
        "Email::MIME",
        "after CR the line end before a boundary is taken for the part's own",
        _a_line_end_more(b"\r"),
    ),
    Defect(
        "mailparser",
        "application/octet-stream, which RFC 2045 §4.5.1 has for data of any kind, gives way to what the name suggests",
        _kinds_by_name,
    ),
]


def octets(message: Sealed) -> bytes:
    return b"".join(message.content.blocks())


def sealed(fields: dict[str, Any]) -> bytes:
    return octets(seal(fields, now=NOW, token=lambda: "0123456789abcdef"))


@pytest.fixture(scope="module")
def letters() -> list[tuple[Letter, bytes]]:
    return [(letter, sealed(letter.fields)) for letter in corpus()]


def readings(reader: Reader, messages: list[bytes]) -> list[Read]:
    try:
        found = reader.read(messages)
    except NotAvailable as reason:
        pytest.skip(str(reason))
    assert len(found) == len(messages)
    return found


@pytest.mark.interop
@pytest.mark.rule("HDR-10")
@pytest.mark.rule("HDR-11")
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_parser_reads_what_was_given(reader: Reader, letters: list[tuple[Letter, bytes]]) -> None:
    wrong = []
    found = readings(reader, [message for _, message in letters])
    for (letter, message), read in zip(letters, found, strict=True):
        right = letter.expected
        for defect in DEFECTS:
            if defect.parser == reader.name:
                right = defect.makes(right, read)
        if b"\nContent-Type: multipart/" not in message.partition(b"\r\n\r\n")[0]:
            right = with_last_line_end(right, read)
        wrong += [
            f"{letter.shape}: {field.name}\n   wrote {getattr(right, field.name)!r:.300}\n   read  {getattr(read, field.name)!r:.300}"
            for field in dataclasses.fields(Read)
            if getattr(right, field.name) != getattr(read, field.name)
        ]
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:20])


def with_last_line_end(right: Read, read: Read) -> Read:
    """A message without parts ends in a line end; where the text had none, the reader cannot know that."""
    text, html = right.text, right.html
    if text is not None and read.text == text + "\n":
        text = read.text
    if html is not None and read.html == html + "\n":
        html = read.html
    return dataclasses.replace(right, text=text, html=html)


def test_the_corpus_is_large_and_the_same_each_time() -> None:
    first, second = corpus(), corpus()
    assert len(first) >= 500
    assert [letter.fields for letter in first] == [letter.fields for letter in second]
    assert any(isinstance(part, Part) for letter in first for part in letter.expected.parts)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The messages that the other tests compose."""
    tests = Path(__file__).parents[1]
    record = tmp_path_factory.mktemp("parsers") / "messages"
    files = [*sorted(tests.glob("unit/test_message*.py")), tests / "property/test_message_properties.py"]
    environment = {
        **os.environ,
        "MAILPOOL_RECORD": str(record),
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])
        ),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "parsers.recorder", "-p", "no:cacheprovider"]
    done = subprocess.run(
        # The one with the large file writes nothing that is small enough to be kept.
        [*command, "-k", "not large_file", *map(str, files)],
        env=environment,
        cwd=tests.parent,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return [bytes.fromhex(line) for line in record.read_text().splitlines()]


@pytest.mark.interop
@pytest.mark.timeout(1_200)  # hundreds of tests are run for it
@pytest.mark.parametrize("reader", READERS[1:], ids=lambda reader: reader.name)
def test_two_parsers_agree_on_the_messages_of_the_other_tests(reader: Reader, recorded: list[bytes]) -> None:
    assert len(recorded) > 1000
    wrong = []
    first, second = readings(READERS[0], recorded), readings(reader, recorded)
    for message, right, read in zip(recorded, first, second, strict=True):
        for defect in DEFECTS:
            if defect.parser == reader.name:
                right = defect.makes(right, read)
        right, read = _without_embedded(right, read), _without_embedded(read, right)
        wrong += [
            f"{field.name}\n   one   {getattr(right, field.name)!r:.300}\n   other {getattr(read, field.name)!r:.300}\n{message[:1500]!r}"
            for field in dataclasses.fields(Read)
            if getattr(right, field.name) != getattr(read, field.name)
        ]
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:20])
