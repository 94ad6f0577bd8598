"""Many want the same token at once: one asks, and all share what comes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailpool import Credentials, OAuth2
from mailpool.auth.oauth2 import Issued
from mailpool.auth.tokens import Tokens

SOURCE = OAuth2(token_url="https://x.example/token", client_id="app", refresh_token="r", client_secret="s")


class Asked:
    """A token server that answers when it is let."""

    def __init__(self) -> None:
        self.users: list[str] = []
        self.goes_on = asyncio.Event()

    async def __call__(self, source: Any, user: str, refresh_token: str | None, now: float) -> Issued:
        self.users.append(user)
        await self.goes_on.wait()
        return Issued(f"token-{len(self.users)}", 3600.0)


@pytest.mark.rule("P-04")
@pytest.mark.rule("P-19")
async def test_a_hundred_ask_once() -> None:
    asked = Asked()
    tokens = Tokens(request=asked)
    waiting = [
        asyncio.ensure_future(tokens.token(Credentials("me", access_token=SOURCE))) for _ in range(100)
    ]
    for _ in range(5):
        await asyncio.sleep(0)
    # Whoever asks may be given up; the next in line asks then.
    waiting.pop(0).cancel()
    asked.goes_on.set()
    assert set(await asyncio.gather(*waiting)) == {"token-2"}
    assert asked.users == ["me", "me"]


@pytest.mark.rule("P-04")
async def test_each_user_asks_for_himself() -> None:
    asked = Asked()
    asked.goes_on.set()
    tokens = Tokens(request=asked)
    for user in ("me", "you", "me"):
        await tokens.token(Credentials(user, access_token=SOURCE))
    assert asked.users == ["me", "you"]
