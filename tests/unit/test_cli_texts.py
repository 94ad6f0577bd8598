"""Templates, tables and what is said about outcomes."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer")

from mailpool import (
    ConnectionFailed,
    Deferred,
    DeliveryUncertain,
    MessageError,
    Outcome,
    Phase,
    PoolClosed,
    RecipientResult,
    Rejected,
    Reply,
    SendError,
    SendOutcome,
    SendResult,
)
from mailpool.cli.letters import Letter, MailMerge
from mailpool.cli.people import People, TableError
from mailpool.cli.tally import Fate, Line, Tally
from mailpool.cli.template import Template, TemplateError


def test_fields_are_filled_in_once() -> None:
    template = Template("{{x}} Dear {name}, {first name}", "the text")
    assert template.fields == {"name", "first name"}
    assert template.fill({"name": "{city}", "first name": "A"}) == "{x} Dear {city}, A"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{name.__class__}",
        "{name[0]}",
        "{name!r}",
        "{name:>9999999}",
        "{name:{width}}",
        "{",
        "}",
        "a {b",
    ],
)
def test_anything_but_a_plain_name_is_refused(text: str) -> None:
    with pytest.raises(TemplateError, match="the text"):
        Template(text, "the text")


def test_an_unknown_field_names_the_columns() -> None:
    with pytest.raises(TemplateError, match=r"no column 'nam'; there are email, name"):
        Template("{nam}", "the text").check(["email", "name"])


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "people.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_table_can_be_read_again_and_again(tmp_path: Path) -> None:
    people = People(table(tmp_path, '\ufeffemail,name\na@example.com,"Alice, A."\n\nb@example.com,Bob\n'))
    assert len(people) == 2
    assert list(people) == list(people)
    assert next(iter(people)) == {"email": "a@example.com", "name": "Alice, A."}


def test_semicolons_separate_too(tmp_path: Path) -> None:
    assert list(People(table(tmp_path, "email;name\na@example.com;Alice, A.\n"))) == [
        {"email": "a@example.com", "name": "Alice, A."}
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "must name the columns"),
        ("name\nAlice\n", "must name the columns"),
        ("email,email\na@example.com,b\n", "same name"),
        ("email,name\na@example.com\n", "row 2 has 1 cells"),
        ("email,name\na@example.com,A\n,B\n", "row 3 has no email"),
        ('email,name\na@example.com,"A\n', "row 2"),
        (b"email\n\xff@example.com\n", "not UTF-8"),
    ],
)
def test_a_broken_table_is_found_before_anything_is_sent(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    with pytest.raises(TableError, match=words):
        People(table(tmp_path, content))


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="No such file"):
        People(tmp_path / "none.csv")


def test_values_are_escaped_in_html_and_nowhere_else(tmp_path: Path) -> None:
    people = People(table(tmp_path, "email,name\na@example.com,<b>&\n"))
    (letter,) = MailMerge(people, subject="{name}", text="{name}", html_text="<i>{name}</i>", fields={})
    assert (letter.subject, letter.text, letter.html) == ("<b>&", "<b>&", "<i>&lt;b&gt;&amp;</i>")
    assert letter.to == ("<b>&", "a@example.com")


LETTER = Letter(number=1, address="a@example.com")
REPLY = Reply.of("550 5.1.1 no")


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (Rejected("no", phase=Phase.RCPT, reply=REPLY), Fate.REJECTED),
        (Deferred("later", phase=Phase.RCPT), Fate.DEFERRED),
        (DeliveryUncertain("?", phase=Phase.END_OF_DATA, may_have_been_delivered=True), Fate.UNCERTAIN),
        # Refused, but an earlier attempt may have gone through.
        (Rejected("no", phase=Phase.RCPT, reply=REPLY, may_have_been_delivered=True), Fate.UNCERTAIN),
        (PoolClosed("closed", phase=Phase.QUEUE), Fate.NOT_SENT),
        (ConnectionFailed("down", phase=Phase.CONNECT), Fate.NOT_SENT),
    ],
)
def test_what_an_error_means_for_the_message(error: SendError, fate: Fate) -> None:
    line = Line.of(SendOutcome(LETTER, error=error))
    assert line.fate is fate
    assert line.reply == str(error.reply or "")


def test_a_message_that_cannot_be_composed_is_not_sent() -> None:
    line = Line.of(SendOutcome(LETTER, error=MessageError("no recipient")))
    assert (line.fate, line.detail) == (Fate.NOT_SENT, "no recipient")


def test_some_recipients_refused() -> None:
    recipients = (
        RecipientResult("a@example.com", Outcome.ACCEPTED, Phase.END_OF_DATA, Reply.of("250 ok")),
        RecipientResult("b@example.com", Outcome.REJECTED, Phase.RCPT, REPLY),
    )
    result = SendResult("<1@x>", "s@example.com", recipients, Reply.of("250 ok"), 1)
    line = Line.of(SendOutcome(LETTER, result=result))
    assert line.fate is Fate.PARTLY
    assert "b@example.com: rejected: 550 5.1.1 no" in line.detail


def test_the_report_is_complete_at_any_moment() -> None:
    file = io.StringIO()
    tally = Tally(2, file)
    tally.add(Line(1, "a@example.com", Fate.ACCEPTED, "250 ok", message_id="<1@x>"))
    assert not tally.all_accepted
    tally.add(Line.not_sent(Letter(number=2, address="b@example.com"), "stopped"))
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [(row["number"], row["outcome"], row["reply"]) for row in rows] == [
        ("1", "accepted", "250 ok"),
        ("2", "not sent", ""),
    ]
    assert tally.summary() == "1 accepted, 0 rejected, 0 deferred, 0 uncertain, 1 not sent"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_it_says_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from mailpool.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "pip install 'mailpool[cli]'" in ended.stderr


@pytest.mark.parametrize("missing", ["aiosmtpd", "cryptography"])
def test_the_demo_says_what_its_server_needs(missing: str) -> None:
    program = (
        "import importlib.util as u, sys; find = u.find_spec;"
        f"u.find_spec = lambda name, *a: None if name == {missing!r} else find(name, *a);"
        "sys.argv[1:] = ['demo']; from mailpool.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "pip install 'mailpool[demo]'" in ended.stderr
