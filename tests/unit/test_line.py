"""The line of waiting messages: first come, first served within a priority, and nobody starves (P-22)."""

from __future__ import annotations

import pytest

from mailpool.policy.line import FAIR_SHARE, Line


class Item:
    def __init__(self, priority: int = 0, name: str = "") -> None:
        self.priority = priority
        self.name = name
        self.gone = False

    def __repr__(self) -> str:
        return f"{self.priority}{self.name}"


def filled(*texts: str) -> Line[Item]:
    """Items such as ``"0a"``: priority, name."""
    line: Line[Item] = Line()
    for text in texts:
        line.append(Item(int(text[0]), text[1:]))
    return line


def drained(line: Line[Item]) -> list[str]:
    out = []
    while line:
        head = line.peek()
        out.append(repr(line.pop()))
        assert repr(head) == out[-1]
    assert line.peek() is None
    return out


@pytest.mark.rule("P-22")
class TestOrder:
    def test_first_come_first_served(self) -> None:
        assert drained(filled("0a", "0b", "0c")) == ["0a", "0b", "0c"]

    def test_higher_priorities_pass(self) -> None:
        assert drained(filled("0a", "5b", "0c", "9d", "5e")) == ["9d", "5b", "5e", "0a", "0c"]

    def test_priorities_may_be_negative(self) -> None:
        line = filled("0a")
        line.append(Item(-1, "b"))
        line.append(Item(-7, "c"))
        assert drained(line) == ["0a", "-1b", "-7c"]

    def test_who_lost_its_turn_is_first_of_its_priority(self) -> None:
        line = filled("5a", "0b")
        line.put_first(Item(0, "c"))
        line.put_first(Item(3, "d"))
        assert drained(line) == ["5a", "3d", "0c", "0b"]

    def test_heads_are_the_first_of_each_priority(self) -> None:
        line = filled("0a", "5b", "5c", "0d")
        assert [repr(item) for item in line.heads()] == ["5b", "0a"]
        line.pop()
        assert [repr(item) for item in line.heads()] == ["5c", "0a"]
        assert [repr(item) for item in line] == ["5c", "0a", "0d"]

    def test_an_empty_one(self) -> None:
        line: Line[Item] = Line()
        assert (len(line), line.peek(), list(line), list(line.heads())) == (0, None, [], [])


@pytest.mark.rule("P-22")
class TestNobodyStarves:
    def test_after_ten_one_of_the_lower_goes(self) -> None:
        line = filled("0a", "0b", *[f"9{i}" for i in range(FAIR_SHARE * 2 + 5)])
        out = drained(line)
        assert out.index("0a") == FAIR_SHARE
        assert out.index("0b") == 2 * FAIR_SHARE + 1

    def test_and_of_three_the_lowest_too(self) -> None:
        line = filled("0low", *["5mid"] * 500, *["9high"] * 500)
        out = drained(line)
        # The middle goes once in eleven, and the lowest once in eleven of those turns.
        assert out.index("0low") <= (FAIR_SHARE + 1) * (FAIR_SHARE + 1)
        assert out[:500].count("9high") > 400

    @pytest.mark.parametrize("look", ["peek", "heads", "neither"])
    def test_with_higher_ones_that_come_one_at_a_time(self, look: str) -> None:
        """Each is served before the next comes, as when a rate limit sets the pace."""
        line = filled("0bulk")
        served = []
        for number in range(FAIR_SHARE + 1):
            line.append(Item(9, str(number)))
            served.append(repr(line.pop()))
            if look == "peek":
                line.peek()
            elif look == "heads":
                list(line.heads())
        assert "0bulk" in served

    def test_nobody_lower_means_no_debt(self) -> None:
        line = filled(*["9x"] * 50)
        for _ in range(30):
            line.pop()
        line.append(Item(0, "late"))
        assert drained(line).index("0late") == FAIR_SHARE


class TestLeaving:
    def test_from_the_middle_the_front_and_the_end(self) -> None:
        line: Line[Item] = Line()
        items = [Item(0, str(i)) for i in range(5)]
        for item in items:
            line.append(item)
        for index in (2, 0, 4):
            line.left(items[index])
            assert items[index].gone
        assert len(line) == 2
        assert [repr(item) for item in line] == ["01", "03"]
        assert drained(line) == ["01", "03"]

    def test_all_of_a_priority(self) -> None:
        line = filled("0a")
        high = [Item(9, str(i)) for i in range(3)]
        for item in high:
            line.append(item)
        for item in high:
            line.left(item)
        assert [repr(item) for item in line.heads()] == ["0a"]
        assert drained(line) == ["0a"]

    def test_everybody(self) -> None:
        line: Line[Item] = Line()
        items = [Item(i % 3) for i in range(300)]
        for item in items:
            line.append(item)
        for item in items:
            line.left(item)
        assert not line
        assert line.peek() is None
        assert list(line.heads()) == []
        line.append(Item(1, "new"))
        assert drained(line) == ["1new"]

    @pytest.mark.rule("DOS-05")
    def test_a_cancelled_batch_holds_no_memory(self) -> None:
        line: Line[Item] = Line()
        stays = Item(0, "stays")
        line.append(stays)
        batch = [Item(0) for _ in range(10_000)]
        for item in batch:
            line.append(item)
        for item in reversed(batch):  # never the first one, which would be skipped in passing
            line.left(item)
        assert sum(map(len, line._classes.values())) < 200
        assert drained(line) == ["0stays"]


@pytest.mark.rule("P-22")
def test_those_who_went_while_nobody_above_waited_are_counted_too() -> None:
    """Ten had passed, then the others went alone: the next of a higher priority waited for one more of the lower."""
    line = filled(*["5x"] * FAIR_SHARE, "0a", "0b")
    assert [repr(line.pop()) for _ in range(FAIR_SHARE)] == ["5x"] * FAIR_SHARE
    assert [repr(head) for head in line.heads()] == ["0a"]
    assert repr(line.pop()) == "0a"
    line.append(Item(5, "y"))
    assert drained(line) == ["5y", "0b"]
