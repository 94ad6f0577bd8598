"""What a provider of tokens raises may hold a secret; it is told by its kind only (LOG-01)."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mailpool import AuthenticationFailed, create_transport
from mailpool.testing import ScriptedServer


@pytest.mark.rule("LOG-01")
async def test_what_the_provider_raises_reaches_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    def provide() -> Any:
        raise RuntimeError("POST /token client_secret=TOPSECRET failed")

    caplog.set_level(logging.DEBUG, logger="mailpool")
    async with ScriptedServer(auth={"me": "token"}, mechanisms=("XOAUTH2",)) as server:
        transporter = create_transport(
            host="127.0.0.1",
            port=server.port,
            auth={"user": "me", "access_token": provide},
            connection_wait=0,
        )
        with pytest.raises(AuthenticationFailed, match="RuntimeError") as caught:
            await transporter.send_mail({"from": "a@example.org", "to": "b@example.com", "text": "hi"})
        await transporter.close()
    assert caught.value.temporary
    assert "TOPSECRET" not in f"{caught.value} {caught.value!r} {caplog.text}"
    assert isinstance(caught.value.__cause__, RuntimeError)
