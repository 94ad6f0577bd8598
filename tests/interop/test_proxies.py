"""Through real proxies: Dante (SOCKS), tinyproxy (HTTP), and tinyproxy behind stunnel (HTTPS)."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from running import running
from scenarios import most_handshakes
from servers.proxies import PASSWORD, USER, Dante, RealProxy, Tinyproxy, TinyproxyBehindTLS

from mailpool import ConnectionFailed, Phase, ProxyFailed, create_transport
from mailpool.testing import Authority, ScriptedServer

pytestmark = pytest.mark.interop

HERE = "127.0.0.1"
MESSAGES = 1_000
LOGIN = f"{USER}:{PASSWORD}@"


@pytest.fixture
def dante() -> Iterator[RealProxy]:
    yield from running(Dante())


@pytest.fixture
def dante_with_login() -> Iterator[RealProxy]:
    yield from running(Dante(login=True))


@pytest.fixture
def tinyproxy() -> Iterator[RealProxy]:
    yield from running(Tinyproxy())


@pytest.fixture
def tinyproxy_with_login() -> Iterator[RealProxy]:
    yield from running(Tinyproxy(login=True))


@pytest.fixture
def tinyproxy_behind_tls(authority: Authority) -> Iterator[RealProxy]:
    yield from running(TinyproxyBehindTLS(authority))


# Which proxy, in which words, and what the server's name is then. SOCKS 4a is not among them: this Dante refuses it,
# also from other programs. tests/contract/test_proxies.py has its octets.
WAYS = [
    ("dante", "socks4", "somebody@", "localhost"),
    ("dante", "socks5", "", "localhost"),
    ("dante_with_login", "socks5h", LOGIN, "localhost"),
    ("tinyproxy", "http", "", HERE),
    ("tinyproxy_with_login", "http", LOGIN, "localhost"),
    ("tinyproxy_behind_tls", "https", LOGIN, "localhost"),
]


@pytest.fixture
def proxy(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def letter(number: int) -> dict[str, Any]:
    return {
        "from": "news@example.org",
        "to": "reader@example.net",
        "message_id": f"<{number}@example.org>",
        "text": f"This is number {number}.\n",
    }


def way_of(proxy: RealProxy, scheme: str, login: str, authority: Authority) -> dict[str, Any]:
    way: dict[str, Any] = {"url": f"{scheme}://{login}localhost:{proxy.port}"}
    if scheme == "https":
        way["tls"] = {"ca_data": authority.ca_pem}
    return way


def server_of(authority: Authority, mode: str | None) -> ScriptedServer:
    context = authority.server_context("localhost", HERE) if mode else None
    return ScriptedServer(
        tls=context, implicit_tls=mode == "implicit", auth={"me": "secret"} if mode else None
    )


# One of them with a thousand.
@pytest.mark.parametrize(("mode", "count"), [(None, 200), ("starttls", MESSAGES), ("implicit", 200)])
@pytest.mark.parametrize(("proxy", "scheme", "login", "host"), WAYS, indirect=["proxy"])
async def test_many_messages(
    proxy: RealProxy, scheme: str, login: str, host: str, mode: str | None, count: int, authority: Authority
) -> None:
    async with server_of(authority, mode) as server:
        async with create_transport(
            host=host,
            port=server.port,
            secure=mode == "implicit",
            proxy=way_of(proxy, scheme, login, authority),
            tls={"ca_data": authority.ca_pem},
            auth=("me", "secret") if mode else None,
            pool=True,
            max_connections=3,
        ) as transporter:
            results = [one async for one in transporter.send_many(letter(n) for n in range(count))]
            stats = transporter.stats()
        assert [one.error for one in results if not one.ok] == []
    assert Counter(message.message_id for message in server.messages) == {
        f"<{n}@example.org>": 1 for n in range(count)
    }
    assert all(message.tls == (mode is not None) for message in server.messages)
    assert stats.handshakes <= most_handshakes(3, count)
    # The server was never reached in another way.
    assert proxy.log().count("\n") > 0
    assert LOGIN.rstrip("@").partition(":")[2] not in repr(transporter.options)


@pytest.mark.parametrize(
    ("proxy", "scheme", "login", "host"), [WAYS[2], WAYS[4], WAYS[5]], indirect=["proxy"]
)
async def test_a_restart_of_the_proxy_in_mid_batch_loses_nothing(
    proxy: RealProxy, scheme: str, login: str, host: str, authority: Authority
) -> None:
    async with server_of(authority, "starttls") as server:
        async with create_transport(
            host=host,
            port=server.port,
            proxy=way_of(proxy, scheme, login, authority),
            tls={"ca_data": authority.ca_pem},
            auth=("me", "secret"),
            pool=True,
            max_connections=3,
            connection_wait=200,
        ) as transporter:
            sends = [asyncio.ensure_future(transporter.send_mail(letter(n))) for n in range(MESSAGES)]
            while len(server.messages) < MESSAGES // 3:
                await asyncio.sleep(0.001)
            proxy.stop()  # before another message is done
            before = len(server.messages)
            await asyncio.to_thread(proxy.start)
            results = await asyncio.gather(*sends)
        assert before < MESSAGES
    counted = Counter(message.message_id for message in server.messages)
    assert set(counted) == {f"<{n}@example.org>" for n in range(MESSAGES)}
    # What came twice was told: its answer was lost with the proxy.
    doubled = {result.message_id for result in results if result.maybe_duplicate}
    assert {name for name, times in counted.items() if times > 1} <= doubled


@pytest.mark.parametrize(
    ("proxy", "scheme", "login", "words"),
    [
        ("dante_with_login", "socks5", f"{USER}:wrong-secret@", "authentication"),
        ("dante_with_login", "socks5", "", "authentication"),
        ("tinyproxy_with_login", "http", f"{USER}:wrong-secret@", "401|407"),
        ("tinyproxy_with_login", "http", "", "407"),
    ],
    indirect=["proxy"],
)
async def test_a_proxy_that_does_not_let_us_in_is_no_matter_of_time(
    proxy: RealProxy, scheme: str, login: str, words: str
) -> None:
    url = f"{scheme}://{login}{HERE}:{proxy.port}"
    transporter = create_transport(host=HERE, port=25, proxy=url, connection_wait=300)
    with pytest.raises(ProxyFailed, match=words) as caught:
        await transporter.send_mail(letter(0))
    assert (caught.value.phase, caught.value.temporary) == (Phase.PROXY, False)
    assert "wrong-secret" not in f"{caught.value} {transporter.options} {transporter!r}"
    await transporter.close()


@pytest.mark.parametrize(
    ("proxy", "scheme"), [("dante", "socks5"), ("dante", "socks4"), ("tinyproxy", "http")], indirect=["proxy"]
)
async def test_a_server_that_the_proxy_cannot_reach_may_be_there_later(proxy: RealProxy, scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind((HERE, 0))  # bound and not listening: refused
        transporter = create_transport(
            host=HERE,
            port=unused.getsockname()[1],
            proxy=f"{scheme}://{HERE}:{proxy.port}",
            connection_wait=0,
        )
        with pytest.raises(ProxyFailed, match=str(proxy.port)) as caught:
            await transporter.send_mail(letter(0))
        assert (caught.value.phase, caught.value.temporary) == (Phase.PROXY, True)
        await transporter.close()


async def test_what_the_rules_of_the_proxy_forbid(dante: RealProxy) -> None:
    transporter = create_transport(
        host=HERE, port=7, proxy=f"socks5://{HERE}:{dante.port}", connection_wait=300
    )
    with pytest.raises(ProxyFailed, match="not allowed"):
        await transporter.send_mail(letter(0))
    await transporter.close()


async def test_a_name_that_only_the_proxy_would_know_is_looked_up_where_the_scheme_says(
    dante: RealProxy, tinyproxy: RealProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own resolver is told to know nothing but the proxy."""
    real = socket.getaddrinfo

    def knows_one(host: bytes, *rest: Any, **more: Any) -> Any:
        if host == b"localhost":
            raise socket.gaierror(socket.EAI_NONAME, "told by the test")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", knows_one)
    async with ScriptedServer() as server:
        where = {"host": "localhost", "port": server.port, "connection_wait": 0}
        for way in (f"socks5h://{HERE}:{dante.port}", f"http://{HERE}:{tinyproxy.port}"):
            async with create_transport(**where, proxy=way) as remote:
                assert (await remote.send_mail(letter(0))).accepted
        for scheme in ("socks5", "socks4"):
            local = create_transport(**where, proxy=f"{scheme}://{HERE}:{dante.port}")
            with pytest.raises(ConnectionFailed) as caught:
                await local.send_mail(letter(1))
            assert caught.value.phase is Phase.LOOKUP
            await local.close()
    assert len(server.messages) == 2
