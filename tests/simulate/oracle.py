"""Whether what callers were told is what servers know, and whether every bound was kept.

Each complaint begins with the rule that is broken.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import moving
import patience
from evidence import Evidence, Submission
from letters import Letter, number_of, number_of_id
from scenario import SETTLE, Scenario

from mailpool import (
    DeadlineExceeded,
    DeliveryUncertain,
    MessageError,
    Phase,
    PoolClosed,
    SendError,
    SendResult,
)

_CLOCK_ERROR = 1e-6
_OF_MESSAGES = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT, Phase.END_OF_DATA)


def judge(scenario: Scenario, evidence: Evidence) -> list[str]:
    """All broken promises of a run, in words; none when all is well."""
    _Judge(scenario, evidence).all()
    return evidence.complaints


class _Judge:
    def __init__(self, scenario: Scenario, evidence: Evidence) -> None:
        self.scenario = scenario
        self.evidence = evidence
        self.complain = evidence.complain
        self.copies = evidence.copies()
        self.in_step = all(server.is_in_step for server in scenario.servers)
        self.requeued = Counter(number_of_id(details[0]) for details in evidence.heard("requeued"))
        self.detached = {number_of_id(details[0]): details[1] for details in evidence.heard("detached")}

    def all(self) -> None:
        self._nothing_mixed()
        self._bounds_of_connections()
        self._rates()
        for entry in self.evidence.submissions.values():
            self._settled(entry)
        for number, outcome in self.detached.items():
            self._told(number, outcome, "detached")
        self._sent_soon()
        self._returned_by_close()
        self._counts()
        self._logins()
        self._tokens()
        self._harms_no_other()
        if self.scenario.calm:
            self._calm()
        patience.judge(self.scenario, self.evidence)
        moving.judge(self.scenario, self.evidence)

    # -- P-02, P-03, P-04: everybody's own -----------------------------------------------------------------------------

    def _nothing_mixed(self) -> None:
        for _, message in self.evidence.accepted:
            number = number_of(message.sender)
            letter = self.evidence.submissions[number].letter
            if not letter.is_in(message.content):
                self.complain(f"P-02: the content of message {number} is not its own")
            if not set(message.recipients) <= set(letter.recipients):
                self.complain(f"P-03: message {number} went to {message.recipients}")
            if ("BODY" in message.mail_parameters) != letter.is_eight_bit:
                self.complain(f"P-03: message {number} has the BODY of another")
            identity = letter.identity or ("main" if self.scenario.identities else None)
            if message.user != identity:
                self.complain(f"P-04: message {number} of {identity} was sent as {message.user}")
        # A server that forgets BDAT takes content for commands.
        sane = not any(server.forgets for server in self.scenario.servers)
        for words in self.evidence.violations if sane else ():
            if self.scenario.calm or any(sign in words for sign in ("bare CR", "dot", "NUL", "control")):
                self.complain(f"the client broke the protocol: {words}")

    # -- bounds --------------------------------------------------------------------------------------------------------

    def _bounds_of_connections(self) -> None:
        options = self.scenario.options
        most = 1 if not options["pool"] else options["max_messages"]
        for tap in self.evidence.taps:
            limits = {} if tap.plain else _limits(self.scenario.servers[tap.server].capabilities)
            for bound, name in ((most, "max_messages"), (limits.get("MAILMAX"), "MAILMAX")):
                if bound is not None and 0 < bound < len(tap.mails):
                    self.complain(f"P-12: {len(tap.mails)} messages on one connection, {name} is {bound}")
            named = max((mail.recipients for mail in tap.mails), default=0)
            for bound, name in (
                (options["max_recipients"], "max_recipients"),
                (limits.get("RCPTMAX"), "RCPTMAX"),
            ):
                if bound is not None and named > bound:
                    self.complain(f"P-12: {named} recipients in one transaction, {name} is {bound}")

    def _rates(self) -> None:
        """No window of any rate holds more than its limit, nor more back to back than its burst (P-23)."""
        for relay in {tap.relay for tap in self.evidence.taps}:
            self._rates_of(relay)

    def _rates_of(self, relay: int) -> None:
        taps = [tap for tap in self.evidence.taps if tap.relay == relay]
        mails = sorted((mail for tap in taps for mail in tap.mails), key=lambda mail: mail.at)
        for rate in self.scenario.options["rate"]:
            windows = [(rate.limit, rate.per)]
            if rate.burst:
                windows.append((rate.burst, rate.per * rate.burst / rate.limit))
            for limit, per in windows:
                for last, mail in enumerate(mails):
                    # From this one back: all that lie less than a window before it.
                    units, seen = 0, last
                    while seen >= 0 and mails[seen].at > mail.at - per + _CLOCK_ERROR:
                        units += max(1, mails[seen].recipients) if rate.unit == "recipients" else 1
                        seen -= 1
                    if units > limit and seen < last - 1:
                        self.complain(f"P-23: {units} {rate.unit} within {per:g} s at {mail.at:g} s: {rate}")

    def _logins(self) -> None:
        """A password that was refused is not tried again for ``auth_retry_after`` (P-19)."""
        wait = self.scenario.options["auth_retry_after"] - _CLOCK_ERROR
        taps = self.evidence.taps
        logins = [(at, tap.relay) for tap in taps for at, user in tap.logins if user == "wrong"]
        for tap in taps:
            if tap.refused_at is not None and any(user == "wrong" for _, user in tap.logins):
                for at, relay in logins:
                    if relay == tap.relay and 0 < at - tap.refused_at < wait:
                        self.complain(
                            f"P-19: a password was refused at {tap.refused_at:g} s and tried at {at:g} s"
                        )

    def _tokens(self) -> None:
        """A token is shown while it lives, and never again to a server that has refused it (P-19)."""
        for tap in self.evidence.taps:
            shown = [token for _, token in tap.tokens]
            if len(set(shown)) < len(shown):
                self.complain(f"P-19: one of {shown} was refused on connection {tap.index} and shown again")
            for at, token in tap.tokens:
                if at > self.evidence.tokens[token] + self.evidence.blocked:
                    self.complain(f"P-19: {token} was shown at {at:g} s, and had died")

    def _harms_no_other(self) -> None:
        """A caller that gives up cuts no connection on which another message travels (P-27)."""
        if self.scenario.relays:
            return  # a message may move on for another reason at that moment
        lost: dict[float, list[bool]] = {}
        for at, name, details in self.evidence.events:
            if name == "connection_lost":
                lost.setdefault(at, []).append("given up by its caller" in str(details[0]))
        for at, name, details in self.evidence.events:
            if name == "requeued" and all(lost.get(at, [False])):
                self.complain(
                    f"P-27: message {number_of_id(details[0])} is sent again because another was given up"
                )

    # -- outcomes ------------------------------------------------------------------------------------------------------

    def _settled(self, entry: Submission) -> None:
        number = entry.letter.number
        if entry.how not in ("send", "many"):
            return
        if entry.refused is not None:
            unmade = isinstance(entry.refused, MessageError) and self.scenario.cannot_be_made(entry.letter)
            if not (unmade or isinstance(entry.refused, PoolClosed)):
                self.complain(f"P-20a: send_mail raised {entry.refused!r}")
            if self._copies(number):
                self.complain(f"P-14: message {number} was refused by send_mail, and is there")
            return
        if entry.ended_at is None:
            if entry.how == "send" or self.scenario.ending == SETTLE:
                self.complain(f"P-14: message {number} never ended")
            return
        outcome = entry.outcome
        if isinstance(outcome, asyncio.CancelledError):
            self._cancelled(entry)
        else:
            self._told(number, outcome, "told")
        if entry.deadline is not None and not isinstance(outcome, asyncio.CancelledError):
            late = entry.ended_at - entry.at - entry.deadline - self.evidence.blocked
            if late > _CLOCK_ERROR:
                self.complain(f"P-26: message {number} ended {late:g} s after its deadline")
        if isinstance(outcome, DeadlineExceeded) and entry.deadline is None:
            self.complain(f"P-26: message {number} had no deadline")

    def _cancelled(self, entry: Submission) -> None:
        number = entry.letter.number
        if entry.cancelled_at is None:
            self.complain(f"P-27: message {number} was cancelled by nobody")
        # What was under way when its connection was cut may still arrive, but never as a whole message.
        elif number not in self.detached and any(at > entry.cancelled_at for at in self._times(number)):
            self.complain(f"P-27: message {number} was cancelled, and accepted later")

    def _told(self, number: int, outcome: Any, how: str) -> None:
        """Whether what was said of a message is what the servers know."""
        letter = self.evidence.submissions[number].letter
        copies = {recipient: len(self.copies.get((number, recipient), ())) for recipient in letter.recipients}
        if isinstance(outcome, MessageError) or self.scenario.cannot_be_made(letter):
            self._unmade(number, outcome, copies)
            return
        options = self.scenario.options
        most = 1 + (
            options["max_duplicates"]
            if options["on_uncertain"] == "requeue" and options["max_requeues"]
            else 0
        )
        if max(copies.values()) > most:
            self.complain(
                f"P-18: message {number} is there {max(copies.values())} times, and {most} are allowed"
            )
        bounded = options["max_requeues"] >= 0 and not self.scenario.relays  # to move on is something else
        if bounded and self.requeued[number] > options["max_requeues"] + most - 1:
            self.complain(f"P-18: message {number} was requeued {self.requeued[number]} times")
        if isinstance(outcome, SendResult | SendError) and self.in_step:
            self._replies(number, outcome)
        if isinstance(outcome, SendResult):
            self._result(number, outcome, copies)
        elif isinstance(outcome, SendError):
            self._error(number, outcome, copies)
        elif not isinstance(outcome, asyncio.CancelledError):
            self.complain(f"P-16: message {number} was {how} {outcome!r}")

    def _unmade(self, number: int, outcome: Any, copies: dict[str, int]) -> None:
        """A message that could not be made was sent to nobody, and that it could not is what its caller is told."""
        letter = self.evidence.submissions[number].letter
        if any(copies.values()):
            self.complain(f"P-14: message {number} could not be made, and is there")
        if not self.scenario.cannot_be_made(letter):
            self.complain(f"P-16: message {number} is sound, and its caller was told {outcome!r}")
        elif not isinstance(outcome, MessageError | PoolClosed | DeadlineExceeded):
            self.complain(f"P-16: message {number} could not be made, and its caller was told {outcome!r}")

    def _replies(self, number: int, outcome: SendResult | SendError) -> None:
        """A goodbye is no refusal of a message, and leaves nothing uncertain (P-06); nor is a client out of step (P-05)."""
        replies = [one.reply for one in outcome.recipients if one.phase in _OF_MESSAGES]
        codes = {reply.code for reply in replies if reply is not None}
        if 421 in codes:
            self.complain(f"P-06: message {number} was refused by a 421: {outcome!r}")
        if 503 in codes:
            self.complain(
                f"P-05: message {number} was refused by a connection that is not in order: {outcome!r}"
            )
        if isinstance(outcome, DeliveryUncertain) and outcome.reply is not None and outcome.reply.code == 421:
            self.complain(f"P-06: message {number} was answered 421, and is said to be uncertain")

    def _result(self, number: int, result: SendResult, copies: dict[str, int]) -> None:
        letter = self.evidence.submissions[number].letter
        if (result.message_id, result.sender) != (letter.message_id, letter.sender):
            self.complain(f"P-02: message {number} was given the result of {result.message_id}")
        if tuple(one.address for one in result.recipients) != letter.recipients:
            self.complain(f"P-15: the result of message {number} has not its recipients")
        if not result.accepted or not result.reply.is_success:
            self.complain(f"P-15: message {number} succeeded with {result.reply} and {result.accepted}")
        for recipient in result.accepted:
            if not copies.get(recipient):
                self.complain(
                    f"P-15: message {number} is said to be accepted for {recipient}, who has nothing"
                )
        if not result.maybe_duplicate:
            for recipient, count in copies.items():
                if count > 1:
                    self.complain(
                        f"P-18: {recipient} has message {number} {count} times, and it is not marked"
                    )
                if count and recipient in result.rejected:
                    self.complain(f"P-15: {recipient} has message {number} and is listed as refused")
        elif self._written(number) < 2:
            self.complain(f"P-18: message {number} is marked as a duplicate and was never written twice")
        if result.attempts < 1 + self.requeued[number] and not self.scenario.relays:
            self.complain(f"P-18: message {number} counts {result.attempts} attempts")

    def _error(self, number: int, error: SendError, copies: dict[str, int]) -> None:
        letter = self.evidence.submissions[number].letter
        if error.message_id != letter.message_id and not (
            error.message_id is None and self._may_be_unready(letter)
        ):
            self.complain(f"P-02: message {number} was given the error of {error.message_id}")
        for recipient in error.accepted:
            if not copies.get(recipient):
                self.complain(
                    f"P-15: the error of message {number} lists {recipient} as accepted, who has nothing"
                )
        if not error.may_have_been_delivered:
            if any(copies.values()):
                self.complain(f"P-16: message {number} is said not to be delivered, and is there: {error}")
            if isinstance(error, DeliveryUncertain):
                self.complain(f"P-17: message {number} is uncertain and not said to be")
        elif not self._written(number) and not isinstance(error, DeadlineExceeded):
            self.complain(f"P-16: message {number} was never written, and may have been delivered: {error!r}")
        elif not (
            isinstance(error, DeliveryUncertain | DeadlineExceeded) or error.accepted or self.requeued[number]
        ):
            self.complain(f"P-16: message {number} may have been delivered without a reason: {error!r}")

    def _may_be_unready(self, letter: Letter) -> bool:
        """Whether the message may end before it is sealed: then nobody knows its Message-ID."""
        return self.scenario.prepares and not letter.is_sealed

    def _sent_soon(self) -> None:
        """What nobody awaits is sent, or its failure is told by the event ``error`` (P-20a)."""
        errors: dict[int, Any] = {}
        nameless = 0
        for (error,) in self.evidence.heard("error"):
            if getattr(error, "message_id", None) is None:
                nameless += 1
                continue
            number = number_of_id(error.message_id)
            if number in errors:
                self.complain(f"P-14: message {number} ended twice")
            errors[number] = error
        for entry in self.evidence.submissions.values():
            number = entry.letter.number
            if entry.how not in ("soon", "pull"):
                continue
            if entry.refused is not None:
                if self._copies(number) or number in errors:
                    self.complain(f"P-20a: message {number} was refused by send_soon, and went on")
            elif number in errors:
                self._told(number, errors[number], "told by an event")
            elif not self._copies(number):
                nameless -= 1
                if nameless < 0 or not self._may_be_unready(entry.letter):
                    self.complain(f"P-14: message {number} was lost without a word")
        if nameless:
            self.complain(f"P-14: {nameless} messages more have failed than were given to send_soon")

    # -- the whole -----------------------------------------------------------------------------------------------------

    def _returned_by_close(self) -> None:
        returned = Counter(number_of_id(sealed.message_id) for sealed in self.evidence.not_sent)
        told = {
            entry.letter.number: entry.outcome
            for entry in self.evidence.submissions.values()
            if isinstance(entry.outcome, PoolClosed) and entry.how == "send" and entry.outcome.message_id
        } | {
            number_of_id(e.message_id): e
            for (e,) in self.evidence.heard("error")
            if isinstance(e, PoolClosed) and e.message_id
        }
        for number, count in returned.items():
            if count > 1:
                self.complain(f"P-29: message {number} was returned {count} times")
            if number not in told and self.evidence.submissions[number].how != "many":
                self.complain(f"P-29: message {number} was returned and not told so")
        for number, error in told.items():
            if error.attempts >= 0 and number not in returned:
                self.complain(f"P-29: message {number} was not sent and not returned: {error}")
        for sealed in self.evidence.not_sent:
            number = number_of_id(sealed.message_id)
            error = told.get(number)
            if error is not None and self.requeued[number] == 0:
                twice = [r for r in sealed.envelope.recipients if self.copies.get((number, r))]
                if twice:
                    self.complain(f"P-29: message {number} is returned for {twice}, who have it")

    def _counts(self) -> None:
        """The statistics agree with the events and with what was given to the pool (P-32)."""
        stats, heard = self.evidence.stats, self.evidence.heard
        if stats is None:
            return
        for name, count, events in (
            ("requeued", stats.requeued, len(heard("requeued"))),
            ("handshakes", stats.handshakes, len(heard("connection_opened"))),
            ("connection_failures", stats.connection_failures, len(heard("connection_failed"))),
            ("detached", stats.detached, len(heard("detached"))),
        ):
            if count != events:
                self.complain(f"P-32: {name} is {count}, and {events} events were heard")
        entries = self.evidence.submissions.values()
        ends = [entry.outcome for entry in entries if entry.how == "send" and entry.ended_at is not None]
        ended = len(ends) + sum(entry.how != "send" and entry.refused is None for entry in entries)
        all_told = all(entry.how in ("send", "soon", "pull") for entry in entries)
        # What ends before it is queued is not counted.
        unready = self.scenario.prepares or self.scenario.hook is not None
        if all_told and stats.sent + stats.failed != ended and not unready:
            self.complain(f"P-32: {stats.sent} sent and {stats.failed} failed make not {ended}")
        if stats.queued or stats.in_flight or stats.held_back or stats.connections:
            self.complain(f"P-29: something is left after close: {stats}")

    def _calm(self) -> None:
        """Nothing went wrong: everything is delivered once, at the first attempt, and in order (P-22)."""
        for entry in self.evidence.submissions.values():
            result = entry.outcome
            if entry.how != "send":
                continue
            if not isinstance(result, SendResult):
                self.complain(f"with all well, message {entry.letter.number} failed: {result!r}")
            elif result.attempts != 1 or result.maybe_duplicate or result.rejected:
                self.complain(f"with all well, message {entry.letter.number} ended as {result}")
        if self.requeued:
            self.complain("with all well, messages were requeued")
        first: dict[int, float] = {}
        for mail in sorted((m for tap in self.evidence.taps for m in tap.mails), key=lambda mail: mail.at):
            first.setdefault(mail.number, mail.at)
        if self.scenario.prepares or self.scenario.strategy != "failover":
            return  # they take their places, or go to other relays, in another order
        by_line: dict[tuple[str | None, int], float] = {}
        for number, entry in self.evidence.submissions.items():
            if number not in first:
                continue
            line = entry.letter.identity, entry.priority
            if first[number] < by_line.get(line, 0.0):
                self.complain(f"P-22: message {number} has passed one that came before it")
            by_line[line] = first[number]

    def _written(self, number: int) -> int:
        """How often the client began to write it; a header in pieces is not seen."""
        if self.evidence.submissions[number].letter.stream is None:
            return self.evidence.contents[number]
        return sum(mail.number == number for tap in self.evidence.taps for mail in tap.mails)

    def _copies(self, number: int) -> int:
        return len(self._times(number))

    def _times(self, number: int) -> list[float]:
        return [at for (found, _), times in self.copies.items() if found == number for at in times]


def _limits(capabilities: tuple[str, ...]) -> dict[str, int]:
    line = next((c for c in capabilities if c.startswith("LIMITS ")), "")
    return {name: int(value) for name, _, value in (part.partition("=") for part in line.split()[1:])}
