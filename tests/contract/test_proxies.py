"""Proxies and a dialling of one's own, octet by octet: what is asked, what an answer may be, and who is trusted."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from connect_proxy import ConnectProxy
from messages import mail

from mailpool import (
    ConfigurationError,
    ConnectionFailed,
    Phase,
    ProxyFailed,
    SendError,
    TimedOut,
    TLSFailed,
    create_transport,
)
from mailpool.testing import Authority, RawServer, RawStream, ScriptedServer

HERE = "127.0.0.1"
ACCOUNTS = {"me": "mail-secret"}
LOGIN = "you:proxy-secret@"
BASIC = b"Proxy-Authorization: Basic eW91OnByb3h5LXNlY3JldA==\r\n"
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


def ends(proxy: Any) -> dict[str, Any]:
    return {"proxy": f"http://{LOGIN}localhost:{proxy.port}", "connection_wait": 0}


async def failure(sending: Awaitable[Any]) -> Any:
    async with asyncio.timeout(200):
        with pytest.raises((SendError, ConfigurationError)) as caught:
            await sending
    assert "secret" not in str(caught.value)
    return caught.value


@pytest.fixture(params=["none", "starttls", "implicit"])
async def server(request: pytest.FixtureRequest, authority: Authority) -> AsyncIterator[ScriptedServer]:
    mode = request.param
    context = None if mode == "none" else authority.server_context("localhost")
    async with ScriptedServer(tls=context, implicit_tls=mode == "implicit", auth=ACCOUNTS) as running:
        running.mode = mode
        yield running


def to(server: Any, authority: Authority, **options: Any) -> Any:
    secure = server.mode != "none"
    return create_transport(
        **{
            "host": "localhost",
            "port": server.port,
            "secure": server.mode == "implicit",
            "tls": {"ca_data": authority.ca_pem},
            "auth": ("me", "mail-secret"),
            "allow_cleartext_auth": not secure,
            "pool": True,
            **options,
        }
    )


# -- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("LOG-03")
@pytest.mark.parametrize(
    "blocks",
    [
        [OK],
        [OK[n : n + 1] for n in range(len(OK))],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n"],  # which has no meaning here (RFC 9110 §9.3.6)
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", b"04 fine\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ],
    ids=["at once", "octet by octet", "with a length", "in two"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_log03_the_proxy_is_told_the_place_and_its_own_login_alone(
    scheme: str, blocks: list[bytes], server: Any, authority: Authority
) -> None:
    context = authority.server_context("localhost") if scheme == "https" else None
    async with ConnectProxy(lambda _: blocks, tls=context) as proxy:
        way: dict[str, Any] = {"url": f"{scheme}://{LOGIN}localhost:{proxy.port}"}
        if scheme == "https":
            way["tls"] = {"ca_data": authority.ca_pem}
        async with to(server, authority, proxy=way) as transporter:
            assert (await transporter.send_mail(mail())).accepted
            assert transporter.stats().handshakes == 1
    place = b"localhost:%d" % server.port
    assert proxy.asked == [
        b"CONNECT "
        + place
        + b" HTTP/1.1\r\nHost: "
        + place
        + b"\r\nUser-Agent: mailpool\r\n"
        + BASIC
        + b"\r\n"
    ]
    assert [message.user for message in server.messages] == ["me"]
    assert server.messages[0].tls == (server.mode != "none")
    assert server.violations == []
    # Nothing of its login went on to the server.
    assert b"Proxy-Authorization" not in b"".join(proxy.passed)
    assert not any("Proxy" in line or "proxy" in line for line in server.commands())
    if server.mode != "none":
        assert b"mail-secret" not in b"".join(proxy.passed)


async def test_the_server_may_have_spoken_in_the_same_packet() -> None:
    async def both(stream: RawStream) -> None:
        await stream.read_until(b"\r\n\r\n")
        stream.send(OK + b"220 mail.example ESMTP\r\n")
        assert (await stream.read_line()).startswith(b"EHLO ")
        stream.send(b"250 mail.example\r\n")
        assert (await stream.read_line()).startswith(b"MAIL FROM:")
        stream.send(b"250 ok\r\n")
        assert (await stream.read_line()).startswith(b"RCPT TO:")
        stream.send(b"250 ok\r\n")
        assert await stream.read_line() == b"DATA"
        stream.send(b"354 go\r\n")
        await stream.read_until(b"\r\n.\r\n")
        stream.send(b"250 taken\r\n")
        await stream.read_to_end()

    async with RawServer(both) as proxy, create_transport(host="mail.example", **ends(proxy)) as transporter:
        assert (await transporter.send_mail(mail())).accepted


async def test_the_last_word_of_a_server_that_closes_at_once_is_heard() -> None:
    async def no(stream: RawStream) -> None:
        await stream.read_until(b"\r\n\r\n")
        stream.send(OK + b"554 5.7.1 not from a proxy\r\n")

    async with RawServer(no) as proxy:
        transporter = create_transport(host="mail.example", **ends(proxy))
        error = await failure(transporter.send_mail(mail()))
        assert "not from a proxy" in str(error)
        assert error.phase is Phase.GREETING
        await transporter.close()


@pytest.mark.parametrize(
    ("answer", "temporary", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n", False, "407"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n", False, "403 Forbidden"),
        (b"HTTP/1.1 405 Method Not Allowed\r\n\r\n", False, "405"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", True, "502"),
        (b"HTTP/1.1 503 \r\n\r\n", True, "503"),
        (b"HTTP/1.1 504 Gateway\x1b[31m Timeout\r\n\r\n", True, "504|no HTTP"),
        (b"220 mail.example ESMTP\r\n\r\n", True, "no HTTP|closed"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, True, "too much"),
        (b"HTTP/1.1 200 OK\r\nX", True, "closed"),
        (b"", True, "closed"),
        (b"\x05\x00", True, "closed|no HTTP"),
    ],
)
@pytest.mark.rule("SRV-01")
async def test_an_answer_that_is_no_yes(answer: bytes, temporary: bool, words: str) -> None:
    async def says(stream: RawStream) -> None:
        await stream.read_until(b"\r\n\r\n")
        stream.send(answer)

    async with RawServer(says) as proxy:
        transporter = create_transport(host="mail.example", **ends(proxy))
        error = await failure(transporter.send_mail(mail()))
        assert type(error) is ProxyFailed
        assert (error.phase, error.temporary) == (Phase.PROXY, temporary)
        assert re.search(words, str(error))
        assert "\x1b" not in str(error)
        await transporter.close()
    assert proxy.connections == 1


@pytest.mark.rule("LOG-03")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_log03_a_proxy_that_points_elsewhere_is_not_followed(status: int) -> None:
    async def elsewhere(stream: RawStream) -> None:
        raise AssertionError("nobody was to come here")

    async with RawServer(elsewhere) as other:

        async def points(stream: RawStream) -> None:
            await stream.read_until(b"\r\n\r\n")
            stream.send(b"HTTP/1.1 %d Go\r\nLocation: http://localhost:%d/\r\n\r\n" % (status, other.port))

        async with RawServer(points) as proxy:
            transporter = create_transport(host="mail.example", **ends(proxy))
            error = await failure(transporter.send_mail(mail()))
            assert (type(error), error.temporary) == (ProxyFailed, False)
            await transporter.close()
    assert (proxy.connections, other.connections) == (1, 0)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks4"])
async def test_a_proxy_that_says_nothing_ends_by_the_one_time_out(scheme: str, pass_time: Any) -> None:
    asked = asyncio.Event()

    async def silent(stream: RawStream) -> None:
        await stream.read(1)
        asked.set()
        await stream.read_to_end()

    async with RawServer(silent) as proxy:
        transporter = create_transport(
            host=HERE,
            proxy=f"{scheme}://{HERE}:{proxy.port}",
            connection_timeout=1_000,
            connection_wait=0,
        )
        sending = asyncio.ensure_future(transporter.send_mail(mail()))
        await asked.wait()
        pass_time(1_000)
        error = await failure(sending)
        assert (type(error), error.phase, error.temporary) == (TimedOut, Phase.PROXY, True)
        await transporter.close()


async def test_a_proxy_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind((HERE, 0))  # bound and not listening: refused
        for scheme in ("http", "https", "socks5"):
            url = f"{scheme}://{HERE}:{unused.getsockname()[1]}"
            transporter = create_transport(
                host="mail.example" if scheme != "socks5" else HERE, proxy=url, connection_wait=0
            )
            error = await failure(transporter.send_mail(mail()))
            assert (type(error), error.phase, error.temporary) == (ProxyFailed, Phase.CONNECT, True)
            assert url in str(error)
            await transporter.close()


async def test_the_way_to_the_server_may_break_at_any_time(authority: Authority) -> None:
    """After the proxy's yes all is as without it: here the server is gone in the TLS handshake."""

    async def gone(stream: RawStream) -> None:
        await stream.read_until(b"\r\n\r\n")
        stream.send(OK)
        await stream.read_some()

    async with RawServer(gone) as proxy:
        transporter = create_transport(host="mail.example", secure=True, **ends(proxy))
        error = await failure(transporter.send_mail(mail()))
        assert (type(error), error.phase, error.temporary) == (ConnectionFailed, Phase.TLS, True)
        await transporter.close()


