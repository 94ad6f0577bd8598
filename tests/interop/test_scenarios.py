"""Every scenario with every real server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from scenarios import SCENARIOS, DoesNotApply
from servers.catalogue import SERVERS

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("server", SERVERS, indirect=True)
@pytest.mark.parametrize("scenario", [pytest.param(play, id=name) for name, play in SCENARIOS.items()])
async def test_scenario(server: Any, scenario: Callable[[Any], Awaitable[None]]) -> None:
    try:
        await scenario(server)
    except DoesNotApply:
        # Nothing of it was promised by this server.
        return
