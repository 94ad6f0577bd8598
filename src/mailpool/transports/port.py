"""What the transporter asks of a transport. Anything that has these can carry mail."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..message import Sealed
from ..options import Credentials
from ..pool.statistics import PoolStats
from ..results import SendResult


class Transport(Protocol):
    """Bound to one event loop. See `mailpool.pool.pool.Pool` for what each promises."""

    def submit(
        self,
        sealed: Sealed,
        *,
        priority: int = 0,
        deadline: float | None = None,
        auth: Credentials | None = None,
        may_wait: bool = True,
    ) -> asyncio.Future[SendResult]: ...

    @property
    def waiting(self) -> int: ...

    def is_idle(self) -> bool: ...

    async def room(self) -> bool: ...

    async def drain(self, timeout: float | None = None, *, close_timeout: float = 10.0) -> list[Sealed]: ...

    async def close(self, timeout: float = 10.0) -> list[Sealed]: ...

    def stats(self) -> PoolStats: ...