# -- who is trusted --------------------------------------------------------------------------------------------------

WRONG = [
    "expired",
    "not yet valid",
    "another name",
    "another authority",
    "a name for an address",
    "name in CN only",
]


def wrong_context(authority: Authority, how: str) -> ssl.SSLContext:
    return {
        "expired": lambda: authority.server_context("localhost", begins=-9, days=2),
        "not yet valid": lambda: authority.server_context("localhost", begins=5),
        "another name": lambda: authority.server_context("proxy.example", "*.localhost", HERE),
        "another authority": lambda: Authority().server_context("localhost"),
        "a name for an address": lambda: authority.server_context("127.0.0.1.example", HERE),
        "name in CN only": lambda: authority.server_context("localhost", san=False),
    }[how]()


@pytest.mark.rule("TLS-06")
@pytest.mark.parametrize("how", WRONG)
async def test_tls06_a_proxy_with_a_wrong_certificate_is_told_nothing(authority: Authority, how: str) -> None:
    async with (
        ScriptedServer() as server,
        ConnectProxy(lambda _: [OK], tls=wrong_context(authority, how)) as proxy,
    ):
        url = f"https://{LOGIN}localhost:{proxy.port}"
        transporter = create_transport(
            host="localhost",
            port=server.port,
            proxy={"url": url, "tls": {"ca_data": authority.ca_pem}},
            tls={"verify": False},  # which is about the server, and not about the proxy
            connection_wait=300,
        )
        error = await failure(transporter.send_mail(mail()))
        assert (type(error), error.phase, error.temporary) == (TLSFailed, Phase.PROXY, False)
        assert "proxy" in str(error)
        await transporter.close()
        assert proxy.asked == []


