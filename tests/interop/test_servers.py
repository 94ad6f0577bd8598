"""The real servers themselves: a message gets through the standard library's client, and is counted once."""

from __future__ import annotations

import smtplib
import ssl
from typing import Any

import pytest
from servers.catalogue import SERVERS

pytestmark = pytest.mark.interop


def connect(server: Any) -> smtplib.SMTP:
    """A client with as much security as the server offers, logged in."""
    context = ssl.create_default_context(cafile=server.ca_file)
    if server.tls == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, context=context, timeout=200)
    else:
        client = smtplib.SMTP(server.host, server.port, timeout=200)
        if server.tls == "starttls":
            client.starttls(context=context)
    client.ehlo()
    if server.requires_auth:
        client.login(server.username, server.password)
    return client


@pytest.mark.parametrize("server", SERVERS, indirect=True)
def test_messages_get_through_and_are_counted(server: Any) -> None:
    with connect(server) as client:
        assert client.has_extn("PIPELINING") == server.pipelining
        for number in range(3):
            content = f"Message-ID: <{number}@example.org>\r\nSubject: {number}\r\n\r\nhello\r\n"
            assert client.sendmail("me@example.org", ["a@example.net", "b@example.com"], content) == {}
    deliveries = server.wait_for_deliveries(6)
    expected = [
        (f"<{number}@example.org>", to) for number in range(3) for to in ("a@example.net", "b@example.com")
    ]
    assert sorted(deliveries) == expected
    assert server.duplicates() == []


@pytest.mark.parametrize(
    "server", [name for name in SERVERS if name not in ("smtp_sink", "opensmtpd", "sendmail")], indirect=True
)
def test_without_authentication_nothing_is_taken(server: Any) -> None:
    context = ssl.create_default_context(cafile=server.ca_file)
    if server.tls == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, context=context, timeout=200)
    else:
        client = smtplib.SMTP(server.host, server.port, timeout=200)
        client.starttls(context=context)
    with client:
        client.ehlo()
        # One attempt is enough, and servers answer each later than the one before.
        client.esmtp_features["auth"] = "PLAIN"
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(server.username, "wrong")
        with pytest.raises((smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused)):
            client.sendmail("me@example.org", "a@example.net", "Subject: x\r\n\r\n")
    assert server.deliveries() == []
