"""The body hash is over what arrives: whatever way the content takes, dkimpy verifies it on the other side (RFC 6376 §5.3)."""

from __future__ import annotations

import warnings
from email.message import EmailMessage
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mailpool import DkimKey, SendResult
from mailpool.message.dkim import dkim_record
from mailpool.testing import Fault, ScriptedServer, close

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dkim

KEYS = [
    DkimKey("example.org", "r", rsa.generate_private_key(65_537, 1_024)),
    DkimKey("example.org", "e", ed25519.Ed25519PrivateKey.generate(), canonicalization="simple/simple"),
]
RECORDS = dict(map(dkim_record, KEYS))
# Lines that DATA stuffs with a dot, white space at line ends, empty lines at the end, line ends of other systems.
BODY = ".\n..\r\n. dot \nfrom here\t \r\rtabs\t\there \n" * 40 + "\n\n \n\n"
ENVELOPE = {"from": "from@example.org", "to": "to@example.org"}


def verified(octets: bytes) -> list[bool]:
    def look_up(name: bytes, timeout: float = 5) -> bytes:
        return RECORDS[name.decode().removesuffix(".")].encode()

    return [bool(dkim.DKIM(octets).verify(number, dnsfunc=look_up)) for number in range(len(KEYS))]


def parsed() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "from@example.org", "to@example.org", "é" * 100
    message.set_content(BODY)
    message.add_attachment(b"\0\r\n.\n" * 1_000, maintype="application", subtype="octet-stream")
    return message


@pytest.mark.rule("DAT-10")
@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("way", [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")], ids=" ".join)
def test_what_arrives_verifies(play: Any, way: tuple[str, ...], depth: int) -> None:
    server = ScriptedServer(
        capabilities=("8BITMIME", "SMTPUTF8", "SIZE 10485760", *way),
        # One is sent again: the same octets, with the same signature.
        faults=[Fault(at="END", connection=0, message=2, do=close())],
    )

    async def story(relay: Any) -> None:
        ends = await relay.ends(
            relay.send(0, text=BODY),
            relay.send(1, text=BODY, html="<p>" + BODY, attachments=[{"content": BODY, "filename": "é.txt"}]),
            relay.send(2, subject="Hello  \t" + "wörld " * 60, text=""),
            relay.transporter.send_mail({"raw": "From: a@b\nSubject: x\n\n" + BODY, "envelope": ENVELOPE}),
            relay.transporter.send_mail({"raw": "From: a@b\nSubject: no body\n", "envelope": ENVELOPE}),
            relay.transporter.send_mail({"raw": b"From: a@b\n\n" + b"\xe9 \n" * 9, "envelope": ENVELOPE}),
            relay.transporter.send_mail(
                {"raw": "From: a@b\n\n" + BODY * 400, "envelope": ENVELOPE}  # most of a megabyte
            ),
            relay.transporter.send_mail(parsed()),
            relay.send(3, "töm@example.org", **{"from": "jörg@example.org"}),
        )
        assert [type(end) for end in ends] == [SendResult] * 9, ends

    play(story, server, dkim=KEYS, max_connections=1, pipeline_depth=depth, on_uncertain="requeue")
    assert len(server.messages) == 9
    for message in server.messages:
        # What is streamed may go by DATA all the same.
        assert message.chunked == ("CHUNKING" in way) or message.size > 500_000
        assert message.content.count(b"DKIM-Signature:") == 2
        assert verified(message.content) == [True, True]
