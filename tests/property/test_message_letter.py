"""The short way for ordinary messages writes what the long way writes, to the octet."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpool.errors import MessageError
from mailpool.message import Sealed, composing, seal
from mailpool.message.seal import sealed_octets

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
TOKEN = "0123456789abcdef" * 2

TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(["line\n", ".\r\n", "\r", "Grüße\n", "x" * 1_200, "\0", TOKEN, "=_0.", " ", "\udc80"])
    ).map("".join),
)
PEOPLE = st.one_of(
    st.sampled_from(
        [
            "ann@example.org",
            "Ann <ann@EXAMPLE.org>",
            "Ann  Lee <ann@example.org>",
            '"Lee, Ann" <ann@example.org>',
            "Jörg <j@example.org>",
            "a@example.org, Bob <b@example.org>",
            "jörg@example.org",
            "jens@grün.example",
            "friends: a@example.org, b@example.org;",
            "x" * 70 + " <long@example.org>",
            "no address",
            "",
        ]
    ),
    st.text(max_size=30),
)


def long_way(message: dict[str, Any]) -> Sealed:
    return seal(message, now=NOW, token=lambda: TOKEN)


def outcome(message: dict[str, Any], way: Callable[[dict[str, Any]], Sealed | None] = long_way) -> Any:
    try:
        sealed = way(message)
    except MessageError as error:
        return type(error), str(error), error.field
    if sealed is None:
        return None
    content = sealed.content
    octets = b"".join(content.blocks())
    return sealed.envelope, sealed.message_id, octets, content.eight_bit, content.utf8_headers


@given(sender=PEOPLE, to=PEOPLE, subject=TEXTS, text=TEXTS, html=TEXTS)
@settings(max_examples=500)
def test_both_ways_write_the_same(sender: str, to: str, subject: str, text: str, html: str) -> None:
    message = {"from": sender, "to": to, "subject": subject, "text": text, "html": html}
    short = outcome(message)
    with mock.patch.object(composing, "letter", return_value=None):
        assert outcome(message) == short


def test_an_ordinary_message_goes_the_short_way() -> None:
    message = {"from": "a@example.org", "to": "b@example.org", "subject": "s", "text": "t", "html": "<p>h"}
    with (
        mock.patch.object(composing, "body", side_effect=AssertionError),
        mock.patch.object(composing, "usual_body", side_effect=AssertionError),
    ):
        assert outcome(message)[0].recipients == ("b@example.org",)
        with pytest.raises(AssertionError):
            outcome({**message, "cc": "c@example.org"})


@pytest.mark.rule("HDR-15")
def test_a_text_that_holds_the_boundary_goes_the_long_way() -> None:
    message = {"from": "a@example.org", "to": "b@example.org", "subject": "s", "html": "<p>h"}
    octets = outcome({**message, "text": f"--=_0.{TOKEN}--"})[2]
    assert f'boundary="=_0.1.{TOKEN}"'.encode() in octets


RAW = st.one_of(
    st.binary(max_size=60), st.builds(lambda t: t.encode("utf-8", "replace"), TEXTS), st.text(max_size=9)
)
ENVELOPES = st.dictionaries(
    st.sampled_from(["from", "to", "cc", "bcc", "size", "use_8bitmime", "other"]),
    st.one_of(PEOPLE, st.lists(PEOPLE, max_size=2), st.none(), st.sampled_from(["<>", 5, 100, True, False])),
    max_size=4,
)


@given(raw=RAW, envelope=ENVELOPES)
@settings(max_examples=500)
def test_finished_octets_are_sealed_the_same_in_the_short_way(raw: Any, envelope: dict[str, Any]) -> None:
    message = {"raw": raw, "envelope": envelope}
    assert outcome(message, sealed_octets) in (None, outcome(message))


def test_finished_octets_go_the_short_way() -> None:
    message = {"raw": b"Subject: s\n\nbody", "envelope": {"from": "a@example.org", "to": "b@example.org"}}
    assert sealed_octets(message) is not None
    assert sealed_octets({**message, "recipient_limit": 1}) is None
