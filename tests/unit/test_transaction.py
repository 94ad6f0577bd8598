"""A transaction is prepared for what the server offers, and says so before a byte is written when that is too little."""

from __future__ import annotations

import pytest

from mailpool.content import BytesContent
from mailpool.errors import Rejected, UnsupportedByServer
from mailpool.results import Phase
from mailpool.smtp.capabilities import Capabilities
from mailpool.smtp.commands import InvalidCommand
from mailpool.smtp.transaction import Transaction, Verdict, prepare

EVERYTHING = Capabilities(dict.fromkeys(["SIZE", "8BITMIME", "SMTPUTF8", "PIPELINING"], ""))
ASCII = BytesContent(b"x\r\n")
EIGHT_BIT = BytesContent(b"\xff\r\n", eight_bit=True)
UTF8_HEADERS = BytesContent("ä: ü\r\n".encode(), eight_bit=True, utf8_headers=True)


def mail_line(
    content: BytesContent,
    capabilities: Capabilities,
    sender: str = "a@example.org",
    to: str = "b@example.org",
) -> str:
    return prepare(sender, [to], content, capabilities).commands[0].decode().removesuffix("\r\n")


class TestParameters:
    @pytest.mark.parametrize(
        ("content", "offered", "parameters"),
        [
            (ASCII, {}, ""),
            (ASCII, {"SIZE": ""}, " SIZE=3"),
            (ASCII, {"SIZE": "3"}, " SIZE=3"),
            (ASCII, {"SIZE": "0"}, " SIZE=3"),
            (ASCII, {"SIZE": "abc"}, " SIZE=3"),
            (ASCII, {"8BITMIME": "", "SMTPUTF8": ""}, ""),
            (EIGHT_BIT, {"8BITMIME": ""}, " BODY=8BITMIME"),
            (EIGHT_BIT, {"8BITMIME": "", "SIZE": "", "SMTPUTF8": ""}, " SIZE=3 BODY=8BITMIME"),
            (UTF8_HEADERS, {"8BITMIME": "", "SMTPUTF8": ""}, " BODY=8BITMIME SMTPUTF8"),
        ],
    )
    def test_mail(self, content: BytesContent, offered: dict[str, str], parameters: str) -> None:
        assert mail_line(content, Capabilities(offered)) == f"MAIL FROM:<a@example.org>{parameters}"

    @pytest.mark.parametrize(
        ("sender", "recipient"),
        [("ä@example.org", "b@example.org"), ("a@example.org", "ü@example.org"), ("", "ü@example.org")],
    )
    def test_an_address_that_is_not_ascii(self, sender: str, recipient: str) -> None:
        assert mail_line(ASCII, EVERYTHING, sender, recipient) == f"MAIL FROM:<{sender}> SIZE=3 SMTPUTF8"

    @pytest.mark.rule("P-03")
    @pytest.mark.rule("POL-10")
    def test_nothing_of_one_message_reaches_the_next(self) -> None:
        first = prepare("ä@example.org", ["ü@example.org", "c@example.org"], UTF8_HEADERS, EVERYTHING)
        second = prepare("a@example.org", ["b@example.org"], ASCII, EVERYTHING)
        assert b"SMTPUTF8" in first.commands[0]
        assert second.commands == (
            b"MAIL FROM:<a@example.org> SIZE=3\r\n",
            b"RCPT TO:<b@example.org>\r\n",
            b"DATA\r\n",
        )


class TestTooLittleOffered:
    @pytest.mark.rule("INJ-16")
    @pytest.mark.parametrize(
        ("sender", "recipient"), [("ä@example.org", "b@example.org"), ("a@example.org", "ü@example.org")]
    )
    @pytest.mark.parametrize("offered", [{}, {"8BITMIME": "", "SIZE": ""}, {"SMTPUTF8X": ""}])
    def test_no_smtputf8(self, sender: str, recipient: str, offered: dict[str, str]) -> None:
        with pytest.raises(UnsupportedByServer, match="SMTPUTF8"):
            mail_line(ASCII, Capabilities(offered), sender, recipient)

    @pytest.mark.parametrize(
        ("content", "offered", "words"),
        [
            (ASCII, {"SIZE": "2"}, "3 octets, and the server takes 2"),
            (EIGHT_BIT, {"SMTPUTF8": ""}, "8BITMIME"),
            (UTF8_HEADERS, {"8BITMIME": ""}, "SMTPUTF8"),
        ],
    )
    def test_the_error_is_final_and_typed(
        self, content: BytesContent, offered: dict[str, str], words: str
    ) -> None:
        with pytest.raises(UnsupportedByServer, match=words) as caught:
            mail_line(content, Capabilities(offered))
        error = caught.value
        assert isinstance(error, Rejected)
        assert (error.phase, error.reply, error.temporary) == (Phase.MAIL, None, False)

    @pytest.mark.rule("INJ-03")
    @pytest.mark.rule("INJ-05")
    @pytest.mark.parametrize("address", ["a@b\r\nRCPT TO:<x>", "a@b> SIZE=1", "a@b\x00"])
    def test_a_bad_address_that_came_this_far(self, address: str) -> None:
        for sender, recipient in ((address, "b@example.org"), ("a@example.org", address)):
            with pytest.raises(InvalidCommand):
                prepare(sender, [recipient], ASCII, EVERYTHING)


class TestTransaction:
    def test_a_new_one(self) -> None:
        token = object()
        t = prepare("", ["b@example.org", "c@example.org"], ASCII, Capabilities.none(), token)
        assert t.token is token
        assert (t.verdict, t.recipient_count, t.reply, t.refused) == (Verdict.OPEN, 2, None, {})
        assert not t.is_pointless
        assert not t.mail_answered
        assert repr(t) == "<Transaction open in MAIL FROM, 0 of 0 answered>"

    def test_its_end(self) -> None:
        t = Transaction(b"MAIL\r\n", [b"RCPT\r\n"], ASCII)
        t.end(Verdict.UNCERTAIN, Phase.END_OF_DATA)
        assert (t.verdict, t.phase) == (Verdict.UNCERTAIN, Phase.END_OF_DATA)
        assert "uncertain in end of data" in repr(t)
