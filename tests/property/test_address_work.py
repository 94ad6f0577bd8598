"""Reading addresses takes work that grows with the length of the text alone.

Nothing here looks at a clock. Calls are counted by the interpreter, and what regular expressions walk over by a
pattern that adds up how far each match reached. A match that fails deep inside of the engine is the one thing that
this cannot count; the sizes are such that quadratic work there would not end before the time limit of a test.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mailpool.address import Envelope, grammar, lenient, parse_addresses, tokens
from mailpool.errors import AddressError


class Counted:
    """A compiled pattern that adds up the characters its matches cover, and one for each attempt."""

    def __init__(self, pattern: re.Pattern[str], work: list[int]) -> None:
        self.pattern = pattern
        self.work = work

    def match(self, text: str, position: int = 0) -> re.Match[str] | None:
        found = self.pattern.match(text, position)
        self.work[0] += 1 + (len(found[0]) if found else 0)
        return found

    def finditer(self, text: str, position: int) -> Any:
        for found in self.pattern.finditer(text, position):
            self.work[0] += len(found[0])
            yield found


@pytest.fixture
def work_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], int]:
    """Counts calls and characters matched while a function runs."""
    work = [0]
    monkeypatch.setattr(grammar, "_SIMPLE", Counted(grammar._SIMPLE, work))
    monkeypatch.setattr(grammar._Element, "pattern", Counted(tokens.STRICT, work))
    monkeypatch.setattr(lenient._Lenient, "pattern", Counted(tokens.WITH_LINE_BREAKS, work))
    monkeypatch.setattr(tokens, "_COMMENT_STEP", Counted(tokens._COMMENT_STEP, work))

    def count(frame: Any, event: str, argument: Any) -> None:
        work[0] += event in ("call", "c_call")

    def measured(function: Callable[[], object]) -> int:
        work[0] = 0
        sys.setprofile(count)
        try:
            with contextlib.suppress(AddressError):
                function()
        finally:
            sys.setprofile(None)
        return work[0]

    return measured


HOSTILE = [
    "(", '"', "<", "@", "a ", "a.", "a@b ", "a@b, ", "a@b; ", "a@b\n", "Ann <a@b> ", "a, ", "()", "(a)", "[", "a:", ":;", "\\",
    ",", '"\\', "<a@b", "a@b>", "<@a:", "mailto:", "a@ü ", "[a] ", "a:a@b;", '"a" ', '"a@b", ', "=?a?q?", "=?utf-8?q?a?= ",
    " ", "\r\n ", "'a@b' ", "a@b. ", "(a) a@b ", "\n", "ü", "<<", "a@b.",
]  # fmt: skip


@pytest.mark.rule("DOS-02")
@pytest.mark.parametrize("end", ["", "<a@b>", "a@b", ", !"])
@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("mode", ["strict", "lenient"])
def test_twice_the_text_is_twice_the_work(
    work_of: Callable[[Callable[[], object]], int], text: str, end: str, mode: str
) -> None:
    def work(times: int) -> int:
        return work_of(lambda: parse_addresses(text * times + end, lenient=mode == "lenient"))

    work(10)  # caches are filled
    little, much = work(300), work(600)
    assert much <= 2.2 * little + 200


@pytest.mark.rule("DOS-02")
@pytest.mark.parametrize("mode", ["strict", "lenient"])
@pytest.mark.parametrize("text", [*HOSTILE, "=?a?q?<a@b>", "=?punycode?q?bbb"])
def test_a_million_characters_come_to_an_end(text: str, mode: str) -> None:
    with contextlib.suppress(AddressError):
        parse_addresses(text * (200_000 // len(text)), lenient=mode == "lenient")


@pytest.mark.rule("DOS-02")
@pytest.mark.parametrize("end", ["", " <a@b>"])
@pytest.mark.parametrize("text", ["(", '"', "<", "@", "=?utf-8?q?b?= "])
def test_hostile_megabytes_come_to_an_end(text: str, end: str) -> None:
    with contextlib.suppress(AddressError):
        parse_addresses(text * (1_000_000 // len(text)) + end)


@pytest.mark.rule("ADR-15")
@pytest.mark.parametrize("frame", ["{}", "Ann <{}>", '"Ann, B." <{}>', "=?utf-8?q?J=C3=BCrgen?= <{}>"])
@pytest.mark.parametrize("kind", ["text", "list"])
def test_each_recipient_takes_the_same_work(
    work_of: Callable[[Callable[[], object]], int], kind: str, frame: str
) -> None:
    def work(times: int) -> int:
        many = [frame.format(f"user{n:06}@x.example") for n in range(times)]
        value = many if kind == "list" else ", ".join(many)
        return work_of(lambda: Envelope.between(None, parse_addresses(value)))

    work(10)
    few, many = work(500), work(2_000)
    assert many <= 4.1 * few


@pytest.mark.rule("ADR-15")
@pytest.mark.parametrize("kind", ["text", "named text", "list"])
def test_two_hundred_thousand_recipients(kind: str) -> None:
    """How long it takes is measured in benchmarks/; here it has to come to an end, with everybody there once."""
    frame = "Ann <{}>" if kind == "named text" else "{}"
    many = [frame.format(f"u{n}@x.example") for n in range(200_000)]
    mailboxes = parse_addresses(many if kind == "list" else ", ".join(many))
    assert len(mailboxes) == 200_000
    assert len(Envelope.between(None, mailboxes + mailboxes[:1000]).recipients) == 200_000
