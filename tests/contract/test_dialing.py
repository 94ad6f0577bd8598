"""From a name to a socket, and who we are to the server: look-ups, several addresses, client certificates."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from mailpool import (
    ConfigurationError,
    ConnectionFailed,
    LookupFailed,
    Phase,
    TimedOut,
    create_transport,
)
from mailpool.net.dial import interleave
from mailpool.testing import Authority, ScriptedServer

HERE = "127.0.0.1"
MAIL = {"from": "a@example.org", "to": "b@example.com", "text": "hi"}
V4, V6 = socket.AF_INET, socket.AF_INET6


def answers(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[Any, str, int]) -> None:
    """Let the resolver give these for every name; nothing else of the system is replaced."""
    found = [(family, socket.SOCK_STREAM, 6, "", (host, port)) for family, host, port in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


@pytest.mark.parametrize(
    ("families", "order"),
    [
        ([V6, V6, V4, V4], [V6, V4, V6, V4]),
        ([V4, V6], [V4, V6]),
        ([V6, V6, V6, V4], [V6, V4, V6, V6]),
        ([V4], [V4]),
    ],
)
def test_families_take_turns_and_the_preferred_one_begins(families: list[Any], order: list[Any]) -> None:
    addresses = [(family, (str(number), 25)) for number, family in enumerate(families)]
    mixed = interleave(addresses)
    assert [family for family, _ in mixed] == order
    assert sorted(mixed, key=str) == sorted(addresses, key=str)


async def test_an_address_that_refuses_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedServer() as server:
        with socket.socket() as unused:
            unused.bind((HERE, 0))  # bound and not listening: refused
            closed = unused.getsockname()[1]
            answers(monkeypatch, (V4, HERE, closed), (V4, HERE, server.port))
            async with create_transport(host="relay.example", port=25) as transporter:
                assert (await transporter.send_mail(MAIL)).accepted


async def test_an_address_that_does_not_answer_holds_up_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next address is tried beside it; without that this would end by connection_timeout."""
    with socket.socket() as deaf:
        deaf.bind((HERE, 0))
        deaf.listen(0)
        # The backlog is full after this, and further connections are neither taken nor refused.
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        async with ScriptedServer() as server:
            answers(monkeypatch, (V4, HERE, deaf.getsockname()[1]), (V4, HERE, server.port))
            async with create_transport(
                host="relay.example", port=25, connection_timeout=1_000
            ) as transporter:
                async with asyncio.timeout(200):
                    assert (await transporter.send_mail(MAIL)).accepted
        for filler in fillers:
            filler.close()


async def test_when_no_address_answers_the_first_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind((HERE, 0))
        answers(monkeypatch, *[(V4, HERE, unused.getsockname()[1])] * 3)
        transporter = create_transport(host="relay.example", port=25, connection_wait=0)
        with pytest.raises(ConnectionFailed, match="refused") as caught:
            await transporter.send_mail(MAIL)
        assert (caught.value.phase, caught.value.temporary) == (Phase.CONNECT, True)
        await transporter.close()


@pytest.mark.rule("P-26")
async def test_a_look_up_that_hangs_ends_by_its_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(60) and [])
    transporter = create_transport(host="relay.example", port=25, dns_timeout=0.05, connection_wait=0)
    with pytest.raises(TimedOut, match=r"relay\.example") as caught:
        await transporter.send_mail(MAIL)
    assert caught.value.phase is Phase.LOOKUP
    await transporter.close()
    released.set()
    for thread in threading.enumerate():
        if thread.name.startswith("mailpool-resolve"):
            assert thread.daemon
            await asyncio.to_thread(thread.join)


@pytest.mark.rule("P-19")
@pytest.mark.parametrize(
    ("code", "temporary"), [(socket.EAI_NONAME, False), (socket.EAI_AGAIN, True)], ids=["unknown", "later"]
)
async def test_a_name_that_does_not_exist_is_no_matter_of_time(
    monkeypatch: pytest.MonkeyPatch, code: int, temporary: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(code, "told by the test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    transporter = create_transport(host="relay.example", port=25, connection_wait=0)
    with pytest.raises(LookupFailed, match=r"relay\.example") as caught:
        await transporter.send_mail(MAIL)
    assert caught.value.temporary is temporary
    await transporter.close()


@pytest.mark.rule("P-26")
@pytest.mark.parametrize("broken", ["the look-up", "its thread"])
async def test_a_look_up_that_breaks_is_told_at_once(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """The thread's error is the waiting send's: nothing waits for ``dns_timeout`` then."""

    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("told by the test")

    if broken == "its thread":
        monkeypatch.setattr(threading.Thread, "start", breaks)
    else:
        monkeypatch.setattr(socket, "getaddrinfo", breaks)
    transporter = create_transport(host="relay.example", port=25, dns_timeout=3600, connection_wait=0)
    with pytest.raises(LookupFailed, match=r"relay\.example.*told by the test") as caught:
        await transporter.send_mail(MAIL)
    assert caught.value.temporary
    await transporter.close()


@pytest.mark.rule("TLS-13")
@pytest.mark.parametrize("implicit", [True, False])
async def test_a_client_certificate_is_shown(authority: Authority, tmp_path: Path, implicit: bool) -> None:
    context = authority.server_context("localhost", HERE)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.ca_pem)
    certificate, key = authority.write_certificate(tmp_path, "client.example")
    ca_file = str(authority.write_ca(tmp_path / "ca.pem"))
    (tmp_path / "other").mkdir()
    tls = {"ca_file": ca_file, "cert_file": str(certificate), "key_file": str(key)}
    async with ScriptedServer(tls=context, implicit_tls=implicit) as server:
        where = {"host": HERE, "port": server.port, "secure": implicit, "connection_wait": 0}
        async with create_transport(**where, tls=tls) as known:
            assert (await known.send_mail(MAIL)).accepted
        stranger = create_transport(**where, tls={"ca_file": ca_file})
        with pytest.raises(ConnectionFailed):
            await stranger.send_mail(MAIL)
        await stranger.close()
        # Of the same name, by an authority that the server does not know.
        other, its_key = Authority().write_certificate(tmp_path / "other", "client.example")
        forger = create_transport(
            **where, tls={"ca_file": ca_file, "cert_file": str(other), "key_file": str(its_key)}
        )
        with pytest.raises(ConnectionFailed):
            await forger.send_mail(MAIL)
        await forger.close()
    assert [message.tls for message in server.messages] == [True]


def test_a_certificate_that_cannot_be_loaded_is_told_as_an_option(tmp_path: Path) -> None:
    async def main() -> None:
        missing = str(tmp_path / "missing.pem")
        with pytest.raises(ConfigurationError, match="tls"):
            await create_transport(host=HERE, tls={"cert_file": missing}).send_mail(MAIL)

    asyncio.run(main())
