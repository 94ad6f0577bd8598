"""Messages that have to be awaited before they are queued, and hooks that see each message."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailpool import (
    ConfigurationError,
    DeadlineExceeded,
    MessageError,
    PoolClosed,
    QueueFull,
    Sealed,
    SendError,
    SendResult,
    UsageError,
)
from mailpool.testing import Fault, ScriptedServer, stall

BIG = 400_000


async def slowly(seconds: float = 1.0, size: int = 10, fail: str = "") -> AsyncIterator[bytes]:
    for _ in range(2):
        await asyncio.sleep(seconds / 2)
        yield b"x" * (size // 2)
    if fail:
        raise OSError(fail)


def slow(seconds: float = 1.0, **how: Any) -> dict[str, Any]:
    return {"attachments": [{"content": slowly(seconds, **how), "filename": "a.bin"}]}


class AsyncFile:
    def __init__(self, whole: bytes) -> None:
        self.whole = whole

    async def read(self, count: int) -> bytes:
        await asyncio.sleep(0.01)
        piece, self.whole = self.whole[:count], self.whole[count:]
        return piece


# -- contents that are awaited ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, BIG])
def test_async_contents_arrive(play: Any, size: int) -> None:
    async def story(relay: Any) -> None:
        attachments = [
            {"content": slowly(size=size)},
            {"content": AsyncFile(b"y" * size)},
            {"content": b"z"},
            {"content": "w"},
        ]
        ends = await relay.ends(
            relay.send(0, attachments=attachments),
            relay.send(1, attachments=iter(attachments[2:])),
            relay.send(2, text=slowly(), html={"content": slowly()}),
        )
        assert [type(end) for end in ends] == [SendResult] * 3

    server = play(story)
    messages = {message.message_id: message.email for message in server.messages}
    whole = [part.get_payload(decode=True) for part in messages["<0@example.org>"].iter_attachments()]
    assert whole == [b"x" * size, b"y" * size, b"z", b"w"]
    assert len(list(messages["<1@example.org>"].iter_attachments())) == 2
    assert [part.get_content().strip() for part in messages["<2@example.org>"].iter_parts()] == ["x" * 10] * 2


@pytest.mark.rule("P-20a")
def test_what_needs_no_waiting_takes_its_place_at_once(play: Any, received: Any) -> None:
    async def story(relay: Any) -> None:
        sends = [relay.send("late", **slow()), relay.send("soon"), relay.send("iterator", text=iter(["a"]))]
        assert relay.transporter.stats().queued == 2
        assert relay.transporter.stats().held_back == 1
        await relay.ends(*sends)

    assert received(play(story)) == ["soon", "iterator", "late"]


def test_what_is_wrong_is_raised_by_the_awaitable(play: Any) -> None:
    async def story(relay: Any) -> None:
        torn = await relay.end(relay.send(0, **slow(fail="the tape tore")))
        assert isinstance(torn, MessageError)
        assert torn.field == "attachments[0].content"
        assert "the tape tore" in str(torn)
        wrong = await relay.end(relay.send(1, **slow(), subject=5))
        assert isinstance(wrong, MessageError)
        assert wrong.field == "subject"
        with pytest.raises(MessageError):
            relay.send(2, subject=5)
        big = await relay.end(relay.transporter.send_mail(relay.mail(3, **slow(size=100))))
        assert isinstance(big, MessageError)

    server = play(story, access={"max_size": 50})
    assert server.messages == []


@pytest.mark.rule("P-20")
def test_messages_in_preparation_count_as_waiting(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.listen("idle")
        await asyncio.sleep(0.1)
        before = len(relay.heard("idle"))
        sends = []
        while relay.transporter.is_idle():
            sends.append(relay.send(len(sends), **slow(10)))
        assert len(sends) == 2
        await asyncio.sleep(5)
        assert len(relay.heard("idle")) == before
        await asyncio.sleep(6)
        assert relay.transporter.is_idle()
        assert len(relay.heard("idle")) > before
        await relay.ends(*sends)

    play(story, max_connections=2)


@pytest.mark.rule("P-21")
def test_send_many_asks_for_no_more_than_is_prepared(play: Any) -> None:
    async def story(relay: Any) -> None:
        taken = 0

        def messages() -> Any:
            nonlocal taken
            for number in range(30):
                taken += 1
                yield relay.mail(number, **slow())

        async for outcome in relay.transporter.send_many(messages()):
            assert outcome.ok
            ended = len(relay.server.messages)
            assert taken <= ended + 8
        assert taken == 30

    assert len(play(story, max_connections=3).messages) == 30


def test_send_soon_takes_no_more_than_max_queue(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.listen("error")
        for number in range(3):
            relay.transporter.send_soon(relay.mail(number, **slow(fail="torn" if number == 1 else "")))
        with pytest.raises(QueueFull):
            relay.transporter.send_soon(relay.mail(3, **slow()))
        await asyncio.sleep(3)
        ((error,),) = relay.heard("error")
        assert isinstance(error, MessageError)

    assert len(play(story, max_queue=3, max_connections=3).messages) == 2


@pytest.mark.rule("P-27")
@pytest.mark.parametrize("when", [0.0, 0.3, 1.5, 4.0])
def test_cancelling(play: Any, when: float) -> None:
    closed: list[str] = []

    async def source() -> AsyncIterator[bytes]:
        try:
            async for piece in slowly(1.0):
                yield piece
        finally:
            closed.append("closed")

    async def story(relay: Any) -> None:
        pending = relay.send(0, attachments=[{"content": source()}])
        if when:
            await asyncio.sleep(when)
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending
        await asyncio.sleep(1)
        assert relay.transporter.stats().held_back == 0
        assert closed == (["closed"] if when else [])
        assert isinstance(await relay.end(relay.send(1)), SendResult)

    # In the answer to MAIL, at 1 s, the message is on the wire; at 4 s it has not ended yet.
    play(story, ScriptedServer(faults=[Fault(at="MAIL", do=stall(5))]), latency=0.01)


@pytest.mark.rule("P-29")
def test_close_ends_what_is_being_prepared(play: Any) -> None:
    async def story(relay: Any) -> None:
        sends = [relay.send(number, **slow()) for number in range(150)]
        await asyncio.sleep(0.1)
        assert await relay.transporter.close() == []
        ends = await relay.ends(*sends)
        assert {type(end) for end in ends} == {PoolClosed}
        with pytest.raises(PoolClosed):
            relay.send(200, **slow())

    assert play(story).messages == []


@pytest.mark.rule("P-29")
def test_close_at_once_after_the_call(play: Any) -> None:
    async def story(relay: Any) -> None:
        pending = relay.send(0, **slow())
        await relay.transporter.close()
        assert isinstance(await relay.end(pending), PoolClosed)

    play(story)


@pytest.mark.rule("P-30")
def test_drain_waits_for_what_is_being_prepared(play: Any) -> None:
    async def story(relay: Any) -> None:
        sends = [relay.send(number, **slow()) for number in range(3)]
        draining = asyncio.ensure_future(relay.transporter.drain())
        await asyncio.sleep(0.1)
        for more in ({}, slow()):
            with pytest.raises(PoolClosed):
                relay.send(5, **more)
        assert not relay.transporter.is_idle()
        assert await draining == []
        assert [type(end) for end in await relay.ends(*sends)] == [SendResult] * 3

    assert len(play(story).messages) == 3


@pytest.mark.rule("P-30")
def test_drain_has_one_timeout_for_all(play: Any) -> None:
    async def story(relay: Any) -> None:
        quick, never = relay.send(0, **slow(1)), relay.send(1, **slow(1000))
        await relay.transporter.drain(10)
        assert relay.now < 12
        assert isinstance(await relay.end(quick), SendResult)
        assert isinstance(await relay.end(never), PoolClosed)

    play(story)


def test_a_drain_that_is_cancelled_leaves_nothing_open(play: Any) -> None:
    async def story(relay: Any) -> None:
        pending = relay.send(0, **slow(1000))
        draining = asyncio.ensure_future(relay.transporter.drain())
        await asyncio.sleep(1)
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        assert isinstance(await relay.end(pending), PoolClosed)

    play(story)


@pytest.mark.rule("P-19")
def test_the_deadline_begins_with_the_call(play: Any) -> None:
    async def story(relay: Any) -> None:
        early = relay.send(0, deadline=5, **slow(10))
        assert isinstance(await relay.end(early), DeadlineExceeded)
        assert 5 <= relay.now < 5.5
        started = relay.now
        late = relay.send(1, deadline=5, **slow(3))
        assert isinstance(await relay.end(late), DeadlineExceeded)
        assert 5 <= relay.now - started < 5.5
        with pytest.raises(UsageError):
            relay.send(2, deadline=0, **slow())

    play(story, ScriptedServer(faults=[Fault(at="MAIL", do=stall(50), times=None)]))


def test_a_source_that_hangs_holds_up_no_other(play: Any) -> None:
    async def story(relay: Any) -> None:
        hanging = [relay.send(number, **slow(10_000)) for number in range(50)]
        assert isinstance(await relay.end(relay.send("quick")), SendResult)
        assert isinstance(await relay.end(relay.send("next", **slow(1))), SendResult)
        assert relay.now < 5
        for pending in hanging:
            pending.cancel()
        await relay.ends(*hanging)

    play(story)


# -- contents that fail in mid-body ----------------------------------------------------------------------------------


@pytest.mark.rule("DAT-07")
@pytest.mark.rule("DAT-08")
@pytest.mark.parametrize("chunking", [False, True])
@pytest.mark.parametrize("change", ["shrink", "grow", "touch", "shrink at last"])
def test_a_content_that_breaks_off_is_never_ended(
    play: Any, tmp_path: Path, capabilities: Any, chunking: bool, change: str
) -> None:
    file = tmp_path / "big.bin"
    file.write_bytes(b"x" * 4_000_000)
    server = ScriptedServer(capabilities=capabilities(True, *(["CHUNKING"] if chunking else [])))

    async def story(relay: Any) -> None:
        pending = relay.send(0, attachments=[{"path": file}])
        # In mid-content: some of it is on the line.
        while relay.transporter.stats().bytes_sent < (5_000_000 if change == "shrink at last" else 1_000_000):
            await asyncio.sleep(0.01)
        match change.split()[0]:
            case "shrink":
                os.truncate(file, 2_000_000)
            case "grow":
                with open(file, "ab") as more:
                    more.write(b"y")
            case "touch":
                os.utime(file, ns=(1, 1))
        error = await relay.end(pending)
        assert isinstance(error, SendError)
        assert "attachments[0].path" in str(error)
        assert not error.may_have_been_delivered
        assert isinstance(error.__cause__, MessageError)
        assert isinstance(await relay.end(relay.send(1)), SendResult)

    play(story, server, latency=0.05)
    assert [message.message_id for message in server.messages] == ["<1@example.org>"]
    assert len(server.connections) == 2


@pytest.mark.rule("DAT-07")
def test_every_attempt_sends_the_same_octets(play: Any, tmp_path: Path) -> None:
    file = tmp_path / "big.bin"
    file.write_bytes(os.urandom(1_000_000))
    server = ScriptedServer(faults=[Fault(at="END", do=stall(0.0), times=0)])

    async def story(relay: Any) -> None:
        sealed: list[Sealed] = []
        relay.transporter.use("sealed", sealed.append)
        info = await relay.send(0, attachments=[{"path": file}])
        again = await relay.transporter.send_mail(sealed[0])
        assert info.size == again.size == len(bytes(sealed[0]))

    play(story, server)
    first, second = server.messages
    assert first.content == second.content
    (part,) = first.email.iter_attachments()
    assert part.get_payload(decode=True) == file.read_bytes()


# -- hooks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_hooks_see_every_message_in_their_order(play: Any, is_async: bool) -> None:
    async def story(relay: Any) -> None:
        heard: list[str] = []

        def first(fields: dict[str, Any]) -> None:
            heard.append("first")
            fields["headers"] = {"X-First": fields["x_mailer"]}
            fields["attachments"].append({"content": b"more"})

        def second(fields: dict[str, Any]) -> dict[str, Any]:
            heard.append("second")
            return {**fields, "subject": "changed"}

        @relay.transporter.use("sealed")
        def stamp(sealed: Sealed) -> Sealed:
            return sealed.with_header("X-Stamp", "ß" * 60)

        def as_wanted(hook: Any) -> Any:
            async def wrapped(value: Any) -> Any:
                await asyncio.sleep(0.1)
                return hook(value)

            return wrapped if is_async else hook

        relay.transporter.use("compose", as_wanted(first))
        relay.transporter.use("compose", as_wanted(second))
        relay.transporter.use("sealed", as_wanted(lambda sealed: None))
        shared: list[Any] = []
        pending = relay.send(0, attachments=shared)
        assert relay.transporter.stats().queued == (0 if is_async else 1)
        await pending
        assert heard == ["first", "second"]
        assert shared == []
        with pytest.raises(ConfigurationError):
            relay.transporter.use("compile", first)
        with pytest.raises(ConfigurationError):
            relay.transporter.use("compose", 5)

    server = play(story, defaults={"x_mailer": "here"})
    message = server.messages[0].email
    assert (message["subject"], message["x-first"], message["x-stamp"]) == ("changed", "here", "ß" * 60)
    assert len(list(message.iter_attachments())) == 1


@pytest.mark.parametrize("stage", ["compose", "sealed"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_hook_that_fails_fails_its_message(play: Any, stage: str, is_async: bool) -> None:
    async def story(relay: Any) -> None:
        def broken(value: Any) -> Any:
            raise KeyError("no such customer")

        async def broken_later(value: Any) -> Any:
            await asyncio.sleep(1)
            raise KeyError("no such customer")

        relay.transporter.use(stage, broken_later if is_async else broken)

        async def send() -> Any:
            return await relay.send(0)

        error = await relay.end(send())
        assert isinstance(error, MessageError)
        assert "hook" in str(error)
        assert "no such customer" in str(error)
        assert isinstance(error.__cause__, KeyError)

    assert play(story).messages == []


@pytest.mark.parametrize("value", [5, "text", b"octets"])
@pytest.mark.parametrize("stage", ["compose", "sealed"])
def test_a_hook_that_returns_something_else_fails_its_message(play: Any, stage: str, value: Any) -> None:
    async def story(relay: Any) -> None:
        relay.transporter.use(stage, lambda _: value)
        with pytest.raises(MessageError, match="returned"):
            relay.send(0)

    play(story)


def test_a_hook_may_make_another_content_and_is_checked(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.transporter.use(
            "sealed", lambda sealed: sealed.with_content(bytes(sealed).replace(b"body", b"BODY\n"))
        )
        await relay.send(0)
        relay.transporter.use("sealed", lambda sealed: sealed.with_content(b"x" * 999))
        with pytest.raises(MessageError):
            relay.send(1)
        other = relay.another()
        other.use("sealed", lambda sealed: sealed.with_header("X", "a\r\nb"))
        with pytest.raises(MessageError):
            other.send_mail(relay.mail(2))

    assert b"BODY\r\n" in play(story).messages[0].content


@pytest.mark.rule("FIL-09")
@pytest.mark.parametrize("is_async", [False, True])
def test_no_hook_default_or_message_relaxes_what_may_be_read(
    play: Any, tmp_path: Path, is_async: bool
) -> None:
    (tmp_path / "secret").write_text("secret")
    evil = {"attachments": [{"path": str(tmp_path / "secret")}]}

    async def story(relay: Any) -> None:
        with pytest.raises(MessageError, match="not allowed"):
            relay.send(0, **evil)
        with pytest.raises(MessageError, match="not allowed"):
            relay.another(defaults=evil).send_mail(relay.mail(1))
        for key in ("access", "files", "disable_file_access"):
            with pytest.raises(MessageError, match="unknown field"):
                relay.send(2, **evil, **{key: True})

        def hook(fields: dict[str, Any]) -> None:
            fields.update(evil)

        async def async_hook(fields: dict[str, Any]) -> None:
            await asyncio.sleep(0)
            hook(fields)

        relay.transporter.use("compose", async_hook if is_async else hook)

        async def send() -> Any:
            return await relay.send(3)

        error = await relay.end(send())
        assert isinstance(error, MessageError)
        assert "not allowed" in str(error)
        with pytest.raises(AttributeError):
            relay.transporter.options.access.files = True  # frozen

    assert play(story, access="none").messages == []
