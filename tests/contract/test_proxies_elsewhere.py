"""Proxies on the way to token servers, and over uvloop."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from connect_proxy import ConnectProxy

from mailpool import Credentials, DeviceCode, SendResult, TokenFailed, create_transport, device_login
from mailpool.auth.tokens import Tokens
from mailpool.options.proxy import Proxy
from mailpool.testing import Authority, RawServer, RawStream, ScriptedServer

HERE = "127.0.0.1"
LOGIN = "you:proxy-secret@"
BASIC = b"Proxy-Authorization: Basic eW91OnByb3h5LXNlY3JldA==\r\n"


def token_server(context: ssl.SSLContext, *answers: str) -> RawServer:
    """Gives one answer after the other, each over a connection of its own."""
    left = list(answers)

    async def answer(stream: RawStream) -> None:
        await stream.secure(context)
        head = await stream.read_until(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await stream.read(int(length.split()[1]))
        body = left.pop(0)
        stream.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    return RawServer(answer)


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Any) -> str:
    return str(authority.write_ca(tmp_path / "ca.pem"))


def asking(server: RawServer, ca_file: str | None) -> Credentials:
    return Credentials.of(
        {
            "user": "me",
            "token_url": f"https://localhost:{server.port}/token",
            "client_id": "app",
            "client_secret": "the-client-secret",
            "refresh_token": "the-refresh-token",
            "ca_file": ca_file,
        }
    )


@pytest.mark.rule("LOG-03")
async def test_log03_a_token_is_asked_for_through_the_proxy_which_reads_nothing(
    authority: Authority, ca_file: str
) -> None:
    answer = '{"access_token": "the-token", "expires_in": 3600}'
    async with token_server(authority.server_context("localhost"), answer) as server, ConnectProxy() as proxy:
        way = Proxy.of(f"http://{LOGIN}localhost:{proxy.port}")
        assert await Tokens().token(asking(server, ca_file), proxy=way) == "the-token"
    (head,) = proxy.asked
    assert head.startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode())
    assert BASIC in head
    assert proxy.passed
    for secret in (b"the-client-secret", b"the-refresh-token", b"proxy-secret", b"app"):
        assert secret not in b"".join(proxy.passed) + head


@pytest.mark.rule("TLS-06")
@pytest.mark.parametrize("wrong", ["authority", "name"])
@pytest.mark.parametrize("by_proxy", [False, True])
async def test_tls06_a_token_server_that_cannot_prove_its_name_is_told_nothing(
    authority: Authority, ca_file: str, wrong: str, by_proxy: bool
) -> None:
    context = authority.server_context("elsewhere.example" if wrong == "name" else "localhost")
    async with token_server(context) as server, ConnectProxy() as proxy:
        way = Proxy.of(f"http://localhost:{proxy.port}") if by_proxy else None
        with pytest.raises(TokenFailed, match="certificate") as caught:
            await Tokens().token(asking(server, ca_file if wrong == "name" else None), proxy=way)
        assert "the-client-secret" not in str(caught.value)
    assert bool(proxy.asked) is by_proxy


@pytest.mark.rule("P-19")
async def test_a_transporter_asks_for_tokens_through_its_proxy(authority: Authority, ca_file: str) -> None:
    answer = '{"access_token": "the-token", "expires_in": 3600}'
    async with (
        token_server(authority.server_context("localhost"), answer) as tokens,
        ScriptedServer(
            tls=authority.server_context("localhost"), auth={"me": "the-token"}, mechanisms=["XOAUTH2"]
        ) as server,
        ConnectProxy() as proxy,
        create_transport(
            host="localhost",
            port=server.port,
            auth=asking(tokens, ca_file),
            tls={"ca_file": ca_file},
            proxy=f"http://localhost:{proxy.port}",
        ) as transporter,
    ):
        assert isinstance(await transporter.send_mail(mail()), SendResult)
    assert [int(head.split()[1].rpartition(b":")[2]) for head in proxy.asked] == [server.port, tokens.port]


async def test_a_device_logs_in_through_a_proxy(authority: Authority, ca_file: str) -> None:
    code = '{"device_code": "d", "user_code": "U", "verification_uri": "https://x.example", "interval": 1}'
    token = '{"access_token": "a", "refresh_token": "the-new-refresh-token"}'
    shown: list[DeviceCode] = []
    async with (
        token_server(authority.server_context("localhost"), code, token) as server,
        ConnectProxy() as proxy,
    ):
        place = f"https://localhost:{server.port}"
        got = await device_login(
            shown.append,
            client_id="app",
            device_url=f"{place}/device",
            token_url=f"{place}/token",
            ca_file=ca_file,
            proxy=f"http://localhost:{proxy.port}",
        )
    assert got == "the-new-refresh-token"
    assert [one.user_code for one in shown] == ["U"]
    assert len(proxy.asked) == 2


@pytest.mark.parametrize("mode", ["none", "starttls", "implicit"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_over_uvloop(authority: Authority, scheme: str, mode: str) -> None:
    """TLS within TLS is where loops differ most."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed: it is the extra `speed`")
    context = authority.server_context("localhost")

    async def main() -> None:
        trusted = authority.client_context()
        async with (
            ConnectProxy(tls=context if scheme == "https" else None) as proxy,
            ScriptedServer(
                tls=None if mode == "none" else context, implicit_tls=mode == "implicit"
            ) as server,
        ):
            way = {"url": f"{scheme}://localhost:{proxy.port}"}
            transporter = create_transport(
                host="localhost",
                port=server.port,
                secure=mode == "implicit",
                tls=trusted,
                pool=True,
                proxy=way | ({"tls": trusted} if scheme == "https" else {}),
            )
            for size in (1, 400_000):
                assert isinstance(await transporter.send_mail(mail(size)), SendResult)
            await transporter.close()
            assert [message.tls for message in server.messages] == [mode != "none"] * 2
        assert len(proxy.asked) == 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def mail(size: int = 1) -> dict[str, Any]:
    return {"from": "from@example.org", "to": "to@example.org", "text": "hello " * size}
