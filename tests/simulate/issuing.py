"""Who gives access tokens, and the servers' side of it: only a token that lives lets anybody in."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from evidence import Evidence
from scenario import TokenManners


class Issuer:
    """Called for a token, it takes its time, and may fail. A new token ends the life of those before it."""

    def __init__(self, manners: TokenManners, seed: int, evidence: Evidence) -> None:
        self._manners = manners
        self._dice = random.Random(seed * 11 + 3)
        self._evidence = evidence
        self._asked = False

    async def __call__(self) -> tuple[str, float]:
        loop, manners = asyncio.get_running_loop(), self._manners
        if self._asked:
            self._evidence.complain("P-19: a token is asked for while it is asked for already")
        self._asked = True
        try:
            await asyncio.sleep(manners.takes)
            if self._dice.random() < manners.fails:
                raise ConnectionError("the token server is gone")
            token = f"token-{len(self._evidence.tokens) + 1}"
            self._evidence.tokens[token] = loop.time() + manners.lifetime
            return token, manners.lifetime
        finally:
            self._asked = False

    def accounts(self, passwords: dict[str, str]) -> Any:
        """What a server looks into when somebody logs in."""
        return _Accounts(passwords, self._evidence)

    def be_well(self) -> None:
        manners = self._manners
        self._manners = TokenManners(manners.lifetime, min(manners.takes, 0.1), 0.0)


class _Accounts(dict[str, str]):
    """Passwords, and in place of that of ``main`` the newest token, while it lives."""

    def __init__(self, passwords: dict[str, str], evidence: Evidence) -> None:
        super().__init__(passwords)
        self._evidence = evidence

    def get(self, name: str, default: Any = None) -> Any:
        if name != "main":
            return super().get(name, default)
        token, until = next(reversed(self._evidence.tokens.items()), ("", 0.0))
        return token if until > asyncio.get_running_loop().time() else default
