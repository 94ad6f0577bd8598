"""Each mechanism against real servers that offer it: the matrix of ``docs/authentication.md``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from servers.dovecot import DovecotAuthentication

from mailpool import AuthenticationFailed, SendResult, create_transport
from mailpool.testing import Authority

pytestmark = pytest.mark.interop

# Which server offers which mechanism.
MATRIX = [
    ("postfix", "PLAIN"),
    ("postfix", "LOGIN"),
    ("postfix", "CRAM-MD5"),
    ("postfix", "NTLM"),
    ("postfix", "SCRAM-SHA-1"),
    ("postfix", "SCRAM-SHA-256"),
    ("postfix_dovecot", "PLAIN"),
    ("postfix_dovecot", "LOGIN"),
    ("postfix_dovecot", "CRAM-MD5"),
    ("postfix_dovecot", "SCRAM-SHA-1"),
    ("postfix_dovecot", "SCRAM-SHA-256"),
    ("postfix_dovecot", "XOAUTH2"),
    ("postfix_dovecot", "OAUTHBEARER"),
    ("exim", "PLAIN"),
    ("exim", "LOGIN"),
    ("exim", "CRAM-MD5"),
    ("exim", "EXTERNAL"),
    ("node_smtp_server", "PLAIN"),
    ("node_smtp_server", "LOGIN"),
    ("node_smtp_server", "CRAM-MD5"),
    ("node_smtp_server", "XOAUTH2"),
    ("aiosmtpd", "PLAIN"),
    ("aiosmtpd", "LOGIN"),
]


def transport_to(server: Any, **options: Any) -> Any:
    return create_transport(
        **{
            "host": server.host,
            "port": server.port,
            "secure": server.tls == "implicit",
            "starttls": "auto" if server.tls == "implicit" else "required",
            "tls": {"ca_file": str(server.ca_file)},
            "auth": (server.username, server.password),
            "pool": True,
            **options,
        }
    )


def login(server: Any, name: str, mechanism: str, *, right: bool) -> dict[str, Any]:
    identity = {"user": server.username, "method": mechanism}
    if mechanism not in ("XOAUTH2", "OAUTHBEARER"):
        return {**identity, "password": server.password if right else "wrong"}
    token = server.password if right else "wrong"
    if name == "postfix_dovecot":
        token = DovecotAuthentication.token(server.username, lives=600 if right else -30)
    return {**identity, "access_token": token}


async def send(transporter: Any, count: int = 3) -> None:
    async with transporter:
        for number in range(count):
            mail = {"from": "me@example.org", "to": "you@example.net", "text": f"{number}\n"}
            assert isinstance(await transporter.send_mail(mail), SendResult)


@pytest.mark.parametrize(("name", "mechanism"), [pair for pair in MATRIX if pair[1] != "EXTERNAL"])
async def test_each_mechanism_logs_in_and_a_wrong_secret_does_not(
    request: pytest.FixtureRequest, name: str, mechanism: str
) -> None:
    server = request.getfixturevalue(name)
    right = transport_to(server, auth=login(server, name, mechanism, right=True))
    assert (await right.verify()).mechanism == mechanism
    await send(right)
    server.wait_for_deliveries(3)
    wrong = transport_to(server, auth=login(server, name, mechanism, right=False))
    with pytest.raises(AuthenticationFailed) as caught:
        await wrong.verify()
    assert caught.value.reply is not None
    assert caught.value.reply.code in (535, 334)
    await wrong.close()


@pytest.mark.parametrize(
    ("name", "mechanism"),
    [
        ("postfix", "SCRAM-SHA-256"),
        ("postfix_dovecot", "SCRAM-SHA-256"),
        ("exim", "PLAIN"),
        ("node_smtp_server", "PLAIN"),
        ("aiosmtpd", "PLAIN"),
    ],
)
async def test_the_strongest_is_taken_by_itself(
    request: pytest.FixtureRequest, name: str, mechanism: str
) -> None:
    server = request.getfixturevalue(name)
    transporter = transport_to(server)
    assert (await transporter.verify()).mechanism == mechanism
    await transporter.close()


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize(
    "token",
    [
        DovecotAuthentication.token("me", key=b"another key"),
        DovecotAuthentication.token("somebody-else"),
        "no token at all",
    ],
    ids=["of another signer", "of another user", "none"],
)
async def test_a_token_that_is_not_this_users(postfix_dovecot: Any, mechanism: str, token: str) -> None:
    identity = {"user": "me", "access_token": token, "method": mechanism}
    transporter = transport_to(postfix_dovecot, auth=identity)
    with pytest.raises(AuthenticationFailed) as caught:
        await transporter.verify()
    # Dovecot tells the reason in its challenge, and wants the dummy answer before it refuses.
    assert {"XOAUTH2": "(401)", "OAUTHBEARER": "(invalid_token)"}[mechanism] in str(caught.value)
    assert token not in str(caught.value)
    await transporter.close()


@pytest.mark.rule("TLS-10")
async def test_a_minimum_that_a_server_meets_and_one_that_it_does_not(postfix: Any, exim: Any) -> None:
    met = transport_to(postfix, min_mechanism="SCRAM-SHA-256")
    assert (await met.verify()).mechanism == "SCRAM-SHA-256"
    await met.close()
    for server, least in ((postfix, "SCRAM-SHA-256-PLUS"), (exim, "SCRAM-SHA-1")):
        missed = transport_to(server, min_mechanism=least)
        with pytest.raises(AuthenticationFailed, match="demands more"):
            await missed.verify()
        await missed.close()


async def test_external_by_a_certificate(exim: Any, authority: Authority) -> None:
    folder = exim.home / "client"
    folder.mkdir()
    certificate, key = authority.write_certificate(folder, "client.example")
    tls = {"ca_file": str(exim.ca_file), "cert_file": str(certificate), "key_file": str(key)}
    identity = {"user": "client.example", "method": "EXTERNAL"}
    transporter = transport_to(exim, auth=identity, tls=tls)
    assert (await transporter.verify()).mechanism == "EXTERNAL"
    await send(transporter)
    exim.wait_for_deliveries(3)
    another = transport_to(exim, auth={"user": "somebody.else", "method": "EXTERNAL"}, tls=tls)
    with pytest.raises(AuthenticationFailed, match="Check the certificate"):
        await another.verify()
    await another.close()
    without = transport_to(exim, auth=identity)
    with pytest.raises(AuthenticationFailed, match="EXTERNAL was asked for and is not offered"):
        await without.verify()
    await without.close()


@pytest.mark.parametrize(("user", "password"), [("münch", "pässwörd"), ("a=b", "c,d=e")])
async def test_scram_with_what_has_to_be_encoded_or_escaped(postfix: Any, user: str, password: str) -> None:
    postfix.add_user(user, password)
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
        transporter = transport_to(postfix, auth=(user, password), auth_method=mechanism)
        assert (await transporter.verify()).mechanism == mechanism
        await transporter.close()


_CLIENT = """
import asyncio, json, sys
from mailpool import AuthenticationFailed, create_transport

