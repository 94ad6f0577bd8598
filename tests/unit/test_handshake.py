"""From the greeting to a ready connection, as dialogues: what we say, what the server says, what comes of it."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import pytest

from mailpool.errors import AuthenticationFailed, ConnectionFailed, ProtocolError, SendError, TLSFailed
from mailpool.options import Credentials, Options
from mailpool.results import Phase, Reply
from mailpool.smtp.handshake import Compute, Expect, Login, Session, StartTLS, Write, handshake
from mailpool.smtp.sasl import LoginContext, Scram

HELLO = "EHLO me.example"
PLAIN = "AUTH PLAIN " + base64.b64encode(b"\0user\0secret").decode()
PASSWORD = Credentials("user", "secret")
GREETING = (None, "220 mail.example ESMTP")
TLS = ("STARTTLS", "220 go ahead")
UPGRADE = ("<TLS>", None)

# What is said to the server (None: nothing, <TLS>: the TLS handshake, <login>: credentials are about to be used) and
# what it answers. "|" stands for the next line of a reply.
Script = Iterable[tuple[str | None, str | None]]


def offers(*keywords: str) -> tuple[str, str]:
    return (HELLO, "|".join(["250 mail.example", *keywords]).replace("|", "|250 "))


def run(
    script: Script,
    *,
    credentials: Credentials | None = None,
    encrypted: bool = False,
    host: str = "mail.example",
    **options: Any,
) -> Session:
    """Play the script; each step must be the next line of it, and none may be left when the dialogue ends."""
    dialogue = handshake(Options(host=host, **options), credentials, name="me.example", encrypted=encrypted)
    answer: Any = None
    left = list(script)
    try:
        while True:
            step = dialogue.send(answer)
            match step:
                case Expect(phase):
                    assert phase is Phase.GREETING
                    said = None
                case Write(_, data):
                    assert data.endswith(b"\r\n")
                    said = data.decode().removesuffix("\r\n")
                case StartTLS():
                    said = "<TLS>"
                case Login(again):
                    said = "<login again>" if again else "<login>"
                case Compute():
                    said = "<compute>"
            assert left, f"not in the script: {said}"
            expected, reply = left.pop(0)
            assert said == expected
            if isinstance(step, Compute):
                answer = step.work()
            elif isinstance(step, Login):
                answer = LoginContext(token=reply, nonce="nonce")
            elif isinstance(step, (Expect, Write)):
                assert reply is not None
                answer = Reply.of(reply.replace("|", "\n"))
            else:
                answer = reply
    except StopIteration as done:
        assert left == []
        session: Session = done.value
        return session
    except SendError:
        assert left == []
        raise


LOGIN = ("<login>", None)
LOGGED_IN = [LOGIN, (PLAIN, "235 welcome")]


class TestHello:
    def test_ehlo(self) -> None:
        session = run([GREETING, offers("PIPELINING", "SIZE 100")])
        assert session.capabilities.pipelining
        assert session.capabilities.size == 100
        assert session.greeting == Reply.of("220 mail.example ESMTP")
        assert session.mechanism is None

    @pytest.mark.parametrize("code", [500, 502, 504, 550])
    def test_helo_when_the_server_does_not_know_ehlo(self, code: int) -> None:
        session = run([GREETING, (HELLO, f"{code} what"), ("HELO me.example", "250-x|250 PIPELINING")])
        # What a reply to HELO lists is not offered.
        assert dict(session.capabilities.keywords) == {}

    @pytest.mark.rule("SRV-08")
    @pytest.mark.parametrize("code", [421, 450, 354])
    def test_no_helo_when_the_server_has_another_reason(self, code: int) -> None:
        with pytest.raises(ConnectionFailed) as caught:
            run([GREETING, (HELLO, f"{code} no")])
        assert (caught.value.phase, caught.value.temporary) == (Phase.EHLO, True)

    @pytest.mark.rule("SRV-08")
    @pytest.mark.parametrize("code", [450, 500, 550])
    def test_neither(self, code: int) -> None:
        with pytest.raises(ConnectionFailed, match="neither EHLO nor HELO") as caught:
            run([GREETING, (HELLO, "502 what"), ("HELO me.example", f"{code} no")])
        assert caught.value.reply is not None
        assert (caught.value.reply.code, caught.value.phase) == (code, Phase.EHLO)

    @pytest.mark.rule("SRV-08")
    @pytest.mark.parametrize("code", [421, 450, 521, 554, 221, 250, 354])
    def test_a_greeting_that_is_none(self, code: int) -> None:
        """Nothing is said to such a server, and it may be there again in a moment."""
        with pytest.raises(ConnectionFailed) as caught:
            run([(None, f"{code} come back later")])
        error = caught.value
        assert error.reply == Reply.of(f"{code} come back later")
        assert (error.phase, error.temporary, error.may_have_been_delivered) == (Phase.GREETING, True, False)
        assert "come back later" in str(error)

    def test_lmtp(self) -> None:
        lhlo = HELLO.replace("EHLO", "LHLO")
        session = run([GREETING, (lhlo, "250-x|250 PIPELINING")], lmtp=True)
        assert session.capabilities.pipelining
        for code in (450, 500, 502, 550):
            with pytest.raises(ConnectionFailed, match="did not take LHLO"):
                run([GREETING, (lhlo, f"{code} no")], lmtp=True)

    @pytest.mark.rule("TLS-11")
    @pytest.mark.parametrize(
        ("encrypted", "tls", "offered"),
        [
            (True, None, True),
            (False, None, False),
            (True, {"verify": False}, False),
            (True, {"verify": True}, True),
        ],
    )
    def test_tls11_requiretls_counts_over_tls_that_was_verified(
        self, encrypted: bool, tls: Any, offered: bool
    ) -> None:
        session = run([GREETING, offers("REQUIRETLS", "DSN")], encrypted=encrypted, tls=tls)
        assert ("REQUIRETLS" in session.capabilities) == offered
        assert session.capabilities.dsn

    def test_extensions_that_were_switched_off(self) -> None:
        session = run([GREETING, offers("PIPELINING", "SIZE 5")], disable={"pipelining"})
        assert not session.capabilities.pipelining
        assert session.capabilities.size == 5


class TestStartTLS:
    @pytest.mark.parametrize("mode", ["auto", "required", "opportunistic"])
    @pytest.mark.rule("TLS-05")
    def test_offered_and_taken(self, mode: str) -> None:
        """After it everything is asked anew: what was offered in clear text proves nothing."""
        session = run(
            [GREETING, offers("STARTTLS", "PIPELINING", "AUTH PLAIN"), TLS, UPGRADE, offers("SIZE 5")],
            starttls=mode,
        )
        assert dict(session.capabilities.keywords) == {"SIZE": "5"}

    @pytest.mark.rule("TLS-05")
    def test_mechanisms_from_before_are_forgotten(self) -> None:
        with pytest.raises(AuthenticationFailed, match="offers no AUTH"):
            run(
                [GREETING, offers("STARTTLS", "AUTH PLAIN"), TLS, UPGRADE, offers("SIZE 5"), LOGIN],
                credentials=PASSWORD,
            )

    def test_it_is_not_done_twice(self) -> None:
        run([GREETING, offers("STARTTLS"), TLS, UPGRADE, offers("STARTTLS")])
        run([GREETING, offers("STARTTLS")], encrypted=True)

    def test_never(self) -> None:
        run([GREETING, offers("STARTTLS")], starttls="never")

    @pytest.mark.rule("TLS-01")
    @pytest.mark.parametrize(
        ("credentials", "host", "mode"),
        [
            (None, "mail.example", "required"),
            (PASSWORD, "mail.example", "auto"),
            (None, "127.0.0.1", "required"),
        ],
    )
    @pytest.mark.parametrize("hello", ["EHLO", "HELO", "disabled"])
    def test_required_and_not_offered(
        self, credentials: Credentials | None, host: str, mode: str, hello: str
    ) -> None:
        script: list[tuple[str | None, str | None]] = [GREETING, offers("AUTH PLAIN")]
        disable: set[str] = set()
        if hello == "HELO":
            script = [GREETING, (HELLO, "502 what"), ("HELO me.example", "250 hello")]
        elif hello == "disabled":
            script = [GREETING, offers("AUTH PLAIN", "STARTTLS")]
            disable = {"STARTTLS"}
        with pytest.raises(TLSFailed, match="does not offer STARTTLS") as caught:
            run(script, credentials=credentials, host=host, starttls=mode, disable=disable)
        assert (caught.value.phase, caught.value.temporary) == (Phase.STARTTLS, False)

    @pytest.mark.rule("TLS-01")
    @pytest.mark.parametrize(("mode", "host"), [("auto", "mail.example"), ("opportunistic", "mail.example")])
    def test_not_required_and_not_offered(self, mode: str, host: str) -> None:
        assert not run([GREETING, offers("SIZE")], starttls=mode, host=host).capabilities.starttls

    @pytest.mark.rule("TLS-02")
    @pytest.mark.parametrize("mode", ["auto", "required"])
    @pytest.mark.parametrize(
        ("reply", "temporary"),
        [
            ("454 TLS not available", True),
            ("501 no", False),
            ("250 ok", False),
            ("334 x", False),
        ],
    )
    def test_offered_and_then_refused(self, mode: str, reply: str, temporary: bool) -> None:
        with pytest.raises(TLSFailed, match="then refused it") as caught:
            run([GREETING, offers("STARTTLS"), ("STARTTLS", reply)], starttls=mode)
        error = caught.value
        assert error.reply == Reply.of(reply)
        assert (error.phase, error.temporary) == (Phase.STARTTLS, temporary)

    @pytest.mark.rule("TLS-03")
    @pytest.mark.parametrize("reply", ["454 TLS not available", "501 no"])
    def test_opportunistic_goes_on_in_clear_text(self, reply: str) -> None:
        session = run([GREETING, offers("STARTTLS", "SIZE 7"), ("STARTTLS", reply)], starttls="opportunistic")
        assert session.capabilities.size == 7

    @pytest.mark.rule("TLS-03")
    @pytest.mark.rule("TLS-09")
    def test_but_not_with_a_password(self) -> None:
        with pytest.raises(AuthenticationFailed, match="could be read on the way"):
            run(
                [GREETING, offers("STARTTLS", "AUTH PLAIN LOGIN"), ("STARTTLS", "454 no"), LOGIN],
                credentials=PASSWORD,
                starttls="opportunistic",
            )

    @pytest.mark.rule("TLS-02")
    @pytest.mark.rule("TLS-03")
    @pytest.mark.parametrize("mode", ["auto", "required", "opportunistic"])
    def test_421_is_the_end(self, mode: str) -> None:
        with pytest.raises(ConnectionFailed) as caught:
            run([GREETING, offers("STARTTLS"), ("STARTTLS", "421 bye")], starttls=mode)
        assert (caught.value.phase, caught.value.temporary) == (Phase.STARTTLS, True)

    @pytest.mark.rule("TLS-02")
    def test_the_second_ehlo_is_refused(self) -> None:
        with pytest.raises(ConnectionFailed) as caught:
            run([GREETING, offers("STARTTLS"), TLS, UPGRADE, (HELLO, "421 changed my mind")])
        assert caught.value.phase is Phase.EHLO


class TestLogin:
    def test_success(self) -> None:
        session = run([GREETING, offers("AUTH PLAIN"), *LOGGED_IN], credentials=PASSWORD, encrypted=True)
        assert session.mechanism == "PLAIN"

    def test_after_starttls(self) -> None:
        script = [GREETING, offers("STARTTLS"), TLS, UPGRADE, offers("AUTH PLAIN"), *LOGGED_IN]
        assert run(script, credentials=PASSWORD).mechanism == "PLAIN"

    def test_nobody_logs_in_without_credentials(self) -> None:
        assert run([GREETING, offers("AUTH PLAIN")], encrypted=True).mechanism is None

    def test_challenges(self) -> None:
        script = [
            GREETING,
            offers("AUTH LOGIN"),
            LOGIN,
            ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
            (base64.b64encode(b"user").decode(), "334 UGFzc3dvcmQ6"),
            (base64.b64encode(b"secret").decode(), "235 ok"),
        ]
        assert run(script, credentials=PASSWORD, encrypted=True).mechanism == "LOGIN"

    @pytest.mark.rule("P-19")
    @pytest.mark.parametrize(
        ("reply", "temporary"),
        [
            ("535 5.7.8 no", False),
            ("534 weak", False),
            ("454 4.7.0 later", True),
            ("250 ok", False),
        ],
    )
    def test_a_password_is_tried_once(self, reply: str, temporary: bool) -> None:
        with pytest.raises(AuthenticationFailed) as caught:
            run(
                [GREETING, offers("AUTH PLAIN LOGIN"), LOGIN, (PLAIN, reply)],
                credentials=PASSWORD,
                encrypted=True,
            )
        error = caught.value
        assert error.reply == Reply.of(reply)
        assert (error.phase, error.temporary) == (Phase.AUTH, temporary)
        assert "'user'" in str(error)

    @pytest.mark.rule("LOG-01")
    def test_no_secret_in_the_error(self) -> None:
        with pytest.raises(AuthenticationFailed) as caught:
            run(
                [GREETING, offers("AUTH PLAIN"), LOGIN, (PLAIN, "535 no")],
                credentials=PASSWORD,
                encrypted=True,
            )
        for shown in (str(caught.value), repr(caught.value), str(caught.value.__dict__)):
            assert "secret" not in shown
            assert PLAIN.split()[-1] not in shown

    @pytest.mark.rule("SRV-10")
    def test_success_before_credentials(self) -> None:
        with pytest.raises(ProtocolError, match="before it saw any credentials"):
            run(
                [GREETING, offers("AUTH LOGIN"), LOGIN, ("AUTH LOGIN", "235 come in")],
                credentials=PASSWORD,
                encrypted=True,
            )

    @pytest.mark.rule("TLS-09")
    @pytest.mark.parametrize("host", ["mail.example", "192.0.2.1"])
    def test_no_password_in_clear_text(self, host: str) -> None:
        with pytest.raises(AuthenticationFailed, match="could be read"):
            run(
                [GREETING, offers("AUTH PLAIN LOGIN"), LOGIN],
                credentials=PASSWORD,
                host=host,
                starttls="never",
            )

    @pytest.mark.rule("TLS-09")
    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
    def test_but_on_this_machine(self, host: str) -> None:
        """The loopback rule: `auth` needs no TLS where no byte leaves the machine."""
        assert run([GREETING, offers("AUTH PLAIN"), *LOGGED_IN], credentials=PASSWORD, host=host).mechanism

    @pytest.mark.rule("TLS-09")
    def test_or_when_asked_for(self) -> None:
        script = [GREETING, offers("AUTH PLAIN"), *LOGGED_IN]
        session = run(script, credentials=PASSWORD, starttls="never", allow_cleartext_auth=True)
        assert session.mechanism == "PLAIN"

    @pytest.mark.parametrize("hello", ["EHLO", "HELO"])
    def test_no_auth_offered(self, hello: str) -> None:
        script: list[tuple[str | None, str | None]] = [GREETING, offers("SIZE"), LOGIN]
        if hello == "HELO":
            script = [GREETING, (HELLO, "502 what"), ("HELO me.example", "250 hi"), LOGIN]
        with pytest.raises(AuthenticationFailed, match="offers no AUTH") as caught:
            run(script, credentials=PASSWORD, encrypted=True)
        assert caught.value.reply is None
        assert not caught.value.temporary


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class TestScram:
    FIRST = "AUTH SCRAM-SHA-256 " + b64("n,,n=user,r=nonce")

    def offer(self, iterations: int) -> str:
        return "334 " + b64(f"r=noncemore,s=c2FsdA==,i={iterations}")

    @pytest.mark.rule("SRV-11")
    @pytest.mark.parametrize(("iterations", "computed"), [(4_096, []), (100_000, [("<compute>", None)])])
    def test_what_takes_long_is_computed_elsewhere(self, iterations: int, computed: list[Any]) -> None:
        expected = Scram("SCRAM-SHA-256", "user", "secret", nonce="nonce", gs2="n,,", binding=b"")
        proof = expected.step(base64.b64decode(self.offer(iterations)[4:])).decode()
        refusal = "334 " + b64("e=invalid-proof")
        script = [GREETING, offers("AUTH PLAIN SCRAM-SHA-256"), LOGIN, (self.FIRST, self.offer(iterations))]
        with pytest.raises(AuthenticationFailed, match=r"\(invalid-proof\)") as caught:
            run(
                [*script, *computed, (b64(proof), refusal), ("", "535 no")],
                credentials=PASSWORD,
                encrypted=True,
            )
        assert not caught.value.temporary

    @pytest.mark.rule("TLS-10")
    @pytest.mark.parametrize("reply", ["504 5.5.4 what?", "534 5.7.9 weak", "535 5.7.8 no"])
    def test_a_refusal_is_not_followed_by_the_password(self, reply: str) -> None:
        script = [GREETING, offers("AUTH PLAIN SCRAM-SHA-256"), LOGIN, (self.FIRST, reply)]
        with pytest.raises(AuthenticationFailed, match="name another mechanism with auth_method"):
            run(script, credentials=PASSWORD, encrypted=True)

    @pytest.mark.rule("TLS-10")
    def test_below_the_minimum_nothing_is_said(self) -> None:
        with pytest.raises(AuthenticationFailed, match="demands more"):
            run(
                [GREETING, offers("AUTH PLAIN LOGIN CRAM-MD5"), LOGIN],
                credentials=PASSWORD,
                encrypted=True,
                min_mechanism="SCRAM-SHA-256",
            )

    @pytest.mark.rule("TLS-10")
    def test_what_is_offered_under_tls_only_counts_under_tls_only(self) -> None:
        """What was taken out of the second list is missed, however long the first one was."""
        with pytest.raises(AuthenticationFailed, match="demands more"):
            run(
                [
                    GREETING,
                    offers("STARTTLS", "AUTH SCRAM-SHA-256"),
                    TLS,
                    UPGRADE,
                    offers("AUTH PLAIN"),
                    LOGIN,
                ],
                credentials=PASSWORD,
                min_mechanism="SCRAM-SHA-1",
            )


@pytest.mark.rule("P-19")
class TestTokens:
    PROVIDED = Credentials("user", access_token=lambda: "unused: the steps are answered by the script")

    def bearer(self, token: str) -> str:
        blob = f"user=user\x01auth=Bearer {token}\x01\x01"
        return "AUTH XOAUTH2 " + base64.b64encode(blob.encode()).decode()

    def test_a_refused_token_is_renewed_once(self) -> None:
        script: Script = [
            GREETING,
            offers("AUTH XOAUTH2"),
            ("<login>", "old"),
            (self.bearer("old"), "535 expired"),
            ("<login again>", "new"),
            (self.bearer("new"), "235 ok"),
        ]
        assert run(script, credentials=self.PROVIDED, encrypted=True).mechanism == "XOAUTH2"

    def test_and_only_once(self) -> None:
        script: Script = [
            GREETING,
            offers("AUTH XOAUTH2"),
            ("<login>", "old"),
            (self.bearer("old"), "334 eyJzdGF0dXMiOiI0MDEifQ=="),
            ("", "535 expired"),
            ("<login again>", "new"),
            (self.bearer("new"), "535 no"),
        ]
        with pytest.raises(AuthenticationFailed) as caught:
            run(script, credentials=self.PROVIDED, encrypted=True)
        assert caught.value.reply == Reply.of("535 no")

    def test_a_temporary_refusal_renews_nothing(self) -> None:
        script: Script = [GREETING, offers("AUTH XOAUTH2"), ("<login>", "t"), (self.bearer("t"), "454 later")]
        with pytest.raises(AuthenticationFailed) as caught:
            run(script, credentials=self.PROVIDED, encrypted=True)
        assert caught.value.temporary

    def test_a_fixed_token_cannot_be_renewed(self) -> None:
        script: Script = [GREETING, offers("AUTH XOAUTH2"), ("<login>", "t"), (self.bearer("t"), "535 no")]
        with pytest.raises(AuthenticationFailed):
            run(script, credentials=Credentials("user", access_token="t"), encrypted=True)

    def test_what_the_provider_said_is_told(self) -> None:
        script: Script = [
            GREETING,
            offers("AUTH XOAUTH2"),
            ("<login>", "t"),
            (self.bearer("t"), "334 eyJzdGF0dXMiOiI0MDEifQ=="),
            ("", "535 no"),
        ]
        with pytest.raises(AuthenticationFailed, match="401"):
            run(script, credentials=Credentials("user", access_token="t"), encrypted=True)

    @pytest.mark.rule("TLS-09")
    def test_never_in_clear_text(self) -> None:
        with pytest.raises(AuthenticationFailed, match="could be read"):
            run(
                [GREETING, offers("AUTH XOAUTH2"), ("<login>", "t")],
                credentials=self.PROVIDED,
                starttls="never",
            )


@pytest.mark.rule("LOG-01")
@pytest.mark.parametrize("code", [535, 454, 421, 354])
@pytest.mark.parametrize("repeated", [PLAIN, PLAIN.split()[-1], "the word secret"])
def test_a_server_that_repeats_the_login_reveals_nothing(code: int, repeated: str) -> None:
    with pytest.raises(SendError) as caught:
        run(
            [GREETING, offers("AUTH PLAIN"), LOGIN, (PLAIN, f"{code} what is {repeated}?")],
            credentials=PASSWORD,
            encrypted=True,
        )
    shown = f"{caught.value} {caught.value.reply!r}"
    assert PLAIN.split()[-1] not in shown
    assert "secret" not in shown
    assert "***" in shown


@pytest.mark.rule("LOG-01")
def test_the_name_of_the_mechanism_is_no_secret() -> None:
    """It stands at the end of the AUTH command where there is no initial response."""
    script = [GREETING, offers("AUTH LOGIN"), LOGIN, ("AUTH LOGIN", "535 LOGIN is not for you")]
    with pytest.raises(AuthenticationFailed, match="535 LOGIN is not for you"):
        run(script, credentials=PASSWORD, encrypted=True)


@pytest.mark.rule("LOG-01")
def test_a_challenge_that_repeats_the_login_is_in_no_error() -> None:
    """The reply that broke the protocol comes with the error."""
    script = [GREETING, offers("AUTH PLAIN"), LOGIN, (PLAIN, "334 secret")]
    with pytest.raises(ProtocolError) as caught:
        run(script, credentials=PASSWORD, encrypted=True)
    assert str(caught.value.reply) == "334 ***"
