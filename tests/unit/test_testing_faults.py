"""Faults: where they strike, and what each action does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mailpool.testing import (
    Action,
    Fault,
    Incident,
    MemoryNetwork,
    ScriptedServer,
    close,
    deliver_then_close,
    deliver_then_reset,
    deliver_then_stall,
    drip,
    extra,
    partial,
    raw,
    refuse_connection,
    reply,
    reply_then_close,
    reset,
    run_virtual,
    stall,
)

Script = Callable[["Stage"], Awaitable[None]]
Play = Callable[..., ScriptedServer]


class Stage:
    """Where a script plays: a server with faults, in memory and on virtual time."""

    def __init__(self, server: ScriptedServer, conversation: Any) -> None:
        self.server = server
        self._conversation = conversation
        self._network = MemoryNetwork()
        self._network.listen("relay", 25, server)
        self._opened: list[Any] = []

    async def connect(self) -> Any:
        self._opened.append(await self._conversation.in_memory(self._network, "relay", 25))
        return self._opened[-1]

    async def play(self, script: Script) -> None:
        await script(self)
        for conversation in self._opened:
            conversation.writer.transport.abort()
        await asyncio.sleep(1)


@pytest.fixture
def play(conversation: Any) -> Play:
    """Plays a script on a stage with these faults, and returns the server."""

    def run(script: Script, *faults: Fault, **options: Any) -> ScriptedServer:
        server = ScriptedServer(faults=faults, **options)
        run_virtual(lambda: Stage(server, conversation).play(script), timers=True)
        return server

    return run


def now() -> float:
    return asyncio.get_running_loop().time()


class TestWhere:
    def test_a_refused_recipient_is_none(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            assert await talk.message("x\n", "nobody@example.org", "b@example.org") == [
                250,
                550,
                250,
                354,
                250,
            ]
            assert await talk.message("x\n", "nobody@example.org") == [250, 550, 554]
            assert await talk.codes("RSET") == [250]

        refused = reply("550 5.1.1 no such user")
        server = play(script, Fault(at="RCPT", match=r"<nobody@", do=refused, times=None))
        assert [message.recipients for message in server.messages] == [("b@example.org",)]
        assert len(server.faults.struck) == 2

    def test_a_refused_sender_begins_no_message(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            assert await talk.message() == [451, 503, 503]
            assert await talk.message() == [250, 250, 354, 250]

        server = play(script, Fault(at="MAIL", do=reply("451 4.3.0 later")))
        assert server.messages[0].number == 1

    def test_nth_times_connection_and_message(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            for expected in ([250, 421, 421, 250], [250, 250, 250, 452]):
                talk = await (await stage.connect()).begin()
                for code in expected:
                    assert await talk.codes("MAIL FROM:<a@example.org>") == [code]
                    await talk.ask("RSET")

        play(
            script,
            Fault(at="MAIL", nth=2, times=2, do=reply("421 slow down")),
            Fault(at="MAIL", connection=1, message=3, do=reply("452 enough")),
        )

    def test_match_may_be_a_function_and_sees_the_content(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            assert (await talk.message("Subject: good\n"))[-1] == 250
            assert (await talk.message("Subject: poison\n"))[-1] == 554

        play(script, Fault(at="END", match=lambda text: "poison" in text, do=reply("554 no"), times=None))

    def test_chance_is_the_same_in_each_run(self, play: Play) -> None:
        def outcomes(seed: int) -> list[int]:
            codes: list[int] = []

            async def script(stage: Stage) -> None:
                talk = await (await stage.connect()).begin()
                for _ in range(40):
                    codes.extend(await talk.codes("NOOP"))

            play(script, Fault(at="NOOP", do=reply("450 bad luck"), times=None, probability=0.5, seed=seed))
            return codes

        assert outcomes(1) == outcomes(1) != outcomes(2)
        assert 10 < outcomes(1).count(450) < 30

    def test_any_is_any_command(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await stage.connect()
            assert (await talk.reply()).startswith("220")
            assert await talk.codes("EHLO x", "FOO", "NOOP") == [450, 450, 250]

        play(script, Fault(at="ANY", do=reply("450 no"), times=2))

    def test_faults_come_and_go_while_it_runs(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            stage.server.faults.add(Fault(at="NOOP", do=reply("450 no"), times=None))
            assert await talk.codes("NOOP") == [450]
            stage.server.faults.clear()
            assert await talk.codes("NOOP") == [250]

        play(script)

    @pytest.mark.parametrize(
        ("at", "ask", "code"),
        [
            ("EHLO", "EHLO x", 250),
            ("HELO", "HELO x", 250),
            ("RSET", "RSET", 250),
            ("VRFY", "VRFY x", 252),
            ("HELP", "HELP", 214),
            ("QUIT", "QUIT", 221),
            ("AUTH", "AUTH PLAIN AGEAYg==", 504),
            ("STARTTLS", "STARTTLS", 454),
            ("DATA", "DATA", 503),
        ],
    )
    def test_each_command_is_a_place(self, play: Play, at: Any, ask: str, code: int) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            assert await talk.codes(ask) == [499]
            if at != "QUIT":
                assert await talk.codes(ask) == [code]

        play(script, Fault(at=at, nth=2 if at == "EHLO" else 1, do=reply("499 fault")))

    def test_mistakes_in_a_fault_are_told(self) -> None:
        with pytest.raises(ValueError, match="there is no place 'RCTP'"):
            Fault(at="RCTP", do=close())
        with pytest.raises(ValueError, match="from 1"):
            Fault(at="RCPT", do=close(), nth=0)


class TestActions:
    def test_a_reply_of_many_lines_and_another_set_of_capabilities(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            assert await talk.codes("MAIL FROM:<a@example.org> SIZE=1") == [555]

        server = play(script, Fault(at="EHLO", do=reply("250-hello\n250-PIPELINING\n250 8BITMIME")))
        assert server.connections[0].replies[1].count("\n") == 2

    def test_354_although_all_recipients_were_refused(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            codes = await talk.codes("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA")
            assert codes == [250, 550, 354]
            assert await talk.codes(".") == [554]
            assert (await talk.message())[-1] == 250

        server = play(
            script, Fault(at="RCPT", do=reply("550 no")), Fault(at="DATA", do=reply("354 well, go on"))
        )
        assert len(server.messages) == 1
        assert server.violations == []

    def test_success_where_there_should_be_none(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            assert await talk.codes("AUTH PLAIN x") == [235]
            assert await talk.codes("MAIL FROM:<a@example.org>") == [250]

        play(script, Fault(at="AUTH", do=reply("235 come in")), auth={"me": "secret"})

    def test_endless_challenges(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            assert await talk.codes("AUTH LOGIN") == [334]
            for _ in range(20):
                assert await talk.codes("eA==") == [334]

        play(script, Fault(at="AUTH", do=reply("334 "), times=None), auth={"me": "secret"})

    @pytest.mark.parametrize(
        ("at", "said"), [("GREETING", b""), ("EHLO", b"220 scripted.example ESMTP\r\n"), ("CONNECT", b"")]
    )
    def test_close(self, play: Play, at: Any, said: bytes) -> None:
        async def script(stage: Stage) -> None:
            talk = await stage.connect()
            talk.send("EHLO x\n") if at == "EHLO" else None
            assert await talk.rest() == said

        server = play(script, Fault(at=at, do=close()), latency=0.1)
        assert server.connections[0].closed_by == "server"

    def test_reset(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            with pytest.raises(ConnectionResetError):
                await talk.ask("NOOP")

        play(script, Fault(at="NOOP", do=reset()))

    def test_reply_then_close(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            talk.send("MAIL FROM:<a@example.org>\nRCPT TO:<b@example.org>\nDATA\n")
            assert await talk.rest() == b"250 2.1.0 ok\r\n421 4.3.2 going down\r\n"

        play(script, Fault(at="RCPT", do=reply_then_close("421 4.3.2 going down")))

    def test_a_greeting_that_refuses_leaves_only_quit(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await stage.connect()
            assert (await talk.reply()).startswith("554")
            assert await talk.codes("EHLO x") == [503]
            assert await talk.codes("QUIT") == [221]

        play(script, Fault(at="GREETING", do=reply("554 not today")))

    def test_stall_for_a_while_keeps_the_order(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            talk.send("MAIL FROM:<a@example.org>\nRCPT TO:<b@example.org>\nRSET\n")
            assert (await talk.reply())[:3] == "250"
            assert now() == 0
            assert (await talk.reply()) == "250 2.1.5 ok"
            assert now() == 7
            assert (await talk.reply()) == "250 2.0.0 ok"

        play(script, Fault(at="RCPT", do=stall(7)))

    @pytest.mark.parametrize("at", ["CONNECT", "GREETING", "EHLO"])
    def test_stall_for_ever(self, play: Play, at: Any) -> None:
        async def script(stage: Stage) -> None:
            talk = await stage.connect()
            talk.send("EHLO x\n") if at == "EHLO" else None
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1000):
                    await talk.rest()

        play(script, Fault(at=at, do=stall()), latency=0.1)

    def test_garbage(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            talk.send("NOOP\n")
            assert await talk.reader.readexactly(4) == b"\xff\x00\r\n"
            assert await talk.codes("NOOP") == [250]
            talk.send("RSET\n")
            assert await talk.rest() == b"HTTP/1.1 200"

        play(
            script,
            Fault(at="NOOP", do=raw(b"\xff\x00\r\n")),
            Fault(at="RSET", do=raw(b"HTTP/1.1 200", then=close())),
        )

    def test_half_a_reply(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            talk.send("NOOP\n")
            assert await talk.rest() == b"250-"

        play(script, Fault(at="NOOP", do=partial("250-one\n250 two", 4)))

    def test_half_a_reply_and_silence(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            talk.send("NOOP\n")
            assert await talk.reader.readexactly(4) == b"250 "
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(talk.reader.read(1), 100)

        play(script, Fault(at="NOOP", do=partial("250 ok", 4, then=stall())))

    def test_drip_takes_its_time(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            talk.send("MAIL FROM:<a@example.org>\nRCPT TO:<b@example.org>\n")
            assert await talk.reply() == "250 ok"
            assert now() == 7 * 2
            assert await talk.reply() == "250 2.1.5 ok"

        play(script, Fault(at="MAIL", do=drip("250 ok", 2.0)))

    def test_drip_of_what_is_usual(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await stage.connect()
            assert await talk.reply() == "220 scripted.example ESMTP"
            assert now() > 2
            assert await talk.codes("EHLO x") == [250]

        play(script, Fault(at="GREETING", do=drip(interval=0.1)))

    def test_a_reply_too_many(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            assert await talk.ask("NOOP", replies=2) == ["250 2.0.0 ok", "250 surprise"]

        play(script, Fault(at="NOOP", do=extra("250 surprise")))

    @pytest.mark.parametrize("action", [deliver_then_close(), deliver_then_reset(), deliver_then_stall()])
    def test_delivered_and_not_confirmed(self, play: Play, action: Action) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError, TimeoutError)):
                async with asyncio.timeout(1000):
                    await talk.message()

        server = play(script, Fault(at="END", do=action))
        assert len(server.messages) == 1
        assert [r for r in server.connections[0].replies if r.startswith("250 2.0.0")] == []

    def test_closed_at_the_end_of_data_without_delivery(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            with pytest.raises(asyncio.IncompleteReadError):
                await talk.message()

        assert play(script, Fault(at="END", do=close())).messages == []

    def test_a_message_refused_at_the_end(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            assert (await talk.message())[-1] == 452
            assert (await talk.message())[-1] == 250

        server = play(script, Fault(at="END", do=reply("452 4.3.1 disk full")))
        assert [message.number for message in server.messages] == [1]

    def test_a_chunk_refused_by_a_fault(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>")
            assert await talk.codes("BDAT 3", "x", replies=1) == [452]
            assert await talk.codes("MAIL FROM:<a@example.org>", "RSET") == [503, 250]

        play(script, Fault(at="BDAT", do=reply("452 full")), capabilities=["PIPELINING", "CHUNKING"])

    def test_refused_connections_have_no_index(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            for _ in range(2):
                with pytest.raises(ConnectionRefusedError):
                    await stage.connect()
            await (await stage.connect()).begin()

        server = play(script, Fault(at="CONNECT", connection=0, times=2, do=refuse_connection()))
        assert server.refused_connections == 2
        assert len(server.connections) == 1

    def test_an_action_of_ones_own(self, play: Play) -> None:
        seen: list[str | None] = []

        def loud(incident: Incident) -> None:
            seen.append(incident.usual)
            incident.answer((incident.usual or "").upper())

        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            assert await talk.ask("NOOP") == ["250 2.0.0 OK"]

        play(script, Fault(at="NOOP", do=loud))
        assert seen == ["250 2.0.0 ok"]

    def test_actions_read_like_the_script(self) -> None:
        fault = Fault(at="END", do=reply("452 full"))
        assert "do=reply('452 full')" in repr(fault)


class TestContentAndIdle:
    @pytest.mark.parametrize("after", [0, 1, 10])
    def test_cut_in_the_content(self, play: Play, after: int) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            with pytest.raises(ConnectionResetError):
                await talk.message("x" * 50 + "\n")

        server = play(script, Fault(at="CONTENT", after=after, do=reset()))
        assert server.messages == []

    def test_silence_in_the_content_stops_the_reading(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            assert (await talk.message("x" * 50 + "\n"))[-1] == 250
            assert now() == 30

        assert play(script, Fault(at="CONTENT", after=5, do=stall(30))).messages[0].size == 52

    def test_a_reply_in_the_middle_of_content(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin(
                "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA"
            )
            talk.send("one\ntwo\n")
            assert await talk.reply() == "452 4.3.1 stop it"
            assert await talk.codes(".") == [250]

        play(script, Fault(at="CONTENT", after=6, do=reply("452 4.3.1 stop it")))

    def test_once_for_each_message_and_also_in_chunks(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            for _ in range(3):
                assert (await talk.message("x\n" * 50))[-1] == 250
            await talk.ask("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>")
            assert await talk.codes("BDAT 3", "x", replies=1) == [250]
            talk.send("BDAT 10 LAST\nxxxxx")
            assert await talk.rest() == b""

        server = play(
            script, Fault(at="CONTENT", after=7, nth=4, do=close()), capabilities=["PIPELINING", "CHUNKING"]
        )
        assert len(server.messages) == 3
        assert server.connections[0].unfinished == b""

    def test_idle_connections(self, play: Play) -> None:
        async def script(stage: Stage) -> None:
            talk = await (await stage.connect()).begin()
            for _ in range(5):
                await asyncio.sleep(6)
                await talk.ask("NOOP")
            start = now()
            assert await talk.reply() == "451 4.4.2 wake up"
            assert now() - start == pytest.approx(8)
            assert await talk.rest() == b""
            assert now() - start == pytest.approx(10)

        play(
            script,
            Fault(at="IDLE", after=10, do=close(), times=None),
            Fault(at="IDLE", after=8, do=reply("451 4.4.2 wake up"), times=None),
        )


class TestTlsFaults:
    async def test_instead_of_a_handshake(self, converse: Any, authority: Any) -> None:
        tls = authority.server_context("127.0.0.1")
        for action in (close(), raw(b"500 what?\r\n", then=close())):
            async with ScriptedServer(
                tls=tls, implicit_tls=True, faults=[Fault(at="TLS", do=action)]
            ) as server:
                with pytest.raises(OSError):
                    await converse(server, ssl=authority.client_context(), server_hostname="127.0.0.1")
                await (
                    await converse(server, ssl=authority.client_context(), server_hostname="127.0.0.1")
                ).begin()
            assert server.handshakes == 1

    async def test_a_handshake_that_takes_its_time(self, converse: Any, authority: Any) -> None:
        tls = authority.server_context("127.0.0.1")
        async with ScriptedServer(
            tls=tls, implicit_tls=True, faults=[Fault(at="TLS", do=stall(0.05))]
        ) as server:
            await (
                await converse(server, ssl=authority.client_context(), server_hostname="127.0.0.1")
            ).begin()
        assert server.violations == []

    async def test_starttls_refused(self, converse: Any, authority: Any) -> None:
        fault = Fault(at="STARTTLS", do=reply("454 4.7.0 not now"))
        async with ScriptedServer(tls=authority.server_context("127.0.0.1"), faults=[fault]) as server:
            talk = await (await converse(server)).begin()
            assert await talk.codes("STARTTLS") == [454]
            assert await talk.codes("NOOP") == [250]

    async def test_an_injected_reply_behind_starttls(self, converse: Any, authority: Any) -> None:
        fault = Fault(at="STARTTLS", do=reply("220 go\n250 INJECTED"))
        async with ScriptedServer(tls=authority.server_context("127.0.0.1"), faults=[fault]) as server:
            talk = await (await converse(server)).begin()
            assert await talk.ask("STARTTLS", replies=2) == ["220 go", "250 INJECTED"]

    @pytest.mark.parametrize("polite", [True, False])
    async def test_truncation(self, authority: Any, polite: bool) -> None:
        import socket
        import ssl

        fault = Fault(at="EHLO", do=partial("250 ok", 3, then=close(close_notify=polite)))
        tls = authority.server_context("127.0.0.1")
        async with ScriptedServer(tls=tls, implicit_tls=True, faults=[fault]) as server:

            def read() -> bytes:
                context = authority.client_context()
                with (
                    socket.create_connection((server.host, server.port)) as plain,
                    context.wrap_socket(
                        plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False
                    ) as secured,
                ):
                    secured.recv(100)
                    secured.sendall(b"EHLO x\r\n")
                    return secured.recv(3) + secured.recv(100)

            if polite:
                assert await asyncio.to_thread(read) == b"250"
            else:
                with pytest.raises(ssl.SSLEOFError):
                    await asyncio.to_thread(read)


class TestServerWide:
    async def test_say_and_close_idle(self, converse: Any) -> None:
        async with ScriptedServer() as server:
            idle = await (await converse(server)).begin()
            busy = await (await converse(server)).begin("MAIL FROM:<a@example.org>")
            server.say("250 hear, hear")
            assert await idle.reply() == await busy.reply() == "250 hear, hear"
            assert server.close_idle("421 4.4.2 too long") == 1
            assert await idle.rest() == b"421 4.4.2 too long\r\n"
            assert await busy.codes("RCPT TO:<b@example.org>") == [250]
            assert server.close_connections() == 1
            assert await busy.rest() == b""
        assert server.peak_connections == 2

    async def test_a_reset_over_a_socket(self, converse: Any) -> None:
        async with ScriptedServer(faults=[Fault(at="NOOP", do=reset())]) as server:
            talk = await (await converse(server)).begin()
            with pytest.raises(ConnectionResetError):
                await talk.ask("NOOP")

    async def test_refuse_connection_over_a_socket(self, converse: Any) -> None:
        async with ScriptedServer(faults=[Fault(at="CONNECT", do=refuse_connection())]) as server:
            talk = await converse(server)
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await talk.reply()
            await (await converse(server)).begin()
        assert server.refused_connections == 1
