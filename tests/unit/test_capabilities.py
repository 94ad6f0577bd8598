"""What a reply to EHLO offers."""

from __future__ import annotations

import pytest

from mailpool.results import Reply
from mailpool.smtp.capabilities import Capabilities, Limits


def offered(*lines: str) -> Capabilities:
    return Capabilities.parse(
        Reply.of("\n".join(f"250-{line}" for line in ("mail.example.org greets you", *lines)))
    )


FLAGS = {
    "PIPELINING": "pipelining", "CHUNKING": "chunking", "8BITMIME": "eight_bit_mime", "SMTPUTF8": "smtputf8", "STARTTLS": "starttls",
    "DSN": "dsn", "ENHANCEDSTATUSCODES": "enhanced_status_codes", "SIZE": "size_declared",
}  # fmt: skip


@pytest.mark.parametrize(("keyword", "attribute"), FLAGS.items())
def test_each_keyword_in_any_case(keyword: str, attribute: str) -> None:
    for line in (keyword, keyword.lower(), f"{keyword} parameter", f"{keyword} "):
        caps = offered(line)
        assert getattr(caps, attribute) is True
        assert keyword in caps
        assert keyword.lower() in caps
        assert [name for name in FLAGS.values() if getattr(caps, name)] == [attribute]


def test_binarymime_needs_chunking() -> None:
    assert offered("BINARYMIME").binarymime is False
    assert offered("CHUNKING").binarymime is False
    assert offered("BINARYMIME", "CHUNKING").binarymime is True


@pytest.mark.rule("SRV-19")
@pytest.mark.parametrize(
    "greeting", ["PIPELINING", "x-dsn.example SIZE here", "mail-auth.example AUTH PLAIN", "STARTTLS"]
)
def test_the_greeting_line_offers_nothing(greeting: str) -> None:
    caps = Capabilities.parse(Reply.of(f"250-{greeting}\n250 HELP"))
    assert list(caps.keywords) == ["HELP"]
    assert caps.auth == ()
    assert Capabilities.parse(Reply.of(f"250 {greeting}")) == Capabilities.none()


@pytest.mark.rule("SRV-19")
@pytest.mark.parametrize(
    "line",
    [
        "XPIPELINING",
        "PIPELINING2",
        "8BITMIMEX",
        "X-PIPELINING",
        "XAUTH PLAIN",
        "AUTHX PLAIN",
        "NO STARTTLS",
        "SIZEX 5",
        "DSN=1",
        "-DSN",
        "",
    ],
)
def test_a_keyword_is_whole_and_stands_first(line: str) -> None:
    caps = offered(line)
    assert not any(getattr(caps, name) for name in FLAGS.values())
    assert caps.auth == ()
    assert caps.size is None


@pytest.mark.rule("SRV-12")
@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("SIZE 35882577", 35_882_577), ("size 1000", 1000), ("SIZE 0", None), ("SIZE", None), ("SIZE abc", None), ("SIZE -5", None),
        ("SIZE 1e9", None), ("SIZE ٣", None), ("SIZE 1000 2000", 1000), (f"SIZE {'9' * 20}", int("9" * 20)), (f"SIZE {'9' * 5000}", None),
    ],
)  # fmt: skip
def test_size(line: str, size: int | None) -> None:
    assert offered(line).size == size
    assert offered(line).size_declared


@pytest.mark.rule("SRV-12")
@pytest.mark.parametrize(
    ("lines", "auth"),
    [
        (["AUTH LOGIN plain"], ("LOGIN", "PLAIN")),
        (["AUTH=LOGIN"], ("LOGIN",)),
        (["AUTH=LOGIN PLAIN", "AUTH PLAIN CRAM-MD5"], ("LOGIN", "PLAIN", "CRAM-MD5")),
        (["auth plain", "AUTH plain", "AUTH XOAUTH2"], ("PLAIN", "XOAUTH2")),
        (["AUTH"], ()),
        (["AUTH  PLAIN   LOGIN "], ("PLAIN", "LOGIN")),
        (["AUTH PL\tAIN ../x LOGIN " + "X" * 21], ("LOGIN",)),
        (["AUTH SCRAM-SHA-256-PLUS XOAUTH2"], ("SCRAM-SHA-256-PLUS", "XOAUTH2")),
    ],
)
def test_mechanisms_in_the_server_s_order(lines: list[str], auth: tuple[str, ...]) -> None:
    assert offered(*lines).auth == auth


@pytest.mark.rule("SRV-12")
def test_ten_thousand_keywords_are_no_burden() -> None:
    caps = offered(*(f"X{i}" for i in range(10_000)))
    assert len(caps.keywords) == 500
    caps = offered("PIPELINING", *(f"AUTH X{i} LOGIN" for i in range(10_000)))
    assert caps.pipelining
    assert len(caps.auth) == 50


@pytest.mark.rule("SRV-12")
def test_the_first_of_two_counts() -> None:
    assert offered("SIZE 100", "SIZE 900").keywords == {"SIZE": "100"}


@pytest.mark.rule("SRV-18")
@pytest.mark.parametrize(
    ("line", "limits"),
    [
        ("LIMITS MAILMAX=1 RCPTMAX=20 RCPTDOMAINMAX=3", Limits(1, 20, 3)),
        ("limits rcptmax=5", Limits(rcpt_max=5)),
        ("LIMITS MAILMAX=0 RCPTMAX=x RCPTDOMAINMAX=-1", Limits()),
        ("LIMITS MAILMAX=1000000 RCPTMAX", Limits()),
        ("LIMITS XMAILMAX=3 MAILMAXX=4", Limits()),
        ("LIMITS", Limits()),
        ("HELP MAILMAX=1", Limits()),
    ],
)
def test_limits(line: str, limits: Limits) -> None:
    assert offered(line).limits == limits


def test_switched_off() -> None:
    caps = offered("PIPELINING", "CHUNKING", "AUTH PLAIN", "SIZE 10")
    less = caps.without(frozenset({"pipelining", "AUTH", "SIZE", "NEVER"}))
    assert list(less.keywords) == ["CHUNKING"]
    assert (less.auth, less.size, less.pipelining) == ((), None, False)
    assert caps.pipelining
    assert caps.without(frozenset({"NEVER"})) is caps


def test_a_value() -> None:
    caps = offered("DSN", "SIZE 10")
    assert caps == offered("SIZE 10", "DSN")
    assert hash(caps) == hash(offered("SIZE 10", "DSN"))
    assert caps != Capabilities.none()
    assert repr(caps) == "<Capabilities DSN SIZE>"
    assert repr(Capabilities.none()) == "<Capabilities none>"
    assert caps != 7
    assert 7 not in caps
    assert "PIPELINING" not in caps
    with pytest.raises(TypeError):
        caps.keywords["X"] = ""
