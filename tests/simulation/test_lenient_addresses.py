"""What the lenient grammar repairs in a message is told to the program and to the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mailpool import AddressError


def test_a_repair_is_an_event_and_a_warning(play: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "mailpool")

    async def story(relay: Any) -> None:
        relay.listen("repaired")
        result = await relay.send(1, "Doe, Jane <jane@example.org>; bob@example.org")
        assert result.accepted == ("jane@example.org", "bob@example.org")
        await relay.send(2, "Ann <ann@example.org>")
        with pytest.raises(AddressError):
            relay.send(3, "root; bob@example.org")
        heard = relay.heard("repaired")
        assert [identity for identity, _ in heard] == ["<1@example.org>"] * 2
        assert "semicolon" in heard[1][1]

    play(story, addresses="lenient")
    assert [record.message_id for record in caplog.records] == ["<1@example.org>"] * 2
    assert "to: 'Doe, Jane" in caplog.text


def test_nothing_is_repaired_unless_it_is_asked_for(play: Any) -> None:
    async def story(relay: Any) -> None:
        with pytest.raises(AddressError):
            relay.send(1, "a@example.org; bob@example.org")

    play(story)
