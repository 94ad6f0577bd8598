"""Mailbox, domains and the envelope: values that cannot be wrong once built."""

from __future__ import annotations

import copy
import pickle

import pytest

from mailpool.address import Envelope, Mailbox, ascii_domain
from mailpool.errors import AddressError

CONTROLS = [chr(code) for code in (*range(0x20), 0x7F)]


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        pytest.param("John.Doe@EXAMPLE.Com", "John.Doe@example.com", marks=pytest.mark.rule("ADR-14")),
        ('"john"@x', "john@x"),
        ('"john doe"@x', '"john doe"@x'),
        (r'"j\"\o"@x', r'"j\"o"@x'),
        ("a..b@x", '"a..b"@x'),
        ("a.@x", '"a."@x'),
        ("bounce+a=b.example@x", "bounce+a=b.example@x"),
        ("who?@x", "who?@x"),
        ("a@mail_host.example", "a@mail_host.example"),
        pytest.param("a@faß.example", "a@xn--fa-hia.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@MÜNCHEN.example", "a@xn--mnchen-3ya.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@mu\u0308nchen.example", "a@xn--mnchen-3ya.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@com\u00adpany.example", "a@company.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@ｅｘａｍｐｌｅ.com", "a@example.com", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@例え。jp", "a@xn--r8jz45g.jp", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@βόλος.com", "a@xn--nxasmm1c.com", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@XN--R8JZ45G.jp", "a@xn--r8jz45g.jp", marks=pytest.mark.rule("ADR-07")),
        pytest.param("用户@xn--fsqu00a.cn", "用户@例子.cn", marks=pytest.mark.rule("ADR-08")),
        pytest.param("用户@例子.CN", "用户@例子.cn", marks=pytest.mark.rule("ADR-08")),
        pytest.param("a@אב.example", "a@xn--4dbc.example", marks=pytest.mark.rule("ADR-07")),
        # The local part is its host's own matter: neither its case nor its Unicode form is changed.
        pytest.param("u\u0308@x", "u\u0308@x", marks=pytest.mark.rule("ADR-14")),
        pytest.param("a@[192.0.2.1]", "a@[192.0.2.1]", marks=pytest.mark.rule("ADR-11")),
        pytest.param("a@[ipv6:2001:DB8::1]", "a@[IPv6:2001:db8::1]", marks=pytest.mark.rule("ADR-11")),
        pytest.param("a" * 65 + "@x.example", "a" * 65 + "@x.example", marks=pytest.mark.rule("ADR-12")),
    ],
)
def test_normal_form(given: str, normal: str) -> None:
    mailbox = Mailbox("", given)
    assert mailbox.address == normal
    assert Mailbox("", normal) == mailbox
    assert f"{mailbox.local}@{mailbox.domain}" == normal
    assert mailbox.utf8 is not normal.isascii()
    assert Envelope("", [given]).recipients == (normal,)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "@x",
        "a@",
        "a b@x",
        "a@b c",
        "<a@x>",
        "a@x>",
        "a<b@x",
        "A <a@x>",
        '""@x',
        '"a@x',
        'a"@x',
        '"a"b@x',
        '"a""b"@x',
        "a,b@x",
        "(c)a@x",
        pytest.param('"a> ORCPT=x"@h', marks=pytest.mark.rule("INJ-04")),
        pytest.param('"a\\> b"@h', marks=pytest.mark.rule("INJ-04")),
        pytest.param("a@x> SIZE=1", marks=pytest.mark.rule("INJ-04")),
        pytest.param("a@b@c", marks=pytest.mark.rule("ADR-03")),
        pytest.param("a@b..c", marks=pytest.mark.rule("ADR-03")),
        pytest.param("a@b.", marks=pytest.mark.rule("ADR-03")),
        pytest.param("a@b。", marks=pytest.mark.rule("ADR-03")),
        pytest.param("a@münchen.example。", marks=pytest.mark.rule("ADR-03")),
        pytest.param("a@.b", marks=pytest.mark.rule("ADR-03")),
        pytest.param("a@b;c", marks=pytest.mark.rule("ADR-03")),
        pytest.param("a@-b.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@" + "b" * 64 + ".example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@xn--a.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@b\u200dc.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@b／c.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@b＠c.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@b．．c", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@xא.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@א\u202ex.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@\u0301x.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@b\u2024c.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@℀.example", marks=pytest.mark.rule("ADR-07")),
        pytest.param("a@=?utf-8?q?x?=", marks=pytest.mark.rule("ADR-09")),
        pytest.param("a@ü=?utf-8?q?x?=", marks=pytest.mark.rule("ADR-09")),
        pytest.param("ü\u00a0@x", marks=pytest.mark.rule("ADR-07")),
        pytest.param("ü\u202e@x", marks=pytest.mark.rule("ADR-07")),
        pytest.param("ü\ud800@x", marks=pytest.mark.rule("HDR-07")),
        pytest.param("ü\x85@x", marks=pytest.mark.rule("INJ-03")),
        pytest.param("a@[999.0.2.1]", marks=pytest.mark.rule("ADR-11")),
        pytest.param("a@[192.0.2.10", marks=pytest.mark.rule("ADR-11")),
        pytest.param("a@[IPv6:fe80::1%eth0]", marks=pytest.mark.rule("ADR-11")),
        pytest.param("a@[x-tag:y]", marks=pytest.mark.rule("ADR-11")),
        pytest.param("a@[]", marks=pytest.mark.rule("ADR-11")),
        pytest.param("a" * 250 + "@x.example", marks=pytest.mark.rule("ADR-12")),
        pytest.param("ü" * 124 + "@x.example", marks=pytest.mark.rule("ADR-12")),
        pytest.param("a@" + "b." * 130 + "c", marks=pytest.mark.rule("ADR-12")),
        pytest.param("a@" + "ü." * 60 + "c", marks=pytest.mark.rule("ADR-12")),
    ],
)
def test_refused_wherever_it_comes_in(address: str) -> None:
    with pytest.raises(AddressError):
        Mailbox("", address)
    with pytest.raises(AddressError) as caught:
        Envelope("s@x", ["ok@x", address])
    assert caught.value.field == "envelope.to"
    if address:
        with pytest.raises(AddressError) as caught:
            Envelope(address, ["ok@x"])
        assert caught.value.field == "envelope.from"


