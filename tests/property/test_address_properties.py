"""What holds for all addresses, with the standard library's parser as the second opinion."""

from __future__ import annotations

import contextlib
import email.policy
from email.message import EmailMessage
from email.parser import BytesParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailpool.address import Mailbox, decode_words, display, encode_words, parse_addresses, parse_mailboxes
from mailpool.errors import AddressError

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=80)
LOCALS = st.one_of(
    st.from_regex(r"[a-z0-9!#$%&'*+/=^_`{|}~-]{1,12}(\.[a-z0-9]{1,5})?", fullmatch=True),
    st.from_regex(r'"[ -!#-;=?-\[\]-~]{1,12}"', fullmatch=True).filter(lambda text: "=?" not in text),
)
DOMAINS = st.sampled_from(["x.example", "mail.x.example", "[192.0.2.1]", "xn--fa-hia.example"])
NAMES = st.one_of(TEXT, st.text('ab ,"\\<>@()=?.;:é', max_size=40))
MAILBOXES = st.builds(lambda name, local, domain: Mailbox(name, f"{local}@{domain}"), NAMES, LOCALS, DOMAINS)


@given(MAILBOXES)
@example(Mailbox("=?utf-8?q?=0d=0a?=", "a@x"))
@example(Mailbox("<b@evil.example>, c", "a@x"))
@pytest.mark.rule("HDR-10")
def test_what_is_displayed_parses_back(mailbox: Mailbox) -> None:
    assert parse_mailboxes(display(mailbox), "to") == (mailbox,)


@given(st.lists(MAILBOXES, min_size=1, max_size=4))
@pytest.mark.rule("HDR-10")
def test_the_standard_library_reads_the_same_addresses(mailboxes: list[Mailbox]) -> None:
    text = ", ".join(map(display, mailboxes))
    message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(
        f"To: {text}\r\n\r\n".encode()
    )
    read = message["to"].addresses
    assert [Mailbox("", address.addr_spec).address for address in read] == [m.address for m in mailboxes]


@given(st.text(st.sampled_from('ab@.,;:<>()[]"\\ \t=?é1-'), max_size=24))
@settings(max_examples=2000)
@pytest.mark.rule("ADR-10")
def test_whatever_is_read_reads_the_same_once_written(text: str) -> None:
    try:
        mailboxes = parse_mailboxes(text, "to")
    except AddressError:
        return
    assert parse_mailboxes(", ".join(map(display, mailboxes)), "to") == mailboxes
    # Nobody is lost or invented: outside quotes and comments, each mailbox takes one @.
    if not set(text) & set('"(') and "=?" not in text:
        assert text.count("@") == len(mailboxes)


@given(st.text(max_size=30), st.booleans())
def test_no_text_breaks_the_parser(text: str, lenient: bool) -> None:
    with contextlib.suppress(AddressError):
        for mailbox in parse_addresses(text, lenient=lenient):
            assert not set(mailbox.address) & set("<>\r\n\x00")


@given(st.text(st.sampled_from('ab@.,;:<>()[]"\\ \t\n=?é1-'), max_size=24))
@settings(max_examples=2000)
def test_the_lenient_grammar_takes_what_the_strict_one_takes(text: str) -> None:
    try:
        mailboxes = parse_addresses(text)
    except AddressError:
        return
    read = parse_addresses(text, lenient=True)
    assert (tuple(read), read.repairs) == (tuple(mailboxes), ())


@given(st.text(st.sampled_from("ab@.,;<>[]' \n"), max_size=24))
@settings(max_examples=2000)
@pytest.mark.rule("ADR-05")
def test_the_lenient_grammar_loses_nobody_and_tells_what_it_did(text: str) -> None:
    try:
        read = parse_addresses(text, lenient=True)
    except AddressError:
        return
    # Each @ is that of a recipient, or of a name that is the same address once more.
    named = sum("@" in mailbox.name for mailbox in read)
    assert text.count("@") == len(read) + named
    with contextlib.suppress(AddressError):
        assert tuple(parse_addresses(text.replace("\n ", " "))) == tuple(read)
        return
    assert read.repairs


@given(MAILBOXES, st.text(st.sampled_from('ab@.,;<> \n"'), max_size=16))
@settings(max_examples=500)
def test_one_odd_address_does_not_change_how_its_neighbours_are_read(mailbox: Mailbox, odd: str) -> None:
    try:
        alone = tuple(parse_addresses(odd, lenient=True))
    except AddressError:
        return
    assert tuple(parse_addresses(f"{display(mailbox)},{odd}", lenient=True)) == (mailbox, *alone)


@given(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=300),
    st.integers(0, 75),
    st.integers(40, 75),
)
@example("é" * 200, 0, 75)
@example("a" * 200 + "😀" * 50, 24, 40)
def test_encoded_words_are_short_whole_and_complete(text: str, first: int, longest: int) -> None:
    words = encode_words(text, first=first, longest=longest)
    assert len(words[0]) <= max(first, 24)
    for word in words:
        assert len(word) <= 75
        assert "\ufffd" not in decode_words([word]).replace(
            "\ufffd", "", text.count("\ufffd")
        )  # no character is split
    assert decode_words(words) == text
