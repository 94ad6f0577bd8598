"""Which of a message's recipients go together in one transaction (P-12)."""

from __future__ import annotations

from collections.abc import Sequence


def next_batch(
    recipients: Sequence[str], pending: Sequence[int], *, most: int | None, most_domains: int | None
) -> list[int]:
    """The indices of the recipients for the next transaction, in their order; at least one.

    :param pending: indices of the recipients that have no outcome yet
    :param most: recipients in one transaction: ours, the server's RCPTMAX, or what it was seen to take
    :param most_domains: different domains in one transaction (RFC 9422, RCPTDOMAINMAX)
    """
    if most is None:
        most = len(pending)
    if most_domains is None:
        return list(pending[:most])
    batch: list[int] = []
    domains: set[str] = set()
    for index in pending:
        domain = recipients[index].rpartition("@")[2].lower()
        if domain in domains or len(domains) < most_domains:
            domains.add(domain)
            batch.append(index)
            if len(batch) == most:
                break
    return batch
