"""The page about OAuth2 says what the code says."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from mailpool import OAuth2
from mailpool.auth.post import MOST
from mailpool.auth.tokens import MARGIN
from mailpool.options.oauth2 import FROM_ELSEWHERE

PAGE = (Path(__file__).parents[2] / "docs" / "oauth2.md").read_text("utf-8")


def test_every_field_has_one_row_with_its_default() -> None:
    table = PAGE.split("| field of `OAuth2` |")[1].split("\n\n")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", table, re.MULTILINE))
    actual = {field.name: field.default for field in dataclasses.fields(OAuth2)}
    assert told == {name: repr(default) for name, default in actual.items()}


def test_names_from_elsewhere_and_numbers() -> None:
    assert [name for name in FROM_ELSEWHERE if f"`{name}`" not in PAGE] == []
    assert f"less than {MARGIN:g} seconds" in PAGE
    assert f"{MOST // 1024} KiB" in PAGE
