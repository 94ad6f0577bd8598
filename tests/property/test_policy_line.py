"""The line against a model of lists, whatever comes, goes and leaves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpool.policy.line import FAIR_SHARE, Line


class Item:
    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.gone = False


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["append", "append", "first"]), st.integers(-1, 2)),
        st.tuples(st.sampled_from(["pop", "pop", "peek", "heads"]), st.just(0)),
        st.tuples(st.just("leave"), st.integers(0, 1_000)),
    ),
    max_size=80,
)


@pytest.mark.rule("P-22")
@settings(deadline=None, max_examples=200)
@given(steps)
def test_against_lists(todo: list[tuple[str, int]]) -> None:
    line: Line[Item] = Line()
    model: dict[int, list[Item]] = {}
    since_lower: dict[int, int] = {}  # pops of a priority since one below it went
    for what, number in todo:
        waiting = [item for priority in sorted(model, reverse=True) for item in model[priority]]
        if what in ("append", "first"):
            item = Item(number)
            own = model.setdefault(number, [])
            if what == "append":
                line.append(item)
                own.append(item)
            else:
                line.put_first(item)
                own.insert(0, item)
        elif what == "leave" and waiting:
            item = waiting[number % len(waiting)]
            line.left(item)
            model[item.priority].remove(item)
        elif what == "pop" and waiting:
            head = line.peek()
            item = line.pop()
            assert item is head
            assert item is model[item.priority].pop(0)
            higher = [p for p in model if p > item.priority and model[p]]
            for priority in higher:
                assert since_lower.get(priority, FAIR_SHARE) >= FAIR_SHARE, "it was passed too early"
            for priority in [p for p in model if p > item.priority]:
                since_lower[priority] = 0
            since_lower[item.priority] = since_lower.get(item.priority, FAIR_SHARE) + 1
        elif what == "peek":
            head = line.peek()
            assert (head is None) == (not waiting)
        elif what == "heads":
            heads = [model[priority][0] for priority in sorted(model, reverse=True) if model[priority]]
            assert list(line.heads()) == heads
        assert len(line) == sum(map(len, model.values()))
        assert list(line) == [item for priority in sorted(model, reverse=True) for item in model[priority]]


@pytest.mark.rule("P-22")
@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["peek", "heads", "", ""])), min_size=40, max_size=60
    )
)
def test_never_more_than_a_fair_share_passes_in_a_row(arrivals: list[tuple[int, str]]) -> None:
    """Bulk mail waits from the first moment; higher ones come as they like, and one is served at each step."""
    line: Line[Item] = Line()
    bulk = [Item(0) for _ in range(100)]
    for item in bulk:
        line.append(item)
    in_a_row = 0
    for count, look in arrivals:
        for _ in range(count):
            line.append(Item(1))
        in_a_row = 0 if line.pop().priority == 0 else in_a_row + 1
        assert in_a_row <= FAIR_SHARE
        if look == "peek":
            line.peek()
        elif look == "heads":
            list(line.heads())
