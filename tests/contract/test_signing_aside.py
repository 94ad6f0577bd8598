"""Signing that takes long is done by threads: the event loop goes on, and the outcome is the same."""

from __future__ import annotations

import asyncio
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mailpool import DkimKey, MessageError, PoolClosed, create_transport, dkim_record
from mailpool.message.dkim import load_key, takes_long
from mailpool.options import parse_options
from mailpool.preparing import Preparation
from mailpool.testing import ScriptedServer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dkim

QUICK = DkimKey("example.org", "quick", ed25519.Ed25519PrivateKey.generate())
USUAL = DkimKey("example.org", "usual", rsa.generate_private_key(65_537, 2_048))
STRONG = DkimKey("example.org", "strong", rsa.generate_private_key(65_537, 3_072))
SMALL: dict[str, Any] = {"from": "a@example.org", "to": "b@example.net", "text": "Hello"}
LARGE = SMALL | {"text": "Hello \n" * 100_000}


class Watched(ed25519.Ed25519PrivateKey):
    """A key that tells in which thread it signs, and fails where it is told to."""

    def __init__(self, fails: bool = False) -> None:
        self.inner = ed25519.Ed25519PrivateKey.generate()
        self.fails = fails
        self.threads: list[str] = []

    def sign(self, data: Any) -> bytes:
        self.threads.append(threading.current_thread().name)
        if self.fails:
            raise OSError("the device is gone")
        return self.inner.sign(data)

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return self.inner.public_key()

    def private_bytes(self, *_: Any) -> bytes:
        raise NotImplementedError

    def private_bytes_raw(self) -> bytes:
        raise NotImplementedError

    def __copy__(self) -> Watched:
        return self

    def __deepcopy__(self, memo: Any) -> Watched:
        return self


def verified(octets: bytes, key: DkimKey) -> bool:
    record = dkim_record(key)[1].encode()
    return bool(dkim.verify(octets, dnsfunc=lambda name, timeout=5: record))


@pytest.mark.parametrize(
    ("size", "keys", "long"),
    [
        (1_000, [QUICK, USUAL], False),
        (100_000, [QUICK, USUAL], False),
        (200_000, [QUICK], True),
        (1_000, [STRONG], True),
        (1_000, [QUICK, STRONG], True),
    ],
)
def test_what_takes_long(size: int, keys: list[DkimKey], long: bool) -> None:
    assert takes_long(size, [load_key(key) for key in keys]) is long


@pytest.mark.parametrize("key", [QUICK, USUAL, STRONG], ids=lambda key: key.selector)
@pytest.mark.parametrize("message", [SMALL, LARGE], ids=["small", "large"])
async def test_what_arrives_verifies(key: DkimKey, message: dict[str, Any]) -> None:
    async with (
        ScriptedServer() as server,
        create_transport(host=server.host, port=server.port, pool=True, dkim=key) as transporter,
    ):
        await asyncio.gather(*(transporter.send_mail(message | {"subject": str(n)}) for n in range(5)))
    assert len(server.messages) == 5
    assert all(verified(received.content, key) for received in server.messages)


async def test_only_what_takes_long_leaves_the_loop(tmp_path: Path) -> None:
    private = Watched()
    preparation = Preparation(parse_options(host="h", dkim=DkimKey("example.org", "s", private)))
    here = threading.current_thread().name
    (tmp_path / "large.bin").write_bytes(bytes(300_000))
    with_file = SMALL | {"attachments": [{"path": tmp_path / "large.bin"}]}
    for message, aside in [(SMALL, False), (LARGE, True), (with_file, True)]:
        private.threads.clear()
        prepared = preparation.prepare(message)
        assert asyncio.iscoroutine(prepared) is aside
        if asyncio.iscoroutine(prepared):
            await asyncio.create_task(prepared)  # begun already, so that only a task can go on
        assert [name.startswith("mailpool-sign") for name in private.threads] == [aside]
        # Those who cannot wait do it here.
        private.threads.clear()
        preparation.seal(message)
        assert private.threads == [here]


@pytest.mark.rule("DAT-11")
async def test_a_key_that_fails_in_a_thread_is_an_error_and_nothing_is_sent() -> None:
    bad = DkimKey("example.org", "bad", Watched(fails=True))
    async with (
        ScriptedServer() as server,
        create_transport(host=server.host, port=server.port, pool=True, dkim=bad) as transporter,
    ):
        with pytest.raises(MessageError, match="could not sign"):
            await transporter.send_mail(LARGE)
        [outcome] = [outcome async for outcome in transporter.send_many([LARGE])]
        assert isinstance(outcome.error, MessageError)
    assert server.messages == []


@pytest.mark.rule("DAT-11")
async def test_a_message_with_keys_that_cannot_be_used_is_refused_at_once() -> None:
    transporter = create_transport(host="relay.example", pool=True, dkim=STRONG)
    with pytest.raises(MessageError) as caught:
        transporter.send_mail(LARGE | {"dkim": ()})
    assert caught.value.field == "dkim"
    await transporter.close()


class Held(Watched):
    """A key that signs when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def sign(self, data: Any) -> bytes:
        self.begun.set()
        self.goes_on.wait()
        return super().sign(data)


def signing() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("mailpool-sign")]


@pytest.mark.rule("P-29")
@pytest.mark.parametrize("end", ["close", "drain"])
async def test_no_thread_is_left_after_the_end(end: str) -> None:
    async with ScriptedServer() as server:
        transporter = create_transport(host=server.host, port=server.port, pool=True, dkim=STRONG)
        await asyncio.gather(*(transporter.send_mail(SMALL) for _ in range(5)))
        assert signing()
        await getattr(transporter, end)()
        assert signing() == []


@pytest.mark.rule("P-29")
async def test_a_thread_that_signs_is_waited_for_and_one_that_does_not_end_is_not() -> None:
    for patience in (30.0, 0.0):
        private = Held()
        transporter = create_transport(host="relay.example", dkim=DkimKey("example.org", "s", private))
        send = asyncio.ensure_future(transporter.send_mail(LARGE))
        await asyncio.to_thread(private.begun.wait)
        closing = asyncio.ensure_future(transporter.close(patience))
        if patience:
            with pytest.raises(PoolClosed):
                await send
            assert signing()
            private.goes_on.set()
            await closing
            assert signing() == []
        else:
            await closing
            assert signing()
            private.goes_on.set()
            with pytest.raises(PoolClosed):
                await send
    # It ends by itself.
    while signing():
        await asyncio.sleep(0.01)
