"""One transporter, one event loop (P-20a, POL-11)."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from mailpool import PoolClosed, UsageError, create_transport
from mailpool.testing import ScriptedServer, in_thread

MAIL = {"from": "a@example.org", "to": "b@example.com", "text": "hi"}


@pytest.mark.rule("P-20a")
@pytest.mark.rule("POL-11")
def test_it_is_bound_to_the_loop_of_its_first_use() -> None:
    with in_thread(ScriptedServer()) as server:
        transporter = create_transport(host="127.0.0.1", port=server.port)
        with pytest.raises(UsageError, match="running event loop"):
            transporter.send_mail(MAIL)

        async def use() -> None:
            assert (await transporter.send_mail(MAIL)).accepted
            found: list[BaseException] = []
            elsewhere = threading.Thread(target=lambda: found.append(_error_of(transporter)))
            elsewhere.start()
            await asyncio.to_thread(elsewhere.join)
            assert isinstance(found[0], UsageError)
            await transporter.close()

        asyncio.run(use())

        async def use_again() -> None:
            with pytest.raises(UsageError, match="another event loop"):
                transporter.send_mail(MAIL)

        asyncio.run(use_again())


def _error_of(transporter: Any) -> BaseException:
    try:
        transporter.send_mail(MAIL)
    except UsageError as error:
        return error
    raise AssertionError("used from another thread")


@pytest.mark.rule("P-28")
async def test_closed_before_it_was_used() -> None:
    transporter = create_transport(host="127.0.0.1", port=9)
    assert await transporter.close() == []
    assert not transporter.is_idle()
    with pytest.raises(PoolClosed):
        transporter.send_mail(MAIL)