async def main(options):
    try:
        async with create_transport(**options) as transporter:
            print((await transporter.verify()).mechanism)
            await transporter.send_mail({"from": "me@example.org", "to": "you@example.net", "text": "hi"})
    except AuthenticationFailed as error:
        print(error)

asyncio.run(main(json.loads(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("auth", "tickets", "said"),
    [
        ({"method": "GSSAPI"}, True, "GSSAPI"),
        ({"user": "me", "method": "GSSAPI"}, True, "GSSAPI"),
        ({"user": "me", "password": "correct horse", "method": "GSSAPI"}, False, "GSSAPI"),
        ({"user": "me", "password": "wrong", "method": "GSSAPI"}, False, "GSSAPI cannot begin"),
        ({"method": "GSSAPI"}, False, "GSSAPI "),
    ],
    ids=["a ticket", "a ticket of this user", "a password", "a wrong password", "neither"],
)
def test_gssapi(postfix_kerberos: Any, realm: Any, auth: dict[str, str], tickets: bool, said: str) -> None:
    options = {
        "host": postfix_kerberos.host,
        "port": postfix_kerberos.port,
        "servername": "localhost",
        "tls": {"ca_file": str(postfix_kerberos.ca_file)},
        "auth": auth,
        "pool": True,
        "connection_wait": 1,
    }
    printed = realm.python(_CLIENT, json.dumps(options), tickets=tickets)
    if said == "GSSAPI":
        assert printed == said
        postfix_kerberos.wait_for_deliveries(1)
    else:
        assert printed.startswith(said)
