"""What relays were found to bear, kept for as long as the process lives (P-24)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from ..options import Credentials, Options
from ..policy.adaptive import Adaptive, Learnt

# A program that serves very many identities forgets those that were asked about longest ago.
_MOST = 1_000
_known: OrderedDict[Hashable, Learnt] = OrderedDict()


class Learning:
    """The memory of one relay and identity. It holds no times, and so it serves other pools and other event loops too.

    :param network: names the network; what holds in one says nothing about another
    """

    __slots__ = ("_key", "last_end", "user")

    def __init__(self, network: object, options: Options, credentials: Credentials | None) -> None:
        self.user = credentials.user if credentials is not None else None
        self._key = (network, options.host, options.effective_port, options.unix_socket, self.user)
        # After how many messages a server last closed a connection in mid-work, and when.
        self.last_end: tuple[int, float] | None = None

    def recall(self) -> Adaptive | None:
        """What is known, or None: then nothing is bounded."""
        known = _known.get(self._key)
        return Adaptive(known) if known is not None else None

    def remember(self, adaptive: Adaptive) -> None:
        """Keep what was learnt until now."""
        _known[self._key] = adaptive.learnt(self.user)
        _known.move_to_end(self._key)
        if len(_known) > _MOST:
            _known.popitem(last=False)


def forget() -> None:
    """Know nothing about any relay."""
    _known.clear()