@pytest.mark.rule("INJ-03")
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize(
    "frame", ["{}a@x", "a{}@x", "a@{}x", "a@x{}", '"a{}b"@x', '"a\\{}b"@x', "ü{}@x", "ü@x{}y"]
)
def test_no_control_character_anywhere(control: str, frame: str) -> None:
    """INJ-03, INJ-05 and, with the quoted frames, INJ-06."""
    address = frame.format(control)
    for build in (
        lambda: Mailbox("", address),
        lambda: Envelope("", [address]),
        lambda: Envelope(address, ["a@x"]),
    ):
        with pytest.raises(AddressError):
            build()


@pytest.mark.rule("INJ-06")
@pytest.mark.parametrize(
    "address",
    ['"a\r\nRCPT TO:<b@y>"@x', '"a\\\r\\\nb"@x', '"a\r\nDATA"@x', '"a\nb"@x', '"a\rb"@x'],
)
def test_no_line_end_in_a_quoted_local_part(address: str) -> None:
    with pytest.raises(AddressError):
        Envelope("", [address])


@pytest.mark.rule("INJ-15")
@pytest.mark.parametrize("char", ["\u760d", "\u760a", "\u560d", "\u010a", "\u010d", "\u0120", "\u013e"])
def test_no_character_is_cut_to_its_low_byte(char: str) -> None:
    envelope = Envelope("", [f"a{char}b@x.example"])
    assert envelope.utf8
    assert envelope.recipients[0].encode() == f"a{char}b@x.example".encode()


@pytest.mark.parametrize("name", ["a\rb", "a\nb", "a\x00b", "a\x1bb", "a\x7fb"])
@pytest.mark.rule("HDR-01")
def test_no_control_character_in_a_name(name: str) -> None:
    with pytest.raises(AddressError, match="control"):
        Mailbox(name, "a@x")


@pytest.mark.rule("HDR-07")
def test_lone_surrogates_in_a_name_become_replacement_characters() -> None:
    assert Mailbox("a\ud83db", "a@x").name == "a\ufffdb"
    assert Mailbox("a\ud83d\ude00b", "a@x").name == "a😀b"


def test_a_mailbox_is_a_value() -> None:
    mailbox = Mailbox(" Ann\tCole ", "a@X")
    assert mailbox.name == "Ann Cole"
    assert mailbox == Mailbox("Ann Cole", "a@x")
    assert len({mailbox, Mailbox("Ann Cole", "a@x")}) == 1
    assert pickle.loads(pickle.dumps(mailbox)) == mailbox == copy.deepcopy(mailbox)
    with pytest.raises(AttributeError):
        mailbox.address = "b@x\r\n"


def test_an_envelope_is_a_value() -> None:
    envelope = Envelope("s@X", ["a@x"])
    assert envelope == Envelope("s@x", ["a@X"])
    assert envelope != Envelope("s@x", ["b@x"])
    assert envelope != "s@x"
    assert len({envelope, Envelope("s@x", ["a@x"])}) == 1
    assert pickle.loads(pickle.dumps(envelope)) == envelope == copy.copy(envelope)
    assert not hasattr(envelope, "__dict__")
    for change in (
        lambda: setattr(envelope, "sender", "x\r\n"),
        lambda: setattr(envelope, "recipients", ("x\r\n",)),
        lambda: delattr(envelope, "sender"),
    ):
        with pytest.raises(AttributeError):
            change()
    assert "s@x" in repr(envelope)
    assert "2 more" in repr(Envelope("", [f"{n}@x" for n in range(5)]))


@pytest.mark.rule("ADR-14")
def test_recipients_are_kept_once_in_order_and_the_local_part_has_case() -> None:
    assert Envelope("", ["b@x", "a@X", "b@X", "A@x", "a@x"]).recipients == ("b@x", "a@x", "A@x")


def test_an_envelope_needs_a_recipient() -> None:
    with pytest.raises(AddressError, match="no recipient"):
        Envelope("s@x", [])
    with pytest.raises(AddressError, match="no recipient"):
        Envelope.between(None, [])


def test_one_string_is_not_a_list_of_recipients() -> None:
    with pytest.raises(AddressError, match="iterable"):
        Envelope("", "a@x")


def test_the_null_reverse_path() -> None:
    assert Envelope("", ["a@x"]).sender == ""
    assert Envelope.between(None, [Mailbox("", "a@x")]) == Envelope("", ["a@x"])


def test_utf8_when_any_address_needs_it() -> None:
    assert not Envelope("a@münchen.example", ["a@x"]).utf8
    assert Envelope("ä@münchen.example", ["a@x"]).utf8
    assert Envelope("a@x", ["b@x", "ä@x"]).utf8


def test_ascii_domain() -> None:
    assert ascii_domain("münchen.example") == "xn--mnchen-3ya.example"
    assert ascii_domain("x.example") == "x.example"
