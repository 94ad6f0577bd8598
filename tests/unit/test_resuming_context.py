"""The TLS session that one connection leaves to the next: taken from whole handshakes, and from those of the server only."""

from __future__ import annotations

import contextlib
import ssl

import pytest

from mailpool.net.tls import ResumingContext
from mailpool.testing import Authority

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def connect(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl.SSLObject:
    """The client's side of a connection in memory, after its handshake and the tickets that follow."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    with contextlib.suppress(ssl.SSLWantReadError):
        ours.read(1)
    return ours


def server_of(authority: Authority, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = authority.server_context("localhost")
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize("version", VERSIONS)
def test_the_session_of_a_whole_handshake_opens_the_next_ones(
    authority: Authority, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    session = ssl.SSLObject.session.__get__

    def look(connection: ssl.SSLObject) -> ssl.SSLSession | None:
        looks.append(connection)
        return session(connection)

    monkeypatch.setattr(ssl.SSLObject, "session", property(look))
    server, client = server_of(authority, version), ResumingContext(authority.client_context())
    reused = []
    for _ in range(20):
        connection = connect(client, server)
        reused.append(connection.session_reused)
        client.keep_session(connection)
    assert reused == [False, *[True] * 19]
    # Each look costs memory that Python does not give back: gh-116810.
    assert len(looks) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_that_the_server_knows_no_more_is_replaced(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    client = ResumingContext(authority.client_context())
    reused = []
    for _ in range(3):
        # Restarted, it has other keys for its tickets.
        server = server_of(authority, version)
        for _ in range(3):
            connection = connect(client, server)
            reused.append(connection.session_reused)
            client.keep_session(connection)
    assert reused == [False, True, True] * 3


def test_a_server_that_breaks_off_each_resumed_handshake_is_offered_no_more_sessions(
    authority: Authority,
) -> None:
    server, client = server_of(authority, ssl.TLSVersion.TLSv1_3), ResumingContext(authority.client_context())
    offered = []
    for _ in range(20):
        connection = connect(client, server)
        offered.append(connection.session_reused)
        client.keep_session(connection)
        if connection.session_reused:
            client.forget_session()  # it ended before there was a reply
        else:
            client.opened(connection)
    assert offered == [False, True] * 3 + [False] * 14


def test_one_that_breaks_off_now_and_then_is_offered_them_on(authority: Authority) -> None:
    server, client = server_of(authority, ssl.TLSVersion.TLSv1_3), ResumingContext(authority.client_context())
    offered = []
    for number in range(20):
        connection = connect(client, server)
        offered.append(connection.session_reused)
        client.keep_session(connection)
        if number % 4 == 2:
            client.forget_session()
        else:
            client.opened(connection)
    assert offered == [False, *[True, True, False, True] * 5][:20]


def test_a_session_of_another_context_is_not_taken(authority: Authority) -> None:
    server = server_of(authority, ssl.TLSVersion.TLSv1_3)
    client, with_a_proxy = ResumingContext(authority.client_context()), authority.client_context()
    client.keep_session(connect(with_a_proxy, server))
    assert not connect(client, server).session_reused
