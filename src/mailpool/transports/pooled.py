"""The pooled SMTP transport: connections are kept and reused."""

from __future__ import annotations

from ..net.connect import Connector, connect
from ..options import Options
from ..pool.pool import Pool
from ..pool.roster import Notify


def pooled_smtp(options: Options, notify: Notify, connector: Connector = connect) -> Pool:
    return Pool(options, notify=notify, connector=connector)
