"""A person allows the program to send, on a device with a browser; the person is scripted."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from servers.token_server import TokenServer

from mailpool import ConfigurationError, DeviceCode, TokenFailed, device_login
from mailpool.auth.post import Answer
from mailpool.testing import Authority, run_virtual

CODE = {
    "device_code": "SECRET-1", "user_code": "ABCD-EFGH", "verification_uri": "https://login.example/device",
    "expires_in": 600, "interval": 7,
}  # fmt: skip
PENDING = (400, {"error": "authorization_pending"})
TOKEN = (200, {"access_token": "a", "token_type": "Bearer", "refresh_token": "SECRET-2"})
PLACES = {"device_url": "https://login.example/code", "token_url": "https://login.example/token"}


class Server:
    """Answers by its script, the last entry for ever, and notes what it was asked and when."""

    def __init__(self, *script: tuple[int, Any] | TokenFailed) -> None:
        self.script = list(script)
        self.asked: list[tuple[float, str, dict[str, str]]] = []

    async def post(self, url: str, form: dict[str, str], **_: Any) -> Answer:
        self.asked.append((asyncio.get_running_loop().time(), url, form))
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, TokenFailed):
            raise said
        return Answer(said[0], json.dumps(said[1]).encode())


def login(server: Server, shown: list[DeviceCode] | None = None, **options: Any) -> str:
    show: Callable[[DeviceCode], Any] = shown.append if shown is not None else str
    result: list[str] = []

    async def main() -> None:
        result.append(await device_login(show, client_id="app", post=server.post, **{**PLACES, **options}))

    run_virtual(main)
    return result[0]


def test_until_the_person_has_entered_the_code() -> None:
    server, shown = Server((200, CODE), PENDING, PENDING, TOKEN), list[DeviceCode]()
    assert login(server, shown, scope="mail", client_secret="SECRET-3") == "SECRET-2"
    assert [time for time, _, _ in server.asked] == [0, 7, 14, 21]
    assert [url for _, url, _ in server.asked] == [PLACES["device_url"], *[PLACES["token_url"]] * 3]
    assert server.asked[0][2] == {"client_id": "app", "scope": "mail", "client_secret": "SECRET-3"}
    assert server.asked[1][2] == {
        "client_id": "app", "client_secret": "SECRET-3", "device_code": "SECRET-1",
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
    }  # fmt: skip
    assert (shown[0].user_code, shown[0].verification_uri) == ("ABCD-EFGH", "https://login.example/device")
    assert "SECRET" not in repr(shown)


def test_it_asks_less_often_when_told_to_or_when_the_server_is_in_trouble() -> None:
    slow = (400, {"error": "slow_down"})
    server = Server((200, CODE), slow, (503, {}), PENDING, TOKEN)
    login(server)
    assert [time for time, _, _ in server.asked] == [0, 7, 19, 36, 53]


def test_microsoft() -> None:
    server = Server((200, CODE), TOKEN)
    login(server, device_url=None, token_url=None, provider="microsoft", tenant="contoso.example")
    base = "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/"
    assert [url for _, url, _ in server.asked] == [f"{base}devicecode", f"{base}token"]
    assert server.asked[0][2]["scope"] == "https://outlook.office.com/SMTP.Send offline_access"


@pytest.mark.rule("LOG-01")
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ([(400, {"error": "invalid_client", "error_description": "no SECRET-3"})], "invalid_client: no ***"),
        ([(200, {})], "without an access token"),
        ([(200, {**CODE, "user_code": "a\x1b[2J"})], "malformed"),
        ([(200, {**CODE, "verification_uri": ""})], "malformed"),
        ([(200, {**CODE, "device_code": 7})], "malformed"),
        ([(200, CODE), (400, {"error": "access_denied"})], "access_denied"),
        ([(200, CODE), (400, {"error": "expired_token", "error_description": "SECRET-1"})], "expired_token: ***"),
        ([(200, CODE), PENDING], "in time"),
        ([(200, CODE), (200, {"access_token": "a", "token_type": "Bearer"})], "no refresh token"),
    ],
)  # fmt: skip
def test_trouble(script: list[Any], says: str) -> None:
    with pytest.raises(TokenFailed) as caught:
        login(Server(*script), client_secret="SECRET-3")
    assert says in str(caught.value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device_url": None}, "where are codes asked for"),
        ({"token_url": None}, "where are tokens asked for"),
        ({"device_url": "http://login.example/code"}, "https"),
        ({"device_url": "https://u:p@login.example/code"}, "form"),
        ({"client_id": ""}, "client_id"),
    ],
)
async def test_wrong(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        await device_login(print, **{"client_id": "app", **PLACES, **options})


async def test_on_the_command_line(authority: Authority, tmp_path: Any) -> None:
    pytest.importorskip("typer")
    script = [
        {"body": {**CODE, "interval": 1}},
        {"status": 400, "body": {"error": "authorization_pending"}},
        {"token": {"refresh_token": "the-refresh-token"}},
    ]
    async with TokenServer(authority.server_context("127.0.0.1"), *script) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-m", "mailpool.cli", "token", "--client-id", "app", "--device-url", server.url,
            "--token-url", server.url, "--ca-file", str(authority.write_ca(tmp_path / "ca.pem")),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "COLUMNS": "200", "MAILPOOL_CLIENT_SECRET": "SECRET-3"},
        )  # fmt: skip
        async with asyncio.timeout(200):
            out, err = await process.communicate()
    assert process.returncode == 0
    assert out.decode() == "the-refresh-token\n"
    assert "https://login.example/device" in err.decode()
    assert "ABCD-EFGH" in err.decode()
    assert "SECRET" not in err.decode()
    assert [form.get("client_secret") for form in server.forms] == ["SECRET-3"] * 3


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--client-id", "app", "--token-url", "https://t.example/"], 2, "belong together"),
        (["--client-id", "app", "--tenant", "a/b"], 2, "tenant"),
        (["--client-id", "app", "--device-url", "https://127.0.0.1:1/", "--token-url", "https://127.0.0.1:1/"], 1, "cannot be reached"),
    ],
)  # fmt: skip
async def test_wrong_on_the_command_line(arguments: list[str], status: int, says: str) -> None:
    pytest.importorskip("typer")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mailpool.cli", "token", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(200):
        out, err = await process.communicate()
    assert (process.returncode, out) == (status, b"")
    assert says in err.decode()
    assert "Traceback" not in err.decode()
