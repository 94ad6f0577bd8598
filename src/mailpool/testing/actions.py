"""What a fault can do. Each function gives an action for ``Fault(do=…)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .faults import Action, Incident


@dataclass(frozen=True, slots=True)
class _Named:
    """An action with a ``repr`` that reads like the script."""

    name: str
    act: Callable[[Incident], None]

    def __call__(self, incident: Incident) -> None:
        self.act(incident)

    def __repr__(self) -> str:
        return self.name


def reply(text: str) -> Action:
    """Say ``text`` in place of the usual reply. Lines are separated by a newline and written in full (``250-…``).

    The server acts by it: a refused RCPT is not a recipient, a 354 to DATA takes content even without recipients.
    """
    return _Named(f"reply({text!r})", lambda incident: incident.answer(text))


def reply_then_close(text: str) -> Action:
    """Say ``text``, such as ``"421 4.3.2 going down"``, and close."""

    def act(incident: Incident) -> None:
        incident.answer(text)
        incident.close()

    return _Named(f"reply_then_close({text!r})", act)


def close(*, close_notify: bool = True) -> Action:
    """Close without a reply; under TLS without close_notify if told so, which is a truncation."""
    return _Named("close()", lambda incident: incident.close(close_notify=close_notify))


def reset() -> Action:
    """Cut the connection with a TCP reset, without a reply."""
    return _Named("reset()", lambda incident: incident.reset())


def stall(seconds: float | None = None) -> Action:
    """Be silent for so many seconds, then go on as usual; ``None``: for ever."""
    return _Named(f"stall({seconds})", lambda incident: incident.hold(seconds, incident.answer))


def raw(data: bytes, then: Action | None = None) -> Action:
    """Send octets in place of the reply; the command has no effect. ``then`` may close, reset or stall."""

    def act(incident: Incident) -> None:
        incident.send(data)
        if then is not None:
            then(incident)

    return _Named(f"raw({data!r})", act)


def partial(text: str, octets: int, then: Action | None = None) -> Action:
    """Send the first ``octets`` of the reply ``text`` and its line end, then close, or do ``then``."""
    data = wire_form(text)[:octets]
    return _Named(f"partial({text!r}, {octets})", raw(data, then or close()))


def drip(text: str | None = None, interval: float = 1.0) -> Action:
    """Say ``text`` (``None``: what is usual) one octet each ``interval`` seconds."""

    def act(incident: Incident) -> None:
        said = incident.usual if text is None else text
        if said is None:
            incident.answer()
        else:
            incident.drip(wire_form(said), interval, lambda: incident.conclude(said))

    return _Named(f"drip({text!r}, {interval})", act)


def extra(text: str) -> Action:
    """Go on as usual, and say ``text`` as well: a reply that nobody asked for."""

    def act(incident: Incident) -> None:
        incident.answer()
        incident.say(text)

    return _Named(f"extra({text!r})", act)


def deliver_then_close(*, close_notify: bool = True) -> Action:
    """At ``END``: take the message, then close without a word. The client cannot know that it was delivered."""

    def act(incident: Incident) -> None:
        incident.conclude("250 2.0.0 ok")
        incident.close(close_notify=close_notify)

    return _Named("deliver_then_close()", act)


def deliver_then_reset() -> Action:
    """At ``END``: take the message, then cut the connection."""

    def act(incident: Incident) -> None:
        incident.conclude("250 2.0.0 ok")
        incident.reset()

    return _Named("deliver_then_reset()", act)


def deliver_then_stall() -> Action:
    """At ``END``: take the message, then say nothing more for ever."""

    def act(incident: Incident) -> None:
        incident.conclude("250 2.0.0 ok")
        incident.hold(None, incident.answer)

    return _Named("deliver_then_stall()", act)


def refuse_connection() -> Action:
    """At ``CONNECT``: do not take the connection. In memory it is refused; a socket is reset as soon as it is open.

    A refused connection has no index: the next one gets the one that it would have had.
    """
    return _REFUSE


def refuses(action: Action) -> bool:
    """Whether ``action`` is to happen before there is a connection."""
    return action is _REFUSE


_REFUSE = _Named("refuse_connection()", lambda incident: incident.reset())


def wire_form(text: str) -> bytes:
    """A reply as octets, with CRLF line ends. Surrogate escapes stand for octets that are no UTF-8."""
    return (text.replace("\n", "\r\n") + "\r\n").encode("utf-8", "surrogateescape")
