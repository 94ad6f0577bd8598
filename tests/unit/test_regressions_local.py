"""Defects of the carriers that write to this machine: descriptors that were left, halves of messages, false answers."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailpool import (
    ConnectionFailed,
    Deferred,
    DeliveryUncertain,
    FileCarrier,
    JSONCarrier,
    SendmailCarrier,
    StreamCarrier,
    create_transport,
)
from mailpool.transports import sendmail

MAIL = {"from": "from@example.org", "to": "to@example.org", "text": "x"}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "sendmail"
    path.write_text("#!/bin/sh\ncat >/dev/null\n")
    path.chmod(0o700)
    return path


@pytest.mark.rule("P-27")
async def test_a_run_that_is_given_up_at_any_moment_leaves_nothing(program: Path) -> None:
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with create_transport(SendmailCarrier(program)) as transporter:
        await transporter.send_mail(MAIL)
        before = descriptors()
        for turns in range(40):
            pending = asyncio.ensure_future(transporter.send_mail(MAIL))
            for _ in range(turns):
                await asyncio.sleep(0)
            pending.cancel()
            await asyncio.wait([pending])
    async with asyncio.timeout(60):  # what is closed is gone a few turns later
        while descriptors() > before:
            await asyncio.sleep(0.01)
    assert errors == []


@pytest.mark.parametrize("scarce", [errno.EMFILE, errno.ENOMEM, errno.EAGAIN])
async def test_where_there_is_no_room_for_a_process_nothing_was_sent(
    program: Path, scarce: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pipe() -> Any:
        raise OSError(scarce, os.strerror(scarce))

    monkeypatch.setattr(sendmail.os, "pipe", pipe)
    async with create_transport(SendmailCarrier(program)) as transporter:
        with pytest.raises(ConnectionFailed) as caught:
            await transporter.send_mail(MAIL)
    assert caught.value.temporary
    assert not caught.value.may_have_been_delivered


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file can be larger than this: a disk that is full in the midst of a line."""
    size = 2_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    yield size
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


async def test_a_line_that_did_not_fit_leaves_no_beginning_behind(tmp_path: Path, small_files: int) -> None:
    path = tmp_path / "lines"
    async with create_transport(JSONCarrier(path)) as transporter:
        await transporter.send_mail(MAIL)
        with pytest.raises(Deferred):
            await transporter.send_mail({**MAIL, "text": "x" * small_files})
        await transporter.send_mail(MAIL)
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["size"] == second["size"]


@pytest.mark.parametrize("takes", [1, 7, 100])
async def test_a_stream_that_takes_a_part_gets_the_rest(takes: int) -> None:
    class Slow(io.RawIOBase):
        taken = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any, /) -> int:
            self.taken += bytes(data[:takes])
            return len(data[:takes])

    stream = Slow()
    async with create_transport(StreamCarrier(stream)) as transporter:
        result = await transporter.send_mail(MAIL)
    assert len(stream.taken) == result.size


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EINVAL, None), (errno.EACCES, None), (errno.EIO, DeliveryUncertain)]
)
async def test_what_fails_when_the_file_is_there_does_not_make_a_second_one(
    tmp_path: Path, number: int, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def fails(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fails)
    async with create_transport(FileCarrier(tmp_path / "out")) as transporter:
        (end,) = await asyncio.gather(transporter.send_mail(MAIL), return_exceptions=True)
    assert len(list((tmp_path / "out").glob("*.eml"))) == 1
    assert kind is None or type(end) is kind
    assert isinstance(end, Exception) == (kind is not None)
