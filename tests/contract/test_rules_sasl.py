"""Logging in over real TLS: what a login is bound to, what somebody in between can do, and what must not leak."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from messages import mail

from mailpool import (
    AuthenticationFailed,
    Credentials,
    LoginContext,
    Mechanism,
    ProtocolError,
    SendError,
    TimedOut,
    create_transport,
)
from mailpool.net import login as module
from mailpool.testing import (
    Authority,
    Fault,
    RawServer,
    RawStream,
    ScramManners,
    ScriptedServer,
    reply,
)

HERE = "127.0.0.1"
ACCOUNTS = {"me": "s3cr3t-of-me", "you": "s3cr3t-of-you"}
SCRAM = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]


@pytest.fixture
def certified(authority: Authority) -> tuple[ssl.SSLContext, bytes]:
    """A server's context, and what its certificate is as a channel binding."""
    with tempfile.TemporaryDirectory() as folder:
        files = authority.write_certificate(folder, HERE)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        der = ssl.PEM_cert_to_DER_cert(Path(files[0]).read_text())
    return context, hashlib.sha256(der).digest()


def transport_to(server: ScriptedServer, authority: Authority, **options: Any) -> Any:
    usual: dict[str, Any] = {
        "host": HERE,
        "port": server.port,
        "secure": False,
        "auth": ("me", "s3cr3t-of-me"),
    }
    return create_transport(**{**usual, "tls": authority.client_context(), **options})


def logins(server: ScriptedServer) -> list[str]:
    return [line for line in server.commands() if line.startswith("AUTH")]


def in_clear(server: ScriptedServer) -> bytes:
    """Everything that the client said, and what it holds in base64."""
    said = b""
    for line in server.commands():
        for word in line.encode().split():
            said += word + b"\n"
            try:
                said += base64.b64decode(word, validate=True) + b"\n"
            except ValueError:
                continue
    return said


@pytest.mark.rule("TLS-10")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
async def test_tls10_a_login_is_bound_to_the_connection(
    authority: Authority, certified: tuple[ssl.SSLContext, bytes], version: ssl.TLSVersion
) -> None:
    context, end_point = certified
    context.minimum_version = context.maximum_version = version
    kind = "tls-server-end-point" if version is ssl.TLSVersion.TLSv1_3 else "tls-unique"
    bindings = {"tls-server-end-point": end_point}
    async with ScriptedServer(
        tls=context, auth=ACCOUNTS, mechanisms=SCRAM, scram=ScramManners(bindings=bindings)
    ) as server:
        transporter = transport_to(server, authority)
        if kind == "tls-unique":
            # The scripted server knows only its certificate: that we chose the other kind is all that it can see.
            with pytest.raises(AuthenticationFailed, match="SCRAM-SHA-256-PLUS"):
                await transporter.verify()
        else:
            assert (await transporter.verify()).mechanism == "SCRAM-SHA-256-PLUS"
        await transporter.close()
    first = base64.b64decode(logins(server)[0].split()[2])
    assert first.startswith(f"p={kind},,".encode())
    assert b"s3cr3t" not in in_clear(server)


async def test_both_ends_of_tls_1_2_agree_on_tls_unique(authority: Authority) -> None:
    context = authority.server_context(HERE)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    seen: list[bytes | None] = []
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("ssl_object").get_channel_binding("tls-unique"))
        await reader.read()
        writer.close()
        await writer.wait_closed()
        served.set()

    async with await asyncio.start_server(serve, HERE, 0, ssl=context) as listening:
        port = listening.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection(HERE, port, ssl=authority.client_context())
        ours = module.channel_bindings(writer.get_extra_info("ssl_object"))
        writer.close()
        await writer.wait_closed()
        await served.wait()
    assert list(ours) == ["tls-unique", "tls-server-end-point"]
    assert ours["tls-unique"] == seen[0]


@pytest.mark.rule("TLS-10")
async def test_tls10_plus_taken_out_of_the_list_is_noticed_by_the_server(
    authority: Authority, certified: tuple[ssl.SSLContext, bytes]
) -> None:
    context, end_point = certified
    manners = ScramManners(bindings={"tls-server-end-point": end_point}, offers_plus=True)
    stripped = Fault(at="EHLO", nth=2, do=reply("250-mail.example\n250 AUTH SCRAM-SHA-256 PLAIN"), times=None)
    async with ScriptedServer(
        tls=context, auth=ACCOUNTS, mechanisms=SCRAM, scram=manners, faults=[stripped]
    ) as server:
        transporter = transport_to(server, authority)
        with pytest.raises(AuthenticationFailed) as caught:
            await transporter.verify()
        assert not caught.value.temporary
        await transporter.close()
    # One login, and nothing weaker after it.
    assert len(logins(server)) == 1
    assert base64.b64decode(logins(server)[0].split()[2]).startswith(b"y,,")
    assert b"s3cr3t" not in in_clear(server)


