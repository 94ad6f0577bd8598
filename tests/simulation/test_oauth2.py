"""Access tokens and the pool: one request however many connections, and what a refused token or a silent server does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mailpool import AuthenticationFailed, Credentials, OAuth2, Phase, SendResult, TokenFailed
from mailpool.auth import tokens as tokens_of_loops
from mailpool.auth.oauth2 import Issued
from mailpool.auth.tokens import MARGIN, Tokens
from mailpool.testing import ScriptedServer

CLEAR = {"starttls": "never", "allow_cleartext_auth": True}
SOURCE = OAuth2(provider="google", client_id="app", client_secret="s", refresh_token="r")
TOKEN = {"auth": {"user": "me", "access_token": SOURCE}, **CLEAR}


def by_token(*, takes: str = "token-1", **options: Any) -> ScriptedServer:
    return ScriptedServer(auth={"me": takes}, mechanisms=["XOAUTH2"], **options)


def logins(server: ScriptedServer) -> int:
    return sum(line.startswith("AUTH") for line in server.commands())


class Issuer:
    """Stands for a token server: after ``delay`` it gives ``token-1``, ``token-2`` and so on, or what ``trouble`` raises."""

    def __init__(
        self, lifetime: float | None = 3_600, trouble: Callable[[int], TokenFailed | None] = lambda _: None
    ) -> None:
        self.lifetime = lifetime
        self.trouble = trouble
        self.delay = 0.5
        self.asked: list[tuple[str, float]] = []
        self.issued = 0
        tokens_of_loops._BY_LOOP[asyncio.get_running_loop()] = Tokens(request=self._issue, wall=lambda: 1e9)

    async def _issue(self, source: OAuth2, user: str, refresh_token: str | None, now: float) -> Issued:
        self.asked.append((user, asyncio.get_running_loop().time()))
        await asyncio.sleep(self.delay)
        error = self.trouble(len(self.asked))
        if error is not None:
            raise error
        self.issued += 1
        return Issued(f"token-{self.issued}", self.lifetime)


def failure(*, temporary: bool) -> TokenFailed:
    return TokenFailed("OAuth2: refused", phase=Phase.AUTH, temporary=temporary)


def test_a_hundred_connections_want_a_token_at_once(play: Any) -> None:
    async def story(relay: Any) -> None:
        issuer = Issuer()
        relay.listen("token")
        assert {type(end) for end in await relay.ends(*relay.burst(1_000))} == {SendResult}
        assert len(issuer.asked) == 1
        assert relay.heard("token") == [("me", 1e9 + 3_600)]

    server = play(story, by_token(), max_connections=100, latency=0.05, **TOKEN)
    assert 50 < server.peak_connections <= 100


def test_a_token_is_renewed_before_it_ends_and_open_connections_go_on(play: Any) -> None:
    server = by_token()

    async def story(relay: Any) -> None:
        issuer = Issuer(lifetime=3_600)
        sends = 0

        async def until(moment: float) -> None:
            nonlocal sends
            while relay.now < moment:
                await asyncio.sleep(10)
                assert isinstance(await relay.end(relay.send(sends)), SendResult)
                sends += 1

        await until(issuer.lifetime - MARGIN - 20)
        assert len(issuer.asked) == 1
        # The token dies and is forgotten at the server: who is logged in is not asked again.
        server.auth = {"me": "token-2"}
        before = len(server.connections)
        await until(issuer.lifetime + 100)
        assert (len(issuer.asked), len(server.connections)) == (1, before)
        # The next connection has a new one, and is not refused first.
        refused_before = logins(server)
        relay.network.cut()
        await until(relay.now + 30)
        assert len(issuer.asked) == 2
        assert logins(server) == refused_before + 1

    play(story, server, max_connections=1, max_messages=-1, **TOKEN)


def test_a_token_in_its_last_seconds_is_not_used(play: Any) -> None:
    async def story(relay: Any) -> None:
        issuer = Issuer(lifetime=600)
        await relay.ends(*relay.burst(1))
        relay.network.cut()
        await asyncio.sleep(issuer.lifetime - MARGIN - 5)
        await relay.ends(*relay.burst(1))
        assert len(issuer.asked) == 1
        relay.network.cut()
        await asyncio.sleep(5)
        relay.server.auth = {"me": "token-2"}
        assert isinstance(await relay.end(relay.send("last")), SendResult)
        assert len(issuer.asked) == 2

    server = play(story, by_token(), max_connections=1, idle_timeout=3_000, **TOKEN)
    assert logins(server) == 3


@pytest.mark.rule("P-19")
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_refused_token_is_renewed_once_and_the_login_repeated_once(play: Any, mechanism: str) -> None:
    async def story(relay: Any) -> None:
        issuer = Issuer()
        assert {type(end) for end in await relay.ends(*relay.burst(50))} == {SendResult}
        assert issuer.issued == 2

    server = ScriptedServer(auth={"me": "token-2"}, mechanisms=[mechanism])
    play(story, server, max_connections=10, latency=0.05, **TOKEN)
    # Nobody but the first tries the token that was refused.
    assert logins(server) == len(server.connections) + 1


@pytest.mark.rule("P-19")
def test_a_token_that_all_connections_hold_is_revoked(play: Any) -> None:
    server = by_token()

    async def story(relay: Any) -> None:
        issuer = Issuer()
        await relay.ends(*relay.burst(50))
        server.auth = {"me": "token-2"}
        # All are replaced at once, while one login has proven the old token.
        relay.network.clients[0].cut()
        server.close_connections()
        assert {type(end) for end in await relay.ends(*relay.burst(200))} == {SendResult}
        assert issuer.issued == 2

    play(story, server, max_connections=10, latency=0.05, right=False, **TOKEN)


@pytest.mark.rule("P-19")
def test_a_fresh_token_that_is_refused_too_fails_everything_at_once(play: Any) -> None:
    server = by_token(takes="another")

    async def story(relay: Any) -> None:
        issuer = Issuer()
        ends = await relay.ends(*relay.burst(20))
        assert {type(end) for end in ends} == {AuthenticationFailed}
        assert not any(end.temporary for end in ends)
        assert issuer.issued == 2
        assert relay.now < 5
        # No login is tried again for a while, and no token is asked for.
        await relay.ends(*relay.burst(20))
        assert (issuer.issued, logins(server)) == (2, 2)
        await asyncio.sleep(61)
        await relay.ends(*relay.burst(20))
        assert (issuer.issued, logins(server)) == (3, 4)

    play(story, server, **TOKEN)


@pytest.mark.rule("P-19")
def test_messages_wait_while_the_token_server_is_down(play: Any) -> None:
    async def story(relay: Any) -> None:
        issuer = Issuer(trouble=lambda times: failure(temporary=True) if relay.now < 10 else None)
        assert {type(end) for end in await relay.ends(*relay.burst(20))} == {SendResult}
        assert 3 < len(issuer.asked) < 20
        assert issuer.issued == 1

    play(story, by_token(), **TOKEN)


@pytest.mark.rule("P-19")
def test_messages_wait_no_longer_than_connection_wait(play: Any) -> None:
    async def story(relay: Any) -> None:
        Issuer(trouble=lambda times: failure(temporary=True))
        ends = await relay.ends(*relay.burst(20))
        assert {type(end) for end in ends} == {TokenFailed}
        assert all(end.temporary for end in ends)
        assert 20 <= relay.now < 60

    server = play(story, by_token(), connection_wait=20, **TOKEN)
    assert logins(server) == 0


@pytest.mark.rule("P-19")
def test_a_grant_that_is_gone_fails_everything_at_once(play: Any) -> None:
    async def story(relay: Any) -> None:
        issuer = Issuer(trouble=lambda times: failure(temporary=False))
        ends = await relay.ends(*relay.burst(20))
        assert {type(end) for end in ends} == {TokenFailed}
        assert relay.now < 2
        await relay.ends(*relay.burst(5))
        assert len(issuer.asked) == 1
        await asyncio.sleep(61)
        await relay.ends(*relay.burst(5))
        assert len(issuer.asked) == 2

    play(story, by_token(), **TOKEN)


@pytest.mark.rule("P-04")
def test_each_identity_has_its_own_token_and_each_asks_once(play: Any) -> None:
    people = [f"user{number}" for number in range(5)]

    async def story(relay: Any) -> None:
        issuer = Issuer()
        auths = {
            # A mapping as users write it, made anew for each message.
            user: lambda user=user: {"user": user, "provider": "google", "client_id": "app", "refresh_token": user}
            for user in people
        }  # fmt: skip
        relay.server.auth = {user: f"token-{number + 1}" for number, user in enumerate(people)}
        for user in people:
            assert isinstance(await relay.end(relay.send(user, auth=auths[user]())), SendResult)
        sends = [
            relay.send(f"{user}-{number}", auth=auths[user]()) for number in range(10) for user in people
        ]
        assert {type(end) for end in await relay.ends(*sends)} == {SendResult}
        assert [user for user, _ in issuer.asked] == people

    server = play(story, by_token(), max_connections=5, **CLEAR)
    for message in server.messages:
        assert message.user == str(message.message_id).strip("<>").partition("@")[0].partition("-")[0]


def test_a_function_that_tells_how_long_its_token_lives_is_asked_again_only_then(play: Any) -> None:
    asked: list[float] = []

    async def story(relay: Any) -> None:
        async def provide() -> tuple[str, int]:
            asked.append(relay.now)
            await asyncio.sleep(0.1)
            return "token-1", 300

        sender = relay.another(auth={"user": "me", "access_token": provide}, max_messages=2, **CLEAR)
        heard: list[Any] = []
        sender.on("token", lambda *details: heard.append(details))
        for round_ in range(3):
            await relay.ends(*(sender.send_mail(relay.mail(f"{round_}-{number}")) for number in range(20)))
            await asyncio.sleep(200)
        assert len(asked) == 2
        assert [user for user, _ in heard] == ["me", "me"]
        await sender.close()

    play(story, by_token())


@pytest.mark.parametrize(
    "given", ["", None, 7, ("a", 1, 2), ("", 7), (None, 7), b"token", "a\x01b", "a\r\nb"]
)
@pytest.mark.rule("INJ-12")
def test_a_function_that_gives_no_token_fails_at_once(play: Any, given: Any) -> None:
    async def story(relay: Any) -> None:
        sender = relay.another(auth={"user": "me", "access_token": lambda: given}, **CLEAR)
        end = await relay.end(sender.send_mail(relay.mail(0)))
        assert isinstance(end, AuthenticationFailed)
        assert not end.temporary
        assert relay.now < 1
        await sender.close()

    server = play(story, by_token())
    assert logins(server) == 0


def test_two_transporters_share_what_they_ask_for(play: Any) -> None:
    async def story(relay: Any) -> None:
        issuer = Issuer()
        other = relay.another()
        await relay.ends(relay.send(0), other.send_mail(relay.mail(1)))
        assert len(issuer.asked) == 1
        await other.close()

    play(story, by_token(), **TOKEN)


async def test_who_was_refused_late_gets_the_token_that_another_has_got_already() -> None:
    issuer = Issuer()
    issuer.delay = 0
    tokens, who = Tokens.here(), Credentials("me", access_token=SOURCE)
    assert await tokens.token(who) == "token-1"
    assert await tokens.token(who, refused="token-1") == "token-2"
    # Another connection had tried the first one, and comes only now.
    assert await tokens.token(who, refused="token-1") == "token-2"
    assert len(issuer.asked) == 2


async def test_one_service_account_has_a_token_for_each_person() -> None:
    issuer = Issuer()
    issuer.delay = 0
    account = OAuth2(service_account={"client_email": "robot", "private_key": "key"})
    people = [Credentials(name, access_token=account) for name in ("a@example.org", "b@example.org")]
    assert [await Tokens.here().token(who) for who in people * 2] == ["token-1", "token-2"] * 2
    assert [user for user, _ in issuer.asked] == ["a@example.org", "b@example.org"]


def test_nothing_is_kept_for_loops_that_have_ended() -> None:
    async def contend() -> None:
        issuer = Issuer()
        issuer.delay = 0
        who = Credentials("me", access_token=SOURCE)
        await asyncio.gather(*(Tokens.here().token(who) for _ in range(5)))
        assert len(issuer.asked) == 1

    for _ in range(5):
        asyncio.run(contend())

    async def look() -> int:
        Tokens.here()
        return len(tokens_of_loops._BY_LOOP)

    assert asyncio.run(look()) == 1


async def test_identities_whose_token_has_died_are_forgotten() -> None:
    tokens = Tokens()

    def of(number: int, lifetime: float) -> Any:
        return Credentials(f"user{number}", access_token=lambda: ("token", lifetime))

    alive = of(0, 3_600)
    await tokens.token(alive)
    for number in range(5_000):
        await tokens.token(of(number, 0))
    assert len(tokens._identities) < 2_500
    assert (alive.user, alive.access_token) in tokens._identities
