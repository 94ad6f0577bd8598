"""The page of several relays says what the tables in the code say."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from mailpool import RelayStats
from mailpool.policy import breaker
from mailpool.policy.balance import Strategy
from mailpool.policy.moving import CASES
from mailpool.transports.relay import FAILED_CONNECTIONS, SILENCE
from mailpool.transports.relays import OF_THE_WHOLE

PAGE = (Path(__file__).parents[2] / "docs" / "failover.md").read_text("utf-8")


def rows(first_cell: str) -> list[list[str]]:
    table = PAGE.partition(f"| {first_cell} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in table.splitlines()[2:]]


def test_what_moves_on() -> None:
    yes = {True: "yes", False: "no"}
    assert rows("what happened") == [
        [case.what, yes[case.moves], case.harm.value, yes[case.again]] for case in CASES
    ]


def test_every_number_of_a_relay() -> None:
    assert [row[0] for row in rows("field of `RelayStats`")] == [
        f"`{field.name}`" for field in dataclasses.fields(RelayStats)
    ]


def test_every_strategy() -> None:
    assert [re.findall('"(.+?)"', row[0])[0] for row in rows("`strategy`")] == list(Strategy)


def test_what_belongs_to_the_whole() -> None:
    told = PAGE.partition("These belong to the whole")[2].partition(".")[0]
    assert set(re.findall("`(.+?)`", told)) == OF_THE_WHOLE


def test_times() -> None:
    words = {3: "three", 5: "five", 1: "one", 2: "two"}
    health = PAGE.partition("## Health")[2]
    assert f"{words[FAILED_CONNECTIONS]} attempts to connect in a row" in health
    assert f"{words[breaker.STRIKES]} messages in a row" in health
    assert f"no sign of life for {SILENCE:g} seconds" in health
    assert f"for {words[int(breaker.BASE)]} second, then two, four, and so on up to {breaker.CAP:g}" in health
    assert f"at most {words[int(breaker.EAGER)]} while no relay is up" in health
