"""``docs/authentication.md`` and the code know the same mechanisms, in the same order."""

from __future__ import annotations

import re
from pathlib import Path

from mailpool.options.mechanism_names import STRENGTH
from mailpool.smtp.sasl import choice, scram

TEXT = (Path(__file__).parents[2] / "docs" / "authentication.md").read_text("utf-8")
ROWS = re.findall(r"^\| `([A-Z0-9-]+)` \| [^|]+ \| (yes|no)", TEXT, re.MULTILINE)


def test_every_mechanism_has_a_row() -> None:
    assert {name for name, _ in ROWS} == set(STRENGTH)


def test_what_is_taken_by_itself_is_in_the_order_of_the_code() -> None:
    told = [name for name, by_itself in ROWS if by_itself == "yes"]
    assert [name for name in told if name not in choice._BY_TOKEN] == list(choice._BY_PASSWORD)
    assert [name for name in told if name in choice._BY_TOKEN] == list(choice._BY_TOKEN)


def test_the_ladder_is_the_one_in_the_code() -> None:
    told = re.search(r"From the weakest: (.*?)\.\n", TEXT, re.DOTALL)
    assert told is not None
    steps = [re.findall(r"`([A-Z0-9-]+)`", step) for step in told[1].split(";")]
    assert {name: number for number, names in enumerate(steps) for name in names} == STRENGTH


def test_what_it_was_tried_against_is_what_is_tested() -> None:
    program = (Path(__file__).parents[1] / "interop" / "test_authentication.py").read_text("utf-8")
    tried = re.findall(r'^    \("(\w+)", "([A-Z0-9-]+)"\),$', program, re.MULTILINE)
    servers = {
        "postfix": "Postfix with Cyrus SASL",
        "postfix_dovecot": "Postfix with Dovecot",
        "exim": "Exim",
        "node_smtp_server": "npm's `smtp-server`",
        "aiosmtpd": "`aiosmtpd`",
    }
    told = {
        (server, mechanism)
        for server, words in servers.items()
        for row in re.findall(rf"^\| {words} \|([^|]*)\|", TEXT, re.MULTILINE)
        for mechanism in re.findall(r"`([A-Z0-9-]+)`", row)
    }
    assert told == set(tried)


def test_the_bounds_of_scram() -> None:
    assert f"between {scram.LEAST_ITERATIONS:,} and {scram.MOST_ITERATIONS:,}" in TEXT
