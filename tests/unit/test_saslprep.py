"""SASLprep (RFC 4013)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpool.smtp.sasl.saslprep import saslprep


@pytest.mark.parametrize(
    ("given", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b\u3000c", "a b c"),
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
        ("p\U0001f600", "p\U0001f600"),  # not in Unicode 3.2: as it is
        ("a b", "a b"),
    ],
)
def test_the_examples_of_section_3_and_some_more(given: str, prepared: str) -> None:
    assert saslprep(given) == prepared


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("\u0007", "U\\+0007"),
        ("\u0627\u0031", "right to left"),
        ("\u0627a\u0628", "right to left"),
        ("a\u0627", "right to left"),
        ("", "empty"),
        ("\u00ad", "empty"),
        ("a\ue000", "U\\+E000"),
        ("\ud800", "U\\+D800"),
        ("\ufffd", "U\\+FFFD"),
        ("\u200e", "U\\+200E"),
        ("\U000e0001", "U\\+E0001"),
        ("\u2ff0", "U\\+2FF0"),
        ("\x7f", "U\\+007F"),
        ("\u2028", "U\\+2028"),
    ],
)
def test_what_has_no_form(given: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        saslprep(given)


@given(st.text(max_size=20))
def test_preparing_is_done_once_or_refused(text: str) -> None:
    try:
        prepared = saslprep(text)
    except ValueError:
        return
    assert saslprep(prepared) == prepared
    prepared.encode("utf-8")
