"""The connection is cut after each single octet of what the client writes, and after each reply: BDAT, at every depth.

The server is a function of the octets that reached it, so that every cut is a story of its own.
"""

from __future__ import annotations

import itertools
import re

import pytest

from mailpool.content import BytesContent
from mailpool.results import Reply
from mailpool.smtp import pipeline as pipeline_module
from mailpool.smtp.pipeline import Pipeline
from mailpool.smtp.transaction import Transaction, Verdict

NAMES = "abc"
BODY = "%s: hello\r\n.\r\n"
Taken = tuple[str, list[str], bytes]


def serve(octets: bytes, refused: frozenset[str], *, keeps_sender: bool) -> tuple[list[str], list[Taken]]:
    """Every reply to what has arrived, and what was taken: sender, recipients, content."""
    replies: list[str] = []
    taken: list[Taken] = []
    sender: str | None = None
    recipients: list[str] = []
    name = ""
    failed = False
    while (end := octets.find(b"\r\n")) >= 0:
        line, octets = octets[:end].decode(), octets[end + 2 :]
        verb, _, rest = line.partition(" ")
        if verb == "RSET":
            sender, recipients, failed = None, [], False
            replies.append("250")
            continue
        if verb == "BDAT":
            size = int(rest.split()[0])
            if len(octets) < size:
                break
            content, octets = octets[:size], octets[size:]
        subject = re.search("<(.*)>", rest)
        name = subject[1] if verb == "MAIL" and subject else name
        code = "250"
        if failed or (verb == "MAIL") == (sender is not None) or (verb == "BDAT" and not recipients):
            code = "503"
        elif f"{verb} {name}" in refused or (verb == "RCPT" and subject and subject[1] in refused):
            code = "550"
        replies.append(f"{code} {line}")
        if verb == "MAIL" and code == "250":
            sender, recipients = name, []
        elif verb == "RCPT" and code == "250" and subject:
            recipients.append(subject[1])
        elif verb == "BDAT" and code == "250":
            assert sender is not None
            taken.append((sender, recipients, content))
            sender = None
        elif verb == "BDAT":
            failed = sender is not None and not keeps_sender
    return replies, taken


def transactions() -> list[Transaction]:
    return [
        Transaction(
            b"MAIL FROM:<%s>\r\n" % name.encode(),
            [b"RCPT TO:<%s%d>\r\n" % (name.encode(), i) for i in range(2)],
            BytesContent((BODY % name).encode()),
            name,
        )
        for name in NAMES
    ]


class Client:
    """Three messages on one connection, as many under way as the pipeline likes."""

    def __init__(self, depth: int) -> None:
        self.pipeline = Pipeline(pipelining=True, chunking=True, depth=depth)
        self.waiting = transactions()
        self.all = tuple(self.waiting)
        self.sent = bytearray()

    def write(self) -> None:
        while True:
            if self.pipeline.can_begin and self.waiting:
                self.pipeline.begin(self.waiting.pop(0))
            data = self.pipeline.data_to_send()
            if not data:
                return
            self.sent += data

    def talk(self, refused: frozenset[str], *, octets: int, replies: int, keeps_sender: bool) -> list[Taken]:
        """Until so many octets have reached the server and so many replies have come back, or all is done."""
        heard = 0
        while True:
            self.write()
            said, taken = serve(bytes(self.sent[:octets]), refused, keeps_sender=keeps_sender)
            news = said[heard:replies]
            for reply in news:
                self.pipeline.receive(Reply.of(reply))
            heard += len(news)
            if not news:
                return taken


REFUSALS = {
    "nothing": frozenset(),
    "the first sender": frozenset({"MAIL a"}),
    "one recipient": frozenset({"a0"}),
    "all recipients of the first": frozenset({"a0", "a1"}),
    "all recipients of the second": frozenset({"b0", "b1"}),
    "the first content": frozenset({"BDAT a"}),
    "the second content": frozenset({"BDAT b"}),
    "one thing of each": frozenset({"a0", "a1", "BDAT b", "MAIL c"}),
}


def check(client: Client, taken: list[Taken], refused: frozenset[str], depth: int) -> None:
    got = {name: (recipients, content) for name, recipients, content in taken}
    assert len(got) == len(taken), "taken twice"
    uncertain = 0
    for t in client.all:
        name = t.token
        left = [to for to in (f"{name}0", f"{name}1") if to not in refused]
        if name in got:
            assert got[name] == (left, (BODY % name).encode()), "somebody else's mail"
        match t.verdict:
            case Verdict.ACCEPTED:
                assert name in got
                assert {f"{name}{i}" for i in t.refused} == {f"{name}0", f"{name}1"} - set(left)
            case Verdict.REFUSED:
                assert name not in got
                assert not left or refused & {f"MAIL {name}", f"BDAT {name}"}
            case Verdict.UNSENT | Verdict.OPEN:
                assert name not in got, "it is going to be sent again, and the server has it"
            case Verdict.UNCERTAIN:
                uncertain += 1
                start = client.sent.index(t.commands[0])
                assert (BODY % name).encode() in client.sent[start:]
    assert uncertain <= depth


@pytest.mark.rule("P-02")
@pytest.mark.rule("P-06")
@pytest.mark.rule("P-18")
@pytest.mark.parametrize("keeps_sender", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("refused", REFUSALS.values(), ids=REFUSALS)
def test_cut_after_each_octet(refused: frozenset[str], depth: int, keeps_sender: bool) -> None:
    whole = Client(depth)
    taken = whole.talk(refused, octets=10_000, replies=1_000, keeps_sender=keeps_sender)
    assert all(t.verdict in (Verdict.ACCEPTED, Verdict.REFUSED) for t in whole.all)
    check(whole, taken, refused, depth)
    for octets in range(len(whole.sent) + 1):
        client = Client(depth)
        taken = client.talk(refused, octets=octets, replies=1_000, keeps_sender=keeps_sender)
        client.pipeline.abandon()
        check(client, taken, refused, depth)


@pytest.mark.rule("P-02")
@pytest.mark.rule("P-06")
@pytest.mark.rule("P-18")
@pytest.mark.parametrize("closing", [None, Reply.of("421 4.3.2 closing")], ids=["silently", "with 421"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("refused", REFUSALS.values(), ids=REFUSALS)
def test_cut_after_each_reply(refused: frozenset[str], depth: int, closing: Reply | None) -> None:
    """Silently: everything written arrives, and its replies are lost. With 421: what is not answered is not read."""
    for replies in itertools.count():
        client = Client(depth)
        taken = client.talk(refused, octets=10_000, replies=replies, keeps_sender=False)
        if client.pipeline.is_idle and not client.waiting:
            break
        lost = client.pipeline.abandon(closing)
        if closing is not None:
            assert all(t.verdict is Verdict.UNSENT and t.reply is closing for t in lost)
            answered = {t.token for t in client.all if t.verdict is Verdict.ACCEPTED}
            taken = [one for one in taken if one[0] in answered]
        check(client, taken, refused, depth)
    assert replies > 8


@pytest.mark.rule("P-02")
@pytest.mark.rule("P-18")
@pytest.mark.parametrize("block", [1, 4, 7])
def test_cut_after_each_octet_of_contents_in_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "ONE_PIECE", block)
    refused = REFUSALS["all recipients of the first"]
    whole = Client(2)
    whole.talk(refused, octets=10_000, replies=1_000, keeps_sender=False)
    for octets in range(len(whole.sent) + 1):
        client = Client(2)
        taken = client.talk(refused, octets=octets, replies=1_000, keeps_sender=False)
        client.pipeline.abandon()
        check(client, taken, refused, 2)
