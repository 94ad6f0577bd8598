"""One tree of errors; each answers the questions that a caller has (P-16)."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from mailpool import errors
from mailpool.errors import (
    AddressError,
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    Deferred,
    DeliveryUncertain,
    MailpoolError,
    MessageError,
    QuotaExceeded,
    Rejected,
    SendError,
    Throttled,
    TLSFailed,
    UnsupportedByServer,
    UsageError,
)
from mailpool.results import Outcome, Phase, RecipientResult, Reply

EVERY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]
SENDING = [kind for kind in EVERY if issubclass(kind, SendError)]
RECIPIENTS = (
    RecipientResult("a@example.org", Outcome.ACCEPTED, Phase.END_OF_DATA, Reply.of("250 ok")),
    RecipientResult("b@example.org", Outcome.REJECTED, Phase.RCPT, Reply.of("550 no")),
    RecipientResult("c@example.org", Outcome.UNCERTAIN, Phase.END_OF_DATA),
)

pytestmark = pytest.mark.rule("P-16")


@pytest.mark.parametrize("kind", EVERY)
def test_one_tree(kind: type[Exception]) -> None:
    assert issubclass(kind, MailpoolError)
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (ConfigurationError, ValueError),
        (MessageError, ValueError),
        (AddressError, MessageError),
        (UsageError, RuntimeError),
        (Throttled, Deferred),
        (QuotaExceeded, Deferred),
        (UnsupportedByServer, Rejected),
        (TLSFailed, ConnectionFailed),
    ],
)
def test_kinds(kind: type[Exception], parent: type[Exception]) -> None:
    assert issubclass(kind, parent)


@pytest.mark.rule("P-17")
@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (Rejected, Outcome.REJECTED),
        (UnsupportedByServer, Outcome.REJECTED),
        (Deferred, Outcome.DEFERRED),
        (Throttled, Outcome.THROTTLED),
        (QuotaExceeded, Outcome.QUOTA),
        (AuthenticationFailed, Outcome.AUTH_FAILED),
        (ConnectionFailed, Outcome.CONNECTION_FAILED),
        (TLSFailed, Outcome.CONNECTION_FAILED),
        (DeliveryUncertain, Outcome.UNCERTAIN),
    ],
)
def test_outcomes(kind: type[SendError], outcome: Outcome) -> None:
    assert kind.outcome is outcome


def test_what_the_caller_must_mend_is_no_error_of_sending() -> None:
    for kind in (ConfigurationError, MessageError, AddressError, UsageError):
        assert not issubclass(kind, SendError)
    assert ConfigurationError("x", option="port").option == "port"
    assert MessageError("x", field="to").field == "to"


@pytest.mark.parametrize("kind", SENDING)
class TestSendError:
    def full(self, kind: type[SendError]) -> SendError:
        return kind(
            "words",
            phase=Phase.RCPT,
            reply=Reply.of("450 4.7.1 later"),
            temporary=True,
            may_have_been_delivered=True,
            retry_after=30.0,
            recipients=RECIPIENTS,
            message_id="<1@x>",
            attempts=2,
        )

    def test_defaults_promise_nothing(self, kind: type[SendError]) -> None:
        error = kind("words", phase=Phase.QUEUE)
        assert str(error) == "words"
        assert (error.phase, error.reply, error.temporary) == (Phase.QUEUE, None, False)
        assert (error.may_have_been_delivered, error.retry_after, error.recipients) == (False, None, ())
        assert (error.message_id, error.attempts, error.accepted, error.rejected) == (None, 0, (), ())

    def test_recipients(self, kind: type[SendError]) -> None:
        error = self.full(kind)
        assert error.accepted == ("a@example.org",)
        assert error.rejected == ("b@example.org", "c@example.org")

    def test_one_error_of_a_connection_ends_many_messages(self, kind: type[SendError]) -> None:
        cause = OSError("reset")
        error = kind("words", phase=Phase.CONNECT, reply=Reply.of("421 no"), temporary=True, retry_after=5.0)
        error.__cause__ = cause
        first = error.for_message("<1@x>", 1, RECIPIENTS, may_have_been_delivered=True)
        second = error.for_message("<2@x>", 3)
        assert type(first) is type(second) is kind
        assert (first.message_id, first.attempts, first.recipients) == ("<1@x>", 1, RECIPIENTS)
        assert (second.message_id, second.attempts, second.recipients) == ("<2@x>", 3, ())
        assert (first.may_have_been_delivered, second.may_have_been_delivered) == (True, False)
        for copied in (first, second):
            assert str(copied) == "words"
            assert copied.__cause__ is cause
            assert (copied.phase, copied.reply) == (Phase.CONNECT, Reply.of("421 no"))
            assert (copied.temporary, copied.retry_after) == (True, 5.0)
        assert (error.message_id, error.attempts, error.recipients) == (None, 0, ())

    def test_a_copy_never_forgets_that_it_may_have_been_delivered(self, kind: type[SendError]) -> None:
        assert self.full(kind).for_message("<1@x>", 1).may_have_been_delivered

    def test_copied_and_pickled_it_is_the_same(self, kind: type[SendError]) -> None:
        """Errors cross processes: an executor that cannot unpickle one breaks, and takes all other results with it."""
        error = self.full(kind)
        for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert type(again) is kind
            assert str(again) == "words"
            assert vars(again) == vars(error)