@pytest.mark.rule("TLS-10")
@pytest.mark.parametrize("offered", ["PLAIN LOGIN", "CRAM-MD5 PLAIN", "SCRAM-SHA-1 PLAIN"])
async def test_tls10_below_the_minimum_nothing_is_said(authority: Authority, offered: str) -> None:
    mechanisms = offered.split()
    tls = authority.server_context(HERE)
    async with ScriptedServer(tls=tls, auth=ACCOUNTS, mechanisms=mechanisms) as server:
        transporter = transport_to(server, authority, min_mechanism="SCRAM-SHA-256", pool=True)
        with pytest.raises(
            AuthenticationFailed, match="min_mechanism='SCRAM-SHA-256' demands more"
        ) as caught:
            await transporter.send_mail(mail())
        assert not caught.value.temporary
        await transporter.close()
    assert logins(server) == []


@pytest.mark.rule("TLS-10")
@pytest.mark.parametrize(
    "said", ["504 5.5.4 no such mechanism", "534 5.7.9 too weak", "535 5.7.8 no", "454 4.7.0 later"]
)
async def test_tls10_a_refusal_is_not_followed_by_a_weaker_mechanism(authority: Authority, said: str) -> None:
    refusal = Fault(at="AUTH", do=reply(said), times=None)
    tls = authority.server_context(HERE)
    async with ScriptedServer(tls=tls, auth=ACCOUNTS, mechanisms=SCRAM[1:], faults=[refusal]) as server:
        transporter = transport_to(server, authority)
        with pytest.raises(AuthenticationFailed) as caught:
            await transporter.verify()
        if not caught.value.temporary:
            assert "auth_method" in str(caught.value)
        await transporter.close()
    assert [line.split()[1] for line in logins(server)] == ["SCRAM-SHA-256"]
    assert b"s3cr3t" not in in_clear(server)


