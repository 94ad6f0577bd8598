"""May a message that one relay did not take go to another one, and what does it say about the first?

The table is data, and its first row that fits decides. A message moves on only when it is sure that this relay does not
deliver it, and when another relay may see it differently: never because of what the message or its recipient is.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from ..results import Outcome, Reply


class Harm(enum.Enum):
    """What follows for the relay."""

    NONE = "nothing"
    STRIKE = "counts"
    FATAL = "is down"


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table: what it asks of an outcome, and what follows. ``None`` asks nothing.

    ``moves``  whether the message goes to the next relay
    ``again``  whether it may come back to this one when no other takes it; otherwise never
    """

    what: str
    moves: bool
    harm: Harm
    again: bool = False
    outcome: Outcome | None = None
    begun: bool | None = None
    lacking: bool | None = None
    codes: tuple[int, ...] | None = None
    enhanced: re.Pattern[str] | None = None
    text: re.Pattern[str] | None = None

    def fits(self, outcome: Outcome, reply: Reply | None, begun: bool, lacking: bool) -> bool:
        if self.outcome not in (None, outcome):
            return False
        if self.begun not in (None, begun) or self.lacking not in (None, lacking):
            return False
        if self.codes is not None and (reply is None or reply.code not in self.codes):
            return False
        if self.enhanced is not None:
            found = "" if reply is None else reply.enhanced_code or ""
            if self.enhanced.fullmatch(found) is None:
                return False
        return self.text is None or (reply is not None and self.text.search(reply.text.lower()) is not None)


_RELAYING = re.compile(r"relay(ing)? (access )?(denied|not permitted)|not permitted to relay")

CASES: tuple[Case, ...] = (
    Case("the relay lacks an extension that the message needs, or takes no message so large",
         True, Harm.NONE, lacking=True),
    Case("no connection: refused, not found, too late, no TLS, turned away at the greeting",
         True, Harm.FATAL, again=True, outcome=Outcome.CONNECTION_FAILED, begun=False),
    Case("the connection was lost, or 421 or nothing came, before the end of the data was written",
         True, Harm.STRIKE, again=True, outcome=Outcome.CONNECTION_FAILED),
    Case("the login was refused (454, 530, 534, 535, 538, 5.7.8), or no token was to be had",
         True, Harm.FATAL, outcome=Outcome.AUTH_FAILED),
    Case("a quota is used up", True, Harm.FATAL, outcome=Outcome.QUOTA),
    Case("too fast, or too many connections", True, Harm.STRIKE, again=True, outcome=Outcome.THROTTLED),
    Case("421 or 454 in reply to the message", True, Harm.STRIKE, codes=(421, 454), outcome=Outcome.DEFERRED),
    Case("the relay itself is in trouble (4.3.x), or cannot reach the next one (4.4.x)",
         True, Harm.STRIKE, outcome=Outcome.DEFERRED, enhanced=re.compile(r"4\.[34]\.\d+")),
    Case("452 without an enhanced code: the relay has no room to store messages",
         True, Harm.STRIKE, outcome=Outcome.DEFERRED, codes=(452,), enhanced=re.compile("")),
    Case("521: the relay takes no mail at all (RFC 7504)", True, Harm.FATAL, codes=(521,)),
    Case("the relay does not relay for us (“relaying denied”)", True, Harm.NONE,
         outcome=Outcome.REJECTED, text=_RELAYING),
    Case("any other 4xx, such as a mailbox that is full or a server that asks new senders to come back",
         False, Harm.NONE, outcome=Outcome.DEFERRED),
    Case("any other 5xx: the message or the recipient is refused for good",
         False, Harm.NONE, outcome=Outcome.REJECTED),
    Case("the whole message was written and no answer came",
         False, Harm.STRIKE, outcome=Outcome.UNCERTAIN),
)  # fmt: skip


def judge(outcome: Outcome, reply: Reply | None, *, begun: bool, lacking: bool) -> Case:
    """The line of the table for one recipient that a relay did not take.

    :param outcome: what became of it there; not `Outcome.ACCEPTED`
    :param reply: what the relay said to it, or None
    :param begun: whether the message was begun on a connection
    :param lacking: whether the relay lacks what the message needs
    """
    for case in CASES:
        if case.fits(outcome, reply, begun, lacking):
            return case
    raise AssertionError(f"no case for {outcome}")
