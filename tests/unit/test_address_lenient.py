"""The lenient grammar: what it repairs, that it tells, and that it loses nobody."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import pytest

import mailpool
from mailpool import AddressList, Mailbox, parse_addresses
from mailpool.errors import AddressError, MessageError
from mailpool.message import Sealed, seal

PAGE = (Path(__file__).parents[2] / "docs" / "messages.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" |")]
    for line in PAGE.partition("| text | lenient reading |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
]
DOCUMENTED = [
    (text.replace("⏎", "\n"), "an error" in row[1])
    for row in ROWS
    for text in re.findall(r"`([^`]+)`", row[0])
]


def lenient(text: str) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    found = parse_addresses(text, lenient=True)
    return [(mailbox.name, mailbox.address) for mailbox in found], found.repairs


@pytest.mark.parametrize(("text", "is_error"), DOCUMENTED)
def test_the_table_in_the_documentation(text: str, is_error: bool) -> None:
    with pytest.raises(AddressError):
        parse_addresses(text)
    if is_error:
        with pytest.raises(AddressError):
            parse_addresses(text, lenient=True)
    else:
        assert parse_addresses(text, lenient=True).repairs


A, B = ("", "a@x"), ("", "b@y")


@pytest.mark.parametrize(
    ("text", "people", "repairs"),
    [
        ("a@x b@y", [A, B], ["two addresses"]),
        ("a@x\tb@y", [A, B], ["two addresses"]),
        ("<a@x> <b@y>", [A, B], ["two addresses"]),
        ("<a@x><b@y>", [A, B], ["two addresses"]),
        ("<a@x> b@y", [A, B], ["two addresses"]),
        ("Ann <a@x> Bob <b@y>", [("Ann", "a@x"), ("Bob", "b@y")], ["two addresses"]),
        ("a@x; b@y;", [A, B], ["semicolon", "semicolon"]),
        ("a@x\nb@y", [A, B], ["line break"]),
        ("a@x\r\n\r\nb@y", [A, B], ["line break"]),
        ("a@x,\r\n b@y", [A, B], []),
        ("Ann\r\n <a@x>", [("Ann", "a@x")], []),
        ("a@x\r\n b@y", [A, B], ["two addresses"]),
        ("Cole, Ann <a@x>", [("Cole, Ann", "a@x")], ["name with a comma"]),
        ('"Cole", Dr., Ann <a@x>', [("Cole, Dr., Ann", "a@x")], ["name with a comma"]),
        ("b@y, Cole, Ann <a@x>", [B, ("Cole, Ann", "a@x")], ["name with a comma"]),
        ("=?utf-8?q?Z=C3=B6e?=, Ann <a@x>", [("Zöe, Ann", "a@x")], ["name with a comma"]),
        ("[Team] Ann <a@x>", [("[Team] Ann", "a@x")], ["name with brackets"]),
        ("a@x <A@x>", [("a@x", "A@x")], ["address that is a name"]),
        ("'a@x' <a@x>", [("a@x", "a@x")], ["quotes around an address", "address that is a name"]),
        ('"Ann <a@x>"', [("Ann", "a@x")], ["whole address"]),
        ('"a@x", b@y', [A, B], ["whole address"]),
        ("'a@x'", [A], ["quotes around an address"]),
        ("'a@x", [("", "'a@x")], []),
        ("<a@x", [A], ["missing"]),
        ("<a@x, b@y", [A, B], ["missing"]),
        ("Ann <a@x\nBob <b@y>", [("Ann", "a@x"), ("Bob", "b@y")], ["missing", "line break"]),
        ("<a@x, b@y>", [A, B], ["missing", "without a <"]),
        ("a@x>", [A], ["without a <"]),
        ("<<a@x>>", [A], ["two <", "without a <"]),
        ("a@b.example.", [("", "a@b.example")], ["dot"]),
        ("MailTo:a@x", [A], ["mailto"]),
        ("Ann <mailto:a@x>", [("Ann", "a@x")], ["mailto"]),
        ("<@b,@c:a@x>", [A], ["route"]),
        ("Team: a@x", [A], ["group"]),
        ("Team: a@x, b@y;, Mob: c@z", [A, B, ("", "c@z")], ["group"]),
        ("A: B: a@x;; b@y", [A, B], ["inside a group", "after a group"]),
        ("Team: (nobody);", [], ["comment"]),
        ("a@x (Ann), (c)", [("Ann", "a@x")], ["comment"]),
        ("a@x (Ann) b@y (Bob)", [A, B], ["dropped comments"]),
        ("a @ x b@y", [A, B], ["two addresses"]),
        ('"a b"@x c@[192.0.2.1]', [("", '"a b"@x'), ("", "c@[192.0.2.1]")], ["two addresses"]),
    ],
)
def test_repaired(text: str, people: list[tuple[str, str]], repairs: list[str]) -> None:
    found, told = lenient(text)
    assert found == people
    assert len(told) == len(repairs)
    assert all(words in sentence for words, sentence in zip(repairs, told, strict=True)), told
    assert all(sentence.isprintable() and len(sentence) < 200 for sentence in told)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("user@good-corp.example(x)evil.example", marks=pytest.mark.rule("ADR-02")),
        pytest.param("user@good(x)evil@corp.example", marks=pytest.mark.rule("ADR-02")),
        pytest.param("user@good-corp.example .evil.example", marks=pytest.mark.rule("ADR-02")),
        pytest.param("us(x)er@good-corp.example", marks=pytest.mark.rule("ADR-02")),
        pytest.param("us er@good-corp.example", marks=pytest.mark.rule("ADR-02")),
        pytest.param("<user@good(x)corp.example>", marks=pytest.mark.rule("ADR-02")),
        pytest.param('"a"b@c', marks=pytest.mark.rule("ADR-01")),
        pytest.param('"a"@b@c', marks=pytest.mark.rule("ADR-01")),
        pytest.param("a@b@c", marks=pytest.mark.rule("ADR-03")),
        pytest.param("a@b..", marks=pytest.mark.rule("ADR-03")),
        pytest.param("a@.", marks=pytest.mark.rule("ADR-03")),
        pytest.param("a@x <b@y>", marks=pytest.mark.rule("ADR-05")),
        pytest.param("a@x <b@y> c@z", marks=pytest.mark.rule("ADR-05")),
        pytest.param("a@x Bob <b@y>", marks=pytest.mark.rule("ADR-05")),
        pytest.param("<a@x b@y>", marks=pytest.mark.rule("ADR-05")),
        pytest.param("Ann <a@x> Bob, Cole <c@z>", marks=pytest.mark.rule("ADR-05")),
        pytest.param('"a@x, b@y"', marks=pytest.mark.rule("ADR-05")),
        pytest.param("root", marks=pytest.mark.rule("ADR-06")),
        pytest.param("root, a@x", marks=pytest.mark.rule("ADR-06")),
        pytest.param("root\nAnn <a@x>", marks=pytest.mark.rule("ADR-06")),
        pytest.param("root; Ann <a@x>", marks=pytest.mark.rule("ADR-06")),
        pytest.param("Cole, <a@x>", marks=pytest.mark.rule("ADR-06")),
        pytest.param("Cole, Ann a@x", marks=pytest.mark.rule("ADR-06")),
        pytest.param("Cole, a@x <a@x>", marks=pytest.mark.rule("ADR-06")),
        pytest.param("Cole, Team: a@x;", marks=pytest.mark.rule("ADR-06")),
        pytest.param("Cole,", marks=pytest.mark.rule("ADR-06")),
        pytest.param("Team: root;", marks=pytest.mark.rule("ADR-06")),
        pytest.param("a@x: b@y;", marks=pytest.mark.rule("ADR-04")),
        pytest.param("=?utf-8?q?a=40b?=", marks=pytest.mark.rule("ADR-09")),
        pytest.param("=?utf-8?q?a?=@b c@d", marks=pytest.mark.rule("ADR-09")),
        pytest.param("a@[192.0.2.1", marks=pytest.mark.rule("ADR-11")),
        pytest.param("a" * 250 + "@x.example.", marks=pytest.mark.rule("ADR-12")),
        pytest.param("Ann <>", marks=pytest.mark.rule("ADR-13")),
        pytest.param("<@a,@b>", marks=pytest.mark.rule("ADR-13")),
        pytest.param("<@a,c@d:e@f>", marks=pytest.mark.rule("ADR-13")),
        pytest.param("a@x\0 b@y", marks=pytest.mark.rule("INJ-03")),
        pytest.param("a@x\x1b; b@y", marks=pytest.mark.rule("INJ-03")),
        pytest.param('"a\r\nRCPT TO:<b@y>"@x', marks=pytest.mark.rule("INJ-06")),
        pytest.param('"Ann\r\nX: y" <a@x>', marks=pytest.mark.rule("HDR-01")),
        pytest.param("a@x (Ann\r\nX: y)", marks=pytest.mark.rule("HDR-01")),
        "(a@x",
        '"a@x',
        "a\\b@x; c@d",
        "Bob > a@x",
        "> a@x",
        "Ann <a@x <b@y>",
        "Ann <a@x:b>",
    ],
)
def test_still_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_addresses(text, lenient=True)


def test_lists_and_pairs_are_read_as_before() -> None:
    found = parse_addresses(["a@x; b@y", ("Cole, Ann", "c@z"), Mailbox("", "d@z")], lenient=True)
    assert [m.address for m in found] == ["a@x", "b@y", "c@z", "d@z"]
    assert isinstance(found, AddressList)
    assert isinstance(found, tuple)
    assert len(found.repairs) == 1
    assert parse_addresses("a@x, b@y").repairs == ()
    with pytest.raises(AddressError, match=r"^addresses: "):
        parse_addresses(("Ann", "a@x; b@y"), lenient=True)


# -- in messages -----------------------------------------------------------------------------------------------------


def sealed(*, lenient: bool = True, **fields: Any) -> Sealed:
    fields = {name.rstrip("_"): value for name, value in fields.items()}
    now = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
    return seal({"from": "s@x", **fields}, now=now, token=lambda: "0", lenient=lenient)


@pytest.mark.rule("ADR-05")
@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
def test_a_lenient_field(field: str) -> None:
    with pytest.raises(AddressError):
        sealed(**{field: "Cole, Ann <a@x> b@y"}, lenient=False)
    result = sealed(**{field: "Cole, Ann <a@x> b@y"})
    assert result.envelope.recipients == ("a@x", "b@y")
    assert len(result.repairs) == 2
    assert all(repair.startswith(f"{field}: ") for repair in result.repairs)
    header = b"".join(result.content.blocks())
    assert (b'"Cole, Ann" <a@x>, b@y' in header) is (field != "bcc")


def test_other_fields_that_name_people() -> None:
    result = sealed(
        from_="Cole, Ann <s@x>",
        reply_to="r@x; q@x",
        headers={"To": "a@x; b@y", "X-A": "a; b"},
        envelope={"from": "<e@x", "to": "c@x d@x"},
    )
    assert result.envelope == mailpool.Envelope("e@x", ["c@x", "d@x"])
    header = b"".join(result.content.blocks())
    for line in (b'From: "Cole, Ann" <s@x>', b"Reply-To: r@x, q@x", b"To: a@x, b@y", b"X-A: a; b"):
        assert line + b"\r\n" in header
    assert len(result.repairs) == 5
    assert sealed(to="a@x", envelope={"from": "<>", "to": "a@x"}).envelope.sender == ""
    raw = {"raw": b"Subject: x\r\n\r\n", "envelope": {"from": "", "to": "a@x; b@y"}, "from": None}
    assert sealed(**raw).envelope.recipients == ("a@x", "b@y")


@pytest.mark.rule("HDR-13")
def test_a_lenient_field_still_wins_over_a_header_of_its_name() -> None:
    result = sealed(to="a@x", headers=[("to", "b@y; c@y"), ("BCC ", "d@x; e@x")])
    assert result.envelope.recipients == ("a@x", "d@x", "e@x")
    assert b"d@x" not in b"".join(result.content.blocks())
    with pytest.raises(MessageError):
        sealed(to="a@x", headers={"T o": "b@y"})
