"""P-16: errors form one tree, and each says where, what, whether later may help, and whether it may have arrived."""

from __future__ import annotations

import asyncio
import errno
import pickle
from typing import Any

import pytest

import mailpool
from mailpool import MailpoolError, Outcome, Phase, SendError
from mailpool.testing import Fault, ScriptedServer, close, raw, reply, stall

CLEAR = {"starttls": "never", "allow_cleartext_auth": True}


def case(
    kind: str,
    phase: Phase,
    code: int | None,
    temporary: bool | None,
    doubt: bool,
    *faults: Fault,
    **options: Any,
) -> Any:
    return pytest.param(kind, phase, code, temporary, doubt, faults, options, id=f"{kind} {phase.name}")


CASES = [
    case("Rejected", Phase.MAIL, 550, False, False, Fault(at="MAIL", do=reply("550 5.7.1 no"))),
    case("Rejected", Phase.RCPT, 550, False, False, Fault(at="RCPT", do=reply("550 5.1.1 no"))),
    case("Rejected", Phase.DATA, 554, False, False, Fault(at="DATA", do=reply("554 5.5.0 no"))),
    case("Rejected", Phase.END_OF_DATA, 554, False, False, Fault(at="END", do=reply("554 5.6.0 no"))),
    case("Deferred", Phase.MAIL, 451, True, False, Fault(at="MAIL", do=reply("451 4.3.0 later"))),
    case("Deferred", Phase.END_OF_DATA, 451, True, False, Fault(at="END", do=reply("451 4.3.0 later"))),
    case("ConnectionFailed", Phase.MAIL, None, True, False, Fault(at="MAIL", do=close())),
    case("ConnectionFailed", Phase.DATA, 421, True, False, Fault(at="DATA", do=reply("421 4.3.2 bye"))),
    case("ProtocolError", Phase.RCPT, None, None, False, Fault(at="RCPT", do=raw(b"rubbish\r\n"))),
    case("TimedOut", Phase.DATA, None, True, False, Fault(at="DATA", do=stall()), command_timeout=3),
    case("DeliveryUncertain", Phase.END_OF_DATA, None, None, True, Fault(at="END", do=close())),
    case("DeliveryUncertain", Phase.END_OF_DATA, None, None, True, Fault(at="END", do=raw(b"rubbish\r\n"))),
    case(
        "DeliveryUncertain",
        Phase.END_OF_DATA,
        None,
        None,
        True,
        Fault(at="END", do=stall()),
        command_timeout=3,
    ),
    case(
        "TimedOut",
        Phase.GREETING,
        None,
        True,
        False,
        Fault(at="GREETING", do=stall(), times=None),
        greeting_timeout=3,
    ),
    case("ConnectionFailed", Phase.EHLO, None, True, False, Fault(at="EHLO", do=close(), times=None)),
    case(
        "AuthenticationFailed",
        Phase.AUTH,
        535,
        False,
        False,
        Fault(at="AUTH", do=reply("535 5.7.8 no"), times=None),
    ),
    case("DeadlineExceeded", Phase.MAIL, None, True, False, Fault(at="MAIL", do=stall()), deadline=2),
]


@pytest.mark.rule("P-16")
@pytest.mark.rule("P-17")
@pytest.mark.parametrize(("kind", "phase", "code", "temporary", "doubt", "faults", "options"), CASES)
def test_p16_every_error_answers_the_questions(
    play: Any,
    kind: str,
    phase: Phase,
    code: int | None,
    temporary: bool | None,
    doubt: bool,
    faults: Any,
    options: Any,
) -> None:
    server = ScriptedServer(faults=faults, auth={"me": "x"}, capabilities=("8BITMIME",))

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        assert type(error).__name__ == kind, error
        assert isinstance(error, SendError)
        assert error.phase is phase
        assert (error.reply and error.reply.code) == code
        if temporary is not None:
            assert error.temporary is temporary
        assert error.may_have_been_delivered is doubt
        assert error.message_id == "<0@example.org>"
        assert isinstance(error.outcome, Outcome)
        assert error.attempts == (0 if phase in (Phase.GREETING, Phase.EHLO, Phase.AUTH) else 1)
        assert len(str(error)) > 10
        assert "\n" not in str(error)
        if code is not None:
            assert str(code) in str(error)
        # As a queue of the user's would keep it.
        kept = pickle.loads(pickle.dumps(error))
        assert (type(kept), kept.phase, str(kept)) == (type(error), error.phase, str(error))

    play(story, server, auth=("me", "x"), max_requeues=0, connection_wait=5, **CLEAR, **options)


@pytest.mark.rule("P-16")
def test_p16_all_errors_are_of_one_tree() -> None:
    errors = [
        value
        for name in mailpool.__all__
        if isinstance(value := getattr(mailpool, name), type) and issubclass(value, BaseException)
    ]
    assert len(errors) >= 20
    assert all(issubclass(error, MailpoolError) for error in errors)
    assert {"phase", "reply", "temporary", "may_have_been_delivered"} <= set(
        vars(SendError("x", phase=Phase.QUEUE)).keys()
    )


@pytest.mark.rule("P-16")
def test_p16_one_error_for_many_messages_is_one_for_each(play: Any) -> None:
    async def story(relay: Any) -> None:
        relay.network.fail("relay.example", 25, OSError(errno.EHOSTUNREACH, "no route"))
        ends = await relay.ends(*relay.burst(20))
        assert len({id(end) for end in ends}) == 20
        assert [end.message_id for end in ends] == [f"<{n}@example.org>" for n in range(20)]
        await asyncio.sleep(0)

    play(story, connection_wait=1)


@pytest.mark.rule("P-16")
@pytest.mark.parametrize("at", ["MAIL", "END"])
def test_p16_words_of_the_server_cannot_drive_a_terminal(play: Any, at: Any) -> None:
    words = "550-5.7.1 \x1b[31mred\x07\n550 5.7.1 \x9b2J\tend"
    server = ScriptedServer(faults=[Fault(at=at, do=reply(words))])

    async def story(relay: Any) -> None:
        error = await relay.end(relay.send(0))
        for text in (str(error), repr(error), str(error.reply), repr(error.reply), error.reply.text):
            assert not any(character in text for character in "\x1b\x07\x9b\r")

    play(story, server)
