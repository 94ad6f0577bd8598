"""Whose cancellation a ``CancelledError`` tells of."""

from __future__ import annotations

import asyncio


def is_ours() -> bool:
    """Whether the running task itself is being cancelled.

    Otherwise the error is of something that a function of the user's has waited for, and ends no more than what that
    function was called for: whoever let it out would be taken for one who was cancelled, or run for ever.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs
        return False
    return task is not None and task.cancelling() > 0
