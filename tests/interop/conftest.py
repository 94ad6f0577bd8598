"""Real servers as fixtures. Each test gets one of its own, so that what was delivered is what the test sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailpool.testing import Authority

# The servers are a package beside this file, which no import mode of pytest finds by itself.
sys.path.insert(0, str(Path(__file__).parent))

from running import running
from servers import Aiosmtpd, NodeSmtpServer, NotAvailable, Postfix, RealServer, SmtpSink
from servers.catalogue import SERVERS
from servers.dovecot import DovecotAuthentication
from servers.dovecot_lmtp import DovecotLmtp
from servers.exim import Exim
from servers.kerberos import Realm, client
from servers.postfix_files import unpacked


@pytest.fixture
def server(request: pytest.FixtureRequest, authority: Authority) -> Iterator[RealServer]:
    """The one of ``servers.catalogue`` that the parameter names."""
    yield from running(SERVERS[request.param](authority))


@pytest.fixture
def server_on_a_small_disk(request: pytest.FixtureRequest, authority: Authority) -> Iterator[RealServer]:
    """The same, and what it keeps is on a disk that can be filled."""
    server = SERVERS[request.param](authority)
    server.small_disk = True
    yield from running(server)


@pytest.fixture
def aiosmtpd(authority: Authority) -> Iterator[Aiosmtpd]:
    """aiosmtpd: TLS from the first octet, AUTH, PIPELINING."""
    yield from running(Aiosmtpd(authority))


@pytest.fixture
def aiosmtpd_starttls(authority: Authority) -> Iterator[Aiosmtpd]:
    """aiosmtpd: STARTTLS required, AUTH, PIPELINING."""
    yield from running(Aiosmtpd(authority, "starttls"))


@pytest.fixture
def smtp_sink(authority: Authority) -> Iterator[SmtpSink]:
    """Postfix's smtp-sink: no TLS, PIPELINING."""
    yield from running(SmtpSink(authority))


@pytest.fixture
def postfix(authority: Authority) -> Iterator[Postfix]:
    """A real Postfix: STARTTLS, AUTH required, PIPELINING, CHUNKING."""
    yield from running(Postfix(authority))


@pytest.fixture
def exim(authority: Authority) -> Iterator[Exim]:
    """A real Exim: STARTTLS, AUTH required, PIPELINING, CHUNKING; recipients named refused… are refused."""
    yield from running(Exim(authority))


@pytest.fixture
def node_smtp_server(authority: Authority) -> Iterator[NodeSmtpServer]:
    """npm's smtp-server: STARTTLS, AUTH, PIPELINING."""
    yield from running(NodeSmtpServer(authority))


@pytest.fixture
def node_smtp_server_tls(authority: Authority) -> Iterator[NodeSmtpServer]:
    """npm's smtp-server: TLS from the first octet, AUTH, PIPELINING."""
    yield from running(NodeSmtpServer(authority, "implicit"))


@pytest.fixture
def realm() -> Iterator[Realm]:
    """A Kerberos realm with the user ``me``, who has a ticket, and the service ``smtp/localhost``."""
    try:
        client()
        realm = Realm()
    except NotAvailable as reason:
        pytest.skip(str(reason))
    yield from running(realm)


@pytest.fixture
def postfix_kerberos(authority: Authority, realm: Realm) -> Iterator[Postfix]:
    """Postfix as the service of that realm: GSSAPI."""
    try:
        plugins = f"{unpacked().environment['SASL_PATH']}:{realm.sasl_path}"
    except NotAvailable as reason:
        pytest.skip(str(reason))
    yield from running(
        Postfix(
            authority,
            {"myhostname": "localhost"},
            environment={**realm.environment, "SASL_PATH": plugins},
            mechanisms="GSSAPI PLAIN",
        )
    )


@pytest.fixture
def dovecot_authentication() -> Iterator[DovecotAuthentication]:
    """A Dovecot that knows one user and the key of tokens."""
    yield from running(DovecotAuthentication(Postfix.username, Postfix.password))


@pytest.fixture
def postfix_dovecot(authority: Authority, dovecot_authentication: DovecotAuthentication) -> Iterator[Postfix]:
    """Postfix that has Dovecot check its logins: passwords and tokens."""
    yield from running(Postfix(authority, dovecot_authentication.settings))


@pytest.fixture
def dovecot_lmtp() -> Iterator[DovecotLmtp]:
    """A real Dovecot that takes LMTP on a Unix socket: PIPELINING, CHUNKING."""
    yield from running(DovecotLmtp())
