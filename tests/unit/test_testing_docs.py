"""The examples of ``docs/testing.md`` run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_example(example: str) -> None:
    exec(compile(example, str(PAGE), "exec"), {"__name__": "example"})


def test_every_action_and_place_is_described() -> None:
    from typing import get_args

    from mailpool import testing

    text = PAGE.read_text()
    assert [place for place in get_args(testing.At) if f"`{place}`" not in text] == []
    actions = [
        name for name in testing.__all__ if name.islower() and name not in ("run_virtual", "in_thread")
    ]
    assert [name for name in actions if f"`{name}(" not in text] == []
