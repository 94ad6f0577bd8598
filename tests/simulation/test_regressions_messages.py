"""Once wrong, now proven: messages that are prepared, and what others do with their fields meanwhile."""

from __future__ import annotations

import copy
import gc
import os
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from mailpool import Attachment, MessageError, Sealed, SendResult


async def later() -> AsyncIterator[bytes]:
    yield b"x"


@pytest.mark.parametrize("how", ["content", "hook"])
def test_a_message_that_is_prepared_is_the_one_that_was_given(play: Any, how: str) -> None:
    async def story(relay: Any) -> None:
        async def look(fields: Any) -> None: ...

        if how == "hook":
            relay.transporter.use("compose", look)
        own = bytearray(b"first")
        attachment = Attachment(filename="a.txt", content=later() if how == "content" else b"x")
        message = relay.mail(0, ["first@example.org"]) | {
            "headers": {"X-Number": ["first"]},
            "list": {"unsubscribe": ["https://example.org/first"]},
            "attachments": [attachment, {"filename": "first.txt", "content": own}],
        }
        sent = relay.transporter.send_mail(message)
        message["to"][0] = "second@example.org"
        message["headers"]["X-Number"][0] = "second"
        message["list"]["unsubscribe"][0] = "https://example.org/second"
        message["attachments"][1]["filename"] = attachment.filename = "second.txt"
        own[:] = b"other"
        end = await relay.end(sent)
        assert isinstance(end, SendResult)
        assert end.accepted == ("first@example.org",)

    (message,) = play(story).messages
    assert b"second" not in message.content
    assert [part.get_filename() for part in message.email.iter_attachments()] == ["a.txt", "first.txt"]
    assert [part.get_content().strip() for part in message.email.iter_attachments()][1] == "first"


def test_a_compose_hook_changes_its_own_message_at_any_depth_and_no_default(play: Any) -> None:
    defaults = {"attachments": [{"filename": "terms", "content": b"x"}], "headers": {"X-Tag": ["a"]}}
    attachment = Attachment(filename="own", content=b"x")

    async def story(relay: Any) -> None:
        @relay.transporter.use("compose")
        def add(fields: dict[str, Any]) -> None:
            fields["headers"]["X-Tag"].append("b")
            one = fields["attachments"][0]
            if isinstance(one, Attachment):
                one.filename = "changed"
            else:
                one["filename"] += "!"

        await relay.ends(relay.send(0), relay.send(1), relay.send(2, attachments=[attachment]))

    messages = sorted(play(story, defaults=defaults).messages, key=lambda one: one.message_id)
    assert [message.email.get_all("X-Tag") for message in messages] == [["a", "b"]] * 3
    names = [[part.get_filename() for part in message.email.iter_attachments()] for message in messages]
    assert names == [["terms!"], ["terms!"], ["changed"]]
    assert defaults == {
        "attachments": [{"filename": "terms", "content": b"x"}],
        "headers": {"X-Tag": ["a"]},
    }
    assert attachment.filename == "own"


@pytest.mark.parametrize(
    "made",
    [copy.copy, copy.deepcopy, lambda sealed: pickle.loads(pickle.dumps(sealed))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_of_a_spooled_message_closes_no_descriptor_of_another(
    play: Any, made: Callable[[Sealed], Sealed]
) -> None:
    kept: list[Sealed] = []

    def pieces() -> Iterator[bytes]:
        yield from [b"x" * 100_000] * 10

    async def story(relay: Any) -> None:
        @relay.transporter.use("sealed")
        def keep(sealed: Sealed) -> None:
            kept.append(sealed)

        end = await relay.end(relay.send(0, attachments=[{"content": pieces(), "filename": "a"}]))
        assert isinstance(end, SendResult)

    play(story)
    (sealed,) = kept
    whole = bytes(sealed)
    copied = made(sealed)
    assert bytes(copied) == whole
    del copied
    gc.collect()
    # Whoever opens a file now gets the number that was closed once too often.
    with open(os.devnull, "rb") as other:
        assert bytes(sealed) == whole
        kept.clear()
        del sealed
        gc.collect()
        os.fstat(other.fileno())


@pytest.mark.parametrize("field", ["attachments", "alternatives", "text"])
def test_a_field_that_holds_itself_is_refused(play: Any, field: str) -> None:
    held: list[Any] = []
    held.append(held)
    content: dict[str, Any] = {}
    content["content"] = content
    raw: dict[str, Any] = {}
    raw["raw"] = raw

    async def story(relay: Any) -> None:
        for value in (held, content, raw, [content], [raw]):
            with pytest.raises(MessageError):
                relay.send(0, **{field: value})

    assert play(story).messages == []
