"""What a server is found to do, whatever it announces: learnt on one connection, and known on all of the same relay."""

from __future__ import annotations

from dataclasses import dataclass

from ..results import Reply


@dataclass(slots=True)
class Habits:
    """Shared by the pipelines of one relay, which write what they find.

    ``in_turn``   it refuses a MAIL behind the end of a message that it has not answered
    ``on_reset``  what it says to RSET behind a BDAT, if that is not what it said to the BDAT
    """

    in_turn: bool = False
    on_reset: Reply | None = None
