"""Once wrong, now proven: a TLS handshake that breaks in the middle, on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from messages import mail

from mailpool import Phase, SendError, SendResult, TLSFailed, create_transport
from mailpool.testing import Authority, Fault, ScriptedServer, close, raw, reset, stall

ALERT = raw(b"\x15\x03\x01\x00\x02\x02\x28", close())
BREAKS = [stall(), reset(), close(), ALERT]


def breaking(authority: Authority, do: Any, times: int | None) -> ScriptedServer:
    return ScriptedServer(
        tls=authority.server_context("127.0.0.1"), faults=[Fault(at="TLS", do=do, times=times)]
    )


def transport_to(server: ScriptedServer, authority: Authority, **options: Any) -> Any:
    usual = {
        "host": "127.0.0.1",
        "port": server.port,
        "pool": True,
        "starttls": "required",
        "tls": authority.client_context(),
        "max_connections": 1,
        "connection_timeout": 2,
    }
    return create_transport(**{**usual, **options})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(200):
        while not condition():
            await asyncio.sleep(0.01)


async def closed(transporter: Any, timeout: float = 1.0) -> None:
    async with asyncio.timeout(200):
        await transporter.close(timeout)
    assert transporter.stats().connections == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.rule("P-01")
@pytest.mark.rule("P-19")
@pytest.mark.rule("TLS-07")
@pytest.mark.parametrize("do", BREAKS, ids=repr)
async def test_a_broken_handshake_gives_its_place_back(authority: Authority, do: Any) -> None:
    async with breaking(authority, do, times=1) as server:
        transporter = transport_to(server, authority)
        async with asyncio.timeout(200):
            result = await transporter.send_mail(mail(0))
        assert isinstance(result, SendResult)
        assert transporter.stats().connections == 1
        await closed(transporter)
    (message,) = server.messages
    assert message.connection >= 1


@pytest.mark.rule("P-29")
@pytest.mark.rule("P-14")
@pytest.mark.rule("TLS-07")
@pytest.mark.parametrize("do", [*BREAKS, raw(b"no TLS at all\r\n")], ids=repr)
async def test_a_relay_whose_handshakes_always_break_leaves_nothing(authority: Authority, do: Any) -> None:
    async with breaking(authority, do, times=None) as server:
        transporter = transport_to(server, authority, connection_wait=0.3)
        async with asyncio.timeout(200):
            with pytest.raises(SendError) as caught:
                await transporter.send_mail(mail(0))
        assert not caught.value.may_have_been_delivered
        await until(lambda: transporter.stats().connections == transporter.stats().opening == 0)
        await closed(transporter)


@pytest.mark.rule("P-29")
@pytest.mark.parametrize("timeout", [0.0, 1.0])
async def test_close_does_not_wait_for_a_handshake_that_hangs(authority: Authority, timeout: float) -> None:
    async with breaking(authority, stall(), times=None) as server:
        transporter = transport_to(server, authority, connection_timeout=60)
        send = asyncio.ensure_future(transporter.send_mail(mail(0)))
        await until(lambda: "STARTTLS" in server.commands())
        # The server has answered; our first words of TLS are on their way.
        await asyncio.sleep(0.05)
        await closed(transporter, timeout)
        assert isinstance(send.exception(), SendError)


@pytest.mark.rule("P-16")
async def test_rubbish_after_starttls_is_not_taken_for_a_wrong_port(authority: Authority) -> None:
    async with breaking(authority, raw(b"no TLS at all\r\n"), times=None) as server:
        transporter = transport_to(server, authority, connection_wait=0.3)
        with pytest.raises(TLSFailed) as caught:
            await transporter.send_mail(mail(0))
        assert caught.value.phase is Phase.TLS
        # That is what it does already.
        assert "secure=False" not in str(caught.value)
        await closed(transporter)
