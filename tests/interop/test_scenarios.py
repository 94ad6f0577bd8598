"""Every scenario with every real server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from scenarios import SCENARIOS, DoesNotApply, full_disk
from servers.catalogue import SERVERS

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("server", SERVERS, indirect=True)
@pytest.mark.parametrize(
    "scenario", [pytest.param(play, id=name) for name, play in SCENARIOS.items() if play is not full_disk]
)
async def test_scenario(server: Any, scenario: Callable[[Any], Awaitable[None]]) -> None:
    try:
        await scenario(server)
    except DoesNotApply:
        # Nothing of it was promised by this server.
        return


@pytest.mark.rule("P-15")
@pytest.mark.parametrize(
    "server_on_a_small_disk", ["postfix", "exim", "opensmtpd", "sendmail", "haraka"], indirect=True
)
async def test_the_disk_is_full_for_a_while(server_on_a_small_disk: Any) -> None:
    await full_disk(server_on_a_small_disk)
