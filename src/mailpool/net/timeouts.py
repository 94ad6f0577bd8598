"""How long each phase may take (P-26)."""

from __future__ import annotations

from collections.abc import Mapping

from ..options import Options
from ..results import Phase

# RFC 5321 §4.5.3.2, and its 300 s for what it does not name. RFC 3207 and 4954 name none.
_STANDARD: Mapping[Phase, float] = {
    Phase.EHLO: 300.0,
    Phase.STARTTLS: 300.0,
    Phase.AUTH: 300.0,
    Phase.MAIL: 300.0,
    Phase.RCPT: 300.0,
    Phase.DATA: 120.0,
    Phase.CONTENT: 180.0,
    Phase.END_OF_DATA: 600.0,
    Phase.RSET: 300.0,
    Phase.NOOP: 300.0,
}
# QUIT and close_notify are tried, together, and never waited for longer (P-13).
FAREWELL = 1.0


def phase_timeouts(options: Options) -> dict[Phase, float]:
    """Seconds that a whole reply may take, by phase."""
    timeouts = {
        phase: min(
            standard if options.command_timeout is None else options.command_timeout, options.socket_timeout
        )
        for phase, standard in _STANDARD.items()
    }
    timeouts[Phase.GREETING] = min(options.greeting_timeout, options.socket_timeout)
    return timeouts
