"""What we write, the standard library reads back as it was given."""

from __future__ import annotations

import datetime
import email.policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import getaddresses
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailpool.errors import MessageError
from mailpool.message import Sealed, seal

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
# Text that people write: no controls (tested on their own) and no lone surrogates.
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=120)
LINES = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=300),
    st.text("ab =.\n\t-_éя", max_size=300),
    st.builds(
        lambda text, times: text * times, st.text("ab é\n", min_size=1, max_size=40), st.integers(1, 60)
    ),
)
NAMES = st.one_of(WORDS, st.text('ab ,"\\<>@()=?.;:é', max_size=40)).map(str.strip)
ADDRESSES = st.from_regex(r"[a-z0-9!#$%&'*+/=^_`{|}~-]{1,20}@[a-z0-9]{1,20}\.example", fullmatch=True).filter(
    lambda a: "=?" not in a
)


def sealed(**fields: Any) -> Sealed:
    return seal(
        {"from": "a@x.example", "to": "b@y.example"} | fields, now=NOW, token=lambda: "0123456789abcdef"
    )


def parsed(result: Sealed) -> EmailMessage:
    data = b"".join(result.content.blocks())
    assert data.endswith(b"\r\n")
    lines = data.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert data.isascii() or result.content.utf8_headers
    header = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert all(line.strip() for line in header)  # nothing that an old relay takes for the end of the header
    assert all(line == line.rstrip() for line in header)  # nor white space that a relay may drop
    # Many readers make one space of a fold and all white space behind it.
    assert not any(line[:1] == b"\t" or line[:2] in (b"  ", b" \t") for line in header)
    assert all(len(line) <= 76 for line in header if b"=?utf-8?" in line)
    return BytesParser(EmailMessage, policy=email.policy.default).parsebytes(data)


def text_of_header(result: Sealed, name: bytes) -> str:
    header = b"".join(result.content.blocks()).partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ")
    return (
        next(line for line in header.split(b"\r\n") if line.startswith(name + b":"))
        .partition(b":")[2]
        .decode()
    )


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return part.get_payload(decode=True).decode()


@given(WORDS)
@example("=?utf-8?q?a?=")
@example(" a")
@example("a  " * 60)
@pytest.mark.rule("HDR-11")
def test_subjects_come_back(subject: str) -> None:
    read = parsed(sealed(subject=subject))["subject"]
    assert (read or "") == (subject if subject.strip(" \t") else "")


@given(st.text(st.sampled_from('ab \té=?_,;()<>"\\'), max_size=400))
@example("two  spaces \t" * 12 + "x")
@settings(max_examples=200)
@pytest.mark.rule("HDR-11")
def test_custom_values_come_back(value: str) -> None:
    read = parsed(sealed(headers={"X-Any": value}))["x-any"]
    assert (read or "") == (value if value.strip(" \t") else "")


@given(LINES, LINES)
@settings(max_examples=200)
def test_text_and_html_come_back(text: str, html: str) -> None:
    message = parsed(sealed(text=text, html=html))
    assert text_of(message, "plain") == text.replace("\n", "\r\n")
    assert text_of(message, "html") == html.replace("\n", "\r\n")


@given(LINES)
def test_a_single_part_comes_back_with_a_last_line_end(text: str) -> None:
    read = text_of(parsed(sealed(text=text)), "plain").replace("\r\n", "\n")
    assert read.removesuffix("\n") == text.removesuffix("\n")


@given(st.lists(st.tuples(NAMES, ADDRESSES), min_size=1, max_size=5))
@settings(max_examples=200)
@pytest.mark.rule("ADR-10")
def test_names_and_addresses_come_back_and_agree_with_the_envelope(people: list[tuple[str, str]]) -> None:
    given = [{"name": name, "address": address} for name, address in people]
    result = sealed(to=given, cc=given[:1])
    message = parsed(result)
    assert [read.addr_spec for read in message["to"].addresses] == [address for _, address in people]
    # The names by the older parser: the newer one keeps the space between two encoded words (RFC 2047 §6.2).
    names = [
        str(make_header(decode_header(name))) for name, _ in getaddresses([text_of_header(result, b"To")])
    ]
    assert names == [name for name, _ in people]
    assert list(result.envelope.recipients) == list(dict.fromkeys(address for _, address in people))


@given(st.lists(st.tuples(st.binary(max_size=300), WORDS.map(str.strip)), max_size=3))
@example(files=[(b"", '""'), (b"", "<x>"), (b"", '"\\"')])
def test_attachments_come_back(files: list[tuple[bytes, str]]) -> None:
    message = parsed(
        sealed(text="t", attachments=[{"content": c, "filename": n, "content_type": "a/b"} for c, n in files])
    )
    # By the parsed header: get_filename() takes quotes and angle brackets off a name that is unquoted already.
    read = [
        (part.get_payload(decode=True), part["content-disposition"].params.get("filename", ""))
        for part in message.iter_attachments()
    ]
    assert read == files


FIELDS = ["subject", "from", "to", "message_id", "in_reply_to", "references", "date", "priority"]


@given(st.sampled_from(FIELDS), st.text(st.sampled_from("a\r\n\0: @x<>,\té\x0b\u2028"), max_size=20))
@settings(max_examples=500)
@pytest.mark.rule("HDR-01")
def test_no_field_starts_a_header(field: str, text: str) -> None:
    try:
        result = sealed(**{"text": "t", field: text})
    except MessageError:
        return
    known = {
        "from",
        "to",
        "subject",
        "message-id",
        "date",
        "in-reply-to",
        "references",
        "mime-version",
        "sender",
    }
    assert {name.lower() for name in parsed(result)} <= known | {
        "content-type",
        "content-transfer-encoding",
    }
