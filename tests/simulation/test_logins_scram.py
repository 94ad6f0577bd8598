"""A pool that logs in by SCRAM: one hash for all its connections, and logins that are used again."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from mailpool import AuthenticationFailed, SendResult
from mailpool.testing import Fault, ScramManners, ScriptedServer, stall

CLEAR = {"starttls": "never"}
SCRAM = ["SCRAM-SHA-256", "PLAIN"]


def logins(server: ScriptedServer) -> list[str]:
    return [line for line in server.commands() if line.startswith("AUTH")]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The salt of each hash of a password that we worked out."""
    salts: list[bytes] = []
    actual = hashlib.pbkdf2_hmac

    def watched(algorithm: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        salts.append(salt)
        return actual(algorithm, password, salt, iterations)

    monkeypatch.setattr(
        "mailpool.smtp.sasl.scram.hashlib", type("Hash", (), {"pbkdf2_hmac": watched, "new": hashlib.new})
    )
    return salts


@pytest.mark.parametrize("iterations", [4_096, 10_000])
def test_one_login_serves_many_messages_and_one_hash_many_logins(
    play: Any, hashed: list[bytes], iterations: int
) -> None:
    salt = b"salt of %d" % iterations
    server = ScriptedServer(
        auth={"me": "secret"},
        mechanisms=SCRAM,
        scram=ScramManners(iterations=iterations, salt=salt),
        faults=[Fault(at="MAIL", message=0, do=stall(1), times=5)],
    )

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(40))
        assert all(isinstance(end, SendResult) for end in ends)

    play(story, server, latency=0.01, auth=("me", "secret"), max_connections=5, max_messages=20, **CLEAR)
    assert len(server.messages) == 40
    assert {message.user for message in server.messages} == {"me"}
    assert 5 <= len(logins(server)) < 15
    assert hashed == [salt]


def test_a_salt_that_changes_is_hashed_anew(play: Any, hashed: list[bytes]) -> None:
    server = ScriptedServer(auth={"me": "secret"}, mechanisms=SCRAM)

    async def story(relay: Any) -> None:
        for number in range(3):
            assert isinstance(await relay.end(relay.send(number)), SendResult)

    play(story, server, auth=("me", "secret"), max_connections=1, max_messages=1, **CLEAR)
    assert len(set(hashed)) == len(logins(server))


@pytest.mark.rule("P-19")
def test_a_wrong_password_is_tried_once_and_by_scram_only(play: Any) -> None:
    server = ScriptedServer(auth={"me": "right"}, mechanisms=SCRAM)

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(8))
        assert {type(end) for end in ends} == {AuthenticationFailed}
        assert "invalid-proof" in str(ends[0])

    play(story, server, auth=("me", "wrong"), allow_cleartext_auth=True, **CLEAR)
    assert [line.split()[1] for line in logins(server)] == ["SCRAM-SHA-256"]


@pytest.mark.rule("SRV-11")
@pytest.mark.rule("P-19")
def test_an_impostor_is_not_tried_again_and_again(play: Any) -> None:
    server = ScriptedServer(auth={"me": "secret"}, mechanisms=SCRAM, scram=ScramManners(knows_password=False))

    async def story(relay: Any) -> None:
        ends = await relay.ends(*relay.burst(8))
        assert {type(end) for end in ends} == {AuthenticationFailed}
        assert relay.now < 5

    play(story, server, auth=("me", "secret"), right=False, **CLEAR)
    assert len(logins(server)) == 1
    assert server.messages == []
