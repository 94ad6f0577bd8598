"""The demo's proof finds what is wrong; each way to be wrong once."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("typer")

from mailpool.cli.demo.ledger import Proof, Stored, prove
from mailpool.cli.tally import Fate, Line


def accepted(number: int) -> Line:
    return Line(
        number, f"p{number}@example.com", Fate.ACCEPTED, "250 ok", message_id=f"<{number}@example.com>"
    )


def stored(number: int) -> Stored:
    return Stored(f"<{number}@example.com>", f"p{number}@example.com", f"Alice <p{number}@example.com>")


LINES = [accepted(1), accepted(2), accepted(3)]
STORED = [stored(1), stored(2), stored(3)]


def wrong(proof: Proof) -> str:
    """The one claim that does not hold."""
    (check,) = (check for check in proof.checks if not check.holds)
    assert not proof.holds
    return f"{check.claim}: {check.wrong}"


def test_equal_books() -> None:
    proof = prove(3, LINES, STORED)
    assert proof.holds
    assert (proof.doubles, proof.marked) == (0, 0)


def test_a_lost_message() -> None:
    assert "1 lost: p2@example.com" in wrong(prove(3, LINES, [stored(1), stored(3)]))


def test_a_message_without_an_outcome() -> None:
    assert "no. 3" in wrong(prove(3, LINES[:2], STORED[:2]))


def test_a_message_with_two_outcomes() -> None:
    assert "no. 2" in wrong(prove(3, [*LINES, accepted(2)], STORED))


def test_a_double_that_is_not_marked() -> None:
    proof = prove(3, LINES, [*STORED, stored(1)])
    assert "not marked: p1@example.com" in wrong(proof)
    assert proof.doubles == 1


def test_a_double_that_is_marked() -> None:
    marked = dataclasses.replace(accepted(1), maybe_duplicate=True)
    proof = prove(3, [marked, *LINES[1:]], [*STORED, stored(1)])
    assert proof.holds
    assert (proof.doubles, proof.marked) == (1, 1)


@pytest.mark.parametrize("fate", [Fate.NOT_SENT, Fate.REJECTED, Fate.DEFERRED])
def test_a_refused_message_that_is_there(fate: Fate) -> None:
    refused = dataclasses.replace(accepted(1), fate=fate)
    assert "there nevertheless" in wrong(prove(3, [refused, *LINES[1:]], STORED))


def test_an_uncertain_message_may_be_there_or_not() -> None:
    lines = [dataclasses.replace(accepted(1), fate=Fate.UNCERTAIN), *LINES[1:]]
    assert prove(3, lines, STORED).holds
    assert prove(3, lines, STORED[1:]).holds


def test_a_message_at_another_recipient() -> None:
    crossed = Stored("<1@example.com>", "p1@example.com", "p2@example.com")
    assert "at another's: p1@example.com" in wrong(prove(3, LINES, [crossed, *STORED[1:]]))


def test_the_domain_is_compared_as_it_is_on_the_wire() -> None:
    shouted = dataclasses.replace(accepted(1), address="p1@EXAMPLE.com")
    assert prove(3, [shouted, *LINES[1:]], STORED).holds


def test_by_replies_only() -> None:
    assert prove(3, LINES, None).holds
    silent = dataclasses.replace(accepted(1), reply="")
    assert "p1@example.com" in wrong(prove(3, [silent, *LINES[1:]], None))


def test_many_wrong_ones_are_counted_and_few_are_shown() -> None:
    lines = [accepted(number) for number in range(1, 21)]
    text = wrong(prove(20, lines, []))
    assert "20 lost" in text
    assert "and 15 more" in text
