"""Which recipients go together (P-12)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpool.policy.batch import next_batch

PEOPLE = ["a@x.org", "b@y.org", "c@X.org", "d@z.org", "e@y.org", '"f@x"@z.org']
EVERYBODY = list(range(len(PEOPLE)))

pytestmark = [pytest.mark.rule("P-12"), pytest.mark.rule("SRV-18")]


@pytest.mark.parametrize(
    ("pending", "most", "domains", "batch"),
    [
        (EVERYBODY, None, None, EVERYBODY),
        (EVERYBODY, 6, None, EVERYBODY),
        (EVERYBODY, 7, None, EVERYBODY),
        (EVERYBODY, 4, None, [0, 1, 2, 3]),
        (EVERYBODY, 1, None, [0]),
        ([1, 3, 5], 2, None, [1, 3]),
        (EVERYBODY, None, 1, [0, 2]),
        (EVERYBODY, None, 2, [0, 1, 2, 4]),
        (EVERYBODY, None, 3, EVERYBODY),
        (EVERYBODY, 3, 2, [0, 1, 2]),
        ([3, 4, 5], None, 1, [3, 5]),
        ([1, 3, 4, 5], 2, 1, [1, 4]),
    ],
)
def test_batches(pending: list[int], most: int | None, domains: int | None, batch: list[int]) -> None:
    assert next_batch(PEOPLE, pending, most=most, most_domains=domains) == batch
    assert next_batch(PEOPLE, tuple(pending), most=most, most_domains=domains) == batch


def test_a_range_is_pending_too() -> None:
    assert next_batch(PEOPLE, range(6), most=2, most_domains=None) == [0, 1]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["x.org", "X.ORG", "y.org", "z.org"]), min_size=1, max_size=12),
    st.one_of(st.none(), st.integers(1, 5)),
    st.one_of(st.none(), st.integers(1, 3)),
)
def test_batch_after_batch_reaches_everybody_once(
    domains: list[str], most: int | None, most_domains: int | None
) -> None:
    people = [f"{i}@{domain}" for i, domain in enumerate(domains)]
    pending = list(range(len(people)))
    while pending:
        batch = next_batch(people, pending, most=most, most_domains=most_domains)
        assert batch
        assert batch == sorted(set(batch))
        assert set(batch) <= set(pending)
        assert most is None or len(batch) <= most
        used = {people[i].split("@")[1].lower() for i in batch}
        assert most_domains is None or len(used) <= most_domains
        # As full as it may be: whoever is left out would break a bound.
        left = [i for i in pending if i not in batch]
        if most is None or len(batch) < most:
            assert most_domains is not None or not left
            assert all(
                people[i].split("@")[1].lower() not in used and len(used) == most_domains for i in left
            )
        pending = left