@pytest.mark.rule("TLS-06")
async def test_tls06_an_https_proxy_is_verified_by_the_systems_authorities_unless_told_otherwise(
    authority: Authority,
) -> None:
    async with (
        ScriptedServer() as server,
        ConnectProxy(lambda _: [OK], tls=authority.server_context("localhost")) as proxy,
    ):
        where = {"host": "localhost", "port": server.port, "connection_wait": 0}
        url = f"https://localhost:{proxy.port}"
        trusting_the_server = create_transport(**where, proxy=url, tls={"ca_data": authority.ca_pem})
        assert type(await failure(trusting_the_server.send_mail(mail()))) is TLSFailed
        await trusting_the_server.close()
        async with create_transport(**where, proxy={"url": url, "tls": {"verify": False}}) as careless:
            assert (await careless.send_mail(mail())).accepted
        async with create_transport(**where, proxy={"url": url, "tls": authority.client_context()}) as own:
            assert (await own.send_mail(mail())).accepted
    assert len(proxy.asked) == 2


@pytest.mark.rule("TLS-06")
@pytest.mark.parametrize("mode", ["starttls", "implicit"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("how", WRONG)
async def test_tls06_a_wrong_server_is_found_out_through_the_proxy(
    authority: Authority, how: str, scheme: str, mode: str
) -> None:
    context = authority.server_context("localhost") if scheme == "https" else None
    server = ScriptedServer(tls=wrong_context(authority, how), implicit_tls=mode == "implicit", auth=ACCOUNTS)
    async with server, ConnectProxy(lambda _: [OK], tls=context) as proxy:
        way: dict[str, Any] = {"url": f"{scheme}://localhost:{proxy.port}"}
        if scheme == "https":
            way["tls"] = {"ca_data": authority.ca_pem}
        server.mode = mode
        transporter = to(server, authority, proxy=way, connection_wait=300)
        error = await failure(transporter.send_mail(mail()))
        assert (type(error), error.phase, error.temporary) == (TLSFailed, Phase.TLS, False)
        await transporter.close()
    assert not any(line.startswith(("AUTH", "MAIL")) for line in server.commands())


@pytest.mark.rule("TLS-04")
async def test_tls04_a_word_before_tls_that_comes_with_the_answer_is_not_trusted(
    authority: Authority,
) -> None:
    async def both(stream: RawStream) -> None:
        await stream.read_until(b"\r\n\r\n")
        stream.send(OK + b"220 mail.example ESMTP\r\n")
        await stream.read_to_end()

    async with RawServer(both) as proxy:
        transporter = create_transport(host="mail.example", secure=True, **ends(proxy))
        error = await failure(transporter.send_mail(mail()))
        assert error.phase is Phase.TLS
        assert "before TLS" in str(error)
        await transporter.close()


async def test_an_https_proxy_that_speaks_no_tls() -> None:
    async def plain(stream: RawStream) -> None:
        await stream.read_some()
        stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with RawServer(plain) as proxy:
        transporter = create_transport(
            host="mail.example", proxy=f"https://localhost:{proxy.port}", connection_wait=0
        )
        error = await failure(transporter.send_mail(mail()))
        assert type(error) is TLSFailed
        assert "http://" in str(error)
        await transporter.close()


# -- SOCKS -----------------------------------------------------------------------------------------------------------


async def test_socks4a_octet_by_octet() -> None:
    async def socks(stream: RawStream) -> None:
        assert await stream.read(8) == b"\x04\x01\x00\x19\x00\x00\x00\x01"
        assert await stream.read_until(b"\0") == b"you\0"
        assert await stream.read_until(b"\0") == b"mail.example\0"
        # Its answer, and what the server says first, in one packet.
        stream.send(b"\x00\x5a" + b"\0" * 6 + b"554 5.3.2 heard\r\n")

    async with RawServer(socks) as proxy:
        url = f"socks4a://you@{HERE}:{proxy.port}"
        transporter = create_transport(host="mail.example", port=25, proxy=url, connection_wait=0)
        assert "heard" in str(await failure(transporter.send_mail(mail())))
        await transporter.close()


@pytest.mark.parametrize(
    ("answers", "temporary"),
    [
        ([b"\x05\xff"], False),  # no way to log in that suits
        ([b"\x05\x02", b"\x01\x01"], False),  # the login is refused
        ([b"\x05\x00", b"\x05\x02\x00\x01" + b"\0" * 6], False),  # not allowed
        ([b"\x05\x00", b"\x05\x05\x00\x01" + b"\0" * 6], True),  # the server refuses
        ([b"\x05\x00", b"\x05\x99\x00\x01" + b"\0" * 6], True),
        ([b"\x05\x00", b"\x05\x00\x00\x09" + b"\0" * 6], True),
        ([b"\x05\x00", b"\x05\x00\x00\x03\x01\xff\0\0"], True),
        ([b"\x05\x00", b"\x05\x00"], True),  # and no more
        ([b"\x05\x01"], False),  # GSSAPI was not offered
        ([b"HTTP/1.1 400 Bad\r\n\r\n"], True),
        ([b""], True),
    ],
)
async def test_socks5_that_does_not_connect(answers: list[bytes], temporary: bool) -> None:
    async def socks(stream: RawStream) -> None:
        for answer in answers:
            await stream.read_some()
            stream.send(answer)

    async with RawServer(socks) as proxy:
        url = f"socks5h://{LOGIN}{HERE}:{proxy.port}"
        transporter = create_transport(host="mail.example", proxy=url, connection_wait=0)
        error = await failure(transporter.send_mail(mail()))
        # An answer of nonsense may also be taken for a yes: then it is the server that speaks no SMTP.
        assert isinstance(error, ConnectionFailed)
        assert error.temporary is temporary
        await transporter.close()


async def test_socks5_tries_each_address_that_we_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET6, 1, 6, "", ("2001:db8::1", 25)), (socket.AF_INET, 1, 6, "", ("192.0.2.1", 25))]
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: found if host == b"mail.example" else real(host, *a, **k)
    )
    asked: list[bytes] = []

    async def socks(stream: RawStream) -> None:
        await stream.read_some()
        stream.send(b"\x05\x00")
        asked.append(request := await stream.read_some())
        reached = request[3] == 1
        stream.send(b"\x05" + (b"\x00" if reached else b"\x03") + b"\x00\x01" + b"\0" * 6)
        if reached:
            stream.send(b"554 5.3.2 heard\r\n")

    async with RawServer(socks) as proxy:
        url = f"socks5://{HERE}:{proxy.port}"
        transporter = create_transport(host="mail.example", port=25, proxy=url, connection_wait=0)
        assert "heard" in str(await failure(transporter.send_mail(mail())))
        await transporter.close()
    assert [request[3] for request in asked] == [4, 1]