@pytest.mark.rule("SRV-11")
@pytest.mark.parametrize(
    ("manners", "kind", "words"),
    [
        (ScramManners(knows_password=False), AuthenticationFailed, "does not know the password"),
        (ScramManners(proves_itself=False), ProtocolError, "claims success before"),
        (ScramManners(extends_nonce=False), AuthenticationFailed, "nonce"),
        (ScramManners(extends_nonce="another"), AuthenticationFailed, "nonce"),
        (ScramManners(iterations=1), AuthenticationFailed, "easy to guess"),
        (ScramManners(iterations=2**31), AuthenticationFailed, "more than"),
        (ScramManners(error="other-error"), AuthenticationFailed, "other-error"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_srv11_an_impostor_gets_no_mail(
    authority: Authority, manners: ScramManners, kind: type[Exception], words: str
) -> None:
    tls = authority.server_context(HERE)
    async with ScriptedServer(tls=tls, auth=ACCOUNTS, mechanisms=SCRAM[1:], scram=manners) as server:
        transporter = transport_to(server, authority, pool=True, connection_wait=0.3)
        with pytest.raises(kind, match=words):
            await transporter.send_mail(mail())
        await transporter.close()
    assert server.messages == []
    assert not any(line.startswith("MAIL") for line in server.commands())
    assert b"s3cr3t" not in in_clear(server)


@pytest.mark.rule("SRV-11")
async def test_srv11_many_iterations_do_not_hold_up_the_loop(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hashing is done in another thread; where it is done is what is looked at, not how long it takes."""
    threads: list[threading.Thread] = []
    actual = hashlib.pbkdf2_hmac

    def watched(*arguments: Any) -> bytes:
        threads.append(threading.current_thread())
        return actual(*arguments)

    monkeypatch.setattr("mailpool.smtp.sasl.scram.hashlib.pbkdf2_hmac", watched)
    manners = ScramManners(iterations=20_000, salt=b"salt for the threads")
    tls = authority.server_context(HERE)
    async with ScriptedServer(tls=tls, auth=ACCOUNTS, mechanisms=SCRAM[1:], scram=manners) as server:
        transporter = transport_to(server, authority, pool=True)
        await asyncio.gather(*(transporter.send_mail(mail(number)) for number in range(10)))
        await transporter.close()
    ours = [thread for thread in threads if thread is not threading.main_thread()]
    # The server hashes too, in the main thread; we do it once for all connections.
    assert len(ours) == 1
    assert len(threads) == 1 + len(logins(server))


@pytest.mark.rule("P-29")
async def test_a_login_that_takes_for_ever_to_work_out_ends(authority: Authority, pass_time: Any) -> None:
    begun, done = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    class Slow(Mechanism):
        name = "PLAIN"

        def is_slow(self, challenge: bytes | None) -> bool:
            return True

        def start(self) -> bytes:
            threads.append(threading.current_thread())
            begun.set()
            done.wait(200)
            return b"x"

    tls = authority.server_context(HERE)
    async with ScriptedServer(tls=tls, auth=ACCOUNTS) as server:
        slow = Credentials("me", method=lambda credentials, context: Slow())
        transporter = transport_to(server, authority, auth=slow, command_timeout=1_000)
        try:
            verifying = asyncio.ensure_future(transporter.verify())
            await asyncio.to_thread(begun.wait, 200)
            pass_time(1_000)
            with pytest.raises(TimedOut, match="worked out") as caught:
                await verifying
            assert caught.value.temporary
            # The end of the program does not wait for it either.
            assert [thread.daemon for thread in threads] == [True]
        finally:
            done.set()
        await transporter.close()


async def test_a_mechanism_of_ones_own(authority: Authority) -> None:
    """PLAIN, written by a user, to whom is told what the connection is bound to."""
    contexts: list[LoginContext] = []

    class Own(Mechanism):
        name = "PLAIN"

        def __init__(self, credentials: Credentials, context: LoginContext) -> None:
            contexts.append(context)
            self.said = f"\0{credentials.user}\0{credentials.password}".encode()

        def start(self) -> bytes:
            self.complete = True
            return self.said

    async with ScriptedServer(tls=authority.server_context(HERE), auth=ACCOUNTS) as server:
        own = Credentials("me", "s3cr3t-of-me", method=Own)
        transporter = transport_to(server, authority, auth=own, pool=True)
        await transporter.send_mail(mail())
        await transporter.close()
    assert server.messages[0].user == "me"
    assert (contexts[0].host, contexts[0].port) == (HERE, server.port)
    assert "tls-server-end-point" in contexts[0].channel_bindings
    assert len(contexts[0].nonce) >= 24


@pytest.mark.rule("POL-13")
@pytest.mark.parametrize(
    "mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"]
)
async def test_pol13_each_message_travels_on_a_connection_of_its_own_login(
    authority: Authority, mechanism: str
) -> None:
    secret = "access_token" if mechanism in ("XOAUTH2", "OAUTHBEARER") else "password"
    async with ScriptedServer(
        tls=authority.server_context(HERE), auth=ACCOUNTS, mechanisms=[mechanism]
    ) as server:
        transporter = transport_to(server, authority, auth=None, pool=True, max_connections=4)
        await asyncio.gather(
            *(
                transporter.send_mail(mail(number), auth={"user": who, secret: ACCOUNTS[who]})
                for number in range(30)
                for who in (("me", "you")[number % 2],)
            )
        )
        await transporter.close()
    for message in server.messages:
        number = int((message.message_id or "").strip("<").partition("@")[0])
        assert message.user == ("me", "you")[number % 2]
    assert len(server.messages) == 30
    assert len({message.user for message in server.messages}) == 2
    assert 2 <= len(logins(server)) <= len(server.connections)


@pytest.mark.rule("LOG-01")
@pytest.mark.parametrize(
    "mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"]
)
async def test_log01_nothing_of_a_login_is_in_errors_events_or_reprs(
    authority: Authority, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    heard: list[str] = []
    by_token = mechanism in ("XOAUTH2", "OAUTHBEARER")
    async with ScriptedServer(
        tls=authority.server_context(HERE), auth={"me": "another"}, mechanisms=[mechanism]
    ) as server:
        auth = {"user": "me", ("access_token" if by_token else "password"): "s3cr3t-of-me"}
        transporter = transport_to(server, authority, auth=auth, pool=True)
        for event in ("connection", "error", "login", "token"):
            try:
                transporter.on(event, lambda *details: heard.append(repr(details)))
            except ValueError:
                continue
        with pytest.raises(AuthenticationFailed) as caught:
            await transporter.send_mail(mail())
        shown = [str(caught.value), repr(caught.value), repr(vars(caught.value)), repr(transporter.options)]
        shown += [repr(transporter), transporter.options.redacted_url(), caplog.text, *heard]
        await transporter.close()
    blobs = [
        word for line in server.commands() for word in line.split() if len(word) > 12 and "AUTH" not in word
    ]
    secrets = ["s3cr3t", *(blob for blob in blobs if blob not in ("SCRAM-SHA-256", "[127.0.0.1]"))]
    assert secrets[1:]
    assert [secret for secret in secrets for text in shown if secret in text] == []


@pytest.mark.rule("LOG-01")
@pytest.mark.parametrize("echo", ["{line}", "235 ok\r\n{line}", "421 4.7.0 {line}", "334 {line}"])
async def test_log01_a_server_that_repeats_the_login_line_reveals_nothing(
    echo: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    async def smtp(stream: RawStream) -> None:
        stream.send(b"220 relay.example\r\n")
        await stream.read_until(b"\r\n")
        stream.send(b"250-relay.example\r\n250 AUTH PLAIN\r\n")
        line = (await stream.read_until(b"\r\n")).strip()
        stream.send(echo.encode().replace(b"{line}", line) + b"\r\n")
        await stream.read_some()

    async with RawServer(smtp) as server:
        transporter = create_transport(
            host="127.0.0.1", port=server.port, auth=("me", "a-secret"), connection_wait=0, max_requeues=0
        )
        with pytest.raises(SendError) as caught:
            await transporter.send_mail({"from": "a@example.org", "to": "b@example.org", "text": "x"})
        await transporter.close()
    error = caught.value
    shown = f"{error} {error.reply!r} {error.__cause__!r} {caplog.text}"
    assert base64.b64encode(b"\0me\0a-secret").decode() not in shown
