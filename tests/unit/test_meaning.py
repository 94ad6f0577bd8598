"""What replies mean: as real providers word them, and as hostile ones may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpool.policy.meaning import TABLE, Less, classify, too_many_recipients
from mailpool.results import Outcome, Phase, Reply

ACCEPTED, REJECTED, DEFERRED = Outcome.ACCEPTED, Outcome.REJECTED, Outcome.DEFERRED
THROTTLED, QUOTA, AUTH_FAILED, REFUSED = (
    Outcome.THROTTLED,
    Outcome.QUOTA,
    Outcome.AUTH_FAILED,
    Outcome.CONNECTION_FAILED,
)
AUTH, MAIL, RCPT, DATA, END, GREETING = (
    Phase.AUTH,
    Phase.MAIL,
    Phase.RCPT,
    Phase.DATA,
    Phase.END_OF_DATA,
    Phase.GREETING,
)

SAID = [
    # Throttling, in every dress.
    ("432 4.3.2 Concurrent connections limit exceeded", MAIL, THROTTLED, None),
    ("432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", END, THROTTLED, None),
    ("432 anything", MAIL, THROTTLED, None),
    ("454 Throttling failure: Maximum sending rate exceeded.", END, THROTTLED, None),
    (
        "450 4.2.1 Peak SMTP relay limit exceeded for customer. This is a temporary error.",
        RCPT,
        THROTTLED,
        None,
    ),
    ("454 4.7.0 Too many login attempts, please try again later.", AUTH, THROTTLED, None),
    ("535 5.7.8 Too many failed logins, try again in 15 minutes", AUTH, THROTTLED, 900),
    ("450 too frequent connects from 192.0.2.1, please try again later.", GREETING, THROTTLED, None),
    ("421 4.4.5 Too many connections", GREETING, THROTTLED, None),
    ("421 too many concurrent SMTP connections", GREETING, THROTTLED, None),
    ("452 4.4.5 rate exceeded", MAIL, THROTTLED, None),
    ("452 4.4.5 Stop", DATA, THROTTLED, None),
    ("550 5.7.0 Requested action not taken: too many emails per second", END, THROTTLED, None),
    ("550 Too many messages. Try again in 92 seconds.", AUTH, THROTTLED, 92),
    ("421 4.7.28 Our system has detected an unusual rate of unsolicited mail", END, THROTTLED, None),
    ("451 4.7.1 You are sending too fast, please slow down; retry after 5 minutes", MAIL, THROTTLED, 300),
    (
        "421 4.4.2 Message submission rate for this client has exceeded the configured limit",
        MAIL,
        THROTTLED,
        None,
    ),
    ("450 4.7.1 Error: too many recipients per minute", RCPT, THROTTLED, None),
    ("451 4.7.1 the limit of 5 per second is reached", MAIL, THROTTLED, None),
    ("450 4.2.1 The user you are trying to contact is receiving mail too quickly", RCPT, DEFERRED, None),
    ("451 4.4.2 Timeout waiting for data from client", MAIL, DEFERRED, None),
    # Quotas: the same codes, another cure.
    ("454 Throttling failure: Daily message quota exceeded.", END, QUOTA, None),
    ("550 5.4.5 Daily user sending limit exceeded.", END, QUOTA, None),
    ("550 5.4.5 whatever it says", RCPT, QUOTA, None),
    ("550 5.7.1 Daily SMTP relay limit exceeded for customer.", RCPT, QUOTA, None),
    ("451 Authentication failed: Maximum credits exceeded", AUTH, QUOTA, None),
    ("452 Too many recipients received this hour", RCPT, QUOTA, None),
    ("452 4.5.3 You have reached your limit of 5000 messages per day", RCPT, QUOTA, None),
    ("554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException", END, QUOTA, None),
    ("550 5.4.6 Unusual sending activity detected. Please try after sometime.", MAIL, QUOTA, None),
    ("450 4.7.1 hourly limit exceeded, try again in an hour", MAIL, QUOTA, 3_600),
    # Logins.
    ("535 5.7.8 Username and Password not accepted", AUTH, AUTH_FAILED, None),
    ("535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", AUTH, AUTH_FAILED, None),
    ("535 Authentication unsuccessful, basic authentication is disabled", AUTH, AUTH_FAILED, None),
    ("550 5.7.30 Basic authentication is not supported for Client Submission.", AUTH, AUTH_FAILED, None),
    ("550 5.7.30 Basic authentication is not supported for Client Submission.", MAIL, AUTH_FAILED, None),
    ("534 5.7.9 Application-specific password required.", AUTH, AUTH_FAILED, None),
    ("538 5.7.11 Encryption required for requested authentication mechanism", AUTH, AUTH_FAILED, None),
    ("530 5.7.0 Authentication Required.", MAIL, AUTH_FAILED, None),
    ("530 5.7.0 Must issue a STARTTLS command first.", MAIL, AUTH_FAILED, None),
    ("530 5.7.57 Client was not authenticated to send anonymous mail", MAIL, AUTH_FAILED, None),
    ("525 5.7.13 Account disabled", AUTH, AUTH_FAILED, None),
    ("554 5.7.8 no", MAIL, AUTH_FAILED, None),
    ("504 5.5.4 Unrecognized authentication type", AUTH, AUTH_FAILED, None),
    ("454 4.7.0 Temporary authentication failure", AUTH, DEFERRED, None),
    # Before any message was concerned.
    ("554 5.7.1 Service unavailable; client host blocked", GREETING, REFUSED, None),
    ("421 Service not available", GREETING, REFUSED, None),
    ("502 5.5.1 not implemented", Phase.STARTTLS, REFUSED, None),
    # The message and its recipients.
    ("550 5.1.1 <bob@example.org>: user unknown", RCPT, REJECTED, None),
    ("550 5.1.1 too many messages for this nobody; daily quota", RCPT, REJECTED, None),
    ("550 no such user", RCPT, REJECTED, None),
    ("552 5.2.2 Mailbox full", RCPT, REJECTED, None),
    ("552 5.2.2 Over quota: daily limit", RCPT, REJECTED, None),
    ("552 Mailbox full", RCPT, REJECTED, None),
    ("452 4.2.2 Mailbox full", RCPT, DEFERRED, None),
    ("554 5.2.2 mailbox full", END, REJECTED, None),
    ("450 mailbox quota exceeded for this account quota", RCPT, DEFERRED, None),
    ("552 5.3.4 message too big", MAIL, REJECTED, None),
    ("554 5.7.1 Relay access denied", RCPT, REJECTED, None),
    ("550 5.7.1 message looks like spam", END, REJECTED, None),
    ("554 5.5.0 too many hops", END, REJECTED, None),
    ("550 5.5.3 too many invalid recipients", MAIL, REJECTED, None),
    ("550 rejected, try again in 5 minutes", END, REJECTED, None),
    ("451 4.7.1 Greylisting in action, please come back in 300 seconds", RCPT, DEFERRED, 300),
    ("451 4.4.2 Timeout waiting for data from client", END, DEFERRED, None),
    ("421 4.3.0 Temporary System Problem. Try again later", MAIL, DEFERRED, None),
    ("421 Connection closed by server. Maximum message count per session reached.", MAIL, DEFERRED, None),
    ("421 4.7.0 Too many messages in this session", MAIL, DEFERRED, None),
    ("452 4.5.3 Too many recipients", RCPT, DEFERRED, None),
    ("452 Too many recipients", RCPT, DEFERRED, None),
    ("451 4.5.3 Too many recipients: Too many recipients", RCPT, DEFERRED, None),
    ("552 Too many recipients", RCPT, DEFERRED, None),
    ("552 too much mail data", END, REJECTED, None),
    ("451 local error", END, DEFERRED, None),
    ("250 2.0.0 Ok: throttled daily quota exceeded", END, ACCEPTED, None),
    ("354 go ahead", DATA, ACCEPTED, None),
]


ASKED = [
    ("421 4.4.5 Too many connections", GREETING, Less.CONNECTIONS),
    ("432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", END, Less.CONNECTIONS),
    ("450 too frequent connects from 192.0.2.1, please try again later.", GREETING, Less.OPENINGS),
    ("421 4.7.0 Too many connections per minute", GREETING, Less.OPENINGS),
    ("454 4.7.0 Too many login attempts, please try again later.", AUTH, Less.OPENINGS),
    ("535 5.7.8 Too many failed logins, try again in 15 minutes", AUTH, Less.OPENINGS),
    ("550 Too many messages. Try again in 92 seconds.", AUTH, Less.RATE),
    ("454 Throttling failure: Maximum sending rate exceeded.", END, Less.RATE),
    ("452 4.4.5 rate exceeded", DATA, Less.RATE),
    ("550 5.7.0 too many emails per second", END, Less.RATE),
    ("421 Connection closed by server. Maximum message count per session reached.", MAIL, Less.SESSION),
    ("452 4.7.0 Too many messages in this session", MAIL, Less.SESSION),
    ("451 4.4.2 Timeout waiting for data from client.", MAIL, Less.IDLENESS),
    ("451 4.4.2 Timeout waiting for data from client.", END, None),
    ("454 Throttling failure: Daily message quota exceeded.", END, None),
    ("552 4.5.3 two messages in this session", MAIL, None),
    ("535 5.7.8 Username and Password not accepted", AUTH, None),
    ("421 Service not available", MAIL, None),
    ("550 5.1.1 too many connections", RCPT, None),
    ("250 2.0.0 Ok: too many connections", END, None),
]


@pytest.mark.rule("P-24")
@pytest.mark.parametrize(("said", "phase", "less"), ASKED)
def test_what_there_should_be_less_of(said: str, phase: Phase, less: Less | None) -> None:
    assert classify(Reply.of(said), phase).less is less


@pytest.mark.rule("P-24")
@pytest.mark.parametrize(
    ("said", "unit", "per"),
    [
        ("454 Throttling failure: Maximum sending rate exceeded.", "recipients", 1),
        ("550 5.7.0 too many emails per second", "messages", 1),
        ("450 4.7.1 Error: too many recipients per minute", "recipients", 60),
        ("452 4.4.5 slower", "messages", None),
        ("421 4.4.5 Too many connections per second", "messages", None),
    ],
)
def test_what_a_rate_counts(said: str, unit: str, per: float | None) -> None:
    meaning = classify(Reply.of(said), RCPT)
    assert (meaning.unit, meaning.per) == (unit, per)


@pytest.mark.rule("P-17")
@pytest.mark.parametrize(("said", "phase", "outcome", "retry_after"), SAID)
def test_as_providers_say_it(said: str, phase: Phase, outcome: Outcome, retry_after: float | None) -> None:
    meaning = classify(Reply.of(said), phase)
    assert (meaning.outcome, meaning.retry_after) == (outcome, retry_after)
    assert bool(meaning.advice) is (outcome is not ACCEPTED)


def test_every_row_of_the_table_is_needed() -> None:
    """Without any one row, some reply above is read otherwise, or gets other advice."""
    from mailpool.policy import meaning as module

    def read() -> list[object]:
        return [classify(Reply.of(said), phase) for said, phase, *_ in (*SAID, *MORE_ADVICE)]

    whole = read()
    try:
        for row in TABLE:
            module.TABLE = tuple(other for other in TABLE if other is not row)
            assert read() != whole, row
    finally:
        module.TABLE = TABLE


MORE_ADVICE = [
    ("550 5.7.60 SMTP; Client does not have permissions: SendAsDenied", END, "may use"),
    ("554 5.2.3 too long", END, "larger"),
    ("550 5.7.30 no", MAIL, "OAuth2"),
    ("535 5.7.139 no", AUTH, "OAuth2"),
    ("535 basic authentication is disabled", AUTH, "OAuth2"),
    ("534 5.7.9 Application-specific password required", AUTH, "application password"),
    ("538 no", AUTH, "TLS"),
    ("530 Must issue a STARTTLS command first", MAIL, "starttls"),
    ("530 Authentication required", MAIL, "set auth"),
    ("535 no", AUTH, "user and password"),
    ("554 relaying denied", RCPT, "relay"),
    ("550 5.1.1 no", RCPT, "list"),
    ("552 5.2.2 no", RCPT, "full"),
    ("451 4.7.1 greylisted", RCPT, "later"),
    ("421 at most 5 messages per connection", MAIL, "max_messages"),
    ("452 4.5.3 no", RCPT, "max_recipients"),
    ("454 Throttling failure", END, "rate"),
    ("432 no", MAIL, "max_connections"),
    ("451 Maximum credits exceeded", AUTH, "quota"),
    ("454 4.7.0 Too many login attempts", AUTH, "Log in less"),
    ("451 no", END, "later"),
    ("554 no", END, "unchanged"),
]


@pytest.mark.parametrize(("said", "phase", "word"), MORE_ADVICE)
def test_advice_is_one_sentence_that_helps(said: str, phase: Phase, word: str) -> None:
    advice = classify(Reply.of(said), phase).advice
    assert word in advice
    assert advice.endswith(".")
    assert "\n" not in advice


@pytest.mark.rule("P-12")
@pytest.mark.parametrize(
    ("said", "yes"),
    [
        ("452 4.5.3 Too many recipients", True), ("452 5.5.3 Too many recipients", True), ("452 Too many recipients", True),
        ("552 Too many recipients", True), ("552 5.5.3 Too many recipients", True), ("552 4.5.3 x", True), ("452 no", True),
        ("552 5.2.2 Mailbox full", False), ("452 4.2.2 full", False), ("452 5.2.2 full", False), ("552 Mailbox full", False),
        ("452 4.3.1 Insufficient system storage", False), ("452 Insufficient system storage", False), ("452 4.4.5 slow", False),
        ("552 5.3.4 Message too large", False), ("552 message size exceeds limit", False), ("452 Too many recipients received this hour", False),
        ("452 4.5.3 daily limit", False), ("450 4.5.3 Too many recipients", False), ("451 4.5.3 Too many recipients: Too many recipients", True),
        ("451 Too many recipients", False), ("451 4.5.3 daily limit", False), ("550 5.5.3 Too many recipients", False),
        ("250 2.1.5 ok", False), ("452 4.5.30 x", False),
    ],
)  # fmt: skip
def test_too_many_recipients(said: str, yes: bool) -> None:
    assert too_many_recipients(Reply.of(said)) is yes


@pytest.mark.parametrize(
    "recipient",
    [
        "<too-many-messages@x.org>",
        "<too fast@x>",
        "throttled@x.org",
        "<daily-quota@x>",
        '<"daily quota exceeded"@x>',
    ],
)
def test_an_address_in_the_text_means_nothing(recipient: str) -> None:
    assert classify(Reply.of(f"550 {recipient} no such user"), RCPT).outcome is REJECTED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("try again in 92 seconds", 92), ("Try Again In 1 second.", 1), ("retry after 5 minutes", 300), ("Retry-After: 30", 30),
        ("retry in 2 h", 7_200), ("wait 60s", 60), ("please wait for 10 min", 600), ("try it again after about 3 minutes", 180),
        ("try again in a minute", 60), ("retry after 500 ms", 0.5), ("retry after 500 milliseconds", 0.5), ("retry in 1.5 seconds", 1.5), ("retry after 9999999 hours", 86_400),
        ("come back in 300 seconds", 300), ("retry after 12", 12),
        ("try again later. 550 errors", None), ("try again", None), ("wait", None), ("in 92 seconds", None), ("retry in 5 apples", None),
        ("entry 5 seconds", None), ("try again in -5 seconds", None), ("retry after 99999999999999999999 hours", None),
    ],
)  # fmt: skip
def test_how_long_to_wait(text: str, seconds: float | None) -> None:
    assert classify(Reply.of(f"451 4.7.1 {text}"), MAIL).retry_after == seconds


def test_the_hint_may_be_on_any_line() -> None:
    reply = Reply.of(
        "421 4.7.0 Too many connections\n421 4.7.0 from your host; try again in 7\n421 4.7.0 seconds"
    )
    assert classify(reply, MAIL).retry_after == 7


def test_of_a_long_reply_only_the_beginning_is_looked_at() -> None:
    # A server may send a quarter of a megabyte; no expression shall ever see it.
    assert classify(Reply(450, (b"x " * 900 + b"throttled",)), MAIL).outcome is THROTTLED
    assert classify(Reply(450, (b"x " * 1_000 + b"throttled",)), MAIL).outcome is DEFERRED


def test_an_empty_reply() -> None:
    assert classify(Reply(450, ()), MAIL).outcome is DEFERRED
    assert classify(Reply(550, (b"",)), MAIL).outcome is REJECTED


@given(st.integers(200, 599), st.lists(st.binary(max_size=200), max_size=4), st.sampled_from(Phase))
def test_any_reply_has_a_meaning(code: int, lines: list[bytes], phase: Phase) -> None:
    reply = Reply(code, tuple(lines))
    meaning = classify(reply, phase)
    assert (meaning.outcome is ACCEPTED) is (code < 400)
    assert meaning.outcome is not REJECTED or (reply.is_permanent and meaning.retry_after is None)
    assert meaning.retry_after is None or 0 <= meaning.retry_after <= 86_400
    too_many_recipients(reply)


@pytest.mark.rule("P-17")
@pytest.mark.parametrize(
    "said",
    [
        "450 4.2.1 The recipient has exceeded their daily receiving limit",
        "550 5.2.1 Recipient's mailbox has exceeded the hourly message limit",
        "452 4.2.1 user has received too many messages today",
    ],
)
def test_what_a_recipient_gets_is_no_quota_of_the_sender(said: str) -> None:
    assert classify(Reply.of(said), Phase.RCPT).outcome in (Outcome.DEFERRED, Outcome.REJECTED)