@pytest.mark.parametrize("first", [b"\x02", b"\x08"])  # not allowed; no such kind of address
@pytest.mark.parametrize("reached", [True, False])
async def test_socks5_goes_on_after_an_address_that_it_does_not_do(
    monkeypatch: pytest.MonkeyPatch, first: bytes, reached: bool
) -> None:
    found = [(socket.AF_INET6, 1, 6, "", ("2001:db8::1", 25)), (socket.AF_INET, 1, 6, "", ("192.0.2.1", 25))]
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: found if host == b"mail.example" else real(host, *a, **k)
    )

    async def socks(stream: RawStream) -> None:
        await stream.read_some()
        stream.send(b"\x05\x00")
        if (await stream.read_some())[3] == 4:
            stream.send(b"\x05" + first + b"\x00\x01" + b"\0" * 6)
        else:
            stream.send(b"\x05" + (b"\x00" if reached else b"\x05") + b"\x00\x01" + b"\0" * 6)
            stream.send(b"554 5.3.2 heard\r\n")

    async with RawServer(socks) as proxy:
        url = f"socks5://{HERE}:{proxy.port}"
        transporter = create_transport(host="mail.example", port=25, proxy=url, connection_wait=0)
        error = await failure(transporter.send_mail(mail()))
        assert ("heard" in str(error)) is reached
        assert error.temporary  # what one address refuses for now may be had later
        await transporter.close()


