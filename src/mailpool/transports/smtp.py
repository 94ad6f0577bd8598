"""The plain SMTP transport: each message has a connection of its own.

It is a pool whose connections carry one message: queue, limits, time-outs and outcomes are the same, so a program that
turns ``pool`` on changes nothing but its speed.
"""

from __future__ import annotations

import dataclasses

from ..net.connection import Connector, connect
from ..options import Options
from ..pool.pool import Pool
from ..pool.roster import Notify


def plain_smtp(options: Options, notify: Notify, connector: Connector = connect) -> Pool:
    return Pool(
        dataclasses.replace(options, max_messages=1, min_connections=0), notify=notify, connector=connector
    )
