"""Tokens from a server over HTTPS that is slow, wrong, hostile or a stranger."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import pickle
import ssl
import sys
import time
import traceback
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from servers.token_server import TokenServer

from mailpool import AuthenticationFailed, Credentials, OAuth2, TokenFailed, create_transport
from mailpool.auth.post import MOST
from mailpool.auth.tokens import Tokens
from mailpool.testing import Authority, ScriptedServer

SECRETS = {"client_secret": "TOP-SECRET-1", "refresh_token": "TOP-SECRET-2"}
KEY = rsa.generate_private_key(65_537, 2_048)


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    return authority.server_context("127.0.0.1")


@pytest.fixture(scope="module")
def ca_file(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(authority.write_ca(tmp_path_factory.mktemp("ca") / "ca.pem"))


def identity(server: TokenServer, ca_file: str | None, user: str = "me", **fields: Any) -> Credentials:
    about = {
        "token_url": server.url,
        "client_id": "app",
        **SECRETS,
        "ca_file": ca_file,
        "timeout": 5,
        **fields,
    }
    return Credentials.of(
        {"user": user, **{name: value for name, value in about.items() if value is not None}}
    )


def account_key(key: Any = KEY) -> str:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return str(pem.decode())


async def refusal(server: TokenServer, ca_file: str | None, **fields: Any) -> TokenFailed:
    with pytest.raises(TokenFailed) as caught:
        await Tokens().token(identity(server, ca_file, **fields))
    return caught.value


# -- the grants ------------------------------------------------------------------------------------------------------


async def test_a_refresh_token(context: ssl.SSLContext, ca_file: str) -> None:
    async with TokenServer(context) as server:
        assert await Tokens().token(identity(server, ca_file, params={"audience": "mail"})) == "token-1"
    assert server.forms == [
        {"grant_type": "refresh_token", "client_id": "app", "audience": "mail", **SECRETS}
    ]
    assert server.heads[0].startswith("POST /token HTTP/1.1\r\n")


async def test_client_credentials(context: ssl.SSLContext, ca_file: str) -> None:
    async with TokenServer(context) as server:
        await Tokens().token(
            identity(server, ca_file, refresh_token=None, provider="microsoft", tenant="contoso.example")
        )
    assert server.forms == [
        {
            "grant_type": "client_credentials", "client_id": "app", "client_secret": "TOP-SECRET-1",
            "scope": "https://outlook.office365.com/.default",
        }
    ]  # fmt: skip


@pytest.mark.parametrize("as_file", [False, True])
async def test_a_service_account(
    context: ssl.SSLContext, ca_file: str, tmp_path: Path, as_file: bool
) -> None:
    async with TokenServer(context) as server:
        told = {
            "type": "service_account", "client_email": "robot@project.example", "private_key": account_key(),
            "private_key_id": "key-7", "token_uri": server.url, "universe_domain": "googleapis.com",
        }  # fmt: skip
        path = tmp_path / "account.json"
        path.write_text(json.dumps(told))
        token_url = {"token_url": server.url} if as_file else {}
        auth = {
            "user": "me@project.example",
            "service_account": path if as_file else told,
            "ca_file": ca_file,
        }
        assert await Tokens().token(Credentials.of({**auth, **token_url})) == "token-1"
    (form,) = server.forms
    assert form.keys() == {"grant_type", "assertion"}
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    signed, _, signature = form["assertion"].rpartition(".")
    header, claims = (json.loads(decoded(part)) for part in signed.split("."))
    KEY.public_key().verify(decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    assert header == {"alg": "RS256", "typ": "JWT", "kid": "key-7"}
    assert abs(claims.pop("iat") - time.time()) < 60
    assert 0 < claims.pop("exp") - time.time() < 3_600
    assert claims == {
        "iss": "robot@project.example", "sub": "me@project.example", "aud": server.url,
        "scope": "https://mail.google.com/",
    }  # fmt: skip


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "not JSON TOP-SECRET", '{"client_email": "a", "private_key": "TOP-SECRET"}', None],
)
async def test_a_service_account_whose_file_is_wrong(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "account.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TokenFailed, match="service account") as caught:
        await Tokens().token(Credentials("me", access_token=OAuth2(service_account=str(path))))
    assert not caught.value.temporary
    assert "TOP-SECRET" not in "".join(traceback.format_exception(caught.value))


async def test_a_service_account_needs_an_rsa_key() -> None:
    key = {"client_email": "robot", "private_key": account_key(ec.generate_private_key(ec.SECP256R1()))}
    with pytest.raises(TokenFailed, match="no RSA key"):
        await Tokens().token(Credentials.of({"user": "me", "service_account": key}))


# -- trouble ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "says", "temporary"),
    [
        ({"hang": True}, "within 1000 s", True),
        ({"close": True}, "no HTTP", True),
        ({"raw": b"220 mail.example ESMTP\r\n\r\n"}, "no HTTP", True),
        ({"raw": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"}, "no HTTP", True),
        ({"status": 500, "body": b"<html>oops</html>"}, "refused (500): no reason given", True),
        ({"status": 503, "headers": {"Retry-After": "7"}, "body": {}}, "503", True),
        ({"status": 429, "body": {"error": "invalid_request"}}, "429", True),
        ({"status": 400, "body": {"error": "slow_down"}}, "slow_down", True),
        ({"status": 400, "body": {"error": "invalid_grant"}}, "invalid_grant", False),
        ({"status": 401, "body": {"error": "invalid_client"}}, "invalid_client", False),
        ({"status": 200, "body": {"error": "bad_verification_code"}}, "bad_verification_code", False),
        ({"status": 403, "body": {"error": {"status": "DENIED", "message": "no"}}}, "DENIED: no", False),
        ({"status": 404, "body": b"nothing here"}, "404", False),
        ({"token": {"token_type": "mac"}}, "another type than Bearer", False),
        ({"token": {"token_type": ["Bearer"]}}, "another type than Bearer", False),
        ({"body": b"{"}, "without an access token", True),
        ({"body": b"[" * 30_000}, "without an access token", True),
        ({"body": b'{"access_token": ' + b"9" * 5_000 + b"}"}, "without an access token", True),
        ({"body": []}, "without an access token", True),
        ({"body": {"access_token": None}}, "without an access token", True),
        ({"body": {"access_token": ""}}, "without an access token", True),
        ({"body": b" " * (MOST + 1)}, "more to say than", True),
    ],
)  # fmt: skip
async def test_what_a_token_server_may_do(
    context: ssl.SSLContext, ca_file: str, how: dict[str, Any], says: str, temporary: bool, pass_time: Any
) -> None:
    async with TokenServer(context, how) as server:
        refused = asyncio.ensure_future(refusal(server, ca_file, timeout=1_000))
        while not server.forms:
            await asyncio.sleep(0.01)
        if "hang" in how:
            pass_time(1_000)
        error = await refused
    assert says in str(error)
    assert error.temporary is temporary
    assert len(server.forms) == 1
    if how.get("status") == 503:
        assert error.retry_after == 7


async def test_an_endless_answer_is_not_read_to_its_end(context: ssl.SSLContext, ca_file: str) -> None:
    body = b'{"access_token": "' + b"x" * 50_000_000
    async with TokenServer(context, {"body": body}) as server:
        assert "more to say" in str(await refusal(server, ca_file))


@pytest.mark.rule("INJ-12")
@pytest.mark.parametrize("token", ["a\x01auth=Bearer b", "a b", "a\r\nQUIT", "é", "a\x00", "a\x7f"])
async def test_a_token_that_would_end_its_field_is_no_token(
    context: ssl.SSLContext, ca_file: str, token: str
) -> None:
    async with TokenServer(context, {"body": {"access_token": token}}) as server:
        error = await refusal(server, ca_file)
    assert "no token may hold" in str(error)
    assert not error.temporary


@pytest.mark.parametrize(
    ("expires_in", "kept"),
    [
        (3_600, True), ("3600", True), (3599.5, True), (None, True), (0, False), (True, True), ("soon", True), (-5, True),
        (float("inf"), True), ([], True),
    ],
)  # fmt: skip
async def test_how_long_a_token_lives(
    context: ssl.SSLContext, ca_file: str, expires_in: Any, kept: bool
) -> None:
    heard: list[Any] = []
    tokens = Tokens(wall=lambda: 1_000.0)
    async with TokenServer(context, expires_in=expires_in) as server:
        who = identity(server, ca_file)
        assert await tokens.token(who, lambda *details: heard.append(details)) == "token-1"
        assert await tokens.token(who) == ("token-1" if kept else "token-2")
    name, user, expires = heard[0]
    assert (name, user) == ("token", "me")
    assert expires == 1_000.0 + {"3600": 3_600, 3_600: 3_600, 3599.5: 3_599.5, 0: 0}.get(
        expires_in if isinstance(expires_in, (str, int, float)) and expires_in is not True else "", 300
    )


async def test_a_clock_that_is_wrong_is_put_right_by_the_servers(
    context: ssl.SSLContext, ca_file: str
) -> None:
    ahead = 7_200

    def judge(form: dict[str, str]) -> dict[str, Any]:
        claims = json.loads(decoded(form["assertion"].split(".")[1]))
        now = time.time() + ahead
        headers = {"Date": formatdate(now, usegmt=True)}
        if claims["iat"] <= now + 5 and now < claims["exp"]:
            return {"headers": headers}
        return {"status": 400, "body": {"error": "invalid_grant", "error_description": "check iat and exp"}, "headers": headers}  # fmt: skip

    async with TokenServer(context, judge, judge) as server:
        assert await Tokens().token(robot(server, ca_file)) == "token-1"
    assert len(server.forms) == 2


async def test_where_the_clocks_agree_a_claim_is_shown_once(context: ssl.SSLContext, ca_file: str) -> None:
    async with TokenServer(context, {"status": 400, "body": {"error": "invalid_grant"}}) as server:
        with pytest.raises(TokenFailed, match="invalid_grant"):
            await Tokens().token(robot(server, ca_file))
    assert len(server.forms) == 1


def robot(server: TokenServer, ca_file: str) -> Credentials:
    account = {"client_email": "robot", "private_key": account_key(), "token_uri": server.url}
    return Credentials.of({"user": "me", "service_account": account, "ca_file": ca_file})


# -- trust -----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("TLS-06")
@pytest.mark.parametrize("what", ["expired", "not yet valid", "wrong host", "unknown authority"])
async def test_a_certificate_that_is_wrong(authority: Authority, ca_file: str, what: str) -> None:
    issuer = Authority() if what == "unknown authority" else authority
    names = ("token.example",) if what == "wrong host" else ("127.0.0.1",)
    begins = {"expired": -9, "not yet valid": 9}.get(what, 0)
    async with TokenServer(issuer.server_context(*names, begins=begins)) as server:
        error = await refusal(server, ca_file)
        # The system's authorities do not know ours.
        assert "not trusted" in str(await refusal(server, None))
    assert "not trusted" in str(error)
    assert not error.temporary
    assert server.forms == []


@pytest.mark.rule("TLS-06")
async def test_a_server_without_tls_gets_no_secret(ca_file: str) -> None:
    async with TokenServer(None) as server:
        assert (await refusal(server, ca_file, timeout=0.5)).temporary
    assert server.forms == []


async def test_nobody_is_there(context: ssl.SSLContext, ca_file: str) -> None:
    async with TokenServer(context) as server:
        pass
    assert (await refusal(server, ca_file)).temporary


@pytest.mark.rule("LOG-03")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(context: ssl.SSLContext, ca_file: str, status: int) -> None:
    async with TokenServer(context) as elsewhere:
        how = {"status": status, "headers": {"Location": elsewhere.url}, "body": {}}
        async with TokenServer(context, how) as server:
            error = await refusal(server, ca_file)
    assert "redirect" in str(error)
    assert not error.temporary
    assert elsewhere.heads == []


@pytest.mark.rule("LOG-01")
async def test_no_secret_reaches_errors_logs_and_reprs(
    context: ssl.SSLContext, ca_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def echo(form: dict[str, str]) -> dict[str, Any]:
        said = f"you\x1b[2J said\r\n{form!r}"
        return {"status": 400, "body": {"error": "invalid_grant", "error_description": said}}

    async with (
        TokenServer(context, echo) as server,
        ScriptedServer(auth={}, mechanisms=("XOAUTH2",)) as relay,
    ):
        who = identity(server, ca_file)
        transporter = create_transport(host="127.0.0.1", port=relay.port, auth=who, pool=True)
        told: list[str] = []
        for event in ("connection_failed", "token", "error"):
            transporter.on(event, lambda *details: told.append(f"{details!r} {details[0]}"))
        with pytest.raises(TokenFailed) as caught:
            await transporter.send_mail({"from": "a@example.org", "to": "b@example.com", "text": "hi"})
        shown = f"{transporter!r} {transporter.options!r} {transporter.options.redacted_url()} {transporter.stats()!r}"
        await transporter.close()
    error = caught.value
    assert error.error == "invalid_grant"
    assert error.description is not None
    assert error.description.isprintable()
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.error, copy.description, type(copy)) == (error.error, error.description, TokenFailed)
    everything = "".join(
        [
            *traceback.format_exception(error),
            repr(vars(error)),
            repr(who),
            repr(who.access_token),
            shown,
            *told,
        ]
        + [f"{record.getMessage()} {vars(record)!r}" for record in caplog.records]
    )
    assert "TOP-SECRET" not in everything
    assert told


# -- many connections, and the end -----------------------------------------------------------------------------------


async def test_a_hundred_that_want_a_token_at_once_are_one_request(
    context: ssl.SSLContext, ca_file: str
) -> None:
    tokens = Tokens()
    async with TokenServer(context, {"delay": 0.1}) as server:
        who = identity(server, ca_file)
        assert await asyncio.gather(*(tokens.token(who) for _ in range(100))) == ["token-1"] * 100
        again = await asyncio.gather(*(tokens.token(who, refused="token-1") for _ in range(100)))
        assert again == ["token-2"] * 100
    assert len(server.forms) == 2


@pytest.mark.parametrize("url", ["https://localhost:{port}/token", "https://127.0.0.1:{port}/token"])
def test_on_uvloop(authority: Authority, ca_file: str, url: str) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> str | None:
        async with TokenServer(authority.server_context("127.0.0.1", "localhost")) as server:
            return await Tokens().token(identity(server, ca_file, token_url=url.format(port=server.port)))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == "token-1"


async def test_a_host_that_does_not_exist(ca_file: str) -> None:
    async with TokenServer(None) as server:
        error = await refusal(server, ca_file, token_url="https://token.invalid/token")
    assert "cannot be reached" in str(error)


async def test_a_hundred_hear_of_one_failure(context: ssl.SSLContext, ca_file: str) -> None:
    tokens = Tokens()
    async with TokenServer(context, {"delay": 0.1, "status": 500, "body": {}}) as server:
        who = identity(server, ca_file)
        ends = await asyncio.gather(*(tokens.token(who) for _ in range(100)), return_exceptions=True)
        assert {type(end) for end in ends} == {TokenFailed}
        assert len(server.forms) == 1
        assert await tokens.token(who) == "token-1"


async def test_if_who_asks_is_cancelled_the_next_one_asks(context: ssl.SSLContext, ca_file: str) -> None:
    tokens = Tokens()
    async with TokenServer(context, {"hang": True}) as server:
        who = identity(server, ca_file)
        waiting = [asyncio.ensure_future(tokens.token(who)) for _ in range(5)]
        while not server.forms:
            await asyncio.sleep(0.01)
        waiting[0].cancel()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert ends[1:] == ["token-1"] * 4
    assert len(server.forms) == 2


async def test_a_pool_of_many_connections_over_a_pool_of_one_token(
    context: ssl.SSLContext, ca_file: str
) -> None:
    async with (
        TokenServer(context, {"delay": 0.05}) as server,
        ScriptedServer(auth={"me": "token-1"}, mechanisms=("XOAUTH2",)) as relay,
    ):
        transporter = create_transport(
            host="127.0.0.1", port=relay.port, auth=identity(server, ca_file), pool=True, max_connections=100,
            max_messages=1,
        )  # fmt: skip
        async with transporter:
            sends = [
                transporter.send_mail({"from": "a@example.org", "to": "b@example.com", "text": str(number)})
                for number in range(300)
            ]
            await asyncio.gather(*sends)
            assert (await transporter.verify()).mechanism in ("XOAUTH2", "OAUTHBEARER")
        assert len(relay.messages) == 300
    assert len(server.forms) == 1


async def test_a_refresh_token_that_is_replaced_is_used_and_told(
    context: ssl.SSLContext, ca_file: str
) -> None:
    kept: list[str] = []

    async def keep(token: str) -> None:
        await asyncio.sleep(0)
        kept.append(token)

    tokens = Tokens()
    script = [{"token": {"refresh_token": "second"}}, {"token": {"refresh_token": "second"}}]
    async with TokenServer(context, *script, expires_in=0) as server:
        who = identity(server, ca_file, on_refresh_token=keep)
        for _ in range(3):
            await tokens.token(who)
    assert [form["refresh_token"] for form in server.forms] == ["TOP-SECRET-2", "second", "second"]
    assert kept == ["second"]


async def test_closing_does_not_wait_for_a_token_server_that_hangs(
    context: ssl.SSLContext, ca_file: str
) -> None:
    async with TokenServer(context, {"hang": True}) as server, ScriptedServer(auth={}, mechanisms=("XOAUTH2",)) as relay:  # fmt: skip
        transporter = create_transport(
            host="127.0.0.1", port=relay.port, auth=identity(server, ca_file, timeout=3_000), pool=True
        )
        send = transporter.send_mail({"from": "a@example.org", "to": "b@example.com", "text": "hi"})
        while not server.forms:
            await asyncio.sleep(0.01)
        await transporter.close(timeout=0.1)
        assert (await asyncio.gather(send, return_exceptions=True))[0] is not None


@pytest.mark.parametrize("package", ["h11", "cryptography.hazmat.primitives"])
async def test_without_its_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    account = {"client_email": "robot", "private_key": account_key()}
    who = {"service_account": account} if "crypto" in package else {"provider": "google", "client_id": "app", "refresh_token": "r"}  # fmt: skip
    with pytest.raises(AuthenticationFailed, match=r"pip install 'mailpool\[oauth2\]'") as caught:
        await Tokens().token(Credentials.of({"user": "me", **who}))
    assert not caught.value.temporary