async def test_socks5_shows_a_refused_login_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, 1, 6, "", (f"192.0.2.{number}", 25)) for number in range(3)]
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: found if host == b"mail.example" else real(host, *a, **k)
    )
    logins: list[bytes] = []

    async def socks(stream: RawStream) -> None:
        await stream.read_some()
        stream.send(b"\x05\x02")
        logins.append(await stream.read_some())
        stream.send(b"\x01\x01")

    async with RawServer(socks) as proxy:
        url = f"socks5://{LOGIN}{HERE}:{proxy.port}"
        transporter = create_transport(host="mail.example", port=25, proxy=url, connection_wait=0)
        assert not (await failure(transporter.send_mail(mail()))).temporary
        await transporter.close()
    assert len(logins) == 1


@pytest.mark.rule("P-19")
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_p19_a_login_that_the_proxy_refuses_is_tried_once(scheme: str) -> None:
    logins = 0

    async def proxy(stream: RawStream) -> None:
        nonlocal logins
        if scheme == "http":
            await stream.read_until(b"\r\n\r\n")
        else:
            await stream.read_some()
            stream.send(b"\x05\x02")
            await stream.read_some()
        logins += 1
        stream.send(b"HTTP/1.1 407 No\r\n\r\n" if scheme == "http" else b"\x01\x01")

    async with RawServer(proxy) as running:
        url = f"{scheme}://{LOGIN}{HERE}:{running.port}"
        transporter = create_transport(host="mail.example", proxy=url, pool=True, max_connections=5)
        sends = [transporter.send_mail(mail(number)) for number in range(8)]
        for send in [*sends, transporter.send_mail(mail(8))]:
            assert type(await failure(send)) is ProxyFailed
        # Nor does a message that comes now ask again.
        error = await failure(transporter.send_mail(mail(9)))
        assert 1 < error.retry_after <= 60
        await transporter.close()
    assert logins == 1


# -- a dialling of one's own -------------------------------------------------------------------------------------------


@pytest.mark.rule("TLS-08")
async def test_tls08_tls_is_done_on_a_socket_that_dial_gives(server: Any, authority: Authority) -> None:
    asked: list[tuple[str, int, float]] = []

    async def dial(host: str, port: int, timeout: float) -> socket.socket:
        asked.append((host, port, timeout))
        sock = socket.socket()
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (HERE, server.port))
        except BaseException:
            # The connection that is to replace another one is not needed in the end.
            sock.close()
            raise
        return sock

    async with to(
        server, authority, dial=dial, port=2525, max_messages=2, connection_timeout=207
    ) as transporter:
        for number in range(4):
            assert (await transporter.send_mail(mail(number))).accepted
    assert asked[0] == ("localhost", 2525, 207.0)
    # Another connection may just have been made, and closed before the server knew of it.
    assert 2 <= len(server.connections) <= len(asked)
    assert all(message.tls == (server.mode != "none") for message in server.messages)


