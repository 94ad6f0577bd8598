"""LMTP (RFC 2033): how many replies are owed after the end of the data, and to whom each of them belongs."""

from __future__ import annotations

import pytest
from transactions import answer

from mailpool.content import BytesContent
from mailpool.results import Phase, Reply
from mailpool.smtp.pipeline import Pipeline
from mailpool.smtp.replies import ProtocolViolation
from mailpool.smtp.transaction import Transaction, Verdict

ENVELOPE = b"MAIL FROM:<a@x>\r\nRCPT TO:<0@x>\r\nRCPT TO:<1@x>\r\nRCPT TO:<2@x>\r\n"
BODY = b"hi\r\n"
both = pytest.mark.parametrize("chunking", [False, True])


def begun(*, chunking: bool = False, pipelining: bool = True, depth: int = 1) -> tuple[Pipeline, Transaction]:
    pipeline = Pipeline(pipelining=pipelining, chunking=chunking, depth=depth, lmtp=True)
    mail, *rcpts = ENVELOPE.splitlines(keepends=True)
    t = Transaction(mail, rcpts, BytesContent(BODY))
    pipeline.begin(t)
    return pipeline, t


def writes(pipeline: Pipeline) -> bytes:
    return b"".join(iter(pipeline.data_to_send, b""))


@both
def test_the_content_follows_the_replies_to_the_recipients(chunking: bool) -> None:
    pipeline, t = begun(chunking=chunking)
    assert writes(pipeline) == ENVELOPE + (b"" if chunking else b"DATA\r\n")
    answer(pipeline, "250 250 550")
    assert writes(pipeline) == b""
    answer(pipeline, "250" if chunking else "250 354")
    assert writes(pipeline) == (b"BDAT 4 LAST\r\nhi\r\n" if chunking else b"hi\r\n.\r\n")
    assert (t.end_written, pipeline.awaited) == (True, Phase.END_OF_DATA)
    answer(pipeline, "250")
    assert (t.verdict, pipeline.finished) == (Verdict.OPEN, [])
    answer(pipeline, "452")
    assert (t.verdict, pipeline.finished) == (Verdict.ACCEPTED, [t])
    assert t.replies == {0: Reply.of("250"), 2: Reply.of("452")}
    assert (t.refused, t.reply) == ({1: Reply.of("550")}, Reply.of("250"))


@pytest.mark.rule("SRV-16")
@both
def test_srv16_nothing_is_begun_while_replies_are_owed(chunking: bool) -> None:
    pipeline, _ = begun(chunking=chunking, depth=5)
    for codes in ("", "250 250 250", "250" if chunking else "250 354", "250", "250"):
        writes(pipeline)
        answer(pipeline, codes)
        assert not pipeline.can_begin
        assert not pipeline.is_free
    answer(pipeline, "250")
    assert pipeline.can_begin
    assert pipeline.is_free


@pytest.mark.rule("SRV-16")
@both
def test_srv16_one_reply_too_many(chunking: bool) -> None:
    pipeline, t = begun(chunking=chunking)
    writes(pipeline)
    answer(pipeline, "250 250 550 250" if chunking else "250 250 550 250 354")
    writes(pipeline)
    answer(pipeline, "250 250")
    assert t.verdict is Verdict.ACCEPTED
    with pytest.raises(ProtocolViolation):
        answer(pipeline, "250")
    assert pipeline.abandon() == []


@pytest.mark.rule("SRV-16")
@both
@pytest.mark.parametrize(
    ("closing", "goes_on", "verdict"),
    [
        (None, False, Verdict.UNCERTAIN),
        (Reply.of("421"), False, Verdict.UNSENT),
        # It may have gone on to take the message for the last of them.
        (Reply.of("421"), True, Verdict.UNCERTAIN),
    ],
)
def test_srv16_the_connection_ends_amid_the_replies(
    chunking: bool, closing: Reply | None, goes_on: bool, verdict: Verdict
) -> None:
    pipeline, t = begun(chunking=chunking)
    writes(pipeline)
    answer(pipeline, "250 250 250 250" if chunking else "250 250 250 250 354")
    writes(pipeline)
    answer(pipeline, "250 550")
    assert pipeline.abandon(closing, goes_on=goes_on) == [t]
    assert t.replies == {0: Reply.of("250"), 1: Reply.of("550")}
    assert t.verdict is verdict


@both
def test_all_refused_after_the_content(chunking: bool) -> None:
    pipeline, t = begun(chunking=chunking)
    writes(pipeline)
    answer(pipeline, "250 250 250 250" if chunking else "250 250 250 250 354")
    writes(pipeline)
    answer(pipeline, "550 551 552")
    assert (t.verdict, t.phase, t.reply) == (Verdict.REFUSED, Phase.END_OF_DATA, Reply.of("552"))
    assert writes(pipeline) == (b"RSET\r\n" if chunking else b"")


@both
def test_all_refused_before_the_content(chunking: bool) -> None:
    pipeline, t = begun(chunking=chunking)
    writes(pipeline)
    answer(pipeline, "250 550 550 550" if chunking else "250 550 550 550 503")
    assert (t.verdict, t.phase, t.replies) == (Verdict.REFUSED, Phase.RCPT, None)
    assert writes(pipeline) == b"RSET\r\n"


@pytest.mark.rule("SRV-16")
def test_srv16_content_for_nobody_has_no_number_of_replies() -> None:
    pipeline, t = begun()
    writes(pipeline)
    with pytest.raises(ProtocolViolation, match="every recipient was refused"):
        answer(pipeline, "250 550 550 550 354")
    assert pipeline.finished == [t]
    assert (t.verdict, t.phase) == (Verdict.REFUSED, Phase.RCPT)
    assert pipeline.abandon() == []


def test_one_command_at_a_time() -> None:
    pipeline, t = begun(pipelining=False, chunking=True)
    said = []
    for code in ("250", "250", "250", "250", "354"):
        said.append(writes(pipeline))
        answer(pipeline, code)
    assert b"".join(said) == ENVELOPE + b"DATA\r\n"
    assert writes(pipeline) == b"hi\r\n.\r\n"
    answer(pipeline, "250 250 250")
    assert t.verdict is Verdict.ACCEPTED
