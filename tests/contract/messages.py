"""A message whose Message-ID tells its number, and how sends ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


def mail(number: int = 0, **fields: Any) -> dict[str, Any]:
    usual = {"from": "from@example.org", "to": "to@example.org", "text": "hello\n"}
    return {**usual, "message_id": f"<{number}@example.org>", **fields}


async def ends(*sends: Awaitable[Any]) -> list[Any]:
    """The result or the error of each."""
    async with asyncio.timeout(200):
        return await asyncio.gather(*sends, return_exceptions=True)
