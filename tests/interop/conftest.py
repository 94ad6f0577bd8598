"""Real servers as fixtures. Each test gets one of its own, so that what was delivered is what the test sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailpool.testing import Authority

# The servers are a package beside this file, which no import mode of pytest finds by itself.
sys.path.insert(0, str(Path(__file__).parent))

from servers import Aiosmtpd, NodeSmtpServer, NotAvailable, Postfix, RealServer, SmtpSink
from servers.catalogue import SERVERS
from servers.debian import unpacked
from servers.dovecot import DovecotAuthentication
from servers.dovecot_lmtp import DovecotLmtp
from servers.exim import Exim
from servers.kerberos import Realm, client


def _running(server: RealServer) -> Iterator[Any]:
    try:
        server.__enter__()
    except NotAvailable as reason:
        pytest.skip(str(reason))
    yield server
    server.stop()


@pytest.fixture
def server(request: pytest.FixtureRequest, authority: Authority) -> Iterator[RealServer]:
    """The one of ``servers.catalogue`` that the parameter names."""
    yield from _running(SERVERS[request.param](authority))


@pytest.fixture
def server_on_a_small_disk(request: pytest.FixtureRequest, authority: Authority) -> Iterator[RealServer]:
    """The same, and what it keeps is on a disk that can be filled."""
    server = SERVERS[request.param](authority)
    server.small_disk = True
    yield from _running(server)


@pytest.fixture
def aiosmtpd(authority: Authority) -> Iterator[Aiosmtpd]:
    """aiosmtpd: TLS from the first octet, AUTH, PIPELINING."""
    yield from _running(Aiosmtpd(authority))


@pytest.fixture
def aiosmtpd_starttls(authority: Authority) -> Iterator[Aiosmtpd]:
    """aiosmtpd: STARTTLS required, AUTH, PIPELINING."""
    yield from _running(Aiosmtpd(authority, "starttls"))


@pytest.fixture
def smtp_sink(authority: Authority) -> Iterator[SmtpSink]:
    """Postfix's smtp-sink: no TLS, PIPELINING."""
    yield from _running(SmtpSink(authority))


@pytest.fixture
def postfix(authority: Authority) -> Iterator[Postfix]:
    """A real Postfix: STARTTLS, AUTH required, PIPELINING, CHUNKING."""
    yield from _running(Postfix(authority))


@pytest.fixture
def exim(authority: Authority) -> Iterator[Exim]:
    """A real Exim: STARTTLS, AUTH required, PIPELINING, CHUNKING; recipients named refused… are refused."""
    yield from _running(Exim(authority))


@pytest.fixture
def node_smtp_server(authority: Authority) -> Iterator[NodeSmtpServer]:
    """npm's smtp-server: STARTTLS, AUTH, PIPELINING."""
    yield from _running(NodeSmtpServer(authority))


@pytest.fixture
def node_smtp_server_tls(authority: Authority) -> Iterator[NodeSmtpServer]:
    """npm's smtp-server: TLS from the first octet, AUTH, PIPELINING."""
    yield from _running(NodeSmtpServer(authority, "implicit"))


@pytest.fixture
def realm() -> Iterator[Realm]:
    """A Kerberos realm with the user ``me``, who has a ticket, and the service ``smtp/localhost``."""
    try:
        client()
        running = Realm()
    except NotAvailable as reason:
        pytest.skip(str(reason))
    with running:
        yield running


@pytest.fixture
def postfix_kerberos(authority: Authority, realm: Realm) -> Iterator[Postfix]:
    """Postfix as the service of that realm: GSSAPI."""
    try:
        plugins = f"{unpacked().environment['SASL_PATH']}:{realm.sasl_path}"
    except NotAvailable as reason:
        pytest.skip(str(reason))
    yield from _running(
        Postfix(
            authority,
            {"myhostname": "localhost"},
            environment={**realm.environment, "SASL_PATH": plugins},
            mechanisms="GSSAPI PLAIN",
        )
    )


@pytest.fixture
def postfix_dovecot(authority: Authority) -> Iterator[Postfix]:
    """Postfix that has Dovecot check its logins: passwords and tokens."""
    checking = DovecotAuthentication(Postfix.username, Postfix.password)
    try:
        checking.__enter__()
    except NotAvailable as reason:
        pytest.skip(str(reason))
    try:
        yield from _running(Postfix(authority, checking.settings))
    finally:
        checking.__exit__()


@pytest.fixture
def dovecot_lmtp() -> Iterator[DovecotLmtp]:
    """A real Dovecot that takes LMTP on a Unix socket: PIPELINING, CHUNKING."""
    server = DovecotLmtp()
    try:
        server.__enter__()
    except NotAvailable as reason:
        pytest.skip(str(reason))
    yield server
    server.__exit__()
