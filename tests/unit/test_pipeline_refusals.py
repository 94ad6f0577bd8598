"""A refusal fails its own message, and the connection goes on (P-05): each stage, with PIPELINING and without."""

from __future__ import annotations

import pytest
from transactions import talk, transaction

from mailpool.results import Phase, Reply
from mailpool.smtp.pipeline import Pipeline
from mailpool.smtp.replies import ProtocolViolation
from mailpool.smtp.transaction import Verdict

M, R0, R1, D = b"MAIL FROM:<a@x>\r\n", b"RCPT TO:<0@a>\r\n", b"RCPT TO:<1@a>\r\n", b"DATA\r\n"
CONTENT, DOT, RSET = b"hi\r\n.\r\n", b".\r\n", b"RSET\r\n"
ALL = M + R0 + R1 + D
ACCEPTED, REFUSED = Verdict.ACCEPTED, Verdict.REFUSED
END = Phase.END_OF_DATA


# With PIPELINING: replies; writes; verdict, phase, number of the reply that decided (None: the refused recipients did);
# the refused recipients and the number of the reply to each.
PIPELINED = {
    "accepted": ("250 250 250 354 250", [ALL, CONTENT], ACCEPTED, END, 4, {}),
    "251 and 252 are acceptance": ("250 251 252 354 250", [ALL, CONTENT], ACCEPTED, END, 4, {}),
    "one recipient refused": ("250 550 250 354 250", [ALL, CONTENT], ACCEPTED, END, 4, {0: 1}),
    "the other one, for now": ("250 250 450 354 250", [ALL, CONTENT], ACCEPTED, END, 4, {1: 2}),
    "MAIL refused": ("550 503 503 503", [ALL], REFUSED, Phase.MAIL, 0, {}),
    "MAIL refused for now": ("451 503 503 503", [ALL], REFUSED, Phase.MAIL, 0, {}),
    "MAIL refused, DATA believed": ("550 503 503 354 250", [ALL, DOT], REFUSED, Phase.MAIL, 0, {}),
    "all refused": ("250 550 551 554 250", [ALL, RSET], REFUSED, Phase.RCPT, None, {0: 1, 1: 2}),
    "all refused for now": ("250 450 452 503 250", [ALL, RSET], REFUSED, Phase.RCPT, None, {0: 1, 1: 2}),
    "all refused, DATA believed": (
        "250 550 551 354 554",
        [ALL, DOT],
        REFUSED,
        Phase.RCPT,
        None,
        {0: 1, 1: 2},
    ),
    "the same, the dot taken": ("250 550 551 354 250", [ALL, DOT], REFUSED, Phase.RCPT, None, {0: 1, 1: 2}),
    "DATA refused": ("250 250 250 554 250", [ALL, RSET], REFUSED, Phase.DATA, 3, {}),
    "DATA refused for now": ("250 250 250 451 250", [ALL, RSET], REFUSED, Phase.DATA, 3, {}),
    "DATA and one refused": ("250 550 250 554 250", [ALL, RSET], REFUSED, Phase.DATA, 3, {0: 1}),
    "content refused": ("250 250 250 354 552", [ALL, CONTENT], REFUSED, END, 4, {}),
    "content refused for now": ("250 250 250 354 452", [ALL, CONTENT], REFUSED, END, 4, {}),
    "content and one refused": ("250 250 550 354 554", [ALL, CONTENT], REFUSED, END, 4, {1: 2}),
}
ONE_BY_ONE = {
    "accepted": ("250 250 250 354 250", [M, R0, R1, D, CONTENT], ACCEPTED, END, 4, {}),
    "one recipient refused": ("250 550 250 354 250", [M, R0, R1, D, CONTENT], ACCEPTED, END, 4, {0: 1}),
    "the last recipient refused": ("250 250 450 354 250", [M, R0, R1, D, CONTENT], ACCEPTED, END, 4, {1: 2}),
    "MAIL refused": ("550", [M], REFUSED, Phase.MAIL, 0, {}),
    "MAIL refused for now": ("451", [M], REFUSED, Phase.MAIL, 0, {}),
    "all refused": ("250 550 450 250", [M, R0, R1, RSET], REFUSED, Phase.RCPT, None, {0: 1, 1: 2}),
    "DATA refused": ("250 250 250 554 250", [M, R0, R1, D, RSET], REFUSED, Phase.DATA, 3, {}),
    "content refused": ("250 250 250 354 452", [M, R0, R1, D, CONTENT], REFUSED, END, 4, {}),
}
ROWS = [(True, name, *row) for name, row in PIPELINED.items()] + [
    (False, name, *row) for name, row in ONE_BY_ONE.items()
]


