"""Binary content on the wire (RFC 3030 §3): by BDAT alone, octet by octet, whatever else the server offers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from transactions import answer, writes

from mailpool.content import BytesContent, Content, StreamedContent
from mailpool.errors import UnsupportedByServer
from mailpool.results import Phase
from mailpool.smtp.capabilities import Capabilities
from mailpool.smtp.pipeline import ONE_PIECE, Pipeline
from mailpool.smtp.replies import ProtocolViolation
from mailpool.smtp.transaction import Transaction, Verdict, prepare

ANYTHING = b"A: b\r\n\r\n.\r\n\n.\n\r.\r\0\xff\r\n.\r\nMAIL FROM:<evil@x.example>\r\n"
OFFERED = {"CHUNKING": "", "BINARYMIME": ""}


def content(data: bytes = ANYTHING) -> BytesContent:
    return BytesContent(data, eight_bit=True, binary=True)


class Foreign:
    """Content of another class, which says itself how long it is."""

    eight_bit = binary = True
    utf8_headers = False

    def __init__(self, size: int = len(ANYTHING)) -> None:
        self.size = size

    def blocks(self) -> Iterator[bytes]:
        yield ANYTHING[:7]
        yield ANYTHING[7:]


def transaction(what: Content | None = None, recipients: int = 1, **offered: str) -> Transaction:
    to = [f"{i}@y.example" for i in range(recipients)]
    return prepare("a@x.example", to, content() if what is None else what, Capabilities(OFFERED | offered))


MAIL = b"MAIL FROM:<a@x.example> BODY=BINARYMIME\r\n"
RCPT = b"RCPT TO:<0@y.example>\r\n"
BDAT = b"BDAT %d LAST\r\n%s" % (len(ANYTHING), ANYTHING)


class TestPrepared:
    @pytest.mark.parametrize(
        ("offered", "parameters"),
        [
            ({}, " BODY=BINARYMIME"),
            ({"8BITMIME": ""}, " BODY=BINARYMIME"),
            ({"SIZE": "999"}, f" SIZE={len(ANYTHING)} BODY=BINARYMIME"),
        ],
    )
    def test_what_mail_says(self, offered: dict[str, str], parameters: str) -> None:
        assert transaction(**offered).commands[0].decode() == f"MAIL FROM:<a@x.example>{parameters}\r\n"

    def test_with_addresses_that_are_not_ascii(self) -> None:
        t = prepare("ä@x.example", ["b@y.example"], content(), Capabilities(OFFERED | {"SMTPUTF8": ""}))
        assert t.commands[0].endswith(b" BODY=BINARYMIME SMTPUTF8\r\n")

    @pytest.mark.rule("DAT-05")
    @pytest.mark.parametrize(
        "lacking", [{"8BITMIME"}, {"CHUNKING"}, {"BINARYMIME"}, {"CHUNKING", "8BITMIME"}]
    )
    def test_what_the_server_lacks_is_an_error_before_mail(self, lacking: set[str]) -> None:
        everything = Capabilities(dict.fromkeys(["CHUNKING", "BINARYMIME", "8BITMIME", "PIPELINING"], ""))
        offered = everything.without(lacking)
        if lacking == {"8BITMIME"}:
            prepare("a@x.example", ["b@y.example"], content(), offered)
            return
        with pytest.raises(UnsupportedByServer, match="BINARYMIME with CHUNKING") as caught:
            prepare("a@x.example", ["b@y.example"], content(), offered)
        assert caught.value.phase is Phase.MAIL
        assert not caught.value.temporary

    def test_other_content_asks_for_nothing(self) -> None:
        plain = prepare("a@x.example", ["b@y.example"], BytesContent(b"x\r\n"), Capabilities(OFFERED))
        assert plain.commands[0] == b"MAIL FROM:<a@x.example>\r\n"
        assert not plain.chunked


@pytest.mark.rule("DAT-09")
class TestOnTheWire:
    def test_in_one_write_where_commands_may_be_pipelined(self) -> None:
        pipeline = Pipeline(pipelining=True, chunking=True)
        t = transaction()
        pipeline.begin(t)
        assert writes(pipeline) == [MAIL + RCPT + BDAT]
        answer(pipeline, "250 250 250")
        assert (t.verdict, pipeline.is_free) == (Verdict.ACCEPTED, True)

    def test_step_by_step_where_they_may_not(self) -> None:
        pipeline = Pipeline(pipelining=False, chunking=True)
        t = transaction(recipients=2)
        pipeline.begin(t)
        for expected in (MAIL, RCPT, RCPT.replace(b"0", b"1"), BDAT):
            assert writes(pipeline) == [expected]
            assert not pipeline.can_begin
            answer(pipeline, "250")
        assert (t.verdict, pipeline.is_free) == (Verdict.ACCEPTED, True)
        assert writes(pipeline) == []

    @pytest.mark.rule("P-05")
    def test_refused_without_pipelining_it_needs_an_rset_before_the_next(self) -> None:
        pipeline = Pipeline(pipelining=False, chunking=True)
        t = transaction()
        pipeline.begin(t)
        for code in ("250", "250", "552"):
            writes(pipeline)
            answer(pipeline, code)
        assert (t.verdict, t.phase) == (Verdict.REFUSED, Phase.END_OF_DATA)
        assert writes(pipeline) == [b"RSET\r\n"]
        assert not pipeline.can_begin
        answer(pipeline, "250")
        assert pipeline.is_free

    @pytest.mark.rule("P-05")
    @pytest.mark.parametrize("pipelining", [True, False])
    def test_nobody_is_left_to_have_it(self, pipelining: bool) -> None:
        pipeline = Pipeline(pipelining=pipelining, chunking=True)
        t = transaction()
        pipeline.begin(t)
        sent = b"".join(writes(pipeline))
        answer(pipeline, "250")
        sent += b"".join(writes(pipeline))
        answer(pipeline, "550" if not pipelining else "550 554")
        sent += b"".join(writes(pipeline))
        assert (t.verdict, t.phase) == (Verdict.REFUSED, Phase.RCPT)
        assert (b"BDAT" in sent) == pipelining
        assert sent.endswith(b"RSET\r\n")
        assert b"DATA" not in sent

    def test_the_next_message_may_go_by_data(self) -> None:
        pipeline = Pipeline(pipelining=False, chunking=True)
        pipeline.begin(transaction())
        for _ in range(3):
            writes(pipeline)
            answer(pipeline, "250")
        pipeline.begin(Transaction(b"MAIL\r\n", [b"RCPT\r\n"], BytesContent(b".x\r\n")))
        sent = []
        for code in ("250", "250", "354"):
            sent += writes(pipeline)
            answer(pipeline, code)
        assert [*sent, *writes(pipeline)] == [b"MAIL\r\n", b"RCPT\r\n", b"DATA\r\n", b"..x\r\n.\r\n"]

    @pytest.mark.parametrize("pipelining", [True, False])
    def test_large_and_streamed_content(self, pipelining: bool) -> None:
        data = ANYTHING * (ONE_PIECE // len(ANYTHING) + 1)
        for what in (
            content(data),
            StreamedContent([data[:9], content(data[9:])], eight_bit=True, binary=True),
        ):
            pipeline = Pipeline(pipelining=pipelining, chunking=True)
            t = transaction(what)
            pipeline.begin(t)
            sent = b"".join(writes(pipeline))
            if not pipelining:
                for _ in range(2):
                    answer(pipeline, "250")
                    sent += b"".join(writes(pipeline))
            assert sent == MAIL + RCPT + b"BDAT %d LAST\r\n" % len(data) + data

    def test_content_of_another_class(self) -> None:
        pipeline = Pipeline(pipelining=True, chunking=True)
        pipeline.begin(transaction(Foreign()))
        assert b"".join(writes(pipeline)) == MAIL + RCPT + BDAT

    @pytest.mark.parametrize("size", [len(ANYTHING) - 1, len(ANYTHING) + 1])
    def test_content_of_another_class_that_is_not_as_long_as_it_says_is_not_ended(self, size: int) -> None:
        pipeline = Pipeline(pipelining=True, chunking=True)
        t = transaction(Foreign(size))
        pipeline.begin(t)
        with pytest.raises(ValueError, match="octets than it said"):
            writes(pipeline)
        assert pipeline.abandon() == [t]
        assert t.verdict is Verdict.UNSENT

    @pytest.mark.parametrize("pipelining", [True, False])
    def test_a_server_that_does_not_understand_bdat_has_not_taken_it(self, pipelining: bool) -> None:
        pipeline = Pipeline(pipelining=pipelining, chunking=True)
        t = transaction()
        pipeline.begin(t)
        for code in ("250", "250"):
            writes(pipeline)
            answer(pipeline, code)
        assert writes(pipeline) == ([] if pipelining else [BDAT])
        assert pipeline.owes_chunk
        with pytest.raises(ProtocolViolation, match="BDAT is offered and not understood"):
            answer(pipeline, "500")
        assert pipeline.abandon() == [t]
        assert t.verdict is Verdict.UNSENT

    def test_lmtp_has_a_reply_for_each(self) -> None:
        pipeline = Pipeline(pipelining=True, chunking=True, lmtp=True)
        t = transaction(recipients=2)
        pipeline.begin(t)
        assert b"BDAT" not in b"".join(writes(pipeline))
        answer(pipeline, "250 250 250")
        assert writes(pipeline) == [BDAT]
        answer(pipeline, "250 452")
        assert t.verdict is Verdict.ACCEPTED
        assert {index: reply.code for index, reply in (t.replies or {}).items()} == {0: 250, 1: 452}
