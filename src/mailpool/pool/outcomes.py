"""What becomes of messages when a transaction ends, or when their relay takes none: told, tried again, or failed untried.

``settlement`` and ``throttling`` find what it means; here it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import ConnectionFailed, QuotaExceeded, SendError
from ..options import Options
from ..policy.backoff import message_backoff
from ..policy.state import Slot
from ..results import Phase
from ..smtp.transaction import Transaction, Verdict
from .closing import Closing
from .delivery import Delivery
from .lanes import PoolLane
from .ledger import Ledger
from .queue import Queue
from .settlement import (
    Asked,
    Next,
    absorb,
    asked_for_less,
    failure,
    next_step,
    pool_closed,
    quota_lasts,
    reopen,
    result,
    told,
    whole_result,
)
from .statistics import Counts
from .throttling import Throttling


class Outcomes:
    """:param notify: called as ``notify(event, *details)``
    :param dice: gives numbers in [0, 1)
    """

    def __init__(
        self,
        options: Options,
        counts: Counts,
        *,
        queue: Queue,
        ledger: Ledger,
        closing: Closing,
        throttling: Throttling,
        notify: Callable[..., None],
        dice: Callable[[], float],
    ) -> None:
        self._options = options
        self._counts = counts
        self._queue = queue
        self._ledger = ledger
        self._closing = closing
        self._throttling = throttling
        self._notify = notify
        self._dice = dice
        self._loop = asyncio.get_running_loop()

    def ended(self, transaction: Transaction, cause: SendError | None, slot: Slot) -> bool:
        """A transaction is over: settle its message, or give it another place in the queue.

        :param cause: why, when its connection was lost
        :param slot: the one that it was on
        :returns: whether the server wants the connection to be given up
        """
        delivery: Delivery = transaction.token
        now = self._loop.time()
        whole = whole_result(delivery, transaction, now)
        adaptive = delivery.lane.adaptive
        if whole is not None:
            self._ledger.settle(delivery, whole)
            if adaptive is not None:
                adaptive.accepted(now, len(delivery.batch))
            return False
        asked = asked_for_less(delivery, transaction)
        absorb(delivery, transaction)
        retire = False
        if asked is not None:
            lane = delivery.lane
            assert isinstance(lane, PoolLane)
            others_went = adaptive is None or adaptive.since is None
            if cause is None:
                retire = self._throttling.heard(lane, slot, asked.reply, asked.phase, asked.meaning)
            if self._put_off(delivery, transaction, asked, others_went):
                return retire
        if adaptive is not None and transaction.verdict is Verdict.ACCEPTED:
            adaptive.accepted(now, transaction.recipient_count - len(transaction.refused))
        uncertain = transaction.verdict is Verdict.UNCERTAIN
        self._counts.uncertain += uncertain
        step = next_step(delivery, transaction, self._options)
        if step is Next.SETTLE:
            outcome = result(delivery, now)
            self._ledger.settle(delivery, outcome)
            if isinstance(outcome, QuotaExceeded) and not self._closing.closed:
                assert isinstance(delivery.lane, PoolLane)
                self.quota_exceeded(delivery.lane, outcome)
        elif step is Next.FAIL or (self._closing.closed and uncertain):
            assert cause is not None
            self._ledger.settle(delivery, failure(delivery, transaction, cause))
        elif self._closing.closed:
            self._ledger.settle(delivery, pool_closed(delivery))
        else:
            self._again(delivery, step, uncertain, now)
        return retire

    def _put_off(self, delivery: Delivery, transaction: Transaction, asked: Asked, others_went: bool) -> bool:
        """The server wants the message later (P-24): keep it, if it may wait. Whether that is all there is to do."""
        if self._closing.closed or delivery.given_up:
            return False
        if not self._throttling.may_wait(delivery):
            if transaction.verdict is not Verdict.UNSENT or not self._options.max_throttle_wait:
                return False
            assert isinstance(delivery.lane, PoolLane)
            self.fail(delivery, delivery.lane.last_error)
            return True
        reopen(delivery, asked)
        wait = self._throttling.own_wait(delivery, others_went)
        if wait:
            self._queue.put_to_sleep(delivery, self._loop.time() + wait)
        else:
            self._queue.put_first(delivery, alone=False)
        return True

    def _again(self, delivery: Delivery, step: Next, uncertain: bool, now: float) -> None:
        if step is Next.CONTINUE:
            delivery.continues = True  # the rest of the recipients: the same attempt goes on
        elif step is Next.REPLACE:
            delivery.replaced = True
        else:
            delivery.requeues += 1
            self._counts.requeued += 1
            if uncertain:
                delivery.duplicates += 1
                delivery.maybe_duplicate = True
            self._notify("requeued", delivery.message_id, delivery.requeues)
            if delivery.requeues > 1:
                wait = message_backoff(delivery.requeues - 1, self._dice())
                self._queue.put_to_sleep(delivery, now + wait)
                return
        self._queue.put_first(delivery, alone=delivery.requeues > 1)

    def unreachable(self, lane: PoolLane, error: SendError) -> None:
        """What time cannot mend fails all waiting messages of the identity at once (P-19)."""
        self.fail_waiting(lane, error, max(0.0, lane.blocked_until - self._loop.time()))

    def quota_exceeded(self, lane: PoolLane, error: QuotaExceeded) -> None:
        """No other message of the identity would be taken either: they fail untried until the quota is over (P-19a)."""
        self._notify("throttled", error)
        lane.quota_until = self._loop.time() + quota_lasts(error)
        # What was said to one message holds for all, but not what became of it before.
        shared = error.for_message("", 0)
        shared.may_have_been_delivered = False
        lane.quota_error = shared
        self.fail_waiting(lane, shared, error.retry_after)

    def fail_waiting(self, lane: PoolLane, error: SendError, retry_after: float | None) -> None:
        """End everything of the lane that waits with ``error``."""
        for delivery in self._queue.of(lane):
            self._queue.leave(delivery)
            self.fail(delivery, error, retry_after)

    def fail(self, delivery: Delivery, error: SendError | None, retry_after: float | None = None) -> None:
        """The error of a connection is the outcome of this message, too.

        :param error: None: there has been no connection
        :param retry_after: seconds, in place of those that the error tells
        """
        if error is None:
            error = ConnectionFailed("no connection could be made", phase=Phase.CONNECT, temporary=True)
        copy = told(error, delivery)
        if retry_after is not None:
            copy.retry_after = retry_after
        self._ledger.settle(delivery, copy)
