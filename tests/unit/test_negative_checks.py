"""Each of the checks for hostile input has a test that carries its ID, and its guard can still be taken away.

``make guards`` takes the guards away and sees that the tests fail; here is what can be seen without running them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The tool is a program, whose modules no import mode of pytest finds by itself.
sys.path.insert(0, str(Path(__file__).parents[1] / "security" / "guards"))

from checks import ALL, SERVERS_AND_POOL, SOURCE, carriers
from every import REMOVALS, Removal

# What is not built yet has nothing to prove: the options and commands that these checks are about do not exist.
NOT_BUILT: dict[str, str] = {}
# What is proved in another way than by taking one guard away.
NO_SINGLE_GUARD = {
    "DOS-04": "no pattern can match the same text in two ways, and there are no cookies: large inputs have to come to an end",
}
CARRIED = carriers()


def test_there_are_so_many_checks() -> None:
    assert len(ALL) == 94


@pytest.mark.parametrize("check", ALL)
def test_a_check_has_a_test_that_carries_its_id(check: str) -> None:
    if check in NOT_BUILT:
        assert check not in CARRIED, (
            f"{check} has a test now: take it out of NOT_BUILT, and add its guard to removals.py"
        )
    else:
        assert check in CARRIED, f"no test carries {check}"


@pytest.mark.parametrize("check", SERVERS_AND_POOL)
def test_a_check_of_servers_and_of_the_pool_has_a_test_that_carries_its_id(check: str) -> None:
    assert check in CARRIED, f"no test carries {check}"


@pytest.mark.parametrize("check", sorted(set(ALL) - set(NOT_BUILT)))
def test_a_check_has_a_guard_that_can_be_taken_away(check: str) -> None:
    has_removal = any(removal.check == check for removal in REMOVALS)
    assert has_removal != (check in NO_SINGLE_GUARD), (
        "say in tests/security/guards/removals.py how to take it away"
    )


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: f"{removal.check} {removal.guard}")
def test_the_guard_stands_where_it_is_looked_for(removal: Removal) -> None:
    for edit in removal.edits:
        assert (SOURCE / edit.file).read_text("utf-8").count(edit.old) == 1
        assert edit.old != edit.new
