"""Whatever a server says to EHLO: no exception, and nothing but whole keywords."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mailpool.results import Reply
from mailpool.smtp.capabilities import Capabilities

KEYWORDS = [
    "PIPELINING",
    "AUTH PLAIN LOGIN",
    "AUTH=LOGIN",
    "SIZE 100",
    "SIZE abc",
    "LIMITS RCPTMAX=5",
    "DSN",
    "STARTTLS",
]
lines = st.lists(
    st.one_of(st.binary(max_size=60), st.sampled_from([k.encode() for k in KEYWORDS])),
    min_size=1,
    max_size=30,
)


@given(lines)
def test_any_lines(raw: list[bytes]) -> None:
    caps = Capabilities.parse(Reply(250, tuple(raw)))
    for name in caps.keywords:
        assert re.fullmatch(r"[A-Z0-9][A-Z0-9-]*", name)
        assert any(line[: len(name)].upper() == name.encode() for line in raw[1:])
    assert caps.size is None or caps.size > 0
    assert all(re.fullmatch(r"[A-Z0-9_-]{1,20}", name) for name in caps.auth)


@given(lines, st.binary(max_size=60))
def test_the_first_line_never_matters(raw: list[bytes], greeting: bytes) -> None:
    assert Capabilities.parse(Reply(250, tuple(raw))) == Capabilities.parse(Reply(250, (greeting, *raw[1:])))


@given(lines, st.sets(st.sampled_from(["PIPELINING", "AUTH", "SIZE", "DSN"])))
def test_without_takes_away_exactly_those(raw: list[bytes], names: set[str]) -> None:
    caps = Capabilities.parse(Reply(250, tuple(raw)))
    assert set(caps.without(frozenset(names)).keywords) == set(caps.keywords) - names
