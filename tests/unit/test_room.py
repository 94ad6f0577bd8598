"""Who is told that there is room again (P-20)."""

from __future__ import annotations

import asyncio

import pytest

from mailpool.pool.room import Room


@pytest.mark.rule("P-20")
def test_who_has_heard_that_there_is_none_is_told_when_there_is() -> None:
    """With several relays the room of one may go and come back unseen. Whoever asked in between waited for ever."""

    async def story() -> None:
        there = True
        told: list[str] = []
        room = Room(lambda: there, lambda: told.append("room"))
        room.tell()
        room.tell()
        assert told == ["room"]
        there = False
        assert not room.is_there()
        there = True
        room.tell()
        assert told == ["room", "room"]

    asyncio.run(story())
