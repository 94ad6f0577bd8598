"""``ScriptedServer`` without faults: strict, and right in what it answers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mailpool.testing import Fault, MemoryNetwork, ScriptedServer, reply, run_virtual

Scene = Callable[..., None]


@pytest.fixture
def scene(conversation: Any) -> Scene:
    """Plays a script against a server in memory and on virtual time."""

    def play(
        server: ScriptedServer, script: Callable[[Any], Awaitable[None]], *, latency: float = 0.0
    ) -> None:
        async def main() -> None:
            network = MemoryNetwork(latency)
            network.listen("relay", 25, server)
            talk = await conversation.in_memory(network, "relay", 25)
            await script(talk)
            talk.writer.transport.abort()
            await asyncio.sleep(1)

        run_virtual(main)

    return play


def test_takes_a_message_and_tells_all_about_it(scene: Scene) -> None:
    server = ScriptedServer()

    async def script(talk: Any) -> None:
        await talk.begin()
        codes = await talk.codes(
            "MAIL FROM:<a@example.org> SIZE=20 BODY=8BITMIME RET=HDRS ENVID=x+2By",
            "RCPT TO:<b@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@example.org",
            'RCPT TO:<"c d"@[127.0.0.1]>',
            "DATA",
        )
        assert codes == [250, 250, 250, 354]
        assert await talk.codes("Subject: x", "", "..dot", ".", replies=1) == [250]
        assert await talk.codes("QUIT") == [221]
        assert await talk.rest() == b""

    scene(server, script)
    (message,) = server.messages
    assert message.sender == "a@example.org"
    assert message.recipients == ("b@example.org", '"c d"@[127.0.0.1]')
    assert message.mail_parameters == {"SIZE": "20", "BODY": "8BITMIME", "RET": "HDRS", "ENVID": "x+2By"}
    assert message.recipient_parameters["b@example.org"]["NOTIFY"] == "SUCCESS,DELAY"
    assert message.content == b"Subject: x\r\n\r\n.dot\r\n"
    assert message.size == len(message.content)
    assert (message.connection, message.number, message.mail_turn, message.end_turn) == (0, 0, 1, 2)
    assert message.email["Subject"] == "x"
    (record,) = server.connections
    assert record.violations == []
    assert [turn.commands for turn in record.turns] == [
        ["EHLO"],
        ["MAIL", "RCPT", "RCPT", "DATA"],
        ["END"],
        ["QUIT"],
    ]
    assert record.quit_seen
    assert record.closed_by == "server"
    assert record.helo == "client.example"
    assert server.commands() == record.lines
    assert server.open_connections == 0
    assert server.peak_connections == 1


def test_two_round_trips_become_one_when_the_content_leads_the_next_group(scene: Scene) -> None:
    server = ScriptedServer()

    async def script(talk: Any) -> None:
        await talk.begin()
        envelope = "MAIL FROM:<a@example.org>\nRCPT TO:<b@example.org>\nDATA\n"
        talk.send(envelope)
        for _ in range(3):
            await talk.reply()
        for _ in range(2):
            talk.send("Subject: x\n\nhi\n.\n" + envelope)
            for _ in range(4):
                await talk.reply()

    scene(server, script, latency=0.05)
    record = server.connections[0]
    assert record.violations == []
    assert [turn.commands for turn in record.turns[2:]] == [["END", "MAIL", "RCPT", "DATA"]] * 2


def test_a_turn_is_what_cannot_be_an_answer_yet(scene: Scene) -> None:
    """Two writes, the second before the answer to the first can have arrived: one round trip."""
    server = ScriptedServer()

    async def script(talk: Any) -> None:
        await talk.begin()
        await asyncio.sleep(1)
        talk.send("MAIL FROM:<a@example.org>\n")
        await asyncio.sleep(0.05)
        talk.send("RCPT TO:<b@example.org>\n")
        await talk.reply()
        await talk.reply()
        await talk.ask("RSET")

    scene(server, script, latency=0.1)
    assert [turn.commands for turn in server.connections[0].turns] == [["EHLO"], ["MAIL", "RCPT"], ["RSET"]]
    assert server.connections[0].writes == 4


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (["MAIL FROM:<a@b.example>"], [503]),
        (["EHLO x", "RCPT TO:<a@b.example>"], [250, 503]),
        (["EHLO x", "DATA"], [250, 503]),
        (["EHLO x", "MAIL FROM:<a@b.example>", "MAIL FROM:<a@b.example>"], [250, 250, 503]),
        (["EHLO x", "MAIL FROM:<a@b.example>", "DATA"], [250, 250, 554]),
        (["EHLO x", "MAIL FROM:<a@b.example>", "RSET", "MAIL FROM:<>"], [250, 250, 250, 250]),
        (["EHLO x", "MAIL FROM:<a@b.example>", "EHLO x", "MAIL FROM:<>"], [250, 250, 250, 250]),
        (["EHLO x", "STARTTLS"], [250, 454]),
        (["EHLO x", "AUTH PLAIN AGEAYg=="], [250, 504]),
        (["EHLO x", "BDAT 3 LAST"], [250, 500]),
        (["EHLO x y"], [501]),
        (["EHLO"], [501]),
        (["HELO x", "MAIL FROM:<a@b.example>", "RCPT TO:<Postmaster>"], [250, 250, 250]),
        (["HELO x", "MAIL FROM:<a@b.example> SIZE=1"], [250, 555]),
        (["EHLO x", "NOOP", "NOOP hi", "VRFY a", "VRFY", "HELP", "EXPN x", "WIZ", ""], [250, 250, 250, 252, 501, 214, 502, 500, 500]),
    ],
)  # fmt: skip
def test_order_of_commands(scene: Scene, lines: list[str], codes: list[int]) -> None:
    server = ScriptedServer()

    async def script(talk: Any) -> None:
        await talk.reply()
        assert [(await talk.codes(line))[0] for line in lines] == codes

    scene(server, script)
    assert server.violations == []


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("MAIL FROM: <a@b.example>", 501),
        ("MAIL FROM:a@b.example", 501),
        ("MAIL FROM:<a@b.example", 501),
        ("MAIL FROM:<a@b@c.example>", 501),
        ("MAIL FROM:<a b@c.example>", 501),
        ("MAIL FROM:<@x.example:a@b.example>", 501),
        ("MAIL FROM:<" + "x" * 65 + "@b.example>", 501),
        ("MAIL FROM:<a@b.example>SIZE=1", 501),
        ("MAIL FROM:<a@b.example>  SIZE=1", 501),
        ("MAIL FROM:<a@b.example> SIZE=x", 501),
        ("MAIL FROM:<a@b.example> SIZE", 501),
        ("MAIL FROM:<a@b.example> SIZE=1 SIZE=1", 501),
        ("MAIL FROM:<a@b.example> BODY=BINARYMIME", 555),
        ("MAIL FROM:<a@b.example> FOO=bar", 555),
        ("MAIL FROM:<a@b.example> NOTIFY=NEVER", 555),
        ("MAIL FROM:<a@b.example> ENVID=a+zz", 501),
        ("MAIL FROM:<a@b.example> SIZE=99999999", 552),
        ("MAIL FROM:<ü@b.example>", 553),
        ("MAIL FROM:<ü@b.example> SMTPUTF8", 250),
        ("mail from:<a@b.example> size=1", 250),
        ('MAIL FROM:<"a\\"b"@b.example>', 250),
    ],
)
def test_syntax_of_mail(scene: Scene, line: str, code: int) -> None:
    async def script(talk: Any) -> None:
        await talk.begin()
        assert await talk.codes(line) == [code]

    scene(ScriptedServer(), script)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("RCPT TO:<>", 501),
        ("RCPT TO:<b>", 501),
        ("RCPT TO:<b@c.example> NOTIFY=NEVER,SUCCESS", 501),
        ("RCPT TO:<b@c.example> NOTIFY=never", 250),
        ("RCPT TO:<b@c.example> SIZE=1", 555),
        ("RCPT TO:<ü@c.example>", 553),
    ],
)
def test_syntax_of_rcpt(scene: Scene, line: str, code: int) -> None:
    async def script(talk: Any) -> None:
        await talk.begin("MAIL FROM:<a@example.org>")
        assert await talk.codes(line) == [code]

    scene(ScriptedServer(), script)


@pytest.mark.parametrize(
    ("sent", "violation"),
    [
        ("EHLO x\nNOOP\n", "octets were sent before the reply to EHLO"),
        ("EHLO x\n|DATA\nhello\n", "octets were sent before the reply to DATA"),
        ("EHLO x\n|NOOP\nNOOP\n", "octets were sent before the reply to NOOP"),
        ("EHLO x\n|QUIT\nNOOP\n", "octets were sent before the reply to QUIT"),
        ("HELO x\n|MAIL FROM:<a@b.example>\nRSET\n", "octets were sent before the reply to MAIL"),
        ("EHLO x\n|" + "NOOP " + "x" * 600 + "\n", "NOOP is longer than a command may be"),
        ("EHLO x\n|NOOP \x07\n", "a control character in a command"),
    ],
)
def test_violations_of_commands(scene: Scene, sent: str, violation: str) -> None:
    server = ScriptedServer()

    async def script(talk: Any) -> None:
        await talk.reply()
        for group in sent.split("|"):
            talk.send(group)
            await asyncio.sleep(1)

    scene(server, script)
    assert server.violations == [violation]


@pytest.mark.parametrize("octets", [b"NOOP\nRSET\r\n", b"NOOP\rRSET\r\n", b"NOOP\r\r\n"])
def test_only_crlf_ends_a_command(scene: Scene, octets: bytes) -> None:
    server = ScriptedServer()

    async def script(talk: Any) -> None:
        await talk.begin()
        talk.send(octets)
        assert (await talk.reply()).startswith("500")

    scene(server, script)
    assert server.violations == ["a bare CR or LF in a command"]


def test_a_command_that_ends_with_a_bare_lf_is_noted_though_never_answered(scene: Scene) -> None:
    server = ScriptedServer()

    async def script(talk: Any) -> None:
        await talk.begin()
        talk.send(b"NOOP\n")
        await asyncio.sleep(1)

    scene(server, script)
    assert server.violations == ["a bare CR or LF in a command"]
    assert server.connections[0].unfinished == b"NOOP\n"


def test_speaking_before_the_greeting_is_noted(scene: Scene) -> None:
    server = ScriptedServer(latency=0.1)

    async def script(talk: Any) -> None:
        talk.send("EHLO x\n")
        await talk.reply()
        await talk.reply()

    scene(server, script)
    assert server.violations == ["octets were sent before the reply to the greeting"]


@pytest.mark.parametrize(
    "end", ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\n.\n", "\r\r\n.\n", "\n\n.\r\n"]
)
def test_only_crlf_dot_crlf_ends_the_content(scene: Scene, end: str) -> None:
    server = ScriptedServer()
    smuggled = f"Subject: x\r\n\r\nhi{end}MAIL FROM:<evil@example.org>\r\n".encode()

    async def script(talk: Any) -> None:
        await talk.begin("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA")
        talk.send(smuggled + b".\r\n")
        assert (await talk.reply()).startswith("250")

    scene(server, script)
    assert len(server.messages) == 1
    assert "a bare CR or LF in the content" in server.violations


def test_content_is_the_same_however_it_is_cut(scene: Scene) -> None:
    content = b".\r\n..\r\n\r\n.a\r\n\r\n...\r\n"
    stuffed = b"".join(
        b"." + line if line.startswith(b".") else line for line in content.splitlines(keepends=True)
    )
    for size in range(1, len(stuffed) + 6):
        server = ScriptedServer()

        async def script(talk: Any, size: int = size) -> None:
            await talk.begin("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA")
            sent = stuffed + b".\r\n"
            for start in range(0, len(sent), size):
                talk.send(sent[start : start + size])
                await asyncio.sleep(0.1)
            assert (await talk.reply()).startswith("250")

        scene(server, script)
        assert server.messages[0].content == content
        assert server.violations == []


@pytest.mark.parametrize(
    ("content", "violation"),
    [
        ("x" * 999 + "\n", "a line of content is longer than 998 octets"),
        (".x\n", "a line of content starts with a dot that is not doubled"),
        ("ü\n", "octets above 127 in the content, and neither BODY nor SMTPUTF8 said so"),
        ("\0\n", "a NUL in the content"),
    ],
)
def test_violations_of_content(scene: Scene, content: str, violation: str) -> None:
    server = ScriptedServer()

    async def script(talk: Any) -> None:
        await talk.begin()
        assert await talk.message(content) == [250, 250, 354, 250]

    scene(server, script)
    assert server.violations == [violation]


def test_empty_content_and_content_without_keeping(scene: Scene) -> None:
    server = ScriptedServer(keep_content=False)

    async def script(talk: Any) -> None:
        await talk.begin()
        assert (await talk.message(""))[-1] == 250
        assert (await talk.message("x\n" * 100_000))[-1] == 250

    scene(server, script)
    assert [(message.size, message.content) for message in server.messages] == [(0, b""), (300_000, b"")]


def test_content_over_the_announced_size_is_refused(scene: Scene) -> None:
    server = ScriptedServer(capabilities=["SIZE 10", "PIPELINING"])

    async def script(talk: Any) -> None:
        await talk.begin()
        assert (await talk.message("x" * 20 + "\n"))[-1] == 552
        assert (await talk.message("x\n"))[-1] == 250

    scene(server, script)
    assert [(message.number, message.size) for message in server.messages] == [(1, 3)]


def test_limits_are_enforced(scene: Scene) -> None:
    server = ScriptedServer(capabilities=["PIPELINING", "LIMITS MAILMAX=1 RCPTMAX=1"])

    async def script(talk: Any) -> None:
        await talk.begin()
        assert await talk.message("x\n", "b@example.org", "c@example.org") == [250, 250, 452, 354, 250]
        assert await talk.codes("MAIL FROM:<a@example.org>") == [452]

    scene(server, script)


def test_an_unfinished_message_is_not_a_message(scene: Scene) -> None:
    server = ScriptedServer()

    async def script(talk: Any) -> None:
        await talk.begin("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA")
        talk.send("half\na mess")
        talk.writer.close()
        await asyncio.sleep(1)

    scene(server, script)
    assert server.messages == []
    assert server.connections[0].closed_by == "client"
    assert server.connections[0].unfinished == b"half\r\na mess"
    assert not server.connections[0].quit_seen


class TestChunking:
    """RFC 3030."""

    server_options: ClassVar[dict[str, Any]] = {
        "capabilities": ["PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME", "SIZE 100"]
    }

    def test_chunks_make_a_message(self, scene: Scene) -> None:
        server = ScriptedServer(**self.server_options)

        async def script(talk: Any) -> None:
            await talk.begin()
            talk.send(
                b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nBDAT 5\r\n.a\r\n.BDAT 3 LAST\r\n\r\nxRSET\r\n"
                b"MAIL FROM:<c@example.org>\r\nRCPT TO:<b@example.org>\r\nBDAT 3\r\nx\r\nBDAT 0 LAST\r\n"
            )
            assert [(await talk.reply())[:3] for _ in range(9)] == ["250"] * 9

        scene(server, script)
        assert [message.content for message in server.messages] == [b".a\r\n.\r\nx", b"x\r\n"]
        assert all(message.chunked for message in server.messages)
        assert server.violations == []
        assert len(server.connections[0].turns) == 2

    def test_lmtp_answers_each_recipient(self, scene: Scene) -> None:
        server = ScriptedServer(lmtp=True, **self.server_options)

        async def script(talk: Any) -> None:
            await talk.reply()
            for hello in ("EHLO me", "HELO me", "LHLO me"):
                assert await talk.codes(hello) == [250 if hello.startswith("L") else 500]
            for end in ("DATA\r\n", "BDAT 3 LAST\r\nx\r\n"):
                talk.send(
                    b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\n"
                )
                talk.send(end.encode())
                assert [(await talk.reply())[:3] for _ in range(3)] == ["250"] * 3
                if end == "DATA\r\n":
                    assert (await talk.reply()).startswith("354")
                    talk.send(b"x\r\n.\r\n")
                assert [await talk.reply() for _ in range(2)] == [
                    "250 2.0.0 <b@example.org> ok",
                    "250 2.0.0 <c@example.org> ok",
                ]
            # Nobody is to have it: DATA is refused, and BDAT has no reply at all (RFC 2033 §4.2, §4.3).
            assert await talk.codes("MAIL FROM:<a@example.org>", "DATA") == [250, 503]
            talk.send(b"BDAT 3 LAST\r\nx\r\nNOOP\r\n")
            assert (await talk.reply()).startswith("250")

        scene(server, script)
        assert [(*message.recipients, message.chunked) for message in server.messages] == [
            ("b@example.org", False),
            ("c@example.org", False),
            ("b@example.org", True),
            ("c@example.org", True),
        ]
        assert server.violations == []

    def test_after_a_failed_chunk_only_rset_helps(self, scene: Scene) -> None:
        server = ScriptedServer(**self.server_options)

        async def script(talk: Any) -> None:
            await talk.begin("MAIL FROM:<a@example.org>")
            assert await talk.codes("BDAT 4", "hi", replies=1) == [554]
            assert await talk.codes("BDAT 4 LAST", "hi", replies=1) == [503]
            assert await talk.codes("MAIL FROM:<b@example.org>") == [503]
            assert await talk.codes("RCPT TO:<b@example.org>") == [503]
            assert await talk.codes("RSET", "MAIL FROM:<b@example.org>") == [250, 250]

        scene(server, script)
        assert server.messages == []

    def test_without_a_sender_data_and_large_chunks_are_refused(self, scene: Scene) -> None:
        server = ScriptedServer(**self.server_options)

        async def script(talk: Any) -> None:
            await talk.begin()
            assert await talk.codes("BDAT 4 LAST", "hi", replies=1) == [503]
            assert await talk.codes("BDAT x") == [501]
            await talk.ask("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>")
            assert await talk.codes("BDAT 4", "hi", replies=1) == [250]
            assert await talk.codes("DATA") == [503]
            assert await talk.codes("BDAT 102 LAST", "x" * 100, replies=1) == [552]
            await talk.ask("RSET", "MAIL FROM:<a@example.org> BODY=BINARYMIME", "RCPT TO:<b@example.org>")
            assert await talk.codes("DATA") == [503]

        scene(server, script)

    def test_binary_content_may_hold_anything_and_other_content_may_not(self, scene: Scene) -> None:
        server = ScriptedServer(**self.server_options)

        async def script(talk: Any) -> None:
            await talk.begin("MAIL FROM:<a@example.org> BODY=BINARYMIME", "RCPT TO:<b@example.org>")
            talk.send(b"BDAT 4 LAST\r\n\r\0\n\xff")
            assert (await talk.reply()).startswith("250")
            assert server.violations == []
            await talk.ask("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>")
            talk.send(b"BDAT 2 LAST\r\na\n")
            await talk.reply()

        scene(server, script)
        assert server.violations == ["a bare CR or LF in the content"]

    def test_a_chunk_whose_mail_was_refused_is_what_that_said_it_is(self, scene: Scene) -> None:
        server = ScriptedServer(
            **self.server_options, faults=[Fault(at="MAIL", do=reply("451 4.3.0 later"), times=None)]
        )

        async def script(talk: Any) -> None:
            await talk.begin()
            for body in (b"8BITMIME", b"BINARYMIME"):
                talk.send(b"MAIL FROM:<a@example.org> BODY=%s\r\nBDAT 4 LAST\r\n\xff\0\r\n" % body)
                assert (await talk.reply()).startswith("451")
                assert (await talk.reply()).startswith("503")

        scene(server, script)
        assert server.violations == []

    def test_a_chunk_with_a_long_line(self, scene: Scene) -> None:
        server = ScriptedServer(**{**self.server_options, "capabilities": ["CHUNKING"]})

        async def script(talk: Any) -> None:
            await talk.begin("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>")
            talk.send(b"BDAT 1001 LAST\r\n" + b"x" * 999 + b"\r\n")
            assert (await talk.reply()).startswith("250")

        scene(server, script)
        assert server.violations == ["a line of content is longer than 998 octets"]

    @pytest.mark.parametrize(
        ("announced", "body", "code"),
        [
            (("CHUNKING", "BINARYMIME"), "BINARYMIME", 250),
            (("CHUNKING", "BINARYMIME"), "7BIT", 250),
            (("CHUNKING", "BINARYMIME"), "8BITMIME", 555),
            (("CHUNKING", "8BITMIME"), "BINARYMIME", 555),
            (("BINARYMIME", "8BITMIME"), "BINARYMIME", 555),
            (("CHUNKING",), "7BIT", 555),
        ],
    )
    def test_which_body_may_be_said(
        self, scene: Scene, announced: tuple[str, ...], body: str, code: int
    ) -> None:
        async def script(talk: Any) -> None:
            await talk.begin()
            assert await talk.codes(f"MAIL FROM:<a@example.org> BODY={body}") == [code]

        scene(ScriptedServer(capabilities=announced), script)

    def test_a_server_that_keeps_the_sender_mixes_two_messages_up(self, scene: Scene) -> None:
        """The hazard that RSET is for: message 2 travels under message 1's sender."""
        server = ScriptedServer(**self.server_options, keeps_sender_after_bdat=True)

        async def script(talk: Any) -> None:
            await talk.begin("MAIL FROM:<first@example.org>")
            assert await talk.codes("BDAT 4 LAST", "hi", replies=1) == [554]
            codes = await talk.codes("MAIL FROM:<second@example.org>", "RCPT TO:<b@example.org>")
            assert codes == [503, 250]
            assert await talk.codes("BDAT 4 LAST", "hi", replies=1) == [250]

        scene(server, script)
        assert server.messages[0].sender == "first@example.org"


