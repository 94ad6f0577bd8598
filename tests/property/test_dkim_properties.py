"""Whatever the message, dkimpy verifies what we signed; and no longer does once somebody added or changed a field."""

from __future__ import annotations

import datetime
import time
import warnings
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailpool import DkimKey
from mailpool.content import BytesContent
from mailpool.message import seal
from mailpool.message.dkim import dkim_record, load_key, signed
from mailpool.message.raw import raw_content

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dkim

FORMS = ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"]
RSA = rsa.generate_private_key(65_537, 1_024)
ED25519 = ed25519.Ed25519PrivateKey.generate()
KEYS = {
    (kind, form): load_key(
        DkimKey("example.org", f"{kind}-{form.replace('/', '-')}", private, canonicalization=form)
    )
    for kind, private in (("rsa", RSA), ("ed25519", ED25519))
    for form in FORMS
}
RECORDS = dict(dkim_record(loaded.key) for loaded in KEYS.values())
EVERY_KEY = list(KEYS.values())
NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)


def look_up(name: bytes, timeout: float = 5) -> bytes:
    return RECORDS[name.decode().removesuffix(".")].encode()


def verifies(octets: bytes, number: int = 0) -> bool:
    try:
        return bool(dkim.DKIM(octets).verify(number, dnsfunc=look_up))
    except dkim.DKIMException:
        return False


def signed_with(octets: bytes, keys: Any) -> bytes:
    return b"".join(signed(BytesContent(octets, crlf_only=True), keys, int(time.time())).blocks())


WHITE = st.sampled_from(["", " ", "\t", "  ", " \t ", "\r\n ", "\r\n\t", "\r\n  \t"])
# Folds have text on their line: one that is only white space is not valid (RFC 5322 §3.2.2).
# dkimpy takes vertical tabs and form feeds for white space, which they are not (RFC 6376 §2.8).
WORD = st.text("abcé,;=<>@.\x08\xa0", min_size=1, max_size=8)
VALUES = st.builds(
    lambda first, rest, last: first + "".join(w + s for w, s in rest) + "x" + last,
    st.sampled_from(["", " ", "\t", "  "]),
    st.lists(st.tuples(WORD, WHITE), max_size=6),
    st.sampled_from(["", " ", "\t ", "  "]),
)
NAMES = st.sampled_from(["From", "TO", "subject", "Date", "Cc", "X-Own", "List-Id", "Received", "Sender"])
BODIES = st.one_of(
    st.text("ab \t\n", max_size=60),
    st.builds(
        lambda text, end: text + end,
        st.text(max_size=200),
        st.text(" \t\n", max_size=6),
    ),
).map(
    lambda text: text.replace("\r", "").replace("\0", "").encode("utf-8", "replace").replace(b"\n", b"\r\n")
)


@pytest.mark.rule("DAT-10")
@settings(deadline=None, max_examples=150)
@given(fields=st.lists(st.tuples(NAMES, VALUES), max_size=8), body=BODIES, place=st.integers(0, 8))
@example(fields=[], body=b"", place=0)
@example(fields=[("subject", " a"), ("Subject", "\tb\r\n c ")], body=b" \t\r\n\r\n", place=1)
def test_dkimpy_verifies_any_raw_message(fields: list[tuple[str, str]], body: bytes, place: int) -> None:
    fields = [*fields[:place], ("From", " a@example.org"), *fields[place:]]
    header = "".join(f"{name}:{value}\r\n" for name, value in fields).encode()
    content, _ = raw_content(header + b"\r\n" + body, "raw")
    octets = signed_with(content.data, EVERY_KEY)
    assert octets.endswith(content.data)
    for number, loaded in enumerate(EVERY_KEY):
        assert verifies(octets, number), loaded


@pytest.mark.rule("DAT-10")
@settings(deadline=None, max_examples=60)
@given(
    subject=st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=100),
    text=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=300),
    html=st.none() | st.text("<p> é\n\t", max_size=100),
    attachment=st.binary(max_size=200),
)
def test_dkimpy_verifies_what_we_compose(
    subject: str, text: str, html: str | None, attachment: bytes
) -> None:
    message = {"from": "Ä <a@example.org>", "to": ["b@example.net"] * 5, "subject": subject, "text": text}
    message |= {"html": html, "attachments": [{"content": attachment, "filename": "a.bin"}]}
    sealed = seal(message, now=NOW, token=lambda: "0123456789abcdef")
    octets = signed_with(b"".join(sealed.content.blocks()), EVERY_KEY)
    assert all(verifies(octets, number) for number in range(len(EVERY_KEY)))


BASE = (
    b"From: a@example.org\r\nTo: b@example.net\r\nSubject: Hi\r\nDate: Mon, 05 Jan 2026 00:00:00 +0000\r\n"
    b"List-Unsubscribe: <https://example.org/u>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHi there.\r\n"
)


@pytest.mark.parametrize("loaded", EVERY_KEY, ids=repr)
def test_no_field_can_be_added_or_changed_and_no_body(loaded: Any) -> None:
    octets = signed_with(BASE, [loaded])
    assert verifies(octets)
    head, _, rest = octets.partition(b"From:")
    for added in (
        *(
            "From: evil@example.net",
            "Subject: Other",
            "To: c@example.net",
            "Cc: c@example.net",
            "Date: today",
        ),
        *("Reply-To: evil@example.net", "References: <1@x>", "Content-Type: text/html", "MIME-Version: 1.0"),
        *(
            "Content-Transfer-Encoding: base64",
            "List-Unsubscribe: <https://evil.example>",
            "In-Reply-To: <1@x>",
        ),
    ):
        for at in (b"", head):
            assert not verifies(at + added.encode() + b"\r\n" + octets.removeprefix(at)), added
    assert verifies(b"Received: by relay.example\r\n" + octets)
    assert verifies(b"X-Spam: no\r\n" + octets)
    assert not verifies(octets.replace(b"Subject: Hi", b"Subject: Ho"))
    assert not verifies(octets.replace(b"Hi there", b"Ho there"))
    assert not verifies(octets + b"More.\r\n")
    assert verifies(octets + b"\r\n\r\n")
    assert rest


def test_without_oversigning_a_field_can_be_added() -> None:
    lax = load_key(DkimKey("example.org", "rsa-relaxed-relaxed", RSA, oversign=False))
    octets = signed_with(BASE, [lax])
    assert verifies(b"Cc: c@example.net\r\n" + octets)