@pytest.mark.rule("P-05")
@pytest.mark.rule("SRV-14")
@pytest.mark.rule("POL-09")
@pytest.mark.parametrize(
    ("pipelining", "codes", "sent", "verdict", "phase", "decided", "refused"),
    [(row[0], *row[2:]) for row in ROWS],
    ids=[f"{'pipelined' if row[0] else 'one by one'}: {row[1]}" for row in ROWS],
)
def test_every_refusal(
    pipelining: bool,
    codes: str,
    sent: list[bytes],
    verdict: Verdict,
    phase: Phase,
    decided: int | None,
    refused: dict[int, int],
) -> None:
    def reply(number: int) -> Reply:
        return Reply.of(f"{codes.split()[number]} reply {number}")

    pipeline = Pipeline(pipelining=pipelining)
    t = transaction(recipients=2)
    pipeline.begin(t)
    assert talk(pipeline, codes) == sent
    assert pipeline.finished == [t]
    assert (t.verdict, t.phase) == (verdict, phase)
    assert t.reply == (None if decided is None else reply(decided))
    assert t.refused == {index: reply(number) for index, number in refused.items()}
    # In order again, and the next message goes its way.
    assert pipeline.is_idle
    assert pipeline.in_flight == []
    pipeline.finished.clear()
    second = transaction("b", 1)
    pipeline.begin(second)
    talk(pipeline, "250 250 354 250")
    assert pipeline.finished == [second]
    assert second.verdict is ACCEPTED


class TestOutOfPlace:
    """A reply of a class that cannot answer the command ends the connection (P-07)."""

    @pytest.mark.rule("SRV-02")
    @pytest.mark.parametrize("pipelining", [True, False])
    @pytest.mark.parametrize(
        ("before", "code", "words"),
        [
            ("", "354", "MAIL was answered 354"),
            ("", "334", "MAIL was answered"),
            ("250", "354", "RCPT was answered 354"),
            ("250 250", "334", "RCPT was answered"),
            ("250 250 250", "250", "DATA was answered 250"),
            ("250 250 250", "221", "DATA was answered 221"),
            ("250 250 250 354", "354", "the end of the data was answered 354"),
            ("250 550 550", "334", None),
        ],
    )
    def test_every_stage(self, pipelining: bool, before: str, code: str, words: str | None) -> None:
        pipeline = Pipeline(pipelining=pipelining)
        t = transaction(recipients=2)
        pipeline.begin(t)
        talk(pipeline, before)
        if words is None:
            pipeline = Pipeline(pipelining=True)
            pipeline.begin(t := transaction(recipients=2))
            talk(pipeline, f"{before} 554")
            words = "RSET was answered"
        with pytest.raises(ProtocolViolation, match=words):
            talk(pipeline, code)
        assert t.verdict is not ACCEPTED

    def test_data_believed_but_with_success(self) -> None:
        pipeline = Pipeline(pipelining=True)
        pipeline.begin(transaction(recipients=2))
        with pytest.raises(ProtocolViolation, match="DATA was answered 250"):
            talk(pipeline, "250 550 550 250")

    def test_mail_refused_and_a_recipient_taken(self) -> None:
        """The server has kept the sender of the message before: nothing it takes now is ours to believe."""
        pipeline = Pipeline(pipelining=True)
        t = transaction(recipients=2)
        pipeline.begin(t)
        with pytest.raises(ProtocolViolation, match="MAIL was refused"):
            talk(pipeline, "550 250")
        assert pipeline.abandon() == [t]
        assert t.verdict is Verdict.UNSENT

    @pytest.mark.parametrize("code", ["500", "421", "451", "354"])
    def test_rset_refused(self, code: str) -> None:
        pipeline = Pipeline(pipelining=True)
        t = transaction(recipients=2)
        pipeline.begin(t)
        talk(pipeline, "250 250 250 554")
        assert pipeline.awaited is Phase.RSET
        with pytest.raises(ProtocolViolation, match="RSET"):
            talk(pipeline, code)
        assert pipeline.finished == [t]
        assert pipeline.abandon() == []