@pytest.mark.rule("TLS-08")
@pytest.mark.parametrize("how", ["sock", "dial"])
async def test_tls08_a_socket_that_was_handed_in_leads_to_nobody_unknown(
    authority: Authority, how: str
) -> None:
    async with ScriptedServer(tls=Authority().server_context("localhost"), implicit_tls=True) as server:

        async def dial(*_: Any) -> socket.socket:
            return socket.create_connection((HERE, server.port))

        way = {"dial": dial} if how == "dial" else {"sock": await dial()}
        transporter = create_transport(
            host="localhost", secure=True, tls={"ca_data": authority.ca_pem}, connection_wait=0, **way
        )
        assert type(await failure(transporter.send_mail(mail()))) is TLSFailed
        await transporter.close()
    assert server.messages == []


@pytest.mark.rule("TLS-08")
async def test_tls08_tls_is_done_on_a_socket_that_was_handed_in(authority: Authority) -> None:
    async with ScriptedServer(tls=authority.server_context("localhost"), implicit_tls=True) as server:
        sock = socket.create_connection((HERE, server.port))
        async with create_transport(
            host="localhost", secure=True, tls={"ca_data": authority.ca_pem}, sock=sock
        ) as transporter:
            assert (await transporter.send_mail(mail())).accepted
    assert [message.tls for message in server.messages] == [True]


async def _raises(*_: Any) -> Any:
    raise RuntimeError("the secret way is closed")


async def _refuses(*_: Any) -> Any:
    raise ConnectionRefusedError("no")


async def _hangs(*_: Any) -> Any:
    await asyncio.sleep(600)


async def _gives_nothing(*_: Any) -> Any:
    return None


async def _gives_a_closed_one(*_: Any) -> Any:
    sock = socket.socket()
    sock.close()
    return sock


def _is_no_coroutine(*_: Any) -> Any:
    return "a socket"


async def _tells_a_secret(*_: Any) -> Any:
    raise OSError("the secret way is closed")


async def _tells_a_secret_of_tls(*_: Any) -> Any:
    raise ssl.SSLError(1, "the secret way is closed")


async def _waits_for_what_is_cancelled(*_: Any) -> Any:
    raise asyncio.CancelledError


async def _does_tls_itself(*_: Any) -> Any:
    return ssl.create_default_context().wrap_socket(
        socket.socket(), server_hostname="mail.example", do_handshake_on_connect=False
    )


async def _gives_datagrams(*_: Any) -> Any:
    return socket.socket(type=socket.SOCK_DGRAM)


@pytest.mark.parametrize(
    ("dial", "kind", "temporary"),
    [
        (_raises, ConnectionFailed, True),
        (_refuses, ConnectionFailed, True),
        (_hangs, TimedOut, True),
        (_gives_nothing, ConnectionFailed, False),
        (_gives_a_closed_one, ConnectionFailed, False),
        (_is_no_coroutine, ConnectionFailed, False),
        (_tells_a_secret, ConnectionFailed, True),
        (_tells_a_secret_of_tls, ConnectionFailed, True),
        (_waits_for_what_is_cancelled, ConnectionFailed, True),
        (_does_tls_itself, ConnectionFailed, False),
        (_gives_datagrams, ConnectionFailed, False),
    ],
)
async def test_a_dial_that_fails(dial: Any, kind: type[SendError], temporary: bool) -> None:
    seconds = 1 if dial is _hangs else 200
    transporter = create_transport(
        host="mail.example", dial=dial, connection_timeout=seconds, connection_wait=0
    )
    error = await failure(transporter.send_mail(mail()))
    assert (type(error), error.phase, error.temporary) == (kind, Phase.CONNECT, temporary)
    await transporter.close()


@pytest.mark.rule("TLS-09")
@pytest.mark.parametrize("way", ["proxy", "dial"])
async def test_tls09_localhost_behind_a_proxy_is_not_ours(way: str) -> None:
    async with (
        ScriptedServer(auth=ACCOUNTS) as server,
        ConnectProxy(lambda _: [OK]) as proxy,
    ):

        async def dial(*_: Any) -> socket.socket:
            return socket.create_connection((HERE, server.port))

        options: dict[str, Any] = (
            {"dial": dial} if way == "dial" else {"proxy": f"http://{HERE}:{proxy.port}"}
        )
        transporter = create_transport(
            host="localhost", port=server.port, auth=("me", "mail-secret"), connection_wait=0, **options
        )
        error = await failure(transporter.send_mail(mail()))
        assert isinstance(error, TLSFailed)
        await transporter.close()
    assert not any(line.startswith(("AUTH", "MAIL")) for line in server.commands())
