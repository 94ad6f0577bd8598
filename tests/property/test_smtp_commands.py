"""Whatever text is put into a command: exactly one line with the meaning that was asked for, or InvalidCommand."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailpool.smtp import commands
from mailpool.smtp.commands import InvalidCommand

SPICES = [
    "\r\n",
    "\r",
    "\n",
    "\0",
    " ",
    "\t",
    "<",
    ">",
    '"',
    "\\",
    "@",
    "=",
    " SIZE=1",
    "\x7f",
    "\u760a",
    "\ud800",
    "ä",
]
anything = st.text(st.characters(), max_size=30)
spiced = st.lists(
    st.one_of(st.sampled_from(SPICES), st.sampled_from(["a", "b.c", "1", "X"])), max_size=8
).map("".join)
texts = st.one_of(anything, spiced)
pytestmark = [pytest.mark.rule("INJ-03"), pytest.mark.rule("INJ-15")]

# RFC 5321 §4.1.2 and §4.1.1.11, written once more and by other means than the library's.
LINE = re.compile(
    rb"(MAIL FROM|RCPT TO):<((?:\"(?:\\[^\r\n\0]|[^\"\\\r\n\0])*\"|[^<>\" \r\n\0])*)>((?: [A-Za-z0-9-]+(?:=[!-<>-~]+)?)*)\r\n"
)


def check(verb: str, path: str, parameters: str) -> None:
    command = commands.mail if verb == "MAIL FROM" else commands.rcpt
    try:
        line = command(path, parameters)
    except InvalidCommand:
        return
    assert line.count(b"\r") == line.count(b"\n") == 1
    assert line.endswith(b"\r\n")
    assert not re.search(rb"[\x00-\x1f\x7f]", line[:-2])
    read = LINE.fullmatch(line)
    assert read is not None
    assert (read[1].decode(), read[2].decode(), read[3].decode()) == (verb, path, parameters)


@settings(deadline=None, max_examples=300)
@given(texts, texts)
@example("\ud800", "")
@example('"a"@b', " X=1\n")
def test_paths_and_parameters(path: str, parameters: str) -> None:
    for verb in ("MAIL FROM", "RCPT TO"):
        check(verb, path, parameters)
        check(verb, f"{path}@example.org", "")
        check(verb, f'"{path}"@example.org', "")
        check(verb, "a@example.org", parameters)
        check(verb, "a@example.org", f" {parameters}")
        check(verb, "a@example.org", f" X={parameters}")


@pytest.mark.rule("INJ-01")
@settings(deadline=None)
@given(texts)
def test_hello(name: str) -> None:
    for shaped in (name, f"[{name}]", f"a{name}"):
        try:
            line = commands.hello("EHLO", shaped)
        except InvalidCommand:
            continue
        assert re.fullmatch(rb"EHLO [!-~]+\r\n", line)
        assert line == f"EHLO {shaped}\r\n".encode()


@pytest.mark.rule("INJ-13")
@settings(deadline=None)
@given(texts, st.one_of(st.none(), st.binary(max_size=20)))
def test_auth(mechanism: str, response: bytes | None) -> None:
    for name in (mechanism, "PLAIN"):
        try:
            line = commands.auth(name, response)
        except InvalidCommand:
            continue
        assert re.fullmatch(rb"AUTH [A-Za-z0-9_-]+( [A-Za-z0-9+/=]+)?\r\n", line)
