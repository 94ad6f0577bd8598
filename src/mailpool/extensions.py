"""What a message asks of the server beside taking it: SMTP extensions that are used only on request. Values, checked."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientDsn:
    """Which notifications are wanted for one recipient (RFC 3461 §4.1, §4.2).

    ``notify``  ``"NEVER"``, or some of ``"SUCCESS"``, ``"FAILURE"`` and ``"DELAY"``; empty: as the server does it
    ``orcpt``   its original address as ``(type, address)``, neither of them encoded; ``True``: its own address
    """

    notify: tuple[str, ...] = ()
    orcpt: tuple[str, str] | bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dsn:
    """What the server is asked to tell of the delivery (RFC 3461).

    ``ret``         whether a notification of failure holds the whole message, ``"FULL"``, or its header, ``"HDRS"``
    ``envid``       what notifications call this message; not encoded
    ``everybody``   for each recipient that is not in ``recipients``
    ``recipients``  by address
    """

    ret: Literal["FULL", "HDRS"] | None = None
    envid: str | None = None
    everybody: RecipientDsn = RecipientDsn()
    recipients: Mapping[str, RecipientDsn] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverBy:
    """Within which time the message is to be delivered (RFC 2852 §4).

    ``seconds``  from when it was given to the transporter
    ``mode``     what happens when that is over: ``"R"``: it is returned; ``"N"``: the sender is notified of the delay
    ``trace``    whether relays tell the sender that they took the message
    """

    seconds: int
    mode: Literal["R", "N"] = "R"
    trace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """What one message asks of the server. It belongs to the message through all its attempts (P-03).

    ``dsn``          notifications (RFC 3461)
    ``require_tls``  whether every relay on the way has to use verified TLS (RFC 8689)
    ``mt_priority``  from -9 to 9 (RFC 6710)
    ``deliver_by``   RFC 2852
    ``hold_for``     seconds that the server keeps the message before it sends it on (RFC 4865)
    ``hold_until``   the same as a time, aware
    ``optional``     keywords of extensions without which the message may go, too
    """

    dsn: Dsn | None = None
    require_tls: bool = False
    mt_priority: int | None = None
    deliver_by: DeliverBy | None = None
    hold_for: int | None = None
    hold_until: datetime.datetime | None = None
    optional: frozenset[str] = frozenset()

    @property
    def asked(self) -> tuple[str, ...]:
        """The keywords of those extensions that it asks for."""
        wanted = {
            "DSN": self.dsn,
            "REQUIRETLS": self.require_tls or None,
            "MT-PRIORITY": self.mt_priority,
            "DELIVERBY": self.deliver_by,
            "FUTURERELEASE": self.hold_until if self.hold_for is None else self.hold_for,
        }
        return tuple(keyword for keyword, value in wanted.items() if value is not None)
