"""TLS on real sockets: who is trusted, what is said before that, and sessions that make the next handshake cheap."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from typing import Any

import pytest
from messages import ends, mail

from mailpool import (
    DeliveryUncertain,
    Phase,
    SendError,
    SendResult,
    TLSFailed,
    UnsupportedByServer,
    create_transport,
)
from mailpool.testing import (
    Authority,
    Fault,
    RawServer,
    RawStream,
    ScriptedServer,
    close,
    deliver_then_close,
    extra,
    partial,
    raw,
    reply,
    stall,
)

HERE = "127.0.0.1"
MODES = ["implicit", "starttls"]
ACCOUNTS = {"me": "secret", "you": "secret"}


def transport_to(server: Any, mode: str, authority: Authority, **options: Any) -> Any:
    usual = {
        "host": HERE,
        "port": server.port,
        "secure": mode == "implicit",
        "pool": True,
        "tls": authority.client_context(),
    }
    return create_transport(**{**usual, **options})


def scripted(authority: Authority, mode: str, *names: str, **options: Any) -> ScriptedServer:
    validity = {name: options.pop(name) for name in ("days", "begins") if name in options}
    context = authority.server_context(*(names or (HERE,)), **validity)
    return ScriptedServer(tls=context, implicit_tls=mode == "implicit", **options)


def said_in_clear(server: ScriptedServer) -> set[str]:
    return {line.partition(" ")[0] for line in server.commands()} - {"EHLO", "STARTTLS", "QUIT"}


@pytest.mark.rule("P-13")
@pytest.mark.parametrize("mode", MODES)
async def test_p13_quit_and_close_notify_end_a_connection(
    authority: Authority, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mailpool.net.connection.FAREWELL", 200.0
    )  # a slow machine may need more than a second
    # A server that leaves the closing to the client, so that it can see how that is done.
    faults = [Fault(at="QUIT", do=raw(b"221 2.0.0 bye\r\n"), times=None)]
    async with scripted(authority, mode, faults=faults) as server:
        transporter = transport_to(server, mode, authority, max_connections=1, max_messages=7)
        results = await ends(*(transporter.send_mail(mail(n)) for n in range(20)))
        assert all(isinstance(result, SendResult) for result in results)
        assert await transporter.close() == []
        while server.open_connections:
            await asyncio.sleep(0.01)
    assert all(message.tls for message in server.messages)
    assert all(record.quit_seen for record in server.connections)
    assert all(record.closed_by == "client" for record in server.connections)
    assert all(record.tls is not None and record.tls.close_notify for record in server.connections)
    assert server.violations == []


@pytest.mark.rule("P-13")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("do", [stall(), close(), close(close_notify=False)], ids=repr)
async def test_p13_a_bad_farewell_is_no_error(authority: Authority, mode: str, do: Any) -> None:
    async with scripted(authority, mode, faults=[Fault(at="QUIT", do=do, times=None)]) as server:
        transporter = transport_to(server, mode, authority)
        await transporter.send_mail(mail(0))
        assert await transporter.close() == []
        assert transporter.stats().connections == 0


@pytest.mark.rule("P-19")
@pytest.mark.rule("TLS-06")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "wrong", ["expired", "not yet valid", "another name", "another authority", "name for an IP"]
)
async def test_tls06_a_wrong_certificate_fails_all_at_once_and_nothing_is_said(
    authority: Authority, mode: str, wrong: str
) -> None:
    server = {
        "expired": lambda: scripted(authority, mode, begins=-9, days=2, auth=ACCOUNTS),
        "not yet valid": lambda: scripted(authority, mode, begins=5, auth=ACCOUNTS),
        "another name": lambda: scripted(authority, mode, "127.0.0.2", auth=ACCOUNTS),
        "another authority": lambda: scripted(Authority(), mode, auth=ACCOUNTS),
        "name for an IP": lambda: scripted(authority, mode, "localhost", auth=ACCOUNTS),
    }[wrong]()
    async with server:
        transporter = transport_to(server, mode, authority, auth=("me", "secret"), connection_wait=300)
        errors = await ends(*(transporter.send_mail(mail(n)) for n in range(30)))
        assert {type(error) for error in errors} == {TLSFailed}, errors[0]
        assert not any(error.temporary or error.may_have_been_delivered for error in errors)
        assert len({error.message_id for error in errors}) == 30
        await transporter.close()
        assert len(server.connections) <= 5
    assert said_in_clear(server) == set()
    assert server.messages == []


@pytest.mark.rule("TLS-06")
@pytest.mark.parametrize(
    ("names", "servername"), [(("mail.example",), "mail.example"), (("*.mail.example",), "mx.mail.example")]
)
async def test_tls06_the_name_to_be_found_can_be_given(
    authority: Authority, names: tuple[str, ...], servername: str
) -> None:
    async with scripted(authority, "implicit", *names) as server:
        transporter = transport_to(server, "implicit", authority, servername=servername)
        await transporter.send_mail(mail(0))
        await transporter.close()
        other = transport_to(server, "implicit", authority, servername="a.b.mail.example")
        assert [type(end) for end in await ends(other.send_mail(mail(1)))] == [TLSFailed]
        await other.close()
    assert len(server.messages) == 1


@pytest.mark.rule("TLS-02")
@pytest.mark.rule("TLS-03")
@pytest.mark.parametrize("starttls", ["auto", "required"])
@pytest.mark.parametrize("auth", [None, ("me", "secret")])
@pytest.mark.parametrize(
    "do", [reply("454 4.7.0 not now"), reply("502 5.5.1 no"), close(), raw(b"nonsense\r\n")], ids=repr
)
async def test_tls02_offered_and_refused_is_never_clear_text(
    authority: Authority, do: Any, auth: Any, starttls: str
) -> None:
    faults = [Fault(at="STARTTLS", do=do, times=None)]
    async with scripted(authority, "starttls", faults=faults, auth=ACCOUNTS, auth_required=False) as server:
        transporter = transport_to(
            server, "starttls", authority, starttls=starttls, auth=auth, connection_wait=0.3
        )
        (error,) = await ends(transporter.send_mail(mail(0)))
        assert isinstance(error, SendError)
        assert not error.may_have_been_delivered
        await transporter.close()
    assert said_in_clear(server) == set()


@pytest.mark.rule("TLS-03")
async def test_tls03_opportunistic_goes_on_when_refused(authority: Authority) -> None:
    async with scripted(
        authority, "starttls", faults=[Fault(at="STARTTLS", do=reply("454 no"), times=None)]
    ) as server:
        transporter = transport_to(server, "starttls", authority, starttls="opportunistic")
        (result,) = await ends(transporter.send_mail(mail(0)))
        assert isinstance(result, SendResult), result
        await transporter.close()
    assert not server.messages[0].tls
    assert server.violations == []


@pytest.mark.rule("TLS-04")
@pytest.mark.parametrize(
    "injected", ["250-evil.example\n250-AUTH PLAIN\n250 INJECTED", "250-and more", "what is no reply"]
)
async def test_tls04_what_was_injected_before_tls_is_not_trusted(authority: Authority, injected: str) -> None:
    faults = [Fault(at="STARTTLS", do=extra(injected), times=None)]
    async with scripted(authority, "starttls", faults=faults, auth=ACCOUNTS) as server:
        transporter = transport_to(server, "starttls", authority, auth=("me", "secret"), connection_wait=0.3)
        (error,) = await ends(transporter.send_mail(mail(0)))
        assert isinstance(error, SendError)
        # It is seen at once, and not for a handshake that fails.
        assert (error.phase, server.handshakes) == (Phase.STARTTLS, 0)
        await transporter.close()
    assert server.messages == []
    assert not any(line.startswith("AUTH") for line in server.commands())


@pytest.mark.rule("TLS-05")
async def test_tls05_what_was_offered_before_tls_is_forgotten(authority: Authority) -> None:
    def offer(record: Any) -> tuple[str, ...]:
        return ("PIPELINING",) if record.tls else ("LIMITS RCPTMAX=1", "SIZE 10", "SMTPUTF8", "8BITMIME")

    async with scripted(authority, "starttls", capabilities=offer) as server:
        transporter = transport_to(server, "starttls", authority)
        result = await transporter.send_mail({**mail(0), "to": ["a@example.org", "b@example.org"]})
        assert len(result.accepted) == 2
        (refused,) = await ends(transporter.send_mail({**mail(1), "to": "jörg@example.org"}))
        assert type(refused).__name__ == "UnsupportedByServer"
        await transporter.close()
    assert [len(message.recipients) for message in server.messages] == [2]
    assert [line.partition(" ")[0] for line in server.connections[0].lines[:3]] == [
        "EHLO",
        "STARTTLS",
        "EHLO",
    ]
    assert server.violations == []


async def _greets_in_clear(stream: RawStream) -> None:
    stream.send(b"220 mail.example ESMTP\r\n")
    await stream.read_to_end()


async def _closes_in_the_handshake(stream: RawStream) -> None:
    await stream.read_some()
    stream.close()


async def _speaks_no_tls(stream: RawStream) -> None:
    await stream.read_some()
    stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    stream.close()


async def _is_silent(stream: RawStream) -> None:
    await stream.read_to_end()


@pytest.mark.rule("TLS-07")
@pytest.mark.parametrize("handler", [_greets_in_clear, _closes_in_the_handshake, _speaks_no_tls, _is_silent])
async def test_tls07_no_tls_where_tls_was_expected(authority: Authority, handler: Any) -> None:
    async with RawServer(handler) as server:
        transporter = transport_to(server, "implicit", authority, connection_timeout=0.5, connection_wait=0.2)
        (error,) = await ends(transporter.send_mail(mail(0)))
        assert isinstance(error, SendError)
        assert error.phase in ("TLS handshake", "connecting"), error.phase
        await transporter.close()


@pytest.mark.rule("TLS-11")
@pytest.mark.parametrize("mode", MODES)
async def test_tls11_tls_on_the_whole_way_begins_with_a_certificate_that_was_checked(
    authority: Authority, mode: str
) -> None:
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    async with scripted(authority, mode, capabilities=["REQUIRETLS"]) as server:
        for tls in ({"verify": False}, unchecked):
            transporter = transport_to(server, mode, authority, tls=tls)
            refused, plain = await ends(
                transporter.send_mail({**mail(0), "require_tls": True}), transporter.send_mail(mail(1))
            )
            assert isinstance(refused, UnsupportedByServer), refused
            assert "REQUIRETLS" in str(refused)
            assert isinstance(plain, SendResult)
            await transporter.close()
        transporter = transport_to(server, mode, authority)
        await transporter.send_mail({**mail(2), "require_tls": True})
        await transporter.close()
    assert ["REQUIRETLS" in message.mail_parameters for message in server.messages] == [False, False, True]


@pytest.mark.rule("TLS-11")
@pytest.mark.parametrize("before", [True, False])
async def test_tls11_only_what_is_offered_after_tls_counts(authority: Authority, before: bool) -> None:
    def offer(record: Any) -> tuple[str, ...]:
        return ("REQUIRETLS",) if (record.tls is None) == before else ()

    async with scripted(authority, "starttls", capabilities=offer) as server:
        transporter = transport_to(server, "starttls", authority)
        (end,) = await ends(transporter.send_mail({**mail(0), "require_tls": True}))
        assert isinstance(end, UnsupportedByServer if before else SendResult), end
        await transporter.close()
        clear = transport_to(server, "starttls", authority, starttls="never")
        (end,) = await ends(clear.send_mail({**mail(1), "require_tls": True}))
        assert isinstance(end, UnsupportedByServer), end
        await clear.close()


@pytest.mark.rule("TLS-13")
async def test_tls13_old_versions_are_refused(authority: Authority) -> None:
    context = authority.server_context(HERE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    async with ScriptedServer(tls=context, implicit_tls=True) as server:
        transporter = transport_to(server, "implicit", authority, tls={"ca_data": authority.ca_pem})
        (error,) = await ends(transporter.send_mail(mail(0)))
        assert isinstance(error, TLSFailed)
        await transporter.close()


@pytest.mark.rule("TLS-13")
async def test_tls13_the_least_version_can_be_raised(authority: Authority) -> None:
    context = authority.server_context(HERE)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with ScriptedServer(tls=context, implicit_tls=True) as server:
        tls = {"ca_data": authority.ca_pem}
        good = transport_to(server, "implicit", authority, tls=tls)
        await good.send_mail(mail(0))
        await good.close()
        strict = transport_to(server, "implicit", authority, tls={**tls, "min_version": "TLSv1.3"})
        (error,) = await ends(strict.send_mail(mail(1)))
        assert isinstance(error, TLSFailed)
        await strict.close()


@pytest.mark.rule("P-07")
@pytest.mark.rule("TLS-14")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["truncated", "orderly", "half a reply"])
@pytest.mark.parametrize("at", ["MAIL", "DATA", "END"])
async def test_tls14_a_connection_that_ends_in_mid_reply_is_lost(
    authority: Authority, mode: str, how: str, at: Any
) -> None:
    do = {
        "truncated": partial("250 2.0.0 ok", 6, close(close_notify=False)),
        "orderly": close(),
        "half a reply": partial("250-2.0.0 ok\n250 more", 14, close()),
    }[how]
    async with scripted(authority, mode, faults=[Fault(at=at, do=do)]) as server:
        transporter = transport_to(server, mode, authority)
        (result,) = await ends(transporter.send_mail(mail(0)))
        assert (result.attempts, result.maybe_duplicate) == (2, at == "END")
        strict = transport_to(server, mode, authority, max_requeues=0)
        server.faults.add(Fault(at=at, do=do))
        (error,) = await ends(strict.send_mail(mail(1)))
        assert isinstance(error, DeliveryUncertain) == (at == "END")
        assert isinstance(error, SendError)
        await transporter.close()
        await strict.close()


@pytest.mark.rule("P-11")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("notify", [True, False])
async def test_p11_a_tls_connection_closed_while_idle_costs_nothing(
    authority: Authority, mode: str, notify: bool
) -> None:
    faults = [Fault(at="IDLE", after=1, connection=0, do=close(close_notify=notify))]
    async with scripted(authority, mode, faults=faults) as server:
        transporter = transport_to(server, mode, authority, max_requeues=0)
        await transporter.send_mail(mail(0))
        while server.connections[0].is_open:
            await asyncio.sleep(0.01)
        assert (await transporter.send_mail(mail(1))).accepted
        assert transporter.stats().requeued == 0
        await transporter.close()
    assert len(server.connections) == 2


@pytest.mark.rule("P-18")
@pytest.mark.parametrize("mode", MODES)
async def test_p18_taken_and_gone_under_tls_is_marked(authority: Authority, mode: str) -> None:
    async with scripted(
        authority, mode, faults=[Fault(at="END", do=deliver_then_close(close_notify=False))]
    ) as server:
        transporter = transport_to(server, mode, authority)
        result = await transporter.send_mail(mail(0))
        assert (result.attempts, result.maybe_duplicate) == (2, True)
        await transporter.close()
    assert [message.message_id for message in server.messages] == ["<0@example.org>"] * 2


@pytest.mark.rule("P-04")
@pytest.mark.rule("TLS-12")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_sessions_are_resumed_by_the_same_identity_only(
    authority: Authority, mode: str, version: Any
) -> None:
    context = authority.server_context(HERE)
    context.minimum_version = context.maximum_version = version
    async with ScriptedServer(tls=context, implicit_tls=mode == "implicit", auth=ACCOUNTS) as server:
        transporter = transport_to(
            server, mode, authority, max_connections=1, max_messages=1, auth=("me", "secret")
        )
        for number in range(4):
            await transporter.send_mail(mail(number))
        reused = [record.tls.session_reused for record in server.connections]
        assert reused == [False, True, True, True]
        assert transporter.stats().tls_resumed == 3
        await transporter.send_mail(mail(4), auth=("you", "secret"))
        assert [record.tls.session_reused for record in server.connections[4:]] == [False]
        await transporter.close()
        # Another transporter is another key: it verifies by itself.
        other = transport_to(server, mode, authority, auth=("me", "secret"))
        await other.send_mail(mail(5))
        assert not server.connections[-1].tls.session_reused
        await other.close()
    assert [message.user for message in server.messages] == ["me"] * 4 + ["you", "me"]


@pytest.mark.rule("P-19")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("how", ["alert", "silent close"])
async def test_a_server_that_breaks_off_resumed_handshakes_gets_a_whole_one(
    authority: Authority, mode: str, version: Any, how: str
) -> None:
    context = authority.server_context(HERE)
    context.minimum_version = context.maximum_version = version

    def look(connection: ssl.SSLObject, *_: object) -> int | None:
        refused = connection.session_reused and how == "alert"
        return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE if refused else None

    context.sni_callback = look

    def end(incident: Any) -> None:
        tls = server.connections[-1].tls
        if tls is not None and tls.session_reused:
            incident.close()
        else:
            incident.answer()

    faults = [Fault(at=at, do=end, times=None) for at in ("GREETING", "EHLO")] if how != "alert" else []
    async with ScriptedServer(tls=context, implicit_tls=mode == "implicit", faults=faults) as server:
        transporter = transport_to(
            server, mode, authority, max_connections=1, max_messages=1, connection_wait=200, servername=HERE
        )
        results = await ends(*(transporter.send_mail(mail(number)) for number in range(8)))
        assert [type(result) for result in results] == [SendResult] * 8
        await transporter.close()
    if how == "silent close":
        # After three in vain it is offered none any more.
        assert sum(record.tls.session_reused for record in server.connections) == 3


@pytest.mark.rule("TLS-09")
async def test_tls09_loopback_may_log_in_without_tls() -> None:
    async with ScriptedServer(auth=ACCOUNTS) as server:
        transporter = create_transport(host=HERE, port=server.port, pool=True, auth=("me", "secret"))
        await transporter.send_mail(mail(0))
        await transporter.close()
    assert server.messages[0].user == "me"
