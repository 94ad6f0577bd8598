"""Binary messages through the pool (RFC 3030 §3): octet by octet, by BDAT, and to no server that does not offer it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mailpool import (
    FileCarrier,
    JSONCarrier,
    MemoryCarrier,
    SendmailCarrier,
    SendResult,
    StreamCarrier,
    Transporter,
    UnsupportedByServer,
    create_transport,
)
from mailpool.message.sources import LARGE
from mailpool.testing import Fault, MemoryNetwork, ScriptedServer, close, raw, reply, reset, run_virtual
from mailpool.testing.faults import Incident
from mailpool.transports.relays import plan_of

OFFERED = ("CHUNKING", "BINARYMIME", "8BITMIME", "SIZE 104857600")
ANYTHING = bytes(range(256)) * 5 + b"\r\n.\r\nMAIL FROM:<evil@example.org>\r\n.\r.\n\0\r"


def server_with(*faults: Fault, pipelining: bool = True, **more: Any) -> ScriptedServer:
    capabilities = ("PIPELINING", *OFFERED) if pipelining else OFFERED
    return ScriptedServer(capabilities=capabilities, faults=faults, **more)


def binary(content: Any = ANYTHING) -> dict[str, Any]:
    given = {"path": content} if isinstance(content, Path) else {"content": content}
    return {"attachments": [{**given, "filename": "a.bin", "transfer_encoding": "binary"}]}


def attached(server: ScriptedServer) -> dict[str, bytes]:
    """The attachment of each message that came as binary, by its number; no other message may be one."""
    found = {}
    for message in server.messages:
        number = (message.message_id or "").strip("<>").partition("@")[0]
        parts = list(message.email.iter_attachments())
        assert (message.mail_parameters.get("BODY") == "BINARYMIME") == bool(parts)
        assert message.chunked or not parts
        for part in parts:
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            assert number not in found
            found[number] = content
    return found


@pytest.mark.rule("P-03")
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("depth", [1, 8])
def test_every_octet_arrives_and_other_messages_stay_as_they_are(
    play: Any, tmp_path: Path, depth: int, pipelining: bool, pool: bool
) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(ANYTHING * (LARGE // len(ANYTHING) + 1))
    contents = [ANYTHING, b"", b"\r", b"\n", b"\0", large, ANYTHING * 300]
    server = server_with(pipelining=pipelining)

    async def story(relay: Any) -> None:
        sends = []
        for number in range(30):
            more = {} if number % 3 == 2 else binary(contents[number % len(contents)])
            sends.append(relay.send(number, **more))
        assert all(isinstance(end, SendResult) and end.attempts == 1 for end in await relay.ends(*sends))

    play(story, server, max_connections=2, pipeline_depth=depth, pool=pool)
    read = [content.read_bytes() if isinstance(content, Path) else content for content in contents]
    assert attached(server) == {str(n): read[n % len(read)] for n in range(30) if n % 3 != 2}
    assert len(server.messages) == 30


@pytest.mark.parametrize(
    ("announced", "disable"),
    [
        (("PIPELINING", "8BITMIME"), ()),
        (("PIPELINING", "8BITMIME", "CHUNKING"), ()),
        (("PIPELINING", "8BITMIME", "BINARYMIME"), ()),
        (("PIPELINING", *OFFERED), ("BINARYMIME",)),
        (("PIPELINING", *OFFERED), ("CHUNKING",)),
    ],
)
@pytest.mark.parametrize("pool", [True, False])
def test_what_the_server_lacks_ends_that_message_before_mail(
    play: Any, announced: Any, disable: Any, pool: bool
) -> None:
    server = ScriptedServer(capabilities=announced)

    async def story(relay: Any) -> None:
        bad, good = await relay.ends(relay.send(0, **binary()), relay.send(1))
        assert isinstance(bad, UnsupportedByServer)
        assert "BINARYMIME" in str(bad)
        assert not bad.may_have_been_delivered
        assert isinstance(good, SendResult)
        assert relay.dials == 1

    play(story, server, disable=disable, max_connections=1, pool=pool)
    assert sum(line.startswith("MAIL") for line in server.commands()) == len(server.messages) == 1


@pytest.mark.rule("P-07")
@pytest.mark.parametrize("code", ["500", "502"])
@pytest.mark.parametrize("depth", [1, 8])
@pytest.mark.parametrize("pipelining", [True, False])
def test_bdat_offered_and_not_understood_never_makes_it_go_by_data(
    play: Any, received: Any, code: str, depth: int, pipelining: bool
) -> None:
    """The relay is used without CHUNKING from then on; what needs that has an error, and the others arrive."""

    def act(incident: Incident) -> None:
        by_bdat = server.connections[-1].lines[-1].startswith("BDAT")
        incident.answer(f"{code} 5.5.1 not implemented" if by_bdat else None)

    server = server_with(Fault(at="END", do=act, times=None), pipelining=pipelining)

    async def story(relay: Any) -> None:
        relay.listen("extension_disabled")
        first, plain, second = await relay.ends(
            relay.send(0, **binary()), relay.send(1), relay.send(2, **binary())
        )
        assert isinstance(first, UnsupportedByServer)
        assert isinstance(second, UnsupportedByServer)
        assert isinstance(plain, SendResult)
        assert not first.may_have_been_delivered
        assert [extension for extension, _ in relay.heard("extension_disabled")] == ["CHUNKING"]

    play(story, server, max_connections=1, pipeline_depth=depth)
    assert received(server) == ["1"]
    assert not attached(server)


@pytest.mark.rule("P-15")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("depth", [1, 8])
def test_some_recipients_are_refused_and_some_messages_too(play: Any, depth: int, pipelining: bool) -> None:
    server = server_with(
        Fault(at="RCPT", match="no[0-9]@", do=reply("550 5.1.1 no such user"), times=None),
        Fault(at="END", match="<3@", do=reply("554 5.7.1 not wanted")),
        Fault(at="MAIL", nth=6, do=reply("451 4.3.0 later")),
        pipelining=pipelining,
    )

    async def story(relay: Any) -> None:
        sends = [relay.send(n, [f"no{n}@example.org", f"yes{n}@example.org"], **binary()) for n in range(5)]
        sends += [relay.send(5, "no5@example.org", **binary()), relay.send(6)]
        ends = await relay.ends(*sends)
        for number in (0, 1, 2, 4):
            assert ends[number].accepted == (f"yes{number}@example.org",)
            assert [one.address for one in ends[number].recipients if not one.accepted] == [
                f"no{number}@example.org"
            ]
        assert not isinstance(ends[3], SendResult)
        assert not isinstance(ends[5], SendResult)
        assert isinstance(ends[6], SendResult)

    play(story, server, max_connections=1, pipeline_depth=depth)
    assert attached(server) == dict.fromkeys("0124", ANYTHING)


@pytest.mark.rule("P-18")
@pytest.mark.parametrize("do", [close(), reset(), raw(b"421 4.3.2 going down\r\n", close())])
@pytest.mark.parametrize("after", [0, 900, LARGE])
def test_after_a_break_it_is_read_and_sent_from_the_start(
    play: Any, tmp_path: Path, do: Any, after: int
) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(ANYTHING * 400)
    server = server_with(Fault(at="CONTENT", after=after, do=do))

    async def story(relay: Any) -> None:
        result = await relay.send(0, **binary(large))
        assert (result.attempts, result.maybe_duplicate) == (2, False)

    play(story, server, latency=0.01)
    assert attached(server) == {"0": large.read_bytes()}


def test_a_file_that_changes_fails_its_message_alone(play: Any, tmp_path: Path, received: Any) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(LARGE + 1))
    server = server_with()

    async def story(relay: Any) -> None:
        send = relay.send(0, **binary(large))
        large.write_bytes(bytes(LARGE + 2))
        bad, good = await relay.ends(send, relay.send(1))
        assert "has changed" in str(bad)
        assert isinstance(good, SendResult)

    play(story, server, max_connections=1, right=False)
    assert received(server) == ["1"]


def test_lmtp(play: Any) -> None:
    server = server_with(Fault(at="END", match="<full@", do=reply("452 4.2.2 full"), times=None), lmtp=True)

    async def story(relay: Any) -> None:
        result = await relay.send(0, ["ann@example.org", "full@example.org"], **binary())
        assert result.accepted == ("ann@example.org",)

    play(story, server, lmtp=True, port=24)
    assert attached(server) == {"0": ANYTHING}


class Relays:
    """A transporter over a relay for each of some servers."""

    def __init__(self, *servers: ScriptedServer) -> None:
        network = MemoryNetwork()
        for number, server in enumerate(servers):
            network.listen(f"{number}.example", 25, server)
        entries = [{"host": f"{number}.example"} for number in range(len(servers))]
        plan, whole = plan_of(entries, "failover", None, False, {"port": 25, "pool": True})

        async def connect(options: Any, connection: Any, context: Any) -> Any:
            transport, _ = await network.dial(options.host, options.effective_port, lambda: connection)
            return transport

        self.transporter = Transporter(whole, connector=connect, plan=plan)

    async def end(self, **fields: Any) -> Any:
        message = {"from": "from@example.org", "to": "to@example.org", "text": "x", **fields}
        async with self.transporter:
            sends = [
                self.transporter.send_mail({**message, "message_id": f"<{n}@example.org>"}) for n in range(3)
            ]
            return await asyncio.gather(*sends, return_exceptions=True)


def test_a_relay_that_lacks_it_hands_it_to_the_next_one_and_stays_in_use() -> None:
    first, second = ScriptedServer(capabilities=("PIPELINING", "CHUNKING")), server_with()

    async def main() -> None:
        relays = Relays(first, second)
        ends = await relays.end(**binary())
        assert all(isinstance(end, SendResult) for end in ends)
        assert [relay.health for relay in relays.transporter.stats().relays] == ["up", "up"]

    run_virtual(main)
    assert not first.messages
    assert attached(second) == dict.fromkeys("012", ANYTHING)
    assert not [line for line in first.commands() if line.startswith("MAIL")]


def test_a_relay_that_cannot_do_what_it_offers_hands_it_to_the_next_one() -> None:
    first, second = server_with(Fault(at="END", do=reply("502 5.5.1 no"), times=None)), server_with()

    async def main() -> None:
        ends = await Relays(first, second).end(**binary())
        assert all(isinstance(end, SendResult) and not end.maybe_duplicate for end in ends)

    run_virtual(main)
    assert not first.messages
    assert attached(second) == dict.fromkeys("012", ANYTHING)


def test_no_relay_has_it() -> None:
    servers = [ScriptedServer(), ScriptedServer()]

    async def main() -> None:
        for end in await Relays(*servers).end(**binary()):
            assert isinstance(end, UnsupportedByServer)
            assert "BINARYMIME" in str(end)

    run_virtual(main)
    assert not [line for server in servers for line in server.commands() if line.startswith("MAIL")]


class Kept:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


class TestCarriers:
    MESSAGE: ClassVar[dict[str, Any]] = {
        "from": "a@example.org",
        "to": "b@example.org",
        "text": "x",
        **binary(),
    }

    async def sent(self, carrier: Any, message: Any = None) -> Any:
        async with create_transport(carrier) as transporter:
            return await transporter.send_mail(self.MESSAGE if message is None else message)

    async def test_what_keeps_octets_keeps_these(self, tmp_path: Path) -> None:
        kept, memory, shown = Kept(), MemoryCarrier(), list[Any]()
        for carrier in (StreamCarrier(kept), memory, FileCarrier(tmp_path), JSONCarrier(shown.append)):
            await self.sent(carrier)
        await self.sent(JSONCarrier(shown.append, content="text"))
        (file,) = tmp_path.glob("*.eml")
        assert ANYTHING in kept.data
        assert ANYTHING in file.read_bytes()
        assert ANYTHING in memory.messages[0].raw
        for one in shown:
            assert one["encoding"] == "base64"

    @pytest.mark.rule("DAT-05")
    @pytest.mark.parametrize("kind", ["maildir", "eml with lf", "stream with lf", "sendmail", "another"])
    async def test_what_would_change_them_is_not_given_it(self, tmp_path: Path, kind: str) -> None:
        class Another:
            async def deliver(self, sealed: Any) -> Any:
                raise AssertionError("it was given the message")

        kept = Kept()
        carrier = {
            "maildir": lambda: FileCarrier(tmp_path, format="maildir"),
            "eml with lf": lambda: FileCarrier(tmp_path, newline="lf"),
            "stream with lf": lambda: StreamCarrier(kept, newline="lf"),
            "sendmail": lambda: SendmailCarrier(newline="crlf"),
            "another": Another,
        }[kind]()
        with pytest.raises(UnsupportedByServer, match="needs BINARYMIME, which"):
            await self.sent(carrier)
        assert (kept.data, list(tmp_path.iterdir())) == (b"", [])
