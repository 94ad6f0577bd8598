"""Whom the header names is whom the server is told, for a hundred thousand random texts (ADR-10)."""

from __future__ import annotations

import datetime
import email.policy
import random
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.parser import HeaderParser
from email.utils import getaddresses

import pytest

from mailpool.address import Mailbox, parse_mailboxes
from mailpool.errors import MessageError
from mailpool.message import Sealed, seal

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
TEXTS = 40_000

LOCALS = [
    "a", "A", "ann.lee", "ann+tag", "o'neil", "a..b", ".a", "a.", '"a b"', '"a@b"', '"a,b"', '"\\"q\\""', '"a"', "ü", "u\u0308", "用户", "a=b",
    "x?y", "=?utf-8?q?a?=", "=?", '""', "a b", '"a', '"x" y', "(c)a", "a(c)", "a" * 65, "\u202ea", "postmaster", "{a}",
]  # fmt: skip
DOMAINS = [
    "x.example", "X.Example", "mail.x.example", "xn--fa-hia.example", "xn--a", "faß.example", "MÜNCHEN.example", "mu\u0308nchen.example",
    "例え。jp", "[192.0.2.1]", "[IPv6:2001:db8::1]", "[IPv6:::1]", "[x]", "x_y.example", "x.example.", "-x.example", "x..example",
    "ｅｘａｍｐｌｅ.com", "com\u00adpany.example", "b\u200dc.example", "x(c)y", "(c)x.example", "x.example(c)", "1.2.3.4", "אב.example", "x;y",
]  # fmt: skip
NAMES = [
    "", "", "", "Ann", "Ann Lee", "O'Neil", "Ann B. Lee", "Lee, Ann", '"Lee, Ann"', '"a \\" b"', '"<b@y.example>"', '"b@y.example,"', "b@y.example",
    "Jürgen", "=?utf-8?q?J=C3=BCrgen?=", "=?utf-8?b?SsO8?= =?utf-8?b?cmdlbg==?=", "=?utf-8?q?b=40y=2Eexample=2C?=", "(c)", "用户" * 20, "אב",
    "\u202eevil", "a: b;", "[Team]", "\\", '"', "x" * 80, '"' + "w " * 60 + '"', "a\tb", "😀 " * 30, '"=?utf-8?q?a?="', "a\u2028b", "ﬀ",
]  # fmt: skip
BETWEEN = [", ", ", ", ", ", ",", " ", ";", "; ", ",,", ", (c) ", "\n", " ,\t", ":", " g: ", ";, "]
ODD = [
    *'ab@.,;:<>()[]"\\ \t=?é',
    "a@x",
    "<a@x>",
    "\r\n",
    "\x00",
    "\ud800",
    "=?utf-8?q?",
    "?=",
    "g:",
    "a@b.example",
]


def texts(dice: random.Random) -> Iterator[str]:
    """Lists of addresses, right and wrong ones, and some with odd characters thrown in."""
    while True:
        if dice.random() < 0.1:
            yield "".join(dice.choices(ODD, k=dice.randint(1, 12)))
            continue
        # Most parts are good ones: a list with one bad member is an error as a whole.
        usual = dice.random() < 0.6
        members = []
        for _ in range(dice.choice((1, 1, 1, 2, 2, 3, 5))):
            good = usual and dice.random() < 0.8
            name = "" if good and dice.random() < 0.5 else dice.choice(NAMES)
            address = f"{LOCALS[dice.randrange(4)] if good else dice.choice(LOCALS)}@"
            address += DOMAINS[dice.randrange(4)] if good else dice.choice(DOMAINS)
            members.append(f"{name} <{address}>" if name else address)
        text = members[0]
        for member in members[1:]:
            text += (", " if usual else dice.choice(BETWEEN)) + member
        if dice.random() < 0.1:
            position = dice.randrange(len(text) + 1)
            text = text[:position] + dice.choice(ODD) + text[position:]
        yield text


def header_of(message: Sealed) -> tuple[bytes, str]:
    """The whole header, and its field To unfolded."""
    header = b"".join(message.content.blocks()).partition(b"\r\n\r\n")[0] + b"\r\n"
    fields = re.split(rb"\r\n(?![ \t])", header)
    (to,) = [field[3:] for field in fields if field[:3] == b"To:"] or [b""]
    return header, to.replace(b"\r\n", b"").decode()


@pytest.mark.rule("ADR-10")
@pytest.mark.parametrize("share", range(4))  # four tests, so that they can run beside each other
def test_the_header_and_the_envelope_agree(share: int) -> None:
    dice = random.Random(share)
    source = texts(dice)
    sent = 0
    for turn in range(TEXTS // 4):
        text = next(source)
        fields = {"from": "s@x.example", "to": text, "text": "t"}
        try:
            message = seal(fields, now=NOW, token=lambda: "0", lenient=turn % 4 == 3)
        except MessageError:
            continue
        sent += 1
        header, to = header_of(message)
        assert re.fullmatch(rb"(?:[^\r\n\0]{1,998}\r\n)+", header), text
        told = list(message.envelope.recipients)
        read = list(dict.fromkeys(mailbox.address for mailbox in parse_mailboxes(to, "to")))
        assert read == told, text
        # A second opinion, which knows neither IPv6 literals nor anything of IDNA.
        others = dict.fromkeys(Mailbox("", address).address for _, address in getaddresses([to]))
        assert list(others) == told, text
        if turn % 50 == 0:  # and a third, which is slow
            parsed = HeaderParser(EmailMessage, policy=email.policy.default).parsestr(
                header.decode() + "\r\n"
            )
            third = dict.fromkeys(
                Mailbox("", address.addr_spec).address for address in parsed["to"].addresses
            )
            assert list(third) == told, text
    assert sent > TEXTS // 4 // 4  # most of the work is done on what is sent
