"""The pages that list things list all of them, and say of each what the code says."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mailpool
from mailpool import events
from mailpool.message.fields import ATTACHMENT_KEYS, FIELD_NAMES
from mailpool.options.parsing import _ELSEWHERE
from mailpool.templates import Templates

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CODE = re.compile(r"`([^`\n]+)`")


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def rows(text: str, first_cell: str) -> list[list[str]]:
    """The rows of all tables whose header begins with ``first_cell``, as lists of cells."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if not line.startswith("|"):
            inside = False
        elif line.startswith(f"| {first_cell} |"):
            inside = True
        elif inside and not line.startswith("|---"):
            found.append([cell.strip() for cell in line.strip("|").split(" |")])
    return found


def names(cells: list[list[str]]) -> list[str]:
    return [name for row in cells for name in CODE.findall(row[0])]


# -- options ---------------------------------------------------------------------------------------------------------

OPTION_ROWS = {CODE.findall(row[0])[0]: row for row in rows(page("options.md"), "option")}
FIELDS = [field.name for field in dataclasses.fields(mailpool.Options)]


def test_every_option_has_one_row() -> None:
    assert sorted(names(rows(page("options.md"), "option"))) == sorted(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_option(name: str) -> None:
    _, default, unit, meaning = OPTION_ROWS[name]
    shown = eval(default.strip("`"), {"TLSOptions": mailpool.TLSOptions, "Access": mailpool.Access})
    actual = getattr(mailpool.Options(), name)
    assert shown == actual
    # 5 and 5.0 are equal, but only one of them is a duration.
    assert isinstance(actual, type(shown)) or name == "defaults"
    assert meaning
    is_duration = isinstance(actual, float) or name.endswith("_timeout")
    assert (unit == "seconds") == (is_duration or name in ("max_age", "check_after", "deadline"))
    assert (unit == "**milliseconds**") == (name == "rate_delta")


def test_names_from_elsewhere() -> None:
    told = names(rows(page("options.md"), "name"))
    assert sorted(told) == sorted(_ELSEWHERE)


@pytest.mark.parametrize(
    "row", rows(page("options.md"), "name"), ids=lambda row: str(row[0]) if isinstance(row, list) else None
)
def test_name_from_elsewhere(row: list[str]) -> None:
    advice = CODE.findall(row[1])
    for name in CODE.findall(row[0]):
        with pytest.raises(mailpool.ConfigurationError) as caught:
            mailpool.create_transport(**{name: 1})
        for words in advice:
            assert words.replace('"', "'") in str(caught.value).replace('"', "'")


@pytest.mark.parametrize("value", [mailpool.Access, mailpool.Rate, mailpool.Credentials, mailpool.TLSOptions])
def test_every_field_of_a_value_is_named(value: Any) -> None:
    text = page("options.md")
    assert [f.name for f in dataclasses.fields(value) if not re.search(rf"\b{f.name}\b", text)] == []


@pytest.mark.parametrize(("value", "name"), [(mailpool.DkimKey, "dkim.md"), (mailpool.Smime, "smime.md")])
def test_every_field_of_a_key_has_a_row(value: Any, name: str) -> None:
    fields = dataclasses.fields(value)
    shown = {CODE.findall(row[0])[0]: row[1] for row in rows(page(name), f"field of `{value.__name__}`")}
    assert list(shown) == [field.name for field in fields]
    for field in fields:
        if shown[field.name]:
            assert eval(shown[field.name].strip("`")) == field.default


# -- messages, events, results ---------------------------------------------------------------------------------------


def test_every_message_field_has_one_row() -> None:
    assert sorted(names(rows(page("messages.md"), "field"))) == sorted(FIELD_NAMES)


def test_every_attachment_key_has_one_row() -> None:
    assert sorted(names(rows(page("messages.md"), "key"))) == sorted(ATTACHMENT_KEYS)


def test_every_event_has_one_row_with_its_details() -> None:
    shown = {CODE.findall(row[0])[0]: row[1].strip("`") for row in rows(page("events.md"), "event")}
    details = {
        name: found[1] if (found := re.match(r"\(([^)]*)\)", text)) else ""
        for name, text in events.EVENTS.items()
    }
    assert shown == details


def test_every_number_of_the_statistics_has_a_row() -> None:
    shown = names(rows(page("statistics.md"), "field"))
    durations = {"waited", "took"}
    assert sorted(shown) == sorted(
        {field.name for field in dataclasses.fields(mailpool.PoolStats)} - durations
    )
    assert all(f"`{name}`" in page("statistics.md") for name in durations)


@pytest.mark.parametrize("name", ["SendResult", "SendError"])
def test_everything_that_an_outcome_has_is_told(name: str) -> None:
    told = names(rows(page("outcomes.md"), f"field of `{name}`"))
    kind = getattr(mailpool, name)
    if dataclasses.is_dataclass(kind):
        existing = {field.name for field in dataclasses.fields(kind)}
    else:
        example = kind("", phase=mailpool.Phase.QUEUE)
        existing = set(vars(example))
    existing |= {key for key, value in vars(kind).items() if isinstance(value, property)}
    assert sorted(told) == sorted(existing)


def test_the_tree_of_errors_is_the_one_in_the_code() -> None:
    block = next(
        text for text in re.findall(r"```text\n(.*?)```", page("outcomes.md"), re.DOTALL) if "├" in text
    )
    parents: list[str] = []
    shown = {}
    for line in block.splitlines():
        found = re.match(r"([│├└─ ]*)(\w+)", line)
        assert found is not None
        depth = len(found[1]) // 4
        shown[found[2]] = parents[depth - 1] if depth else "Exception"
        parents[depth:] = [found[2]]
    actual = {}
    for name in mailpool.__all__:
        kind = getattr(mailpool, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            actual[name] = kind.__mro__[1].__name__
    assert shown == actual


def test_every_outcome_is_in_the_table_of_what_to_do() -> None:
    told = {row[0] for row in rows(page("outcomes.md"), "outcome")}
    assert told == {str(outcome) for outcome in mailpool.Outcome}


# -- everything public -----------------------------------------------------------------------------------------------


def test_every_public_name_has_one_row() -> None:
    assert sorted(names(rows(page("api.md"), "name"))) == sorted(mailpool.__all__)


def test_every_public_name_is_described_on_another_page() -> None:
    text = "\n".join(path.read_text("utf-8") for path in DOCS.glob("*.md") if path.name != "api.md")
    assert [name for name in mailpool.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_every_method_of_a_transporter_has_a_row_with_its_arguments() -> None:
    told = {}
    for row in rows(page("api.md"), "member of `Transporter`"):
        for code in CODE.findall(row[0]):
            name, _, arguments = code.removeprefix("await ").partition("(")
            told[name] = arguments.removesuffix(")")
    actual = {
        name: ", ".join(
            re.sub(r": .+?(?= = |$)", "", str(argument)).replace(" = ", "=")
            for argument in list(inspect.signature(method).parameters.values())[1:]
        )
        for name, method in vars(mailpool.Transporter).items()
        if not name.startswith("_") and name != "options"
    }
    del told["options"], told["carrier"]
    shown = {name: arguments.replace("*, ", "") for name, arguments in told.items()}
    # As a decorator it is called with the event alone, which the page of events tells.
    assert shown == {**actual, "on": "event, handler"}


def test_every_field_of_a_verification_is_told() -> None:
    told = CODE.findall(next(row for row in rows(page("api.md"), "name") if "Verification" in row[0])[1])
    existing = [field.name for field in dataclasses.fields(mailpool.Verification)] + ["total"]
    assert [name for name in told if name != "verify"] == existing


@pytest.mark.parametrize("kind", [mailpool.Transporter, mailpool.SendOutcome])
def test_every_public_member_is_mentioned(kind: type) -> None:
    text = "\n".join(path.read_text("utf-8") for path in DOCS.glob("*.md"))
    members = {name for name in vars(kind) if not name.startswith("_")}
    assert [name for name in sorted(members) if not re.search(rf"\b{name}\b", text)] == []


def test_no_page_names_an_option_or_error_that_does_not_exist() -> None:
    """What looks like a keyword of ours, ``name=``, is an option, an argument or a field."""
    known = set(FIELDS) | set(FIELD_NAMES) | set(ATTACHMENT_KEYS)
    for value in (
        mailpool.Access,
        mailpool.Rate,
        mailpool.Credentials,
        mailpool.OAuth2,
        mailpool.TLSOptions,
        mailpool.DkimKey,
        mailpool.Smime,
        mailpool.SendResult,
    ):
        known |= {field.name for field in dataclasses.fields(value)}
    for carrier in (
        mailpool.FileCarrier,
        mailpool.JSONCarrier,
        mailpool.SendmailCarrier,
        mailpool.SESCarrier,
        mailpool.StreamCarrier,
        Templates,
    ):
        known |= set(inspect.signature(carrier).parameters)
    known |= {"strategy", "weights", "move_deferred"}  # of several relays
    known |= {"timeout", "close_timeout", "priority", "lenient", "hook", "src"}  # arguments, and HTML
    for path in [ROOT / "README.md", *DOCS.glob("*.md")]:
        if path.name == "testing.md":
            continue
        for code in CODE.findall(path.read_text("utf-8")):
            for name in re.findall(r"(?<![\w-])([a-z_]+)=", code):
                assert name in known, f"{path.name}: {code}"
        for name in re.findall(r"`(\w+(?:Error|Failed|Exceeded))`", path.read_text("utf-8")):
            assert name in mailpool.__all__ or name == "ValueError", f"{path.name}: {name}"


def test_enumerations_read_as_text() -> None:
    kinds: list[type[enum.StrEnum]] = [mailpool.Outcome, mailpool.Phase]
    assert all(str(member) == member.value for kind in kinds for member in kind)


# -- claims ----------------------------------------------------------------------------------------------------------


def test_there_are_as_many_tests_as_the_readme_says(request: pytest.FixtureRequest) -> None:
    claim = re.search(r"more than ([\d,]+) tests", (ROOT / "README.md").read_text("utf-8"))
    assert claim is not None
    least = int(claim[1].replace(",", ""))
    if len(request.session.items) >= least:
        return  # they are just being run
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found = re.search(r"(\d+)(?:/\d+)? tests collected", listed)
    assert found is not None, listed[-500:]
    assert int(found[1]) >= least


def test_the_changelog_knows_this_version() -> None:
    assert mailpool.__version__ in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_targets_that_the_pages_tell_of_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")]:
        told = re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text("utf-8"), re.MULTILINE)
        assert set(told) <= targets, path.name