class TestAuth:
    """RFC 4954 and the mechanisms."""

    def play(self, scene: Scene, mechanism: str, script: Callable[[Any], Awaitable[None]]) -> ScriptedServer:
        server = ScriptedServer(auth={"me": "secret"}, mechanisms=[mechanism])

        async def authenticate(talk: Any) -> None:
            await talk.reply()
            assert f"AUTH {mechanism}" in (await talk.ask("EHLO x"))[0]
            assert await talk.codes("MAIL FROM:<a@example.org>") == [530]
            await script(talk)
            assert await talk.codes("AUTH PLAIN AAAA") == [503]
            assert "AUTH" not in (await talk.ask("EHLO x"))[0]
            assert await talk.codes("MAIL FROM:<a@example.org>") == [250]

        scene(server, authenticate)
        assert server.violations == []
        assert server.connections[0].user == "me"
        return server

    def test_plain(self, scene: Scene) -> None:
        async def script(talk: Any) -> None:
            assert await talk.codes(f"AUTH PLAIN {b64('x')}") == [535]
            assert await talk.codes("AUTH PLAIN ?") == [501]
            assert await talk.codes("AUTH NONE") == [504]
            assert await talk.ask("AUTH PLAIN") == ["334 "]
            assert await talk.codes("*") == [501]
            assert await talk.ask("AUTH PLAIN") == ["334 "]
            assert await talk.codes(b64("\0me\0wrong")) == [535]
            assert await talk.codes(f"AUTH PLAIN {b64(chr(0) + 'me' + chr(0) + 'secret')}") == [235]

        self.play(scene, "PLAIN", script)

    def test_login(self, scene: Scene) -> None:
        async def script(talk: Any) -> None:
            assert await talk.ask("AUTH LOGIN") == [f"334 {b64('Username:')}"]
            assert await talk.ask(b64("me")) == [f"334 {b64('Password:')}"]
            assert await talk.codes(b64("nonsense")) == [535]
            assert await talk.ask(f"AUTH LOGIN {b64('me')}") == [f"334 {b64('Password:')}"]
            assert await talk.codes(b64("secret")) == [235]

        self.play(scene, "LOGIN", script)

    def test_cram_md5(self, scene: Scene) -> None:
        async def script(talk: Any) -> None:
            assert await talk.codes(f"AUTH CRAM-MD5 {b64('me')}") == [501]
            (reply,) = await talk.ask("AUTH CRAM-MD5")
            digest = hmac.new(b"secret", base64.b64decode(reply[4:]), hashlib.md5).hexdigest()
            assert await talk.codes(b64(f"me {digest}")) == [235]

        self.play(scene, "CRAM-MD5", script)

    def test_xoauth2(self, scene: Scene) -> None:
        async def script(talk: Any) -> None:
            (reply,) = await talk.ask(
                f"AUTH XOAUTH2 {b64('user=me' + chr(1) + 'auth=Bearer old' + chr(1) * 2)}"
            )
            assert b'"status":"401"' in base64.b64decode(reply[4:])
            assert await talk.codes("") == [535]
            token = b64("user=me\x01auth=Bearer secret\x01\x01")
            assert await talk.codes(f"AUTH XOAUTH2 {token}") == [235]

        self.play(scene, "XOAUTH2", script)

    def test_oauthbearer(self, scene: Scene) -> None:
        async def script(talk: Any) -> None:
            token = b64("n,a=me,\x01host=relay\x01auth=Bearer secret\x01\x01")
            assert await talk.codes(f"AUTH OAUTHBEARER {token}") == [235]

        self.play(scene, "OAUTHBEARER", script)

    def test_scram_with_the_numbers_computed_by_hand(self, scene: Scene) -> None:
        async def script(talk: Any) -> None:
            (reply,) = await talk.ask(f"AUTH SCRAM-SHA-256 {b64('n,,n=me,r=abc')}")
            offer = base64.b64decode(reply[4:]).decode()
            nonce, salt, rounds = (part[2:] for part in offer.split(","))
            salted = hashlib.pbkdf2_hmac("sha256", b"secret", base64.b64decode(salt), int(rounds))
            key = hmac.digest(salted, b"Client Key", "sha256")
            bare = f"c=biws,r={nonce}"
            transcript = f"n=me,r=abc,{offer},{bare}".encode()
            signature = hmac.digest(hashlib.sha256(key).digest(), transcript, "sha256")
            proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
            (reply,) = await talk.ask(b64(f"{bare},p={proof}"))
            server_key = hmac.digest(salted, b"Server Key", "sha256")
            expected = base64.b64encode(hmac.digest(server_key, transcript, "sha256"))
            assert base64.b64decode(reply[4:]) == b"v=" + expected
            assert await talk.codes("") == [235]

        self.play(scene, "SCRAM-SHA-256", script)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class TestSockets:
    """The same server on real sockets."""

    async def test_ipv4(self, converse: Any) -> None:
        async with ScriptedServer() as server:
            talk = await (await converse(server)).begin()
            assert (await talk.message())[-1] == 250
            assert server.open_connections == 1
            assert (await server.wait_for_messages(1))[0].recipients == ("b@example.org",)
        assert server.open_connections == 0
        assert server.connections[0].closed_by == "server"

    async def test_ipv6(self, converse: Any) -> None:
        try:
            server = await ScriptedServer(host="::1").__aenter__()
        except OSError as error:
            pytest.skip(f"no IPv6 on this machine: {error}")
        assert (await (await (await converse(server)).begin()).message())[-1] == 250
        await server.stop()

    async def test_unix_socket(self, converse: Any, tmp_path: Path) -> None:
        async with ScriptedServer(path=tmp_path / "smtp") as server:
            assert (await (await (await converse(server)).begin()).message())[-1] == 250
        assert not (tmp_path / "smtp").exists()

    async def test_refusing_stopping_and_coming_back_on_the_same_port(self, converse: Any) -> None:
        async with ScriptedServer() as server:
            port = server.port
            old = await (await converse(server)).begin()
            server.refuse_connections(True)
            with pytest.raises(ConnectionRefusedError):
                await converse(server)
            assert await old.codes("NOOP") == [250]
            server.refuse_connections(False)
            new = await (await converse(server)).begin()
            await server.restart()
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await new.ask("NOOP")
            await (await converse(server)).begin()
            assert server.port == port
            await server.stop()
            with pytest.raises(ConnectionRefusedError):
                await converse(server)
            await server.start()
            await (await converse(server)).begin()
        assert len(server.connections) == 4

    async def test_waiting_for_messages_tells_how_many_came(self) -> None:
        async with ScriptedServer() as server:
            with pytest.raises(TimeoutError, match="0 of 1 messages"):
                await server.wait_for_messages(1, timeout=0.01)

    async def test_a_wait_ends_with_the_last_message(self, converse: Any) -> None:
        async with ScriptedServer() as server:
            waiting = asyncio.create_task(server.wait_for_messages(2))
            talk = await (await converse(server)).begin()
            await talk.message()
            assert not waiting.done()
            await talk.message()
            assert len(await waiting) == 2

    async def test_back_pressure(self, converse: Any) -> None:
        async with ScriptedServer() as server:
            talk = await (await converse(server)).begin()
            server.pause_reading()
            late = await converse(server)
            assert (await late.reply()).startswith("220")
            talk.send("NOOP\n")
            late.send("EHLO x\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(talk.reply(), 0.05)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(late.reply(), 0.05)
            server.resume_reading()
            assert (await talk.reply()).startswith("250")
            assert (await late.reply()).startswith("250")


class TestTls:
    async def test_starttls_forgets_everything(self, converse: Any, authority: Any) -> None:
        options = {"auth": {"me": "secret"}, "require_tls": True}
        async with ScriptedServer(tls=authority.server_context("127.0.0.1"), **options) as server:
            talk = await converse(server)
            await talk.reply()
            (offer,) = await talk.ask("EHLO x")
            assert "STARTTLS" in offer
            assert "AUTH" not in offer
            assert await talk.codes("MAIL FROM:<a@example.org>") == [530]
            assert await talk.codes("AUTH PLAIN AG1lAHNlY3JldA==") == [530]
            assert await talk.codes("STARTTLS") == [220]
            await talk.writer.start_tls(authority.client_context(), server_hostname="127.0.0.1")
            assert await talk.codes("MAIL FROM:<a@example.org>") == [503]
            (offer,) = await talk.ask("EHLO x")
            assert "STARTTLS" not in offer
            assert await talk.codes("AUTH PLAIN AG1lAHNlY3JldA==") == [235]
            assert (await talk.message())[-1] == 250
            assert await talk.codes("QUIT") == [221]
            assert await talk.rest() == b""
        assert server.violations == []
        assert server.handshakes == 1
        record = server.connections[0]
        assert record.tls is not None
        assert record.tls.version == "TLSv1.3"
        assert not record.tls.session_reused
        assert server.messages[0].tls
        assert server.messages[0].user == record.user == "me"

    async def test_implicit_tls_with_a_large_message(self, converse: Any, authority: Any) -> None:
        tls = authority.server_context("localhost")
        async with ScriptedServer(tls=tls, implicit_tls=True, latency=0.005) as server:
            talk = await converse(server, ssl=authority.client_context(), server_hostname="localhost")
            await talk.begin()
            assert (await talk.message("x" * 70 + "\n" + "y\n" * 200_000))[-1] == 250
            talk.writer.close()
            await talk.writer.wait_closed()
            while server.open_connections:
                await asyncio.sleep(0.01)
            assert server.connections[0].tls is not None
            assert server.connections[0].tls.close_notify
        assert server.messages[0].size == 72 + 600_000
        assert server.violations == []
        assert [turn.commands for turn in server.connections[0].turns] == [
            ["EHLO"],
            ["MAIL", "RCPT", "DATA"],
            ["END"],
        ]

    async def test_a_session_is_resumed(self, authority: Any) -> None:
        context = authority.client_context()
        async with ScriptedServer(tls=authority.server_context("127.0.0.1"), implicit_tls=True) as server:

            def connect(session: ssl.SSLSession | None) -> ssl.SSLSession | None:
                import socket

                with (
                    socket.create_connection((server.host, server.port)) as plain,
                    context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secured,
                ):
                    secured.recv(100)
                    secured.sendall(b"EHLO x\r\n")
                    secured.recv(1000)
                    return secured.session

            session = await asyncio.to_thread(connect, None)
            await asyncio.to_thread(connect, session)
        assert [record.tls and record.tls.session_reused for record in server.connections] == [False, True]
        assert server.handshakes == 2

    async def test_octets_smuggled_behind_starttls_are_noted_and_dropped(
        self, converse: Any, authority: Any
    ) -> None:
        async with ScriptedServer(tls=authority.server_context("127.0.0.1")) as server:
            talk = await (await converse(server)).begin()
            talk.send("STARTTLS\nNOOP\n")
            assert (await talk.reply()).startswith("220")
            await talk.writer.start_tls(authority.client_context(), server_hostname="127.0.0.1")
            (reply,) = await talk.ask("EHLO x")
            assert "scripted" in reply
        assert server.violations == ["octets were sent before the reply to STARTTLS"]

    async def test_a_client_that_does_not_trust_us(self, converse: Any, authority: Any) -> None:
        async with ScriptedServer(
            tls=authority.server_context("127.0.0.1", begins=-9), implicit_tls=True
        ) as server:
            with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
                await converse(server, ssl=authority.client_context(), server_hostname="127.0.0.1")
        assert server.handshakes == 0
        assert server.connections[0].tls is None

    async def test_clear_text_where_tls_belongs(self, converse: Any, authority: Any) -> None:
        async with ScriptedServer(tls=authority.server_context("127.0.0.1"), implicit_tls=True) as server:
            talk = await converse(server)
            talk.send("EHLO x\n")
            await talk.rest()
        assert server.connections[0].tls_error is not None

    def test_tls_needs_a_context(self) -> None:
        with pytest.raises(ValueError, match="TLS needs a context"):
            ScriptedServer(implicit_tls=True)


def test_capabilities_may_depend_on_the_connection(scene: Scene) -> None:
    server = ScriptedServer(capabilities=lambda record: ["PIPELINING"] if record.index else ["HELP"])

    async def script(talk: Any) -> None:
        await talk.reply()
        assert (await talk.ask("EHLO x"))[0].split("\n")[1:] == ["250 HELP"]

    scene(server, script)