class TestRset:
    @pytest.mark.rule("P-05")
    def test_with_pipelining_the_next_message_travels_with_it(self) -> None:
        pipeline = Pipeline(pipelining=True)
        pipeline.begin(transaction(recipients=2))
        list(iter(pipeline.data_to_send, b""))
        for code in ("250", "550", "550", "503"):
            pipeline.receive(Reply.of(code))
        assert pipeline.can_begin
        second = transaction("b", 1)
        pipeline.begin(second)
        assert talk(pipeline, "250 550 503") == [RSET + b"MAIL FROM:<b@x>\r\nRCPT TO:<0@b>\r\nDATA\r\n"]
        # 250 was for RSET; the second message has no sender, and therefore no RSET of its own.
        assert (second.verdict, second.phase) == (Verdict.OPEN, Phase.MAIL)
        assert talk(pipeline, "503") == []
        assert (second.verdict, second.reply) == (REFUSED, Reply.of("550 reply 1"))

    def test_without_it_the_next_message_waits_for_its_answer(self) -> None:
        pipeline = Pipeline(pipelining=False)
        pipeline.begin(transaction(recipients=2))
        assert talk(pipeline, "250 550 550")[-1] == RSET
        assert not pipeline.can_begin
        talk(pipeline, "250")
        assert pipeline.can_begin

    @pytest.mark.rule("DAT-12")
    def test_with_pipelining_the_next_message_travels_with_the_lone_dot(self) -> None:
        pipeline = Pipeline(pipelining=True)
        first, second = transaction(recipients=2), transaction("b", 1)
        pipeline.begin(first)
        list(iter(pipeline.data_to_send, b""))
        for code in ("250", "550", "550", "354"):
            pipeline.receive(Reply.of(code))
        assert pipeline.finished == [first]
        pipeline.begin(second)
        sent = talk(pipeline, "554 250 250 354 250")
        assert sent == [DOT + b"MAIL FROM:<b@x>\r\nRCPT TO:<0@b>\r\nDATA\r\n", CONTENT]
        assert [t.verdict for t in pipeline.finished] == [REFUSED, ACCEPTED]


class TestPointless:
    def test_a_refused_sender_stops_the_rest_of_a_long_list(self) -> None:
        pipeline = Pipeline(pipelining=True)
        t = transaction(recipients=300)
        pipeline.begin(t)
        sent = talk(pipeline, " ".join(["550"] + ["503"] * 99))
        assert [w.count(b"\r\n") for w in sent] == [100]
        assert (t.verdict, t.phase, t.answered) == (REFUSED, Phase.MAIL, 100)
        assert pipeline.is_idle

    def test_without_pipelining_no_data_when_nobody_is_left(self) -> None:
        pipeline = Pipeline(pipelining=False)
        pipeline.begin(transaction(recipients=3))
        assert D not in talk(pipeline, "250 550 450 550")

    def test_data_goes_on_for_the_one_who_is_left_of_many(self) -> None:
        pipeline = Pipeline(pipelining=True)
        t = transaction(recipients=200)
        pipeline.begin(t)
        sent = talk(pipeline, " ".join(["250"] + ["550"] * 199 + ["250", "354", "250"]))
        assert sent[-1] == CONTENT
        assert (t.verdict, len(t.refused), 199 in t.refused) == (ACCEPTED, 199, False)
